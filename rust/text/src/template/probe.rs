//! A conversation that every template is shown when it is loaded: what fails on it would fail every
//! request, and what loses or reorders the user's words is worth a warning.

use super::date::Date;
use super::message::{Message, RenderOptions};
use super::{ChatTemplate, Error, Result};

/// Words that no template contains, in the order they are said.
const WORDS: [&str; 3] = ["probe-first-9f2c", "probe-second-71be", "probe-third-c04d"];

/// Warnings about `template`; an error where it cannot render at all.
pub(super) fn run(template: &ChatTemplate) -> Result<Vec<String>> {
    let messages = [
        Message::new("user", WORDS[0]),
        Message::new("assistant", WORDS[1]),
        Message::new("user", WORDS[2]),
    ];
    let options = RenderOptions {
        add_generation_prompt: true,
        date: Some(Date::from_unix_seconds(0)),
        ..RenderOptions::default()
    };
    let text = match template.render(&messages, &options) {
        Ok(text) => text,
        Err(Error::TemplateRaised { message }) => {
            return Ok(vec![format!(
                "the chat template refuses a plain conversation: {message}"
            )]);
        }
        Err(Error::RenderFailed { line, problem }) => {
            return Err(Error::BadTemplate { line, problem });
        }
        Err(other) => return Err(other),
    };
    let mut warnings = Vec::new();
    let places: Vec<Option<usize>> = WORDS.iter().map(|word| text.find(word)).collect();
    if places[0].is_none() || places[2].is_none() {
        warnings.push("the chat template drops what the user says".to_owned());
    }
    if !places.iter().flatten().is_sorted() {
        warnings.push("the chat template changes the order of the messages".to_owned());
    }
    Ok(warnings)
}
