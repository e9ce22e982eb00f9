//! Conversations that every template is shown when it is loaded: what fails on them would fail requests,
//! and what loses or reorders the user's words is worth a warning.

use super::date::Date;
use super::message::{Message, RenderOptions};
use super::{ChatTemplate, Error, Result};

/// Words that no template contains, in the order they are said.
const WORDS: [&str; 3] = ["probe-first-9f2c", "probe-second-71be", "probe-third-c04d"];

/// Who speaks in each conversation; the first is the one that warnings are about.
const SHAPES: [&[&str]; 4] = [
    &["user", "assistant", "user"],
    &["user"],
    &["system", "user"],
    &["user", "assistant"],
];

/// Warnings about `template`; an error where it runs into a limit or fails, whatever the shape. That it
/// refuses a shape by its own words (many know no system message) is its business.
pub(super) fn run(template: &ChatTemplate) -> Result<Vec<String>> {
    let first = render(template, SHAPES[0], true)?;
    for shape in SHAPES {
        for wants_reply in [true, false] {
            // Either its text or its refusal is fine.
            let _ = render(template, shape, wants_reply)?;
        }
    }
    Ok(warnings(first))
}

/// The text, or the template's own refusal.
fn render(
    template: &ChatTemplate,
    shape: &[&str],
    wants_reply: bool,
) -> Result<std::result::Result<String, String>> {
    let turns = shape.iter().zip(WORDS);
    let messages: Vec<Message> = turns.map(|(role, word)| Message::new(role, word)).collect();
    let options = RenderOptions {
        add_generation_prompt: wants_reply,
        date: Some(Date::from_unix_seconds(0)),
        ..RenderOptions::default()
    };
    match template.render(&messages, &options) {
        Ok(text) => Ok(Ok(text)),
        Err(Error::TemplateRaised { message }) => Ok(Err(message)),
        Err(Error::RenderFailed { line, problem }) => Err(Error::BadTemplate { line, problem }),
        Err(other) => Err(other),
    }
}

fn warnings(rendered: std::result::Result<String, String>) -> Vec<String> {
    let text = match rendered {
        Ok(text) => text,
        Err(message) => {
            return vec![format!(
                "the chat template refuses a plain conversation: {message}"
            )];
        }
    };
    let mut warnings = Vec::new();
    let places: Vec<Option<usize>> = WORDS.iter().map(|word| text.find(word)).collect();
    if places[0].is_none() || places[2].is_none() {
        warnings.push("the chat template drops what the user says".to_owned());
    }
    if !places.iter().flatten().is_sorted() {
        warnings.push("the chat template changes the order of the messages".to_owned());
    }
    warnings
}
