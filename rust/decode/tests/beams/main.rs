//! Beam search as a caller drives it: a model of any kind, a loop of steps, the hypotheses at the end.

mod fixtures;
mod kinds;
mod literal;
mod model;
mod oracles;
mod search;
mod transformers;
