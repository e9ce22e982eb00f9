//! What goes beyond count, mass and share: other cuts, biases of sequences, forcing, cuts that move, masks of grammars.

mod cuts;
mod explained;
mod masks;
mod moving;
mod sources;
mod steering;

use tokenmill_core::{LogprobsMode, SamplingParams};
use tokenmill_decode::Scratch;

use crate::rows::Prefix;

/// Log-probs of every token after the last step.
pub fn processed(params: &SamplingParams, prefix: &Prefix, row: &[f32]) -> Vec<f64> {
    values(params, LogprobsMode::ProcessedLogprobs, prefix, row)
}

/// What is reported of every token.
pub fn values(
    params: &SamplingParams,
    mode: LogprobsMode,
    prefix: &Prefix,
    row: &[f32],
) -> Vec<f64> {
    let params = SamplingParams {
        logprobs: Some(u32::MAX),
        logprobs_mode: mode,
        ..params.clone()
    };
    let sampler = prefix.sampler(&params, row.len()).expect("valid");
    let choice = sampler.sample(row, &mut Scratch::new()).expect("a token");
    let mut values = vec![f64::NAN; row.len()];
    for entry in choice.logprobs.expect("asked for") {
        values[entry.token as usize] = f64::from(entry.logprob);
    }
    values
}

pub fn kept(params: &SamplingParams, prefix: &Prefix, row: &[f32]) -> Vec<usize> {
    let left = processed(params, prefix, row);
    (0..row.len()).filter(|&id| left[id].is_finite()).collect()
}
