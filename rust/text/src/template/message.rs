//! What a template is given: messages, options and the special tokens, as plain values. Bounds on their
//! size are checked before anything is rendered; names that would shadow ours are refused.

use std::collections::BTreeMap;

use minijinja::Value;
use minijinja::value::Serde;
use serde::{Deserialize, Serialize};

use super::date::Date;
use crate::error::{Error, Result, quote};

/// Most bytes of all messages of a conversation together.
const MESSAGES_LEN_MAX_BYTES: usize = 8 << 20;

/// Most messages of a conversation, as in the table of limits.
const MESSAGES_MAX: usize = 1_024;

/// Longest role.
const ROLE_LEN_MAX: usize = 64;

/// Deepest nesting of a message's extra fields.
const DEPTH_MAX: usize = 64;

/// Longest string among the template's options.
const OPTION_LEN_MAX_BYTES: usize = 256;

/// The template options that a caller may set. Everything else a template reads is ours or the model's.
const OPTION_NAMES: [&str; 6] = [
    "date_string",
    "enable_thinking",
    "preserve_thinking",
    "reasoning_effort",
    "thinking",
    "thinking_budget",
];

/// One message of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant` or what the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
    /// Other fields, such as `name`.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Message {
    /// A message without other fields.
    pub fn new(role: &str, content: &str) -> Self {
        Self {
            role: role.to_owned(),
            content: content.to_owned(),
            extra: serde_json::Map::new(),
        }
    }
}

/// How to render a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RenderOptions {
    /// Whether the text ends where an assistant's reply begins.
    pub add_generation_prompt: bool,
    /// Scalars for the template, by name; only known names are accepted.
    pub kwargs: BTreeMap<String, serde_json::Value>,
    /// The moment that `strftime_now` shows; without it that function fails.
    pub date: Option<Date>,
}

/// Refuses what is too large, too deep or not ours to set.
pub(super) fn check(messages: &[Message], options: &RenderOptions) -> Result<()> {
    let bad = |param, problem| Err(Error::BadField { param, problem });
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        return bad(
            "messages",
            format!(
                "expected 1 to {MESSAGES_MAX} messages, got {}",
                messages.len()
            ),
        );
    }
    let mut bytes = 0;
    for message in messages {
        if !is_role(&message.role) {
            return bad(
                "messages",
                format!(
                    "a role has 1 to {ROLE_LEN_MAX} letters, digits, _ and -, got {:?}",
                    quote(&message.role)
                ),
            );
        }
        bytes += message.role.len() + message.content.len();
        for (name, value) in &message.extra {
            if name == "role" || name == "content" {
                return bad("messages", format!("the field {name} is given twice"));
            }
            bytes += name.len();
            let Some(size) = size_of(value, DEPTH_MAX) else {
                return bad("messages", format!("fields may be nested {DEPTH_MAX} deep"));
            };
            bytes += size;
        }
    }
    if bytes > MESSAGES_LEN_MAX_BYTES {
        return bad(
            "messages",
            format!("{bytes} bytes together, at most {MESSAGES_LEN_MAX_BYTES} are allowed"),
        );
    }
    options
        .kwargs
        .iter()
        .try_for_each(|(name, value)| check_option(name, value))
}

/// Templates write roles inside of control tokens, so that the fence leaves them alone.
fn is_role(role: &str) -> bool {
    (1..=ROLE_LEN_MAX).contains(&role.len())
        && role
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn check_option(name: &str, value: &serde_json::Value) -> Result<()> {
    let bad = |problem| {
        Err(Error::BadField {
            param: "chat_template_kwargs",
            problem,
        })
    };
    if !OPTION_NAMES.contains(&name) {
        return bad(format!(
            "unknown option {:?}, expected one of {}",
            quote(name),
            OPTION_NAMES.join(", ")
        ));
    }
    match value {
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
            Ok(())
        }
        // What the template prints is trusted text, so a string may not spell a control token.
        serde_json::Value::String(text)
            if text.len() <= OPTION_LEN_MAX_BYTES
                && text
                    .chars()
                    .all(|c| c.is_alphanumeric() || " _-.,:/".contains(c)) =>
        {
            Ok(())
        }
        _ => bad(format!(
            "{name} must be a number, true, false, null or a string of at most {OPTION_LEN_MAX_BYTES} bytes of letters, digits, blanks and _-.,:/"
        )),
    }
}

/// Bytes of a value, about; `None` if it is nested deeper than `depth`.
fn size_of(value: &serde_json::Value, depth: usize) -> Option<usize> {
    match value {
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
            Some(8)
        }
        serde_json::Value::String(text) => Some(8 + text.len()),
        serde_json::Value::Array(items) => {
            let depth = depth.checked_sub(1)?;
            items
                .iter()
                .try_fold(8, |sum, item| Some(sum + size_of(item, depth)?))
        }
        serde_json::Value::Object(fields) => {
            let depth = depth.checked_sub(1)?;
            fields.iter().try_fold(8, |sum, (name, item)| {
                Some(sum + name.len() + size_of(item, depth)?)
            })
        }
    }
}

/// A message as transformers shows it: what the model thought stands under each name that is in use.
fn value_of(message: &Message) -> Value {
    let thought = ["reasoning_content", "thinking", "reasoning"]
        .into_iter()
        .find_map(|name| message.extra.get(name).filter(|thought| !thought.is_null()));
    let mut fields: Vec<(&str, Value)> = Vec::new();
    if let Some(thought) = thought {
        fields.push((
            "thinking",
            Value::from(Serde(message.extra.get("thinking").unwrap_or(thought))),
        ));
    }
    fields.push(("role", Value::from(message.role.as_str())));
    fields.push(("content", Value::from(message.content.as_str())));
    for (name, value) in &message.extra {
        match (name.as_str(), thought) {
            ("thinking", Some(_)) => {}
            ("reasoning_content", Some(thought)) => {
                fields.push((name, Value::from(Serde(thought))));
            }
            _ => fields.push((name, Value::from(Serde(value)))),
        }
    }
    if let Some(thought) = thought.filter(|_| !message.extra.contains_key("reasoning_content")) {
        fields.push(("reasoning_content", Value::from(Serde(thought))));
    }
    Value::from_pairs(fields)
}

/// What a template is given beside the caller's words.
pub(super) struct Ours<'a> {
    /// The beginning token, or nothing.
    pub(super) bos: &'a str,
    /// The end token, or nothing.
    pub(super) eos: &'a str,
    /// What breaks control tokens in the messages.
    pub(super) marker: Option<char>,
}

/// Everything the template can see. `tools` and `documents` are none, as transformers passes them.
pub(super) fn context(messages: &[Message], options: &RenderOptions, ours: &Ours<'_>) -> Value {
    let mut fields: Vec<(&str, Value)> = vec![
        ("messages", messages.iter().map(value_of).collect()),
        ("tools", Value::from(())),
        ("documents", Value::from(())),
        (
            "add_generation_prompt",
            Value::from(options.add_generation_prompt),
        ),
    ];
    for (name, text) in [("bos_token", ours.bos), ("eos_token", ours.eos)] {
        if !text.is_empty() {
            fields.push((name, Value::from(text)));
        }
    }
    if let Some(marker) = ours.marker {
        fields.push((super::functions::MARKER_NAME, Value::from(marker)));
    }
    if let Some(date) = options.date {
        fields.push((
            super::functions::DATE_NAME,
            Value::from(date.unix_seconds()),
        ));
    }
    fields.extend(
        options
            .kwargs
            .iter()
            .map(|(name, value)| (name.as_str(), Value::from(Serde(value)))),
    );
    Value::from_pairs(fields)
}
