//! The few fields of `tokenizer_config.json` that change ids or text. It is a bag of settings for Python
//! classes; everything else in it is theirs.

use serde_json::Value;

use crate::error::{Error, Result};

/// Tokens with a role, and whether the first is added.
#[derive(Default)]
pub(super) struct Config {
    pub(super) bos: Option<String>,
    pub(super) eos: Option<String>,
    pub(super) add_bos: Option<bool>,
}

fn bad(key: &str, problem: &str) -> Error {
    Error::BadFile {
        file: "tokenizer_config.json",
        place: key.to_owned(),
        problem: problem.to_owned(),
    }
}

impl Config {
    pub(super) fn parse(config: Option<&Value>) -> Result<Self> {
        let Some(config) = config else {
            return Ok(Self::default());
        };
        if !config.is_object() {
            return Err(bad("the file", "expected an object"));
        }
        if flag(config, "add_eos_token")? == Some(true) {
            return Err(Error::adds_eos("tokenizer_config.json: add_eos_token"));
        }
        Ok(Self {
            bos: token(config, "bos_token")?,
            eos: token(config, "eos_token")?,
            add_bos: flag(config, "add_bos_token")?,
        })
    }
}

fn flag(config: &Value, key: &str) -> Result<Option<bool>> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(bad(key, "expected true or false")),
    }
}

/// A token written as a string or as an object with `content`.
fn token(config: &Value, key: &str) -> Result<Option<String>> {
    let token = match config.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(object)) => object.get("content"),
        Some(other) => Some(other),
    };
    match token.and_then(Value::as_str) {
        Some(text) if !text.is_empty() => Ok(Some(text.to_owned())),
        _ => Err(bad(key, "expected a token that is not empty")),
    }
}
