//! The rows of the sampling options. Names and bounds are vLLM's where it has the option; what differs is
//! said in the doc line. Defaults are those of `SamplingParams::default`.

use std::collections::HashSet;

use crate::id::TokenId;
use crate::option::kind::OptionType;
use crate::option::spec::{Access, Group, OptionSpec, Status};
use crate::option::value::Value;
use crate::params::{LogprobsMode, SamplingParams};

type Set = fn(&mut SamplingParams, &Value) -> Option<()>;
type Get = fn(&SamplingParams) -> Value;

const fn row(
    name: &'static str,
    kind: OptionType,
    doc: &'static str,
    set: Set,
    get: Get,
) -> OptionSpec {
    let access = Access::Sampling { set, get };
    OptionSpec {
        name,
        group: Group::Sampling,
        kind,
        is_nullable: false,
        doc,
        status: Status::Supported,
        access,
    }
}

const fn nullable(spec: OptionSpec) -> OptionSpec {
    OptionSpec {
        is_nullable: true,
        ..spec
    }
}

const fn float(min: f64, max: f64) -> OptionType {
    OptionType::Float {
        min,
        is_min_open: false,
        max,
    }
}

const fn float_above(min: f64, max: f64) -> OptionType {
    OptionType::Float {
        min,
        is_min_open: true,
        max,
    }
}

const fn int(min: i64, max: i64) -> OptionType {
    OptionType::Int { min, max }
}

/// The shortest decimal that reads back as the f32, so that 0.7 is shown as 0.7.
fn shown(float: f32) -> Value {
    Value::Float(float.to_string().parse().unwrap_or(f64::from(float)))
}

fn read(value: &Value) -> Option<f32> {
    value.as_f64().map(|float| float as f32)
}

fn optional_int(int: Option<u32>) -> Value {
    int.map_or(Value::Null, |int| Value::Int(int.into()))
}

/// Every sampling option that is taken.
pub(super) const ROWS: &[OptionSpec] = &[
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
    row(
        "stop",
        OptionType::StopStrings,
        "strings that end the output",
        |params, value| read_stops(value).map(|stop| params.stop = stop),
        |params| Value::List(params.stop.iter().cloned().map(Value::Text).collect()),
    ),
    row(
        "stop_token_ids",
        OptionType::TokenIds,
        "tokens that end the output, besides the model's own",
        |params, value| read_ids(value).map(|ids| params.stop_token_ids = ids),
        |params| {
            Value::List(
                params
                    .stop_token_ids
                    .iter()
                    .map(|&id| Value::Int(id.into()))
                    .collect(),
            )
        },
    ),
    row(
        "ignore_eos",
        OptionType::Bool,
        "go on after the model's end tokens",
        |params, value| value.as_bool().map(|flag| params.ignore_eos = flag),
        |params| Value::Bool(params.ignore_eos),
    ),
    nullable(row(
        "max_tokens",
        int(1, u32::MAX as i64),
        "most tokens to generate; none: to the end of the context",
        |params, value| {
            params.max_tokens = value.as_u32();
            Some(())
        },
        |params| optional_int(params.max_tokens),
    )),
    row(
        "min_tokens",
        int(0, u32::MAX as i64),
        "end tokens, stop ids and stop strings wait for this many tokens",
        |params, value| value.as_u32().map(|count| params.min_tokens = count),
        |params| Value::Int(params.min_tokens.into()),
    ),
    nullable(row(
        "logprobs",
        OptionType::Logprobs,
        "alternatives reported for each token, besides the sampled one; -1: the whole vocabulary",
        |params, value| {
            params.logprobs = value
                .as_int()
                .map(|count| u32::try_from(count).unwrap_or(u32::MAX));
            Some(())
        },
        |params| match params.logprobs {
            Some(u32::MAX) => Value::Int(-1),
            count => optional_int(count),
        },
    )),
    row(
        "logprobs_mode",
        OptionType::Choice(&LogprobsMode::NAMES),
        "what the reported log-probabilities are taken from",
        |params, value| {
            LogprobsMode::from_name(value.as_text()?).map(|mode| params.logprobs_mode = mode)
        },
        |params| Value::Text(params.logprobs_mode.name().into()),
    ),
    row(
        "detokenize",
        OptionType::Bool,
        "produce text besides token ids",
        |params, value| value.as_bool().map(|flag| params.detokenize = flag),
        |params| Value::Bool(params.detokenize),
    ),
    row(
        "skip_special_tokens",
        OptionType::Bool,
        "leave control tokens out of the text",
        |params, value| {
            value
                .as_bool()
                .map(|flag| params.skip_special_tokens = flag)
        },
        |params| Value::Bool(params.skip_special_tokens),
    ),
    row(
        "include_stop_str_in_output",
        OptionType::Bool,
        "keep the stop string in the text",
        |params, value| {
            value
                .as_bool()
                .map(|flag| params.include_stop_str_in_output = flag)
        },
        |params| Value::Bool(params.include_stop_str_in_output),
    ),
    row(
        "skip_reading_prefix_cache",
        OptionType::Bool,
        "compute the whole prompt even where the prefix cache holds a part of it",
        |params, value| {
            value
                .as_bool()
                .map(|flag| params.skip_reading_prefix_cache = flag)
        },
        |params| Value::Bool(params.skip_reading_prefix_cache),
    ),
];

fn read_bias(value: &Value) -> Option<Vec<(TokenId, f32)>> {
    let Value::Map(pairs) = value else {
        return None;
    };
    pairs
        .iter()
        .map(|(id, bias)| Some((id.as_u32()?, read(bias)?)))
        .collect()
}

fn read_stops(value: &Value) -> Option<Vec<String>> {
    value
        .as_list()?
        .iter()
        .map(|item| item.as_text().map(str::to_owned))
        .collect()
}

/// Duplicates are dropped, the first of each stays.
fn read_ids(value: &Value) -> Option<Vec<TokenId>> {
    let mut known = HashSet::new();
    let ids: Option<Vec<TokenId>> = value.as_list()?.iter().map(Value::as_u32).collect();
    ids.map(|ids| ids.into_iter().filter(|&id| known.insert(id)).collect())
}
