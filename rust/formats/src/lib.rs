//! Checked readers of weight files for Tokenmill: safetensors, GGUF, configs, quantisation blocks.
//!
//! Every byte here came from a stranger. Sizes are compared with the bytes that are left before anything is
//! allocated, products and sums are checked, duplicates are refused, and data moves by positioned reads into
//! owned memory. Nothing here knows an architecture, a request or a backend.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod blocks;
mod checkpoint;
mod encoding;
mod error;
mod file;
pub mod gguf;
mod json;
mod limits;
pub mod safetensors;
mod weight_format;

pub use checkpoint::{Checkpoint, Config, TensorInfo};
pub use encoding::{Encoding, IntLayout, IntZero};
pub use error::{Error, Result};
pub use file::read_small;
pub use json::{parse_json, read_json};
pub use limits::HeaderLimits;
pub use weight_format::WeightFormat;
