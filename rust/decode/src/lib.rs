//! From logits to tokens: processor pipeline, sampler and log-probs of Tokenmill. Knows no model, no block
//! and no text: a row of logits and a token prefix in, a token out.
#![forbid(unsafe_code)]

mod beam;
pub mod error;
mod logprob;
pub mod pipeline;
mod processor;
mod row;
pub mod sampler;
pub mod scratch;
pub mod source;
pub mod vocabulary;
mod warper;

pub use beam::{BeamSearch, Candidate, EndReason, Hypothesis, Selection};
pub use error::{Error, Result};
pub use pipeline::{Pipeline, Step};
pub use sampler::{Choice, Lifted, Sampler};
pub use scratch::Scratch;
pub use vocabulary::Vocabulary;
