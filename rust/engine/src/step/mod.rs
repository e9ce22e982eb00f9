//! One turn of the engine: its state, its work, and what it keeps of requests and samples.

mod beams;
pub mod engine;
pub(crate) mod growth;
pub(crate) mod live;
pub(crate) mod meter;
pub(crate) mod planted;
mod rows;
pub(crate) mod sequence;
mod settle;
mod work;
