//! What threads meet at: locks, atomics, the command channel. From the standard library; built with
//! `--cfg loom` (`make loom`) from loom, which tries every order of their operations. It also holds the
//! switch for the bugs that the models must find.

#[cfg(loom)]
mod channel;
#[cfg(loom)]
mod planted;

#[cfg(loom)]
pub(crate) use channel::{Receiver, SyncSender, sync_channel};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
#[cfg(loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(all(loom, test))]
pub(crate) use planted::plant;
#[cfg(loom)]
pub(crate) use planted::{Bug, has};

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
#[cfg(not(loom))]
pub(crate) use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
