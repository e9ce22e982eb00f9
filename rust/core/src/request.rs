//! What a caller asked: immutable after submit.

use std::borrow::Cow;

use crate::id::TokenId;
use crate::params::SamplingParams;

/// The prompt, as text, as a conversation or as ids.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// Text; control tokens written in it stay text.
    Text(String),
    /// Token ids, taken as they are.
    Tokens(Vec<TokenId>),
    /// What the operator's own chat template made: control tokens in it are control tokens.
    Rendered(Rendered),
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<TokenId>> for Prompt {
    fn from(tokens: Vec<TokenId>) -> Self {
        Self::Tokens(tokens)
    }
}

impl From<Rendered> for Prompt {
    fn from(rendered: Rendered) -> Self {
        Self::Rendered(rendered)
    }
}

/// Text of a chat template. Where a caller's words spell a control token, the marker stands behind its first
/// character, so that it is none; the marker is no part of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text with its markers.
    pub marked: String,
    /// The marker; `None`: all of the text is the operator's, or spells no control token.
    pub marker: Option<char>,
}

impl Rendered {
    /// Text that is the operator's own throughout.
    pub fn trusted(text: String) -> Self {
        Self {
            marked: text,
            marker: None,
        }
    }

    /// The text.
    pub fn text(&self) -> Cow<'_, str> {
        self.unmarked(&self.marked)
    }

    /// A stretch of `marked` without its markers.
    pub fn unmarked<'a>(&self, stretch: &'a str) -> Cow<'a, str> {
        match self.marker {
            Some(marker) if stretch.contains(marker) => Cow::Owned(stretch.replace(marker, "")),
            _ => Cow::Borrowed(stretch),
        }
    }
}

/// One request. Made by [`Request::new`]; the other fields are set afterwards.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// What to continue.
    pub prompt: Prompt,
    /// How to choose tokens.
    pub params: SamplingParams,
    /// Smaller runs first under the `priority` policy.
    pub priority: i32,
    /// Scope of the prefix cache; equal salts share blocks.
    pub cache_salt: Option<String>,
    /// How many of the best tokens behind every step are told of each generated token; absent: nothing is.
    pub explain: Option<u32>,
}

impl Request {
    /// A request of no special priority that shares cached prefixes with all others without a salt.
    pub fn new(prompt: impl Into<Prompt>, params: SamplingParams) -> Self {
        Self {
            prompt: prompt.into(),
            params,
            priority: 0,
            cache_salt: None,
            explain: None,
        }
    }
}
