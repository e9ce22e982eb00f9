//! End tokens and sampling defaults from config.json and generation_config.json. A value out of range is
//! dropped with a note: the file only advises. Its max_new_tokens and max_length limit nothing.

use serde_json::{Map, Value as Json};
use tokenmill_core::option::Value;
use tokenmill_core::{Limits, SamplingParams};

use crate::error::{Error, Result};
use crate::load::voice::Voice;

/// Most end tokens that a file may name.
const EOS_MAX: usize = 1024;

/// Sampling fields of generation_config.json that are options of ours under the same name.
const FIELDS: [&str; 6] = [
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "no_repeat_ngram_size",
];

/// Adds the end tokens that the files name: generation_config.json's, else config.json's.
pub(crate) fn end_tokens(
    config: &Map<String, Json>,
    generation: Option<&Map<String, Json>>,
    voice: &mut Voice,
) -> Result<()> {
    let named = generation
        .and_then(|map| map.get("eos_token_id"))
        .filter(|value| !value.is_null());
    let Some(value) = named.or_else(|| config.get("eos_token_id")) else {
        return Ok(());
    };
    let ids = match value {
        Json::Null => return Ok(()),
        Json::Array(items) if items.len() > EOS_MAX => {
            return Err(Error::Corrupt {
                what: format!(
                    "eos_token_id must name at most {EOS_MAX} tokens, got {}",
                    items.len()
                ),
            });
        }
        Json::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    for id in ids {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        match id {
            Some(id) => voice.eos.push(id),
            None => voice
                .notes
                .push("an eos_token_id that is not a token id is ignored".into()),
        }
    }
    Ok(())
}

/// Takes over the sampling fields. Where the file says `do_sample: false` its warpers mean nothing; where it
/// does not say, they are taken, as vLLM takes them.
pub(crate) fn defaults(generation: &Map<String, Json>, voice: &mut Voice) {
    let samples = generation.get("do_sample").and_then(Json::as_bool);
    for name in FIELDS {
        let Some(json) = generation.get(name).filter(|json| !json.is_null()) else {
            continue;
        };
        let is_warper = matches!(name, "temperature" | "top_k" | "top_p" | "min_p");
        if is_warper && samples == Some(false) {
            continue;
        }
        let value = match json {
            Json::Number(number) => match number.as_i64() {
                Some(int) => Value::Int(int),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            _ => Value::Text(json.to_string()),
        };
        let pair = (name.to_owned(), value);
        match SamplingParams::from_values(std::slice::from_ref(&pair), &Limits::default()) {
            Ok(_) => voice.defaults.push(pair),
            Err(error) => voice.notes.push(format!(
                "generation_config.json: {error}; the value is ignored"
            )),
        }
    }
}
