//! Rows of what leans on chosen tokens: biases of sequences, repetition of the prompt and of stretches, forcing, and
//! what becomes of broken rows.

use super::{
    float, float_above, int, nullable, read, read_ids, read_texts, row, shown, shown_ids,
    shown_optional_ids, shown_texts,
};
use crate::id::TokenId;
use crate::option::kind::{IdList, OptionType};
use crate::option::spec::OptionSpec;
use crate::option::value::Value;
use crate::params::LengthDecay;

/// Which tokens are leaned on.
pub(in crate::option) const ROWS: &[OptionSpec] = &[
    row(
        "dry_multiplier",
        float(0.0, 100.0),
        "subtracted from what would go on repeating a stretch of dry_allowed_length tokens; 0: off",
        |params, value| read(value).map(|multiplier| params.dry.multiplier = multiplier),
        |params| shown(params.dry.multiplier),
    ),
    row(
        "dry_base",
        float(1.0, 100.0),
        "factor of that for each further token of the stretch",
        |params, value| read(value).map(|base| params.dry.base = base),
        |params| shown(params.dry.base),
    ),
    row(
        "dry_allowed_length",
        int(1, 1024),
        "the shortest stretch that costs anything",
        |params, value| {
            value
                .as_u32()
                .map(|length| params.dry.allowed_length = length)
        },
        |params| Value::Int(params.dry.allowed_length.into()),
    ),
    row(
        "dry_penalty_last_n",
        int(-1, i32::MAX as i64),
        "stretches are looked for in so many tokens at the end of the sequence; -1: all; 0: off",
        |params, value| {
            let last = value.as_int().and_then(|last| i32::try_from(last).ok());
            last.map(|last| params.dry.last_n = last)
        },
        |params| Value::Int(params.dry.last_n.into()),
    ),
    row(
        "dry_sequence_breakers",
        OptionType::Breakers,
        "texts behind which a stretch starts anew",
        |params, value| read_texts(value).map(|texts| params.dry.breakers = texts),
        |params| shown_texts(&params.dry.breakers),
    ),
    row(
        "encoder_repetition_penalty",
        float_above(0.0, f32::MAX as f64),
        "multiplies positive and divides negative logits of tokens of the prompt; 1: off",
        |params, value| read(value).map(|penalty| params.encoder_repetition_penalty = penalty),
        |params| shown(params.encoder_repetition_penalty),
    ),
    row(
        "encoder_no_repeat_ngram_size",
        int(0, 1024),
        "ban every token that would repeat an n-gram of the prompt of this size; 0: off",
        |params, value| {
            value
                .as_u32()
                .map(|size| params.encoder_no_repeat_ngram_size = size)
        },
        |params| Value::Int(params.encoder_no_repeat_ngram_size.into()),
    ),
    row(
        "sequence_bias",
        OptionType::SequenceBias,
        "sequence of token ids to a number added to its last token where the others were met",
        |params, value| read_sequence_bias(value).map(|bias| params.sequence_bias = bias),
        |params| {
            let pair =
                |(ids, bias): &(Vec<TokenId>, f32)| Value::List(vec![shown_ids(ids), shown(*bias)]);
            Value::List(params.sequence_bias.iter().map(pair).collect())
        },
    ),
    row(
        "bad_words_ids",
        OptionType::TokenSequences,
        "token sequences that must not appear; one that is an end token alone is dropped",
        |params, value| {
            let sequences = value.as_list()?.iter().map(read_sequence);
            sequences
                .collect::<Option<_>>()
                .map(|ids| params.bad_words_ids = ids)
        },
        |params| {
            Value::List(
                params
                    .bad_words_ids
                    .iter()
                    .map(|ids| shown_ids(ids))
                    .collect(),
            )
        },
    ),
    nullable(row(
        "forced_bos_token_id",
        int(0, u32::MAX as i64),
        "the token that must follow a prompt of one token",
        |params, value| {
            params.forced_bos_token_id = value.as_u32();
            Some(())
        },
        |params| {
            params
                .forced_bos_token_id
                .map_or(Value::Null, |token| Value::Int(token.into()))
        },
    )),
    nullable(row(
        "forced_eos_token_id",
        OptionType::TokenIds(IdList::Forced),
        "the token, or tokens one of which, must come last where max_tokens ends the output",
        |params, value| {
            params.forced_eos_token_id = match value {
                Value::Null => None,
                _ => Some(read_ids(value)?),
            };
            Some(())
        },
        |params| shown_optional_ids(params.forced_eos_token_id.as_deref()),
    )),
    nullable(row(
        "exponential_decay_length_penalty",
        OptionType::LengthDecay,
        "output tokens after which the end tokens grow more likely, and the factor of each further one",
        |params, value| {
            params.exponential_decay_length_penalty = match value {
                Value::Null => None,
                _ => Some(read_decay(value)?),
            };
            Some(())
        },
        |params| {
            params
                .exponential_decay_length_penalty
                .map_or(Value::Null, |decay| {
                    Value::List(vec![Value::Int(decay.start.into()), shown(decay.factor)])
                })
        },
    )),
    row(
        "remove_invalid_values",
        OptionType::Bool,
        "replace NaN by 0 and infinity by the largest number instead of ending the request",
        |params, value| {
            value
                .as_bool()
                .map(|flag| params.remove_invalid_values = flag)
        },
        |params| Value::Bool(params.remove_invalid_values),
    ),
    row(
        "renormalize_logits",
        OptionType::Bool,
        "report processed logits as log-probs of what is left; the choice needs none of it",
        |params, value| value.as_bool().map(|flag| params.renormalize_logits = flag),
        |params| Value::Bool(params.renormalize_logits),
    ),
];

/// Ids in order, repeated ones too.
fn read_sequence(value: &Value) -> Option<Vec<TokenId>> {
    value.as_list()?.iter().map(Value::as_u32).collect()
}

fn read_sequence_bias(value: &Value) -> Option<Vec<(Vec<TokenId>, f32)>> {
    let pair = |pair: &Value| match pair.as_list()? {
        [ids, bias] => Some((read_sequence(ids)?, read(bias)?)),
        _ => None,
    };
    value.as_list()?.iter().map(pair).collect()
}

fn read_decay(value: &Value) -> Option<LengthDecay> {
    match value.as_list()? {
        [start, factor] => Some(LengthDecay {
            start: start.as_u32()?,
            factor: read(factor)?,
        }),
        _ => None,
    }
}
