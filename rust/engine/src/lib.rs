//! The Tokenmill engine: submit, plan, run, sample, publish. It joins the pure parts (scheduler, sampler,
//! text) to a backend and owns the only mutable state of a loaded model.

#![forbid(unsafe_code)]

mod door;
mod error;
mod host;
mod lexicon;
mod load;
#[cfg(all(test, loom))]
mod models;
mod primitives;
mod stats;
mod step;

pub use door::handle::Handle;
pub use door::mailbox::Received;
pub use door::{AmateurCapacity, Capacity, Door};
pub use error::{Error, Result};
pub use host::{Host, start};
pub use lexicon::Lexicon;
pub use load::amateur::AmateurParts;
pub use load::info::{Info, inspect};
pub use load::ledger::{Ledger, Line};
#[cfg(feature = "cpu")]
pub use load::machine::measure_machine;
pub use load::simulated::simulated;
pub use load::voice::Voice;
pub use load::{Parts, assemble, check_text, load};
pub use stats::Stats;
pub use step::engine::{Engine, Step};
pub use step::meter::{Clock, monotonic};
#[cfg(feature = "planted")]
pub use step::planted::Planted;
#[cfg(feature = "text")]
pub use tokenmill_text::{Date, Message, RenderOptions};
