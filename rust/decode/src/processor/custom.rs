//! Runs what a caller brought: declared edits on the tokens they name, callables on the whole row. Owns the tokens
//! that callables are told. A token that was banned before a callable ran is banned after it.

use tokenmill_core::{Callable, Edit, Processor, SamplingParams, TokenId};

use crate::error::{Error, Result};
use crate::pipeline::Step;
use crate::row::Row;

/// The tokens so far, kept where somebody wants to know them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Custom {
    tokens: Vec<TokenId>,
    prompt_len: usize,
}

impl Custom {
    /// After a prompt, where a step needs it.
    pub(crate) fn new(params: &SamplingParams, prompt: &[TokenId]) -> Option<Self> {
        let steps = [Step::Custom, Step::PrefixAllowedTokens];
        let is_needed = steps.iter().any(|step| step.is_active(params));
        is_needed.then(|| Self {
            tokens: prompt.to_vec(),
            prompt_len: prompt.len(),
        })
    }

    pub(crate) fn push(&mut self, token: TokenId) {
        self.tokens.push(token);
    }

    /// Runs the caller's steps in order.
    pub(crate) fn run(&self, processors: &[Processor], row: &mut Row<'_>) -> Result<usize> {
        let (prompt, output) = self.tokens.split_at(self.prompt_len);
        let mut touched = 0;
        for processor in processors {
            match processor {
                Processor::Declared(edit) => {
                    if edit.acts(&self.tokens, output.len() as u32) {
                        touched += edit_tokens(edit, row);
                    }
                }
                Processor::Callable(Callable(callback)) => {
                    let failed = |fault| Error::Callable {
                        name: callback.name(),
                        fault,
                    };
                    let done = row.rewrite(|values| callback.process(prompt, output, values));
                    done.map_err(failed)?;
                    touched += row.len();
                }
            }
        }
        Ok(touched)
    }

    /// The only tokens that a callable lets come.
    pub(crate) fn allowed(&self, callable: &Callable, vocab_len: usize) -> Result<Vec<TokenId>> {
        let (prompt, output) = self.tokens.split_at(self.prompt_len);
        let failed = |fault: String| Error::Callable {
            name: callable.0.name(),
            fault,
        };
        let allowed = callable.0.allowed(prompt, output).map_err(failed)?;
        if allowed.is_empty() {
            return Err(failed("allowed no token".into()));
        }
        if let Some(token) = allowed.iter().find(|token| **token as usize >= vocab_len) {
            let fault = format!("allowed token {token}, an id below {vocab_len} was expected");
            return Err(failed(fault));
        }
        Ok(allowed)
    }
}

fn edit_tokens(edit: &Edit, row: &mut Row<'_>) -> usize {
    // A token that is listed and matches is one token.
    let listed = edit.tokens.iter();
    let matched = edit
        .matched
        .iter()
        .filter(|token| !edit.tokens.contains(token));
    let mut touched = 0;
    for &token in listed.chain(matched) {
        row.edit(token, |logit| edit.action.of(logit));
        touched += 1;
    }
    touched
}
