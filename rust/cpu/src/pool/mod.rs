//! One pool of threads per backend, entered once per step: the caller is worker 0, all workers run the same
//! closure and meet at its barriers.
//!
//! Refuses to know what the workers do. Invariants: a region allocates nothing, takes no lock and makes no
//! system call except to yield or sleep while it waits; a panic in a worker releases all others from their
//! barriers, becomes an error of the region, and leaves the pool usable; dropping the pool joins its threads.

mod barrier;
mod futex;
mod signal;

pub(crate) use barrier::Poisoned;

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use barrier::Barrier;
use signal::{Patience, Signal};

/// What a region runs on each worker.
type Job = dyn Fn(Worker<'_>) -> Result<(), Poisoned> + Sync;

/// A worker inside a region.
#[derive(Clone, Copy)]
pub(crate) struct Worker<'a> {
    /// 0 (the caller) to `threads - 1`.
    pub(crate) index: usize,
    /// Workers in the region.
    pub(crate) threads: usize,
    barrier: &'a Barrier,
}

impl Worker<'_> {
    /// Waits for all workers. What they wrote before it is seen after it. Fails if one of them panicked.
    #[inline]
    pub(crate) fn meet(&self) -> Result<(), Poisoned> {
        self.barrier.meet(self.index)
    }

    /// This worker's share of `0..len`: contiguous, ascending with the index, sizes differing by at most
    /// `unit`, borders at multiples of `unit`.
    pub(crate) fn share(&self, len: usize, unit: usize) -> std::ops::Range<usize> {
        let units = len.div_ceil(unit);
        let border = |i: usize| (units * i / self.threads * unit).min(len);
        border(self.index)..border(self.index + 1)
    }
}

/// The threads.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Number of the region to run; raised by the caller.
    region: Signal,
    /// The region's closure: written before `region` is raised, read after it is seen, valid until all
    /// workers have left.
    job: UnsafeCell<Option<*const Job>>,
    barrier: Barrier,
    /// Set before the last raise of `region`.
    is_closing: AtomicBool,
    idle: Patience,
}

// SAFETY: `job` is written by the caller of `run` alone, while no worker is in a region, and published by
// `region`; the closure behind it is `Sync`.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Why a region failed: the text of the first panic seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RegionFailed(pub(crate) String);

impl Pool {
    /// Starts `threads - 1` threads beside the caller.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            region: Signal::default(),
            job: UnsafeCell::new(None),
            barrier: Barrier::new(threads, at_barrier(threads, cores)),
            is_closing: AtomicBool::new(false),
            idle: between_regions(threads, cores),
        });
        let mut pool = Self { shared, workers: Vec::with_capacity(threads - 1) };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let name = format!("tokenmill-cpu-{index}");
            pool.workers.push(std::thread::Builder::new().name(name).spawn(move || work(&shared, index))?);
        }
        Ok(pool)
    }

    /// Workers, the caller included.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `job` on every worker and waits for all of them.
    pub(crate) fn run<F>(&mut self, job: F) -> Result<(), RegionFailed>
    where
        F: Fn(Worker<'_>) -> Result<(), Poisoned> + Sync,
    {
        let shared = &*self.shared;
        let job: *const (dyn Fn(Worker<'_>) -> Result<(), Poisoned> + Sync + '_) = &raw const job;
        // SAFETY: only the lifetime changes; this function does not return before every worker has left the
        // closure (`leave`), and it removes the pointer.
        let job: *const Job = unsafe { std::mem::transmute(job) };
        // SAFETY: no worker is in a region (`&mut self`, and the last region was waited for), so nobody reads.
        unsafe { *shared.job.get() = Some(job) };
        shared.region.raise(shared.region.get().wrapping_add(1));
        run_job(shared, job, 0);
        shared.barrier.leave(0);
        // SAFETY: all workers have left the closure.
        unsafe { *shared.job.get() = None };
        // The lock is taken once a step, after it.
        shared.barrier.take_failure().map_or(Ok(()), |text| Err(RegionFailed(text)))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        self.shared.region.raise(self.shared.region.get().wrapping_add(1));
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its jobs; it has none of its own to report.
            let _ = worker.join();
        }
    }
}

/// With a core for each worker: spin about 50 us, then yield for about a millisecond. With fewer, the missing
/// worker may be waiting for our core: yield almost at once.
fn at_barrier(threads: usize, cores: usize) -> Patience {
    if threads <= cores {
        Patience { spins: 4_000, yields: 2_000 }
    } else {
        Patience { spins: 50, yields: 200 }
    }
}

/// Steps follow each other within about 100 us while the engine is busy.
fn between_regions(threads: usize, cores: usize) -> Patience {
    if threads <= cores {
        Patience { spins: 8_000, yields: 50 }
    } else {
        Patience { spins: 50, yields: 20 }
    }
}

fn work(shared: &Shared, index: usize) {
    let mut seen = 0u32;
    loop {
        shared.region.wait(shared.idle, |region| region != seen);
        seen = seen.wrapping_add(1);
        if shared.is_closing.load(Ordering::Relaxed) {
            return;
        }
        // SAFETY: the caller wrote it before it raised `region`, and changes it only after we have met it at
        // the end of the region.
        if let Some(job) = unsafe { *shared.job.get() } {
            run_job(shared, job, index);
        }
        shared.barrier.leave(index);
    }
}

fn run_job(shared: &Shared, job: *const Job, index: usize) {
    let barrier = &shared.barrier;
    let worker = Worker { index, threads: barrier.threads(), barrier };
    // SAFETY: the closure lives until all workers have met at the end of the region.
    let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(worker) }));
    if let Err(payload) = outcome {
        barrier.poison(panic_text(payload.as_ref()));
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without text".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::{Pool, RegionFailed};

    #[test]
    fn nobody_passes_a_meeting_before_all_have_come() {
        for threads in [1, 2, 3, 8] {
            let mut pool = Pool::new(threads).unwrap();
            let counts: Vec<AtomicUsize> = (0..200).map(|_| AtomicUsize::new(0)).collect();
            for region in 0..20 {
                let outcome = pool.run(|worker| {
                    for (i, count) in counts.iter().enumerate() {
                        count.fetch_add(1, Ordering::Relaxed);
                        if (i + worker.index + region) % 97 == 0 {
                            std::thread::yield_now();
                        }
                        worker.meet()?;
                        assert_eq!(count.load(Ordering::Relaxed), threads * (region + 1), "meeting {i}");
                        worker.meet()?;
                    }
                    Ok(())
                });
                assert_eq!(outcome, Ok(()));
            }
        }
    }

    #[test]
    fn sleepers_at_barriers_and_between_regions_are_woken() {
        let mut pool = Pool::new(2).unwrap();
        let passed = AtomicUsize::new(0);
        for late in [0, 1, 0, 1] {
            std::thread::sleep(Duration::from_millis(30));
            let outcome = pool.run(|worker| {
                if worker.index == late {
                    std::thread::sleep(Duration::from_millis(60));
                }
                worker.meet()?;
                passed.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
            assert_eq!(outcome, Ok(()));
        }
        assert_eq!(passed.load(Ordering::Relaxed), 8);
    }

    #[test]
    fn a_panic_fails_the_region_and_the_pool_goes_on() {
        for threads in [1, 2, 3, 8] {
            let mut pool = Pool::new(threads).unwrap();
            for round in 0..30 {
                let culprit = round % threads;
                let outcome = pool.run(|worker| {
                    for meeting in 0..10 {
                        assert!(worker.index != culprit || meeting != round % 7, "worker {culprit} broke");
                        worker.meet()?;
                    }
                    Ok(())
                });
                assert_eq!(outcome, Err(RegionFailed(format!("worker {culprit} broke"))));
                let done = AtomicUsize::new(0);
                let outcome = pool.run(|worker| {
                    worker.meet()?;
                    done.fetch_add(1, Ordering::Relaxed);
                    worker.meet()
                });
                assert_eq!((outcome, done.into_inner()), (Ok(()), threads));
            }
        }
    }

    #[test]
    fn a_panic_wakes_those_who_sleep_at_the_barrier() {
        let mut pool = Pool::new(3).unwrap();
        let outcome = pool.run(|worker| {
            if worker.index == 1 {
                std::thread::sleep(Duration::from_millis(80));
                panic!("late");
            }
            worker.meet()
        });
        assert_eq!(outcome, Err(RegionFailed("late".to_owned())));
    }

    #[test]
    fn shares_cover_the_range_once_at_multiples_of_the_unit() {
        for threads in [1, 2, 3, 8] {
            let mut pool = Pool::new(threads).unwrap();
            for (len, unit) in [(0, 1), (1, 1), (7, 1), (60, 4), (61, 4), (100, 16), (3, 16)] {
                let seen: Vec<AtomicUsize> = (0..len).map(|_| AtomicUsize::new(0)).collect();
                let outcome = pool.run(|worker| {
                    let share = worker.share(len, unit);
                    assert!(share.start % unit == 0 || share.start == len);
                    for i in share {
                        seen[i].fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                });
                assert_eq!(outcome, Ok(()));
                assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }
}
