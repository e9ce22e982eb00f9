//! The Tokenmill engine: submit, plan, run, sample, publish. It joins the pure parts (scheduler, sampler,
//! text) to a backend and owns the only mutable state of a loaded model.

#![forbid(unsafe_code)]

mod choice;
mod door;
mod engine;
mod error;
mod generation;
mod handle;
mod host;
mod info;
mod ledger;
mod lexicon;
mod live;
mod load;
#[cfg(feature = "cpu")]
mod machine;
mod mailbox;
mod meter;
mod outbox;
mod planted;
mod sequence;
#[cfg(feature = "text")]
mod spoken;
mod stats;
mod voice;
mod work;

pub use door::{Capacity, Door};
pub use engine::{Engine, Step};
pub use error::{Error, Result};
pub use handle::Handle;
pub use host::Host;
pub use info::{Info, inspect};
pub use ledger::{Ledger, Line};
pub use lexicon::Lexicon;
pub use load::{Parts, assemble, load};
#[cfg(feature = "cpu")]
pub use machine::measure_machine;
pub use mailbox::Received;
pub use meter::{Clock, monotonic};
#[cfg(feature = "planted")]
pub use planted::Planted;
pub use stats::Stats;
#[cfg(feature = "text")]
pub use tokenmill_text::{Date, Message, RenderOptions};
pub use voice::Voice;
