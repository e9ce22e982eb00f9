//! What a request says in text, as tokens: words, breakers, what processors match, thinking, and the prompt that is
//! given back. It runs on the caller's thread, before the request has its seat.

use std::sync::Arc;

use tokenmill_core::{Processor, SamplingParams, Step, TokenId};

use crate::door::Door;
use crate::error::{Error, Result};

impl Door {
    /// Fills in what the engine's tokenizer makes of texts.
    pub(super) fn read_texts(&self, params: &mut SamplingParams) -> Result<()> {
        let lexicon = &self.shared.lexicon;
        if !params.bad_words.is_empty() {
            params.bad_word_tokens = self.bad_word_tokens(&params.bad_words)?;
        }
        if Step::Dry.is_active(params) && !params.dry.breakers.is_empty() {
            params.dry.breaker_tokens = lexicon.breaker_tokens(&params.dry.breakers)?;
        }
        for processor in &mut params.logits_processors {
            if let Processor::Declared(edit) = processor {
                edit.matched = match &edit.matching {
                    Some(text) => lexicon.matching_tokens(text)?,
                    None => Arc::default(),
                };
            }
        }
        if params.thinking.budget.is_some() {
            let Some((start, end)) = &lexicon.thinking else {
                return Err(Error::Unsupported {
                    what: "thinking_token_budget",
                    reason:
                        "the model has no known marks of thinking; name them with the engine's \
                             reasoning_start_str and reasoning_end_str"
                            .into(),
                });
            };
            params.thinking.start_tokens.clone_from(start);
            params.thinking.end_tokens.clone_from(end);
        }
        Ok(())
    }

    /// The prompt's text, where the request wants it back: as it was given, or what its tokens spell.
    pub(super) fn echo(
        &self,
        given: Option<String>,
        prompt: &[TokenId],
        params: &SamplingParams,
    ) -> Result<Option<String>> {
        if !params.echo || given.is_some() {
            return Ok(given);
        }
        let skip_special = params.skip_special_tokens;
        self.shared.lexicon.decode(prompt, skip_special).map(Some)
    }

    /// Bounds what a caller in Rust may have written by hand in place of words.
    pub(super) fn check_word_tokens(&self, words: &[Vec<TokenId>]) -> Result<()> {
        let limits = &self.shared.limits;
        // Each word stands there at most twice, and its text has fewer tokens than bytes.
        let (count_max, len_max) = (
            2 * limits.bad_words_count_max,
            limits.bad_word_len_max_bytes + 2,
        );
        if words.len() <= count_max && words.iter().all(|word| word.len() <= len_max) {
            return Ok(());
        }
        Err(Error::Field {
            param: "bad_word_tokens",
            fault: format!("must be at most {count_max} sequences of at most {len_max} tokens"),
        })
    }

    /// The token sequences of words: each alone, and behind a blank where that is as long and begins otherwise.
    fn bad_word_tokens(&self, words: &[String]) -> Result<Vec<Vec<TokenId>>> {
        let lexicon = &self.shared.lexicon;
        let mut sequences = Vec::with_capacity(2 * words.len());
        for word in words {
            let word = word.trim_start();
            let alone = lexicon.encode(word, false, false)?;
            let behind = lexicon.encode(&format!(" {word}"), false, false)?;
            let is_other = alone.len() == behind.len() && alone.first() != behind.first();
            sequences.push(alone);
            if is_other {
                sequences.push(behind);
            }
        }
        Ok(sequences)
    }
}
