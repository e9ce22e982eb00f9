//! One second row of logits at most, and what contrastive search cannot mean: it compares the best candidates and
//! draws nothing.

use super::{Check, Is, Rule, because, rule};
use crate::params::{SamplingParams, Step};

const fn one_source(step: Step, other: Step) -> Rule {
    let when = "together: a request reads one second row of logits";
    let check = Check::Steps(step, other, "a request reads one second row of logits");
    because(step.option(), other.option(), when, check)
}

const fn beside_search(name: &'static str, reason: &'static str, is_asked: Is) -> Rule {
    let check = Check::Both(SamplingParams::is_contrastive_search, is_asked, reason);
    because(name, "penalty_alpha", reason, check)
}

const fn no_step(step: Step, reason: &'static str) -> Rule {
    let check = Check::Step(step, SamplingParams::is_contrastive_search, reason);
    because(step.option(), "penalty_alpha", reason, check)
}

const fn no_cut(step: Step) -> Rule {
    no_step(step, "the candidates are those of top_k")
}

const fn no_source(step: Step) -> Rule {
    no_step(step, "a search compares candidates of the model's own row")
}

pub(super) static RULES: &[Rule] = &[
    one_source(Step::Guidance, Step::Contrastive),
    one_source(Step::Guidance, Step::Dola),
    one_source(Step::Contrastive, Step::Dola),
    rule(
        "negative_prompt",
        "negative_prompt_token_ids",
        "together: they are two ways to say it",
        |params| {
            let guidance = &params.guidance;
            let both =
                guidance.negative_prompt.is_some() && guidance.negative_prompt_token_ids.is_some();
            both.then_some("they are two ways to say it".into())
        },
    ),
    rule(
        "negative_prompt",
        "guidance_scale",
        "a scale of 1: nothing moves away from it",
        |params| {
            let guidance = &params.guidance;
            let is_met = guidance.negative_prompt.is_some() && guidance.scale == 1.0;
            is_met.then_some("with a scale of 1 nothing moves away from it".into())
        },
    ),
    rule(
        "negative_prompt_token_ids",
        "guidance_scale",
        "a scale of 1: nothing moves away from it",
        |params| {
            let guidance = &params.guidance;
            let is_met = guidance.negative_prompt_token_ids.is_some() && guidance.scale == 1.0;
            is_met.then_some("with a scale of 1 nothing moves away from it".into())
        },
    ),
    no_source(Step::Guidance),
    no_source(Step::Contrastive),
    no_source(Step::Dola),
    rule(
        "penalty_alpha",
        "temperature",
        "above 0: a search draws nothing",
        |params| {
            let is_met = params.is_contrastive_search() && !params.is_greedy();
            is_met.then_some("a search draws nothing: 0 goes with it".into())
        },
    ),
    beside_search("n", "a search has one result", |params| params.n > 1),
    beside_search("best_of", "a search has one result", |params| {
        params.best_of.is_some_and(|drawn| drawn > 1)
    }),
    beside_search("max_tokens", "there is nothing to search", |params| {
        params.max_tokens == Some(0)
    }),
    beside_search(
        "beam_width",
        "a request has one way to choose its tokens",
        |params| params.beams.is_on(),
    ),
    beside_search(
        "skip_reading_prefix_cache",
        "false: cached blocks have no hidden states",
        |params| params.skip_reading_prefix_cache == Some(false),
    ),
    no_cut(Step::DynamicTemperature),
    no_cut(Step::TopNSigma),
    no_cut(Step::TopH),
    no_cut(Step::TopP),
    no_cut(Step::MinP),
    no_cut(Step::EpsilonCutoff),
    no_cut(Step::EtaCutoff),
];
