//! Free text in which a trigger begins a tag: a beginning, a JSON value under a schema, an end; then text again. As a
//! Lark grammar. The form is vLLM's and SGLang's with `structures` and `triggers`.

use serde::Deserialize;
use serde_json::Value;

use super::schema;
use super::source::{Made, SourceLimits};

/// Most structures and most triggers.
const TAGS_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tags {
    #[serde(rename = "type")]
    kind: String,
    structures: Vec<Structure>,
    triggers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Structure {
    begin: String,
    schema: Value,
    end: String,
}

/// The grammar of the tags in `text`.
pub(super) fn lark(text: &str, limits: &SourceLimits) -> Made<String> {
    let tags: Tags = serde_json::from_str(text).map_err(|error| {
        let form = "type structural_tag, structures of begin, schema and end, and triggers";
        format!("must be an object of {form}: {error}")
    })?;
    if tags.kind != "structural_tag" {
        return Err("must have the type structural_tag".into());
    }
    check(&tags)?;
    let rest: Vec<String> = tags.triggers.iter().map(|text| pattern(text)).collect();
    let any = rest.join("|");
    // The text behind the last tag holds no trigger; the text before one ends with the first that comes.
    let mut rules = vec![format!(
        "start: tagged* TEXT\nTEXT: /(?s:.*)/ & ~/(?s:.*)({any})(?s:.*)/"
    )];
    let mut names = Vec::new();
    for (index, trigger) in tags.triggers.iter().enumerate() {
        let bodies = tags.structures.iter().enumerate();
        let behind = bodies.filter(|(_, tag)| owner(&tags.triggers, tag) == Some(index));
        let bodies: Vec<String> = behind.map(|(place, _)| format!("tag_{place}")).collect();
        if bodies.is_empty() {
            return Err(format!("trigger {index} begins no structure"));
        }
        let pattern = pattern(trigger);
        names.push(format!("to_{index} ({})", bodies.join(" | ")));
        rules.push(format!("to_{index}[lazy]: /(?s:.*){pattern}/"));
    }
    rules.push(format!("tagged: {}", names.join(" | ")));
    for (place, tag) in tags.structures.iter().enumerate() {
        let Some(trigger) = owner(&tags.triggers, tag) else {
            return Err(format!("structure {place} begins with no trigger"));
        };
        if !(tag.schema.is_object() || tag.schema == Value::Bool(true)) {
            return Err(format!("structure {place} must have a schema"));
        }
        schema::check(&tag.schema, limits)?;
        let schema = match &tag.schema {
            Value::Object(_) => tag.schema.to_string(),
            _ => "{}".to_owned(),
        };
        let begin = quoted(&tag.begin[tags.triggers[trigger].len()..])?;
        let end = quoted(&tag.end)?;
        rules.push(format!("tag_{place}: {begin} %json {schema} {end}"));
    }
    Ok(rules.join("\n"))
}

/// What would leave a tag out of reach, or make too much of them.
fn check(tags: &Tags) -> Made<()> {
    let (structures, triggers) = (&tags.structures, &tags.triggers);
    if structures.is_empty() || triggers.is_empty() {
        return Err("must have at least one structure and one trigger".into());
    }
    if structures.len() > TAGS_MAX || triggers.len() > TAGS_MAX {
        return Err(format!(
            "must have at most {TAGS_MAX} structures and triggers"
        ));
    }
    for (index, trigger) in triggers.iter().enumerate() {
        if trigger.is_empty() {
            return Err("must have no empty trigger".into());
        }
        // The one inside would always come first.
        let mut others = triggers.iter().enumerate();
        let inner = others.find(|(other, text)| *other != index && trigger.contains(*text));
        if let Some((other, _)) = inner {
            return Err(format!("trigger {index} holds trigger {other}"));
        }
    }
    Ok(())
}

/// The trigger that a structure begins with: there is at most one, as none holds another.
fn owner(triggers: &[String], tag: &Structure) -> Option<usize> {
    triggers
        .iter()
        .position(|trigger| tag.begin.starts_with(trigger))
}

/// A text as a Lark text; nothing for none.
fn quoted(text: &str) -> Made<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    serde_json::to_string(text).map_err(|error| error.to_string())
}

/// A text as a pattern inside slashes: every character by its number, so that none means anything.
fn pattern(text: &str) -> String {
    let number = |letter: char| format!("\\u{{{:X}}}", letter as u32);
    text.chars().map(number).collect()
}
