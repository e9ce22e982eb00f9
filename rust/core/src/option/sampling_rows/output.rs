//! Rows of where an output ends, what is reported of it, and how it is handed out.

use super::{
    int, nullable, optional_int, read_count, read_ids, read_texts, row, shown_count, shown_ids,
    shown_optional_ids, shown_texts,
};
use crate::option::kind::{IdList, OptionType, REPETITION_KEYS};
use crate::option::spec::OptionSpec;
use crate::option::value::Value;
use crate::params::{LogprobsMode, OutputKind, RepetitionDetection};

/// When an output ends and what is said of it.
pub(in crate::option) const ROWS: &[OptionSpec] = &[
    row(
        "stop",
        OptionType::StopStrings,
        "strings that end the output",
        |params, value| read_texts(value).map(|stop| params.stop = stop),
        |params| shown_texts(&params.stop),
    ),
    row(
        "stop_token_ids",
        OptionType::TokenIds(IdList::Stop),
        "tokens that end the output, besides the model's own",
        |params, value| read_ids(value).map(|ids| params.stop_token_ids = ids),
        |params| shown_ids(&params.stop_token_ids),
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
        int(0, u32::MAX as i64),
        "most tokens to generate; 0 with echo alone; none: to the end of the context",
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
    row(
        "min_length",
        int(0, u32::MAX as i64),
        "end tokens, stop ids and stop strings wait until prompt and output together have this many tokens",
        |params, value| value.as_u32().map(|count| params.min_length = count),
        |params| Value::Int(params.min_length.into()),
    ),
    nullable(row(
        "logprobs",
        OptionType::Logprobs,
        "alternatives reported for each token, besides the sampled one; -1: the whole vocabulary",
        |params, value| {
            params.logprobs = read_count(value);
            Some(())
        },
        |params| shown_count(params.logprobs),
    )),
    nullable(row(
        "prompt_logprobs",
        OptionType::Logprobs,
        "alternatives reported for each prompt token but the first, from the model's own logits; nothing is read from the prefix cache, and a step scores no more rows than it may sample",
        |params, value| {
            params.prompt_logprobs = read_count(value);
            Some(())
        },
        |params| shown_count(params.prompt_logprobs),
    )),
    nullable(row(
        "logprob_token_ids",
        OptionType::TokenIds(IdList::Reported),
        "tokens reported at each position besides the sampled one, instead of the best ones",
        |params, value| {
            params.logprob_token_ids = match value {
                Value::Null => None,
                _ => Some(read_ids(value)?),
            };
            Some(())
        },
        |params| shown_optional_ids(params.logprob_token_ids.as_deref()),
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
        "keep the stop string in the text; under the pipeline hf it is always kept",
        |params, value| {
            value
                .as_bool()
                .map(|flag| params.include_stop_str_in_output = flag)
        },
        |params| Value::Bool(params.include_stop_str_in_output),
    ),
    row(
        "spaces_between_special_tokens",
        OptionType::Bool,
        "control tokens stand in the text as they are spelled: no tokenizer here adds spaces, so both values agree",
        |params, value| {
            value
                .as_bool()
                .map(|flag| params.spaces_between_special_tokens = flag)
        },
        |params| Value::Bool(params.spaces_between_special_tokens),
    ),
    nullable(row(
        "skip_reading_prefix_cache",
        OptionType::Bool,
        "compute the whole prompt even where the prefix cache holds a part of it; none: where prompt_logprobs needs it",
        |params, value| {
            params.skip_reading_prefix_cache = value.as_bool();
            Some(())
        },
        |params| {
            params
                .skip_reading_prefix_cache
                .map_or(Value::Null, Value::Bool)
        },
    )),
    row(
        "output_kind",
        OptionType::Choice(&OutputKind::NAMES),
        "what an output that is read while it grows holds: all so far, what is new, or nothing before the end",
        |params, value| {
            OutputKind::from_name(value.as_text()?).map(|kind| params.output_kind = kind)
        },
        |params| Value::Text(params.output_kind.name().into()),
    ),
    nullable(row(
        "stream_interval",
        int(1, u32::MAX as i64),
        "least new tokens between two events; the first token and the last come at once",
        |params, value| {
            params.stream_interval = value.as_u32();
            Some(())
        },
        |params| optional_int(params.stream_interval),
    )),
    nullable(row(
        "repetition_detection",
        OptionType::Repetition,
        "end the output when its last tokens are so many copies of one pattern of such a size",
        |params, value| {
            params.repetition_detection = match value {
                Value::Null => None,
                _ => Some(read_repetition(value)?),
            };
            Some(())
        },
        |params| shown_repetition(params.repetition_detection),
    )),
    nullable(row(
        "deadline_ms",
        int(1, u32::MAX as i64),
        "milliseconds from submit after which the request ends with an error; what came before stays",
        |params, value| {
            params.deadline_ms = value.as_u32();
            Some(())
        },
        |params| optional_int(params.deadline_ms),
    )),
];

/// Checked values stand in the order of the keys.
fn read_repetition(value: &Value) -> Option<RepetitionDetection> {
    let Value::Map(sizes) = value else {
        return None;
    };
    let size = |place: usize| sizes.get(place)?.1.as_u32();
    Some(RepetitionDetection {
        max_pattern_size: size(0)?,
        min_pattern_size: size(1)?,
        min_count: size(2)?,
    })
}

fn shown_repetition(detection: Option<RepetitionDetection>) -> Value {
    detection.map_or(Value::Null, |detection| {
        let sizes = [
            detection.max_pattern_size,
            detection.min_pattern_size,
            detection.min_count,
        ];
        let keys = REPETITION_KEYS.map(|key| Value::Text(key.into()));
        let sizes = sizes.map(|size| Value::Int(size.into()));
        Value::Map(keys.into_iter().zip(sizes).collect())
    })
}
