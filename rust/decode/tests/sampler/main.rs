//! The sampler through its public door, against slow and obvious references.

mod bans;
mod draws;
mod explained;
mod fixtures;
mod logprobs;
mod peers;
mod pipelines;
mod properties;
mod reference;
mod rows;
mod strategies;
