//! What a request may ask of second rows here: whether the engine holds an amateur and which, how many layers rows
//! may leave from, whether it gives hidden states; and the other prompt of guidance.

use tokenmill_core::{DolaLayers, SamplingParams, Step, TokenId};

use crate::door::{Capacity, Door};
use crate::error::{Error, Result};
use crate::load::amateur::AmateurParts;

/// The weaker model of contrastive requests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AmateurCapacity {
    /// Its name, as the engine's options gave it.
    pub name: String,
    /// Its longest sequence, in tokens.
    pub context_len: usize,
}

impl AmateurCapacity {
    pub(crate) fn of(parts: &AmateurParts) -> Self {
        Self {
            name: parts.name.clone(),
            context_len: parts.context_len,
        }
    }

    /// Whether a request that says this name means this model: the name as given, or its file's with or without the
    /// ending, in any case.
    fn is_called(&self, name: &str) -> bool {
        let file = self.name.trim_end_matches(['/', '\\']);
        let file = file.rsplit(['/', '\\']).next().unwrap_or(file);
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        [self.name.as_str(), file, stem]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    }
}

impl Capacity {
    /// The longest sequence of such a request: both models must have room for it.
    pub(crate) fn context_len_of(&self, params: &SamplingParams) -> usize {
        let amateur = self
            .amateur
            .as_ref()
            .filter(|_| params.contrastive.is_some());
        amateur.map_or(self.context_len, |amateur| {
            self.context_len.min(amateur.context_len)
        })
    }
}

impl Door {
    /// The prompt of the second row of a guided request: as given, or the last token of its own.
    pub(super) fn negative_tokens(
        &self,
        prompt: &[TokenId],
        params: &SamplingParams,
    ) -> Result<Option<Vec<TokenId>>> {
        if !Step::Guidance.is_active(params) {
            return Ok(None);
        }
        let guidance = &params.guidance;
        let tokens = match (
            &guidance.negative_prompt,
            &guidance.negative_prompt_token_ids,
        ) {
            (Some(text), _) => {
                self.refuse_without_tokenizer("negative_prompt")?;
                let (limit_bytes, len_bytes) =
                    (self.shared.limits.prompt_len_max_bytes, text.len());
                if len_bytes > limit_bytes {
                    return Err(Error::PromptBytes {
                        limit_bytes,
                        len_bytes,
                    });
                }
                let lexicon = &self.shared.lexicon;
                lexicon.encode(text, lexicon.adds_bos(), false)?
            }
            (None, Some(tokens)) => tokens.clone(),
            (None, None) => prompt[prompt.len() - 1..].to_vec(),
        };
        if tokens.is_empty() {
            let fault = "must have at least 1 token, got 0".into();
            let param = if guidance.negative_prompt.is_some() {
                "negative_prompt"
            } else {
                "negative_prompt_token_ids"
            };
            return Err(Error::Field { param, fault });
        }
        self.check_vocabulary("negative_prompt", tokens.iter().copied())?;
        Ok(Some(tokens))
    }

    /// Refuses what this engine cannot give, by name.
    pub(super) fn check_source(&self, params: &SamplingParams) -> Result<()> {
        let capacity = &self.shared.capacity;
        let unsupported = |what: &'static str, reason: &str| {
            let reason = reason.to_owned();
            Err(Error::Unsupported { what, reason })
        };
        if params.is_contrastive_search() && capacity.hidden == 0 {
            return unsupported("penalty_alpha", "this backend gives no hidden states");
        }
        if let Some(contrastive) = &params.contrastive {
            let Some(amateur) = &capacity.amateur else {
                return unsupported("contrastive", "the engine was loaded without amateur_model");
            };
            if let Some(name) = &contrastive.amateur
                && !amateur.is_called(name)
            {
                return Err(Error::Field {
                    param: "contrastive",
                    fault: "names another amateur than the engine's amateur_model".into(),
                });
            }
        }
        let Some(layers) = &params.dola.layers else {
            return Ok(());
        };
        if capacity.exits == 0 {
            return unsupported("dola_layers", "this backend gives no early layers");
        }
        match layers {
            DolaLayers::Listed(listed) if listed.iter().any(|at| *at as usize > capacity.exits) => {
                Err(Error::Field {
                    param: "dola_layers",
                    fault: format!("must be layers from 0 to {}, the last", capacity.exits),
                })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AmateurCapacity;

    #[test]
    fn an_amateur_answers_to_its_name_its_file_and_the_file_without_its_ending() {
        let amateur = AmateurCapacity {
            name: "/models/Small-1.1.gguf".into(),
            context_len: 1,
        };
        for name in ["/models/Small-1.1.gguf", "small-1.1.gguf", "Small-1.1"] {
            assert!(amateur.is_called(name), "{name}");
        }
        assert!(!amateur.is_called("Small") && !amateur.is_called("models"));
    }
}
