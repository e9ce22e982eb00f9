//! The float32 oracle backend of Tokenmill: every operation written the obvious way, matrix products by
//! candle. It is slow and meant to be read; the fast backends are compared with it.

#![forbid(unsafe_code)]

mod attention;
mod backend;
mod cache;
mod interpreter;
mod mlp;
mod norm;
mod product;
mod rotary;

pub use backend::ReferenceBackend;
