//! The `normalizer` of `tokenizer.json`.

use serde::Deserialize;
use serde_json::Value;

use super::{corrupt, fields, members, type_of, unsupported};
use crate::encode::NormalStep;
use crate::error::{Result, quote};

const PLACE: &str = "normalizer";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prepend {
    prepend: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    pattern: Pattern,
    content: String,
}

#[derive(Deserialize)]
enum Pattern {
    String(String),
    Regex(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub(super) fn parse(component: Option<&Value>) -> Result<Vec<NormalStep>> {
    members(PLACE, component, "normalizers")?
        .into_iter()
        .map(step)
        .collect()
}

fn step(component: &Value) -> Result<NormalStep> {
    let plain = |step| fields::<Nothing>(PLACE, component).map(|_| step);
    match type_of(PLACE, component)? {
        "NFC" => plain(NormalStep::Nfc),
        "NFD" => plain(NormalStep::Nfd),
        "NFKC" => plain(NormalStep::Nfkc),
        "NFKD" => plain(NormalStep::Nfkd),
        "Lowercase" => plain(NormalStep::Lowercase),
        "Prepend" => Ok(NormalStep::Prepend(
            fields::<Prepend>(PLACE, component)?.prepend,
        )),
        "Replace" => {
            let replace: Replace = fields(PLACE, component)?;
            match replace.pattern {
                Pattern::String(pattern) if pattern.is_empty() => {
                    Err(corrupt(PLACE, "Replace has an empty pattern"))
                }
                Pattern::String(pattern) => Ok(NormalStep::Replace {
                    pattern,
                    content: replace.content,
                }),
                Pattern::Regex(_) => Err(unsupported(
                    "normalizer Replace with a Regex",
                    "a String pattern",
                )),
            }
        }
        other => Err(unsupported(
            format!("normalizer {:?}", quote(other)),
            "NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace or one Sequence of these",
        )),
    }
}
