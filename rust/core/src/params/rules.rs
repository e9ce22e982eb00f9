//! What two options of one request may not say together: one table, which refuses requests and fills the capability
//! matrix. A rule is a row: the two options, when they meet in words, and the check. What needs the vocabulary, the
//! tokenizer or the context is the engine's, but the options that need a tokenizer are listed here too.
//! Invariant: the first row that applies is the one that is told, so the order is part of the behaviour.

mod beams;
mod sources;

use std::borrow::Cow;

use crate::params::{LogprobsMode, OutputKind, Processor, SamplingParams, Step};

type Reason = Cow<'static, str>;

/// Two options that may contradict each other.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The option refused.
    pub name: &'static str,
    /// The option it meets.
    pub other: &'static str,
    /// When they are refused together.
    pub when: &'static str,
    check: Check,
}

/// Whether parameters are of some kind.
type Is = fn(&SamplingParams) -> bool;

#[derive(Clone, Copy, Debug)]
enum Check {
    /// Why this request is refused, if it is.
    Of(fn(&SamplingParams) -> Option<Reason>),
    /// Two things that cannot both be so, and why.
    Both(Is, Is, &'static str),
    /// A step that cannot be asked for where something is so, and why.
    Step(Step, Is, &'static str),
    /// Two steps that cannot both be asked for, and why.
    Steps(Step, Step, &'static str),
}

impl Rule {
    /// Why these parameters are refused by this rule, if they are.
    pub fn fault(&self, params: &SamplingParams) -> Option<Cow<'static, str>> {
        let (is_met, reason) = match self.check {
            Check::Of(check) => return check(params),
            Check::Both(one, other, reason) => (one(params) && other(params), reason),
            Check::Step(step, is, reason) => (step.is_asked_for(params) && is(params), reason),
            Check::Steps(one, other, reason) => {
                let is_met = one.is_asked_for(params) && other.is_asked_for(params);
                (is_met, reason)
            }
        };
        is_met.then_some(reason.into())
    }
}

/// A rule whose words are its reason.
const fn because(
    name: &'static str,
    other: &'static str,
    when: &'static str,
    check: Check,
) -> Rule {
    Rule {
        name,
        other,
        when,
        check,
    }
}

const fn rule(
    name: &'static str,
    other: &'static str,
    when: &'static str,
    check: fn(&SamplingParams) -> Option<Reason>,
) -> Rule {
    Rule {
        name,
        other,
        when,
        check: Check::Of(check),
    }
}

const fn greedy(step: Step) -> Rule {
    let when =
        "with a temperature below 1e-5: it may drop the best token, which a greedy request takes";
    let reason = "it may drop the best token, which a greedy request takes";
    let check = Check::Step(step, SamplingParams::is_greedy, reason);
    because(step.option(), "temperature", when, check)
}

const fn moving(step: Step, other: Step) -> Rule {
    let when = "together: one cut moves by itself, so there can be no other";
    let reason = "one cut moves by itself, so there can be no other";
    let check = Check::Steps(step, other, reason);
    because(step.option(), other.option(), when, check)
}

/// Every rule between two options of a request. The order of a pipeline is one more, between `pipeline` and the
/// option of each step: [`crate::PipelineChoice::fault`].
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().chain(sources::RULES).chain(beams::RULES)
}

static RULES: &[Rule] = &[
    rule(
        "n",
        "temperature",
        "more than one sample with a temperature below 1e-5: greedy samples would be the same text",
        |params| {
            let (n, is_met) = (params.n, params.n > 1 && params.is_greedy());
            is_met.then(|| format!("{n} greedy samples would be the same text").into())
        },
    ),
    rule(
        "min_tokens",
        "max_tokens",
        "a minimum above the maximum",
        |params| {
            let max_tokens = params.max_tokens.filter(|max| params.min_tokens > *max)?;
            Some(format!("{} is more than {max_tokens}", params.min_tokens).into())
        },
    ),
    rule(
        "max_tokens",
        "echo",
        "0 without echo: only a prompt that is given back has nothing to generate",
        |params| {
            let is_met = params.max_tokens == Some(0) && !params.echo;
            is_met.then_some("0 tokens are asked for only where the prompt is given back".into())
        },
    ),
    rule(
        "best_of",
        "n",
        "fewer samples drawn than handed out",
        |params| {
            let (best_of, n) = (params.best_of?, params.n);
            (best_of < n).then(|| format!("{best_of} samples cannot give {n}").into())
        },
    ),
    rule(
        "best_of",
        "temperature",
        "more than one sample with a temperature below 1e-5: greedy samples would be the same text",
        |params| {
            let drawn = params
                .best_of
                .filter(|drawn| *drawn > 1 && params.is_greedy())?;
            Some(format!("{drawn} greedy samples would be the same text").into())
        },
    ),
    rule(
        "best_of",
        "output_kind",
        "delta: which samples are the best is known at the end",
        |params| {
            let is_met = params.is_ranked() && params.output_kind == OutputKind::Delta;
            is_met.then_some("which samples are the best is known at the end".into())
        },
    ),
    rule(
        "best_of",
        "stream_interval",
        "together: which samples are the best is known at the end",
        |params| {
            let is_met = params.is_ranked() && params.stream_interval.is_some();
            is_met.then_some("which samples are the best is known at the end".into())
        },
    ),
    rule(
        "best_of",
        "logprobs_mode",
        "raw_logits and processed_logits: samples are ranked by their log-probs",
        |params| {
            use LogprobsMode::{ProcessedLogits, RawLogits};
            let is_logits = matches!(params.logprobs_mode, RawLogits | ProcessedLogits);
            let is_met = params.is_ranked() && is_logits;
            is_met.then_some("samples are ranked by their log-probs".into())
        },
    ),
    rule(
        "echo",
        "detokenize",
        "without text: it is the text that begins with the prompt",
        |params| {
            let is_met = params.echo && !params.detokenize;
            is_met.then_some("it is the text that begins with the prompt".into())
        },
    ),
    rule(
        "stop",
        "detokenize",
        "stop strings without text: they are looked for in it",
        |params| {
            let is_met = !params.stop.is_empty() && !params.detokenize;
            is_met.then_some("stop strings are looked for in the text".into())
        },
    ),
    rule(
        "logprob_token_ids",
        "logprobs",
        "another number of alternatives than there are ids",
        |params| {
            let (ids, count) = (params.logprob_token_ids.as_ref()?.len(), params.logprobs?);
            (ids != count as usize).then(|| format!("{ids} ids for {count} alternatives").into())
        },
    ),
    rule(
        "skip_reading_prefix_cache",
        "prompt_logprobs",
        "false: cached blocks have no logits",
        |params| {
            let is_read = params.skip_reading_prefix_cache == Some(false);
            let is_met = is_read && params.prompt_logprobs.is_some();
            is_met.then_some("cached blocks have no logits".into())
        },
    ),
    rule(
        "stream_interval",
        "output_kind",
        "final_only: there is one event, at the end",
        |params| {
            let is_last = params.output_kind == OutputKind::FinalOnly;
            let is_met = is_last && params.stream_interval.is_some();
            is_met.then_some("there is one event, at the end".into())
        },
    ),
    greedy(Step::TypicalP),
    greedy(Step::Xtc),
    greedy(Step::Mirostat),
    greedy(Step::AdaptiveP),
    moving(Step::Mirostat, Step::TopNSigma),
    moving(Step::Mirostat, Step::TopH),
    moving(Step::Mirostat, Step::TopK),
    moving(Step::Mirostat, Step::TopP),
    moving(Step::Mirostat, Step::MinP),
    moving(Step::Mirostat, Step::TypicalP),
    moving(Step::Mirostat, Step::EpsilonCutoff),
    moving(Step::Mirostat, Step::EtaCutoff),
    moving(Step::Mirostat, Step::Xtc),
    moving(Step::Mirostat, Step::AdaptiveP),
    moving(Step::AdaptiveP, Step::TopNSigma),
    moving(Step::AdaptiveP, Step::TopH),
    moving(Step::AdaptiveP, Step::TopK),
    moving(Step::AdaptiveP, Step::TopP),
    moving(Step::AdaptiveP, Step::TypicalP),
    moving(Step::AdaptiveP, Step::EpsilonCutoff),
    moving(Step::AdaptiveP, Step::EtaCutoff),
    moving(Step::AdaptiveP, Step::Xtc),
    rule(
        "forced_bos_token_id",
        "suppress_tokens",
        "a token that is forced and banned",
        |params| {
            let forced = params.forced_bos_token_id?;
            let is_met = params.suppress_tokens.contains(&forced);
            is_met.then(|| format!("token {forced} is forced and banned").into())
        },
    ),
    rule(
        "forced_eos_token_id",
        "suppress_tokens",
        "a token that is forced and banned",
        |params| {
            let mut forced = params.forced_eos_token_id.iter().flatten();
            let banned = forced.find(|id| params.suppress_tokens.contains(id))?;
            Some(format!("token {banned} is forced and banned").into())
        },
    ),
];

/// An option that reads text, and so needs a model with a tokenizer.
#[derive(Clone, Copy, Debug)]
pub struct TextNeed {
    /// The option.
    pub name: &'static str,
    /// Whether a request asks for it.
    pub is_asked: fn(&SamplingParams) -> bool,
}

/// Every option that reads text.
pub static TEXT_NEEDS: &[TextNeed] = &[
    TextNeed {
        name: "stop",
        is_asked: |params| !params.stop.is_empty(),
    },
    TextNeed {
        name: "structured_outputs",
        is_asked: |params| params.structured_outputs.is_some(),
    },
    TextNeed {
        name: "echo",
        is_asked: |params| params.echo,
    },
    TextNeed {
        name: "logits_processors",
        is_asked: |params| {
            let reads = |processor: &Processor| match processor {
                Processor::Declared(edit) => edit.matching.is_some(),
                Processor::Callable(_) => false,
            };
            params.logits_processors.iter().any(reads)
        },
    },
    TextNeed {
        name: "thinking_token_budget",
        is_asked: |params| params.thinking.budget.is_some(),
    },
    TextNeed {
        name: "bad_words",
        is_asked: |params| !params.bad_words.is_empty(),
    },
    TextNeed {
        name: "dry_sequence_breakers",
        is_asked: |params| Step::Dry.is_active(params) && !params.dry.breakers.is_empty(),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::{Group, OptionSpec, find};

    #[test]
    fn every_rule_names_two_options_that_there_are() {
        for rule in rules() {
            for name in [rule.name, rule.other] {
                let spec = find(Group::Sampling, name);
                assert!(spec.is_some_and(OptionSpec::is_supported), "{name}");
            }
        }
    }

    #[test]
    fn what_may_drop_the_best_token_meets_greedy_and_what_moves_meets_every_other_cut() {
        let meets =
            |name: &str, other: &str| rules().any(|rule| rule.name == name && rule.other == other);
        for step in Step::ALL {
            assert_eq!(
                meets(step.option(), "temperature"),
                step.may_drop_best(),
                "{step:?}"
            );
            // Of the temperature it is the greedy one alone that they meet.
            if step == Step::Temperature {
                continue;
            }
            let is_cut = step.is_truncation();
            let is_free = step == Step::Mirostat || !is_cut;
            assert_ne!(meets("mirostat", step.option()), is_free, "{step:?}");
            // A mild cut may stand before it (docs/adr/0020).
            let is_free = is_free || matches!(step, Step::AdaptiveP | Step::MinP);
            assert_ne!(meets("adaptive_target", step.option()), is_free, "{step:?}");
        }
    }
}
