//! Keeps a caller's words apart from a template's: every control token that they spell is broken by a marker,
//! a noncharacter that is nowhere else. The encoder takes control tokens out of the marked text, then the
//! markers out of the rest, which is plain text. Knows nothing of what a template does with the words.

use serde_json::{Map, Value};

use super::message::Message;
use super::{Error, Result};
use crate::encode::Cutter;

/// Unicode's noncharacters in the middle of the basic plane: no text that is exchanged has them.
const MARKERS: std::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

/// A marker and what it is put into.
pub(super) struct Fence<'a> {
    controls: &'a Cutter,
    pub(super) marker: char,
}

impl<'a> Fence<'a> {
    /// `None`: the messages spell no control token. `source` is the template's.
    pub(super) fn new(
        controls: &'a Cutter,
        messages: &[Message],
        source: &str,
    ) -> Result<Option<Self>> {
        if !any(messages, &mut |text| spells(controls, text)) {
            return Ok(None);
        }
        let is_free = |&marker: &char| {
            !source.contains(marker)
                && !controls.has_char(marker)
                && !any(messages, &mut |text| text.contains(marker))
        };
        let marker = MARKERS.into_iter().find(is_free);
        let marker = marker.ok_or_else(|| Error::BadField {
            param: "messages",
            problem: "expected text without all of U+FDD0 to U+FDEF".to_owned(),
        })?;
        Ok(Some(Self { controls, marker }))
    }

    /// The message as a template may see it. A role is a name, by `message::check`.
    pub(super) fn message(&self, message: &Message) -> Message {
        Message {
            role: message.role.clone(),
            content: self.text(&message.content),
            extra: self.fields(&message.extra),
        }
    }

    /// A marker behind the first character of every control token: any two of them may overlap.
    fn text(&self, text: &str) -> String {
        let mut marked = String::with_capacity(text.len());
        for (at, c) in text.char_indices() {
            marked.push(c);
            if self.controls.begins_at(text, at) {
                marked.push(self.marker);
            }
        }
        marked
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => Value::Object(self.fields(fields)),
            other => other.clone(),
        }
    }

    fn fields(&self, fields: &Map<String, Value>) -> Map<String, Value> {
        fields
            .iter()
            .map(|(name, value)| (self.text(name), self.value(value)))
            .collect()
    }
}

fn spells(controls: &Cutter, text: &str) -> bool {
    text.char_indices()
        .any(|(at, _)| controls.begins_at(text, at))
}

/// Whether any string of the messages is such, roles aside.
fn any(messages: &[Message], is_such: &mut dyn FnMut(&str) -> bool) -> bool {
    messages
        .iter()
        .any(|message| is_such(&message.content) || any_field(&message.extra, is_such))
}

fn any_field(fields: &Map<String, Value>, is_such: &mut dyn FnMut(&str) -> bool) -> bool {
    fields
        .iter()
        .any(|(name, value)| is_such(name) || any_value(value, is_such))
}

fn any_value(value: &Value, is_such: &mut dyn FnMut(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is_such(text),
        Value::Array(items) => items.iter().any(|item| any_value(item, is_such)),
        Value::Object(fields) => any_field(fields, is_such),
        _ => false,
    }
}
