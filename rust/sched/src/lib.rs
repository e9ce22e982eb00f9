//! Pure scheduling decisions of Tokenmill: block pool, prefix cache, queue and step plan.
//! State and events in, plan out: no clock, thread, tensor or I/O. Source of the rules: Orca
//! (iteration-level scheduling), vLLM (paged KV, copy-on-write, preemption by recompute) and
//! Sarathi-Serve (token budget, chunks beside decodes).
#![forbid(unsafe_code)]

mod blocks;
mod check;
mod config;
mod error;
#[cfg(test)]
mod exhaustive;
mod planted;
mod price;
mod scheduler;
mod sequence;
mod stats;
mod step;
#[cfg(test)]
#[path = "../tests/world/mod.rs"]
mod world;

/// The world of the tests speaks of this crate by name.
#[cfg(test)]
extern crate self as tokenmill_sched;

pub use blocks::Scope;
pub use config::{Policy, SchedConfig};
pub use error::{Error, Result};
#[cfg(feature = "planted")]
pub use planted::Planted;
pub use price::{Extent, Price};
pub use scheduler::Scheduler;
pub use sequence::{Forked, NewSequence};
pub use stats::Stats;
pub use step::{Copy, NO_SLOT, Plan, PlanSpan};
