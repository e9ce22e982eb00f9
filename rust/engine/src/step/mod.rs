//! One turn of the engine: its state, its work, and what it keeps of requests and samples.

pub mod engine;
pub(crate) mod live;
pub(crate) mod meter;
pub(crate) mod planted;
pub(crate) mod sequence;
pub(crate) mod source;
mod work;
