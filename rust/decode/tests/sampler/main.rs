//! The sampler through its public door, against slow and obvious references.

mod bans;
mod draws;
mod fixtures;
mod logprobs;
mod peers;
mod pipelines;
mod properties;
mod reference;
mod rows;
mod strategies;
