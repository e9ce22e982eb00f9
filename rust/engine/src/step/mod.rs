//! One turn of the engine: its state, its work, and what it keeps of requests and samples.

mod decide;
pub mod engine;
pub(crate) mod growth;
pub(crate) mod live;
pub(crate) mod meter;
pub(crate) mod planted;
mod rows;
mod settle;
pub(crate) mod source;
mod work;
