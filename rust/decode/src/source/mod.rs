//! Strategies that read a second row of logits: guidance, contrastive decoding, `DoLa`; and the choice of contrastive
//! search, which reads hidden states. Pure functions of rows: who computes the second row is not known here.
//!
//! Rules of all: a token that is -inf in either row stays -inf; NaN or +inf in either row is an error, unless the
//! request replaces them; sums over the vocabulary do not depend on their order, or have a fixed one.

mod contrastive;
mod dola;
mod guidance;
mod mixer;
mod normal;
mod search;
mod stretch;

pub use mixer::{DolaMixer, MixBuffers, Mixed, mix};
pub use search::{Candidate, Past, choose, weigh};
