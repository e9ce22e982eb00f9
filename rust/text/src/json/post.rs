//! The `post_processor` of `tokenizer.json`: all that matters here is which token it puts first.

use serde_json::Value;

use super::{corrupt, members, type_of, unsupported};
use crate::error::{Result, quote};

const PLACE: &str = "post_processor";

/// The id of the token that begins a text, if one is added.
pub(super) fn parse(
    component: Option<&Value>,
    id_of: impl Fn(&str) -> Option<u32>,
) -> Result<Option<u32>> {
    let mut first = None;
    for member in members(PLACE, component, "processors")? {
        match type_of(PLACE, member)? {
            // Trims offsets, which we do not make.
            "ByteLevel" => {}
            "TemplateProcessing" if first.is_none() => first = template(member, &id_of)?,
            other => {
                return Err(unsupported(
                    format!("post_processor {:?}", quote(other)),
                    "ByteLevel, one TemplateProcessing or one Sequence of these",
                ));
            }
        }
    }
    Ok(first)
}

/// What stands before the text in `single`; nothing may stand after it.
fn template(component: &Value, id_of: &impl Fn(&str) -> Option<u32>) -> Result<Option<u32>> {
    let single = component.get("single").and_then(Value::as_array);
    let single = single.ok_or_else(|| corrupt(PLACE, "TemplateProcessing has a list single"))?;
    let mut tokens = Vec::new();
    let mut is_after_text = false;
    for piece in single {
        if piece.get("Sequence").is_some() {
            is_after_text = true;
            continue;
        }
        let name = piece
            .get("SpecialToken")
            .and_then(|token| token.get("id"))
            .and_then(Value::as_str);
        let name = name
            .ok_or_else(|| corrupt(PLACE, "a piece is a Sequence or a SpecialToken with an id"))?;
        if is_after_text {
            return Err(unsupported(
                "post_processor that adds a token after the text",
                "tokens before it only",
            ));
        }
        tokens.push(token_id(component, name, id_of)?);
    }
    match tokens.as_slice() {
        [] => Ok(None),
        [id] => Ok(Some(*id)),
        _ => Err(unsupported(
            "post_processor that adds several tokens before the text",
            "one token",
        )),
    }
}

/// The id that `special_tokens` gives for a name, which must be the vocabulary's.
fn token_id(component: &Value, name: &str, id_of: &impl Fn(&str) -> Option<u32>) -> Result<u32> {
    let entry = component
        .get("special_tokens")
        .and_then(|tokens| tokens.get(name));
    let listed = entry
        .and_then(|entry| entry.get("ids"))
        .and_then(Value::as_array);
    let listed = listed.ok_or_else(|| {
        corrupt(
            PLACE,
            format!("special_tokens has no ids for {:?}", quote(name)),
        )
    })?;
    let known = id_of(name);
    match (listed.as_slice(), known) {
        ([id], Some(known)) if id.as_u64() == Some(u64::from(known)) => Ok(known),
        _ => Err(corrupt(
            PLACE,
            format!(
                "the ids of {:?} are not those of the vocabulary",
                quote(name)
            ),
        )),
    }
}
