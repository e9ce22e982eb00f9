//! What a beam search cannot mean, and wishes for one without beams.

use super::{Check, Is, Rule, because, rule};
use crate::params::{Beams, LogprobsMode};

/// A wish for a beam search, of a request that has no beams.
const fn wish(name: &'static str, is_wished: Is) -> Rule {
    let reason = "there is no beam search (several samples are asked for with n)";
    let check = Check::Both(|params| !params.beams.is_on(), is_wished, reason);
    because(
        name,
        "beam_width",
        "without it: there is no beam search",
        check,
    )
}

const fn beside(name: &'static str, reason: &'static str, is_asked: Is) -> Rule {
    let check = Check::Both(|params| params.beams.is_on(), is_asked, reason);
    because(name, "beam_width", reason, check)
}

pub(super) static RULES: &[Rule] = &[
    wish("length_penalty", |params| {
        params.beams.length_penalty != Beams::DEFAULT.length_penalty
    }),
    wish("length_penalty_kind", |params| {
        params.beams.length_penalty_kind != Beams::DEFAULT.length_penalty_kind
    }),
    wish("early_stopping", |params| {
        params.beams.early_stopping != Beams::DEFAULT.early_stopping
    }),
    wish("num_return_sequences", |params| {
        params.beams.num_return_sequences.is_some()
    }),
    wish("num_beam_groups", |params| {
        params.beams.num_beam_groups != 1
    }),
    wish("diversity_penalty", |params| {
        params.beams.diversity_penalty != 0.0
    }),
    rule(
        "num_return_sequences",
        "beam_width",
        "more outputs than beams",
        |params| {
            let (returned, width) = (params.beams.num_return_sequences?, params.beams.width?);
            (returned > width).then(|| format!("{returned} is more than {width}").into())
        },
    ),
    rule(
        "num_beam_groups",
        "beam_width",
        "a number of beams that the groups do not divide",
        |params| {
            let (groups, width) = (params.beams.num_beam_groups, params.beams.width?);
            let reason = || format!("{width} beams do not make {groups} groups of equal size");
            (!width.is_multiple_of(groups)).then(|| reason().into())
        },
    ),
    rule(
        "diversity_penalty",
        "num_beam_groups",
        "one group: the penalty acts between groups",
        |params| {
            let beams = &params.beams;
            let is_met =
                beams.is_on() && beams.diversity_penalty > 0.0 && beams.num_beam_groups == 1;
            is_met.then_some("the penalty acts between groups, and there is one".into())
        },
    ),
    rule(
        "num_beam_groups",
        "diversity_penalty",
        "several groups that draw nothing without a penalty: all find the same",
        |params| {
            let beams = &params.beams;
            let is_same = beams.diversity_penalty <= 0.0 && params.is_greedy();
            let is_met = beams.is_on() && is_same && beams.num_beam_groups > 1;
            is_met.then_some("without a penalty all groups find the same".into())
        },
    ),
    beside("n", "a search returns num_return_sequences", |params| {
        params.n > 1
    }),
    beside(
        "best_of",
        "a search returns num_return_sequences",
        |params| params.best_of.is_some(),
    ),
    beside("max_tokens", "there is nothing to search", |params| {
        params.max_tokens == Some(0)
    }),
    beside(
        "mirostat",
        "it moves with the draws of one output",
        |params| params.mirostat.version > 0,
    ),
    beside(
        "adaptive_target",
        "it moves with the draws of one output",
        |params| params.adaptive.target.is_some(),
    ),
    beside(
        "repetition_detection",
        "a beam ends by its tokens, its text or its length",
        |params| params.repetition_detection.is_some(),
    ),
    beside(
        "logprobs_mode",
        "beams are weighed by log-probabilities, and those are reported",
        |params| {
            matches!(
                params.logprobs_mode,
                LogprobsMode::RawLogits | LogprobsMode::ProcessedLogits
            )
        },
    ),
];
