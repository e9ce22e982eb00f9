//! What a caller asked: immutable after submit.

use crate::id::TokenId;
use crate::params::SamplingParams;

/// The prompt, as text, as a conversation or as ids.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// Text; control tokens written in it stay text.
    Text(String),
    /// Token ids, taken as they are.
    Tokens(Vec<TokenId>),
    /// Text that the operator's own chat template made: control tokens in it are control tokens.
    Rendered(String),
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What to continue.
    pub prompt: Prompt,
    /// How to choose tokens.
    pub params: SamplingParams,
    /// Smaller runs first under the `priority` policy.
    pub priority: i32,
    /// Scope of the prefix cache; equal salts share blocks.
    pub cache_salt: Option<String>,
}
