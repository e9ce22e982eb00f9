//! One pool of threads per backend, entered once per step: the caller is worker 0, and whoever else is awake
//! runs the same closure, which shares out its work over a `Board`.
//!
//! Refuses to know what the work is. Invariants: a region allocates nothing, takes no lock and makes no system
//! call except to yield or sleep while it waits; it ends when the work is done, without waiting for a worker
//! that never came; a panic in a worker ends all waits, becomes an error of the region, and leaves the pool
//! usable; dropping the pool joins its threads.

mod board;
mod futex;
mod signal;

pub(crate) use board::{Poisoned, Worker};

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use board::Board;
use signal::{Patience, Signal};

/// What a region runs on each worker.
type Job = dyn Fn(Worker<'_>) -> Result<(), Poisoned> + Sync;

/// Set in `Shared::gate` while workers may enter.
const OPEN: u32 = 1 << 31;

/// The threads.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Number of the region to run; raised by the caller.
    region: Signal,
    /// `OPEN`, and how many workers have entered beside the caller.
    gate: AtomicU32,
    /// Workers that have left again; before the first region, those that have started.
    left: Signal,
    /// The region's closure and its board: changed by the caller while the gate is shut and nobody is inside.
    job: UnsafeCell<Option<*const Job>>,
    board: UnsafeCell<Board>,
    /// Set before the last raise of `region`.
    is_closing: AtomicBool,
    idle: Patience,
}

// SAFETY: `job` and `board` are changed by the caller of `run` alone (it has `&mut Pool`), while the gate is
// shut and all who entered have left; workers read them after they have entered; the closure is `Sync`.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Why a region failed: the text of the first panic seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RegionFailed(pub(crate) String);

impl Pool {
    /// Starts `threads - 1` threads beside the caller, for regions of at most `phases` phases.
    pub(crate) fn new(threads: usize, phases: usize) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            region: Signal::default(),
            gate: AtomicU32::new(0),
            left: Signal::default(),
            job: UnsafeCell::new(None),
            board: UnsafeCell::new(Board::new(threads, phases, between_phases(threads, cores))),
            is_closing: AtomicBool::new(false),
            idle: between_regions(threads, cores),
        });
        let mut pool = Self {
            shared,
            workers: Vec::with_capacity(threads - 1),
        };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let name = format!("tokenmill-cpu-{index}");
            pool.workers.push(
                std::thread::Builder::new()
                    .name(name)
                    .spawn(move || work(&shared, index))?,
            );
        }
        // What a thread allocates as it starts belongs to the load, not to the first step.
        let started = threads as u32 - 1;
        pool.shared
            .left
            .wait(pool.shared.idle, |count| count == started);
        Ok(pool)
    }

    /// Runs `job` on the caller and on every worker that comes in time, and waits for those.
    pub(crate) fn run<F>(&mut self, job: F) -> Result<(), RegionFailed>
    where
        F: Fn(Worker<'_>) -> Result<(), Poisoned> + Sync,
    {
        let shared = &*self.shared;
        let job: *const (dyn Fn(Worker<'_>) -> Result<(), Poisoned> + Sync + '_) = &raw const job;
        #[expect(
            clippy::transmute_ptr_to_ptr,
            reason = "a cast may not extend a trait object's lifetime"
        )]
        // SAFETY: only the lifetime changes; this function does not return before the gate is shut and all who
        // entered have left the closure.
        let job: *const Job = unsafe { std::mem::transmute(job) };
        // SAFETY: the gate is shut and nobody is inside.
        unsafe {
            *shared.job.get() = Some(job);
            (*shared.board.get()).reset();
        }
        shared.left.reset();
        shared.gate.store(OPEN, Ordering::Release);
        shared.region.add(1);
        // SAFETY: the closure and the board stay as they are until the gate is shut and all have left.
        let board = unsafe { &*shared.board.get() };
        run_job(board, job, 0);
        let entered = shared.gate.fetch_and(!OPEN, Ordering::AcqRel) & !OPEN;
        shared.left.wait(board.patience(), |left| left == entered);
        // The lock inside is taken once a step, after it.
        board
            .take_failure()
            .map_or(Ok(()), |text| Err(RegionFailed(text)))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        self.shared.region.add(1);
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its jobs; it has none of its own to report.
            let _ = worker.join();
        }
    }
}

/// With a core for each worker: spin about 50 us, then yield for about a millisecond. With fewer, the missing
/// worker may be waiting for our core: yield almost at once.
fn between_phases(threads: usize, cores: usize) -> Patience {
    if threads <= cores {
        Patience {
            spins: 4_000,
            yields: 1_000,
            grace: 150,
        }
    } else {
        Patience {
            spins: 50,
            yields: 200,
            grace: 0,
        }
    }
}

/// Steps follow each other within about 100 us while the engine is busy.
fn between_regions(threads: usize, cores: usize) -> Patience {
    Patience {
        spins: if threads <= cores { 8_000 } else { 50 },
        yields: 20,
        grace: 0,
    }
}

fn work(shared: &Shared, index: usize) {
    let mut seen = 0;
    shared.left.add(1);
    loop {
        shared.region.wait(shared.idle, |region| region != seen);
        seen = shared.region.get();
        if shared.is_closing.load(Ordering::Relaxed) {
            return;
        }
        if enter(&shared.gate) {
            // SAFETY: entered, so the caller changes neither before we have left.
            if let (Some(job), board) = unsafe { (*shared.job.get(), &*shared.board.get()) } {
                run_job(board, job, index);
            }
            shared.left.add(1);
        }
    }
}

/// Enters if the gate is open.
fn enter(gate: &AtomicU32) -> bool {
    let entered = |state: u32| (state & OPEN != 0).then_some(state + 1);
    gate.fetch_update(Ordering::AcqRel, Ordering::Acquire, entered)
        .is_ok()
}

fn run_job(board: &Board, job: *const Job, index: usize) {
    // SAFETY: the closure lives until all who entered have left.
    let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
        (*job)(Worker::new(board, index))
    }));
    if let Err(payload) = outcome {
        board.poison(panic_text(payload.as_ref()));
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::{Poisoned, Pool, RegionFailed, Worker};

    /// Runs a phase of `units` units.
    fn phase(
        worker: &mut Worker<'_>,
        units: usize,
        mut unit: impl FnMut(usize),
    ) -> Result<(), Poisoned> {
        worker.begin(units, false)?;
        while let Some(index) = worker.claim() {
            unit(index);
        }
        worker.end();
        Ok(())
    }

    fn add_one(count: &AtomicUsize) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    #[test]
    fn every_unit_is_done_once_and_after_the_phase_before() {
        for threads in [1, 2, 3, 8] {
            let mut pool = Pool::new(threads, 100).unwrap();
            for region in 0..20 {
                let sizes: Vec<usize> = (0..100)
                    .map(|i| [0, 1, 2, 5, 16, 33][(i + region) % 6])
                    .collect();
                let done: Vec<AtomicUsize> = sizes.iter().map(|_| AtomicUsize::new(0)).collect();
                let seen: Vec<Vec<AtomicUsize>> = sizes
                    .iter()
                    .map(|size| (0..*size).map(|_| AtomicUsize::new(0)).collect())
                    .collect();
                let outcome = pool.run(|mut worker| {
                    for i in 0..sizes.len() {
                        phase(&mut worker, sizes[i], |unit| {
                            if i > 0 {
                                assert_eq!(
                                    done[i - 1].load(Ordering::Relaxed),
                                    sizes[i - 1],
                                    "phase {i}"
                                );
                            }
                            if (unit + i) % 13 == 0 {
                                std::thread::yield_now();
                            }
                            seen[i][unit].fetch_add(1, Ordering::Relaxed);
                            done[i].fetch_add(1, Ordering::Relaxed);
                        })?;
                    }
                    Ok(())
                });
                assert_eq!(outcome, Ok(()));
                assert!(
                    seen.iter()
                        .flatten()
                        .all(|count| count.load(Ordering::Relaxed) == 1)
                );
            }
        }
    }

    #[test]
    fn a_tail_runs_once_between_its_phase_and_the_next() {
        for threads in [1, 2, 3] {
            let mut pool = Pool::new(threads, 60).unwrap();
            let (units, tails) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let outcome = pool.run(|mut worker| {
                for i in 0..60 {
                    let size = [7, 0, 1, 30][i % 4];
                    worker.begin(size, true)?;
                    while let Some(unit) = worker.claim() {
                        if unit == 0 {
                            // So long that the others do, and count, everything else.
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        assert_eq!(tails.load(Ordering::Relaxed), i);
                        units.fetch_add(1, Ordering::Relaxed);
                    }
                    if worker.end() {
                        let expected = i / 4 * 38 + [7, 7, 8, 38][i % 4];
                        assert_eq!(units.load(Ordering::Relaxed), expected);
                        tails.fetch_add(1, Ordering::Relaxed);
                        worker.end_tail();
                    }
                }
                Ok(())
            });
            assert_eq!((outcome, tails.into_inner()), (Ok(()), 60));
        }
    }

    #[test]
    fn a_worker_that_is_away_holds_up_nobody() {
        let mut pool = Pool::new(3, 50).unwrap();
        let is_held = std::sync::atomic::AtomicBool::new(false);
        let start = Instant::now();
        let outcome = pool.run(|mut worker| {
            if worker.index == 1 {
                // Inside the region but away from its work: the others do its share.
                is_held.store(true, Ordering::Relaxed);
                while is_held.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            }
            for _ in 0..50 {
                phase(&mut worker, 10, |_| ())?;
            }
            if worker.index == 0 {
                is_held.store(false, Ordering::Relaxed);
            }
            Ok(())
        });
        assert_eq!(outcome, Ok(()));
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn sleepers_in_and_between_regions_are_woken() {
        let mut pool = Pool::new(2, 2).unwrap();
        for _ in 0..4 {
            // Long enough for the worker to go to sleep.
            std::thread::sleep(Duration::from_millis(30));
            let done = AtomicUsize::new(0);
            let outcome = pool.run(|mut worker| {
                phase(&mut worker, 1, |_| {
                    std::thread::sleep(Duration::from_millis(60));
                })?;
                phase(&mut worker, 2, |_| {
                    add_one(&done);
                })
            });
            assert_eq!((outcome, done.into_inner()), (Ok(()), 2));
        }
    }

    #[test]
    fn a_panic_fails_the_region_and_the_pool_goes_on() {
        for threads in [1, 2, 3, 8] {
            let mut pool = Pool::new(threads, 10).unwrap();
            for round in 0..30 {
                let outcome = pool.run(|mut worker| {
                    for i in 0..10 {
                        phase(&mut worker, 9, |unit| {
                            assert!(i != round % 10 || unit != round % 9, "unit {unit} broke");
                        })?;
                    }
                    Ok(())
                });
                assert_eq!(
                    outcome,
                    Err(RegionFailed(format!("unit {} broke", round % 9)))
                );
                let done = AtomicUsize::new(0);
                let outcome = pool.run(|mut worker| {
                    phase(&mut worker, 5, |_| {
                        add_one(&done);
                    })?;
                    phase(&mut worker, 3, |_| {
                        add_one(&done);
                    })
                });
                assert_eq!((outcome, done.into_inner()), (Ok(()), 8));
            }
        }
    }

    #[test]
    fn a_panic_wakes_those_who_sleep() {
        let mut pool = Pool::new(3, 2).unwrap();
        let outcome = pool.run(|mut worker| {
            phase(&mut worker, 1, |_| {
                std::thread::sleep(Duration::from_millis(80));
                panic!("late");
            })?;
            phase(&mut worker, 1, |_| ())
        });
        assert_eq!(outcome, Err(RegionFailed("late".to_owned())));
    }
}
