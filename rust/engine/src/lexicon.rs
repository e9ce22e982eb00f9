//! A model's tokenizer and chat template, and one sequence's text. Without the feature `text`, or for a
//! model without a tokenizer, requests carry token ids and outputs have no text.

#[cfg(feature = "text")]
mod breaker;
#[cfg(feature = "text")]
pub(crate) mod search;

use tokenmill_core::{Rendered, SamplingParams, TokenId};

use crate::error::{Error, Result};

/// Tokenizer and template of the loaded model.
#[derive(Debug, Default)]
pub struct Lexicon {
    #[cfg(feature = "text")]
    pub(crate) tokenizer: Option<std::sync::Arc<tokenmill_text::Tokenizer>>,
    #[cfg(feature = "text")]
    pub(crate) template: Option<tokenmill_text::ChatTemplate>,
    #[cfg(feature = "text")]
    pub(crate) answers: search::Answers,
    /// Tokens that begin and end the model's thinking.
    pub(crate) thinking: Option<(Vec<TokenId>, Vec<TokenId>)>,
}

#[cfg(feature = "text")]
mod with_text {
    use std::sync::Arc;

    use tokenmill_core::NamedPipeline;
    use tokenmill_text::{Encode, Message, RenderOptions, TextStream, Tokenizer};

    use super::{Error, Lexicon, Rendered, Result, SamplingParams, TokenId};

    impl Lexicon {
        fn tokenizer(&self) -> Result<&Arc<Tokenizer>> {
            self.tokenizer.as_ref().ok_or_else(|| Error::Unsupported {
                what: "text",
                reason: "the model was loaded without a tokenizer; pass token ids".into(),
            })
        }

        /// Whether text can be encoded and decoded.
        pub fn has_tokenizer(&self) -> bool {
            self.tokenizer.is_some()
        }

        /// In what another tokenizer differs from this one; two models without any differ in nothing.
        pub(crate) fn difference(&self, other: &Self) -> Option<String> {
            let (own, other) = match (&self.tokenizer, &other.tokenizer) {
                (None, None) => return None,
                (Some(own), Some(other)) => (own, other),
                _ => return Some("only one of the two has a tokenizer".into()),
            };
            if own.vocab_len() != other.vocab_len() {
                let (own, other) = (own.vocab_len(), other.vocab_len());
                return Some(format!("it has {other} tokens, the model {own}"));
            }
            let is_same = |id: &u32| {
                own.token_name(*id) == other.token_name(*id)
                    && own.token_bytes(*id) == other.token_bytes(*id)
                    && own.is_control(*id) == other.is_control(*id)
            };
            let mut ids = 0..own.vocab_len() as u32;
            let differing = ids.find(|id| !is_same(id));
            differing.map(|id| format!("token {id} is another one"))
        }

        /// Whether conversations can be rendered.
        pub fn has_template(&self) -> bool {
            self.template.is_some()
        }

        /// Whether the model's tokenizer puts its begin token before a text.
        pub fn adds_bos(&self) -> bool {
            self.tokenizer
                .as_ref()
                .is_some_and(|tokenizer| tokenizer.add_bos_default())
        }

        /// Text to ids. `allow_control`: control tokens written in the text become control tokens.
        pub fn encode(
            &self,
            text: &str,
            add_bos: bool,
            allow_control: bool,
        ) -> Result<Vec<TokenId>> {
            Ok(self.tokenizer()?.encode(
                text,
                Encode {
                    add_bos,
                    allow_control,
                },
            )?)
        }

        /// The token sequences in which texts that break a stretch may stand.
        pub(crate) fn breaker_tokens(&self, breakers: &[String]) -> Result<Vec<Vec<TokenId>>> {
            self.answers.breakers(self.tokenizer()?, breakers)
        }

        /// The tokens whose text holds this one.
        pub(crate) fn matching_tokens(&self, text: &str) -> Result<Arc<[TokenId]>> {
            self.answers.matching(self.tokenizer()?, text)
        }

        /// A template's text to ids.
        pub fn encode_rendered(&self, rendered: &Rendered) -> Result<Vec<TokenId>> {
            Ok(self.tokenizer()?.encode_rendered(rendered)?)
        }

        /// Ids to text.
        pub fn decode(&self, tokens: &[TokenId], skip_special: bool) -> Result<String> {
            Ok(tokenmill_text::decode(
                self.tokenizer()?,
                tokens,
                skip_special,
            ))
        }

        /// A conversation to text, by the model's template. No word of the messages becomes a control token.
        pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<Rendered> {
            let template = self.template.as_ref().ok_or_else(|| Error::Unsupported {
                what: "chat",
                reason: "the model has no chat template".into(),
            })?;
            Ok(template.render_fenced(messages, options, self.tokenizer()?)?)
        }
    }

    /// The text of one sample as it grows.
    #[derive(Clone, Debug)]
    pub(crate) struct Transcript(Option<(Arc<Tokenizer>, TextStream)>);

    impl Transcript {
        /// `output_len_min`: tokens for which stop strings wait.
        pub fn new(lexicon: &Lexicon, params: &SamplingParams, output_len_min: usize) -> Self {
            let Some(tokenizer) = lexicon.tokenizer.as_ref().filter(|_| params.detokenize) else {
                return Self(None);
            };
            let stream = TextStream::new(
                &params.stop,
                params.include_stop_str_in_output,
                params.skip_special_tokens,
                output_len_min,
            );
            // transformers keeps the token that completed a stop string, whole.
            let stream = match params.pipeline.meaning() {
                NamedPipeline::Hf => stream.uncut(),
                _ => stream,
            };
            Self(Some((tokenizer.clone(), stream)))
        }

        /// Adds a token: newly final text, and the stop string that this token completed.
        pub fn push(&mut self, token: TokenId) -> (String, Option<usize>) {
            let Some((tokenizer, stream)) = &mut self.0 else {
                return (String::new(), None);
            };
            let progress = stream.push(tokenizer, token);
            (progress.text, progress.stopped)
        }

        /// The text that was held back.
        pub fn finish(&mut self) -> String {
            self.0
                .as_mut()
                .map(|(_, stream)| stream.finish())
                .unwrap_or_default()
        }
    }
}

#[cfg(feature = "text")]
pub(crate) use with_text::Transcript;

#[cfg(not(feature = "text"))]
mod without_text {
    use std::sync::Arc;

    use super::{Error, Lexicon, Rendered, Result, SamplingParams, TokenId};

    impl Lexicon {
        /// Never, without the feature `text`.
        pub fn has_tokenizer(&self) -> bool {
            false
        }

        /// Never, without the feature `text`.
        pub fn adds_bos(&self) -> bool {
            false
        }

        /// Refused: this build has no tokenizers.
        pub fn encode(
            &self,
            _text: &str,
            _add_bos: bool,
            _allow_control: bool,
        ) -> Result<Vec<TokenId>> {
            Err(refusal())
        }

        /// None: without tokenizers there is nothing to differ in.
        #[expect(clippy::unused_self, reason = "the same face as with text")]
        pub(crate) fn difference(&self, _other: &Self) -> Option<String> {
            None
        }

        /// Refused: this build has no tokenizers.
        pub(crate) fn breaker_tokens(&self, _breakers: &[String]) -> Result<Vec<Vec<TokenId>>> {
            Err(refusal())
        }

        /// Refused: this build has no tokenizers.
        pub(crate) fn matching_tokens(&self, _text: &str) -> Result<Arc<[TokenId]>> {
            Err(refusal())
        }

        /// Refused: this build has no tokenizers.
        pub fn decode(&self, _tokens: &[TokenId], _skip_special: bool) -> Result<String> {
            Err(refusal())
        }

        /// Refused: this build has no tokenizers.
        pub fn encode_rendered(&self, _rendered: &Rendered) -> Result<Vec<TokenId>> {
            Err(refusal())
        }
    }

    fn refusal() -> Error {
        Error::Unsupported {
            what: "text",
            reason: "built without the feature text".into(),
        }
    }

    #[derive(Clone, Debug)]
    pub(crate) struct Transcript;

    impl Transcript {
        pub fn new(_lexicon: &Lexicon, _params: &SamplingParams, _output_len_min: usize) -> Self {
            Self
        }

        #[expect(clippy::unused_self, reason = "the same face as with text")]
        pub fn push(&mut self, _token: TokenId) -> (String, Option<usize>) {
            (String::new(), None)
        }

        #[expect(clippy::unused_self, reason = "the same face as with text")]
        pub fn finish(&mut self) -> String {
            String::new()
        }
    }
}

#[cfg(not(feature = "text"))]
pub(crate) use without_text::Transcript;
