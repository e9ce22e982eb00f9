//! What a model file says beside its weights: tokenizer, chat template, end tokens, sampling defaults.
//! Everything read here is optional for a model that speaks token ids only, and checked where present.

use tokenmill_core::TokenId;
use tokenmill_core::option::{EngineOptions, GenerationConfigChoice, Value};
use tokenmill_formats::{Checkpoint, Config};

#[cfg(feature = "text")]
use crate::error::Error;
use crate::error::Result;
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

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value as Json, json};
    use tokenmill_core::{HasKind, Kind};

    use super::*;

    fn object(json: &Json) -> Map<String, Json> {
        json.as_object().cloned().expect("an object")
    }

    fn read(config: &Json, generation: &Json) -> Result<Voice> {
        let config = Config::Json {
            config: object(config),
            generation: Some(object(generation)),
        };
        let checkpoint = Checkpoint::from_memory(config, Vec::new())?;
        let mut voice = Voice::read(&checkpoint, &EngineOptions::default())?;
        voice.check(100)?;
        Ok(voice)
    }

    #[test]
    fn case_106_sampling_values_out_of_range_are_dropped_and_said() {
        let cases = [
            (json!({"temperature": 0.7}), 1, 0),
            (json!({"temperature": -1}), 0, 1),
            (json!({"temperature": "hot"}), 0, 1),
            (json!({"temperature": 1e39}), 0, 1),
            (json!({"top_p": 0}), 0, 1),
            (json!({"top_p": 1.5, "top_k": -7, "min_p": 2}), 0, 3),
            (json!({"top_k": 50, "repetition_penalty": 0}), 1, 1),
            (json!({"temperature": null, "max_length": -5}), 0, 0),
            (json!({"temperature": -1, "do_sample": false}), 0, 0),
        ];
        for (generation, kept, said) in cases {
            let voice = read(&json!({}), &generation).expect("advice only");
            let got = (voice.defaults.len(), voice.notes.len());
            assert_eq!(got, (kept, said), "{generation} {:?}", voice.notes);
        }
    }

    #[test]
    fn case_106_end_tokens_are_checked_counted_and_said() {
        let many: Vec<u32> = (0..1_000_000).collect();
        let cases = [
            (json!(2), Some((vec![2], 0))),
            (json!([2, 3, 2]), Some((vec![2, 3], 0))),
            (json!([2, 100]), Some((vec![2], 1))),
            (
                json!([u32::MAX, 1_u64 << 32, -1, "x", 2.5]),
                Some((vec![], 5)),
            ),
            (json!(null), Some((vec![7], 0))),
            (json!([]), Some((vec![], 0))),
            (json!({"a": 1}), Some((vec![], 1))),
            (json!(many), None),
        ];
        for (eos, expected) in cases {
            let outcome = read(&json!({"eos_token_id": 7}), &json!({"eos_token_id": eos}));
            match (outcome, expected) {
                (Ok(voice), Some(expected)) => {
                    assert_eq!((voice.eos, voice.notes.len()), expected);
                }
                (Err(error), None) => {
                    assert_eq!(error.kind(), Kind::Corrupt);
                    assert!(error.to_string().contains("eos_token_id"), "{error}");
                }
                (outcome, expected) => panic!("{outcome:?}, expected {expected:?}"),
            }
        }
    }
}
