//! Bugs that exist only in builds for loom, to be found by its models.

use std::cell::Cell;

/// One deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A reader looks, lets go of the lock, and then sleeps.
    SleepWithoutLooking,
    /// The engine is woken before it can see what for.
    WakeBeforeTheNews,
}

thread_local! {
    // One model runs all its threads on one thread of the system.
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug for the models that this thread runs from now on.
#[cfg(test)]
pub(crate) fn plant(bug: Bug) {
    PLANTED.set(Some(bug));
}

/// Whether a site is to misbehave.
pub(crate) fn has(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
