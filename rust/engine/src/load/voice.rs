//! What a model file says beside its weights: tokenizer, chat template, end tokens, sampling defaults.
//! Everything read here is optional for a model that speaks token ids only, and checked where present.

use tokenmill_core::TokenId;
use tokenmill_core::option::{EngineOptions, GenerationConfigChoice, Value};
use tokenmill_formats::{Checkpoint, Config};

use crate::error::{Error, Result};
use crate::lexicon::Lexicon;
use crate::load::generation;

/// The side of a model that speaks.
#[derive(Debug, Default)]
pub struct Voice {
    /// Tokenizer and template.
    pub lexicon: Lexicon,
    /// Tokens that end an answer.
    pub eos: Vec<TokenId>,
    /// Sampling fields that the model's file sets.
    pub defaults: Vec<(String, Value)>,
    /// What the reader should know (an ignored value, a template that drops text).
    pub notes: Vec<String>,
}

impl Voice {
    /// Reads what is there.
    pub fn read(checkpoint: &Checkpoint, options: &EngineOptions) -> Result<Self> {
        let mut voice = Self::default();
        #[cfg(feature = "text")]
        crate::load::spoken::read(checkpoint, options, &mut voice)?;
        if let Config::Json { config, generation } = checkpoint.config() {
            generation::end_tokens(config, generation.as_ref(), &mut voice)?;
            if let Some(generation) = generation
                && options.generation_config == GenerationConfigChoice::Auto
            {
                generation::defaults(generation, &mut voice);
            }
        }
        voice.eos.sort_unstable();
        voice.eos.dedup();
        Ok(voice)
    }

    /// Refuses a tokenizer whose ids the model has no rows for; drops end tokens outside the vocabulary.
    pub fn check(&mut self, vocab_len: usize) -> Result<()> {
        #[cfg(feature = "text")]
        if let Some(tokenizer) = &self.lexicon.tokenizer
            && tokenizer.vocab_len() > vocab_len
        {
            let ids = tokenizer.vocab_len();
            return Err(Error::Corrupt {
                what: format!(
                    "the tokenizer has {ids} tokens, the model's head has {vocab_len} rows"
                ),
            });
        }
        let notes = &mut self.notes;
        self.eos.retain(|&token| {
            let is_known = (token as usize) < vocab_len;
            if !is_known {
                notes.push(format!(
                    "end token {token} is outside the vocabulary of {vocab_len} and is ignored"
                ));
            }
            is_known
        });
        Ok(())
    }
}

#[cfg(feature = "text")]
impl Voice {
    /// Whether conversations can be rendered.
    pub fn has_template(&self) -> bool {
        self.lexicon.has_template()
    }
}

#[cfg(not(feature = "text"))]
impl Voice {
    /// Never, without the feature `text`.
    #[expect(clippy::unused_self, reason = "the same face as with text")]
    pub fn has_template(&self) -> bool {
        false
    }
}
