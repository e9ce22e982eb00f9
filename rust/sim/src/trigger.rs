//! Faults on demand. A token id that makes its own row fail is a request's fault; a step number that fails
//! is the machine's, and passes when the step is run again.

use std::collections::BTreeSet;

use tokenmill_core::TokenId;

/// What goes wrong, and when.
#[derive(Clone, Debug, Default)]
pub struct Triggers {
    /// A row with this token makes `run` return an error.
    pub error_token: Option<TokenId>,
    /// A row with this token makes `run` panic.
    pub panic_token: Option<TokenId>,
    /// A row with this token has NaN logits.
    pub nan_token: Option<TokenId>,
    /// Calls of `run` (counted from 0) that return an error.
    pub error_runs: BTreeSet<u64>,
    /// Calls of `run` that panic.
    pub panic_runs: BTreeSet<u64>,
}
