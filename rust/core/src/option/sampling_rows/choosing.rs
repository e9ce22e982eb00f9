//! Rows of what decides the next token: temperature, cuts, penalties, bans, their order, the seed.

use super::{
    float, float_above, int, nullable, read, read_bias, read_ids, read_texts, row, shown,
    shown_ids, shown_optional_ids, shown_texts,
};
use crate::id::TokenId;
use crate::option::kind::{IdList, OptionType};
use crate::option::spec::OptionSpec;
use crate::option::value::Value;
use crate::params::{NamedPipeline, PipelineChoice, Step};

/// Which token comes next.
pub(in crate::option) const ROWS: &[OptionSpec] = &[
    row(
        "n",
        OptionType::Samples,
        "samples drawn from the same prompt",
        |params, value| value.as_u32().map(|n| params.n = n),
        |params| Value::Int(params.n.into()),
    ),
    row(
        "temperature",
        float(0.0, 100.0),
        "softmax temperature; below 1e-5 greedy",
        |params, value| read(value).map(|temperature| params.temperature = temperature),
        |params| shown(params.temperature),
    ),
    row(
        "top_k",
        int(-1, i64::MAX),
        "keep exactly the k best tokens; 0 and -1: off",
        |params, value| {
            value
                .as_int()
                .map(|k| params.top_k = u32::try_from(k.max(0)).unwrap_or(u32::MAX))
        },
        |params| Value::Int(params.top_k.into()),
    ),
    row(
        "top_p",
        float_above(0.0, 1.0),
        "keep the shortest prefix of the order with this mass; 1: off",
        |params, value| read(value).map(|top_p| params.top_p = top_p),
        |params| shown(params.top_p),
    ),
    row(
        "min_p",
        float(0.0, 1.0),
        "keep tokens with at least this share of the best probability; 0: off",
        |params, value| read(value).map(|min_p| params.min_p = min_p),
        |params| shown(params.min_p),
    ),
    row(
        "presence_penalty",
        float(-2.0, 2.0),
        "subtracted once from every token generated so far",
        |params, value| read(value).map(|penalty| params.presence_penalty = penalty),
        |params| shown(params.presence_penalty),
    ),
    row(
        "frequency_penalty",
        float(-2.0, 2.0),
        "subtracted from a token once for each time it was generated",
        |params, value| read(value).map(|penalty| params.frequency_penalty = penalty),
        |params| shown(params.frequency_penalty),
    ),
    row(
        "repetition_penalty",
        float_above(0.0, f32::MAX as f64),
        "divides positive and multiplies negative logits of tokens in prompt or output; 1: off",
        |params, value| read(value).map(|penalty| params.repetition_penalty = penalty),
        |params| shown(params.repetition_penalty),
    ),
    row(
        "no_repeat_ngram_size",
        int(0, 1024),
        "ban every token that would repeat an n-gram of this size; 0: off",
        |params, value| {
            value
                .as_u32()
                .map(|size| params.no_repeat_ngram_size = size)
        },
        |params| Value::Int(params.no_repeat_ngram_size.into()),
    ),
    row(
        "logit_bias",
        OptionType::BiasMap,
        "token id to a number added to its logit; exactly -100 bans",
        |params, value| read_bias(value).map(|bias| params.logit_bias = bias),
        |params| {
            let pair = |&(token, bias): &(TokenId, f32)| (Value::Int(token.into()), shown(bias));
            Value::Map(params.logit_bias.iter().map(pair).collect())
        },
    ),
    row(
        "bad_words",
        OptionType::Words,
        "words that must not appear: the token that would complete one, with a leading space or without, is banned",
        |params, value| read_texts(value).map(|words| params.bad_words = words),
        |params| shown_texts(&params.bad_words),
    ),
    nullable(row(
        "allowed_token_ids",
        OptionType::TokenIds(IdList::Allowed),
        "the only tokens that may come",
        |params, value| {
            params.allowed_token_ids = match value {
                Value::Null => None,
                _ => Some(read_ids(value)?),
            };
            Some(())
        },
        |params| shown_optional_ids(params.allowed_token_ids.as_deref()),
    )),
    row(
        "suppress_tokens",
        OptionType::TokenIds(IdList::Suppressed),
        "tokens that must not come",
        |params, value| read_ids(value).map(|ids| params.suppress_tokens = ids),
        |params| shown_ids(&params.suppress_tokens),
    ),
    row(
        "begin_suppress_tokens",
        OptionType::TokenIds(IdList::Suppressed),
        "tokens that must not come first",
        |params, value| read_ids(value).map(|ids| params.begin_suppress_tokens = ids),
        |params| shown_ids(&params.begin_suppress_tokens),
    ),
    nullable(row(
        "penalty_last_n",
        int(-1, i32::MAX as i64),
        "the penalties look at so many tokens at the end of the sequence; -1: all; none: as the pipeline does",
        |params, value| {
            params.penalty_last_n = value.as_int().and_then(|last| i32::try_from(last).ok());
            Some(())
        },
        |params| {
            params
                .penalty_last_n
                .map_or(Value::Null, |last| Value::Int(last.into()))
        },
    )),
    row(
        "pipeline",
        OptionType::Pipeline,
        "order in which penalties, bans, biases and cuts act",
        |params, value| read_pipeline(value).map(|pipeline| params.pipeline = pipeline),
        |params| match &params.pipeline {
            PipelineChoice::Named(named) => Value::Text(named.name().into()),
            PipelineChoice::Listed(steps) => {
                let name = |step: &Step| Value::Text(step.name().into());
                Value::List(steps.iter().map(name).collect())
            }
        },
    ),
    nullable(row(
        "seed",
        int(i64::MIN, i64::MAX),
        "key of the noise: the same seed gives the same tokens in any company; -1: one is drawn and reported",
        |params, value| {
            params.seed = value.as_int().filter(|&seed| seed != -1);
            Some(())
        },
        |params| params.seed.map_or(Value::Null, Value::Int),
    )),
];

fn read_pipeline(value: &Value) -> Option<PipelineChoice> {
    if let Some(name) = value.as_text() {
        return NamedPipeline::from_name(name).map(PipelineChoice::Named);
    }
    let steps = value.as_list()?;
    let step = |step: &Value| step.as_text().and_then(Step::from_name);
    let steps: Option<Vec<Step>> = steps.iter().map(step).collect();
    steps.map(PipelineChoice::Listed)
}
