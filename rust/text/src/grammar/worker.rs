//! Threads on which grammars are compiled: a few at a time, each with a stack of its own, none waited for beyond the
//! bound. One that is late goes on to its own limits and is dropped; until then it keeps its place.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Nested brackets and schemas are walked by recursion.
const STACK_BYTES: usize = 64 << 20;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// Others took all places for as long as this one would wait.
    Busy,
    /// It took too long.
    Late,
    /// It panicked.
    Broken,
}

/// Places to compile at.
#[derive(Debug)]
pub(super) struct Workers {
    free: Arc<(Mutex<usize>, Condvar)>,
}

/// A place, given back when the work on it has really ended.
struct Place(Arc<(Mutex<usize>, Condvar)>);

impl Drop for Place {
    fn drop(&mut self) {
        let (free, changed) = &*self.0;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        changed.notify_one();
    }
}

impl Workers {
    /// As many as the machine has processors, at most four.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            free: Arc::new((Mutex::new(processors.min(4)), Condvar::new())),
        }
    }

    /// Runs `work` on a thread and waits for its result for at most `time_max`, the wait for a place included.
    pub(super) fn run<T: Send + 'static>(
        &self,
        time_max: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Absence> {
        let until = Instant::now() + time_max;
        let place = self.place(time_max).ok_or(Absence::Busy)?;
        let (sender, receiver) = sync_channel(1);
        std::thread::Builder::new()
            .name("tokenmill-grammar".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _place = place;
                // Nobody may be waiting any more.
                let _ = sender.send(work());
            })
            .map_err(|_| Absence::Busy)?;
        let left = until.saturating_duration_since(Instant::now());
        receiver.recv_timeout(left).map_err(|error| match error {
            std::sync::mpsc::RecvTimeoutError::Timeout => Absence::Late,
            std::sync::mpsc::RecvTimeoutError::Disconnected => Absence::Broken,
        })
    }

    fn place(&self, time_max: Duration) -> Option<Place> {
        let (free, changed) = &*self.free;
        let guard = free.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut guard, _) = changed
            .wait_timeout_while(guard, time_max, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *guard = guard.checked_sub(1)?;
        Some(Place(self.free.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Absence, Workers};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn late_work_keeps_its_place_and_gives_it_back_when_it_ends() {
        let workers = Workers::new();
        let places = *workers.free.0.lock().unwrap();
        let (end, ended) = channel::<()>();
        let ended = std::sync::Arc::new(std::sync::Mutex::new(ended));
        for _ in 0..places {
            let ended = ended.clone();
            let waits = move || ended.lock().unwrap().recv();
            let result = workers.run(Duration::from_millis(5), waits);
            assert_eq!(result.unwrap_err(), Absence::Late);
        }
        let busy = workers.run(Duration::from_millis(5), || 1);
        assert_eq!(busy, Err(Absence::Busy));
        end.send(()).unwrap();
        let result = workers.run(Duration::from_secs(10), || 1);
        assert_eq!(result, Ok(1));
        drop(end);
    }

    #[test]
    fn a_panic_is_an_absence() {
        let broken = Workers::new().run(Duration::from_secs(10), || -> u32 { panic!("planted") });
        assert_eq!(broken, Err(Absence::Broken));
    }
}
