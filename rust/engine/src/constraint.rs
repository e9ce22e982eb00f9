//! What an output must be as a text, between the door and the sampler: compiled when a request is submitted, on the
//! caller's side, then one place in the grammar for each sequence, which says before a token what may come and moves
//! on behind it. The place is a function of the output's tokens, so it stays with a preempted sequence. Without the
//! feature `text`, or for a model without a tokenizer, such requests are refused.

#[cfg(feature = "text")]
mod with_text {
    use std::sync::Arc;

    use tokenmill_core::{Limits, SamplingParams, TokenId};
    use tokenmill_text::{Grammar, GrammarMatcher, Grammars};

    use crate::error::Result;
    use crate::lexicon::Lexicon;
    use crate::stats::Stats;

    /// Compiles what requests ask for.
    #[derive(Debug)]
    pub(crate) struct Compiler(Option<Grammars>);

    impl Compiler {
        /// For a model whose rows have `vocab_len` logits of which `eos` end a text.
        pub fn new(lexicon: &Lexicon, vocab_len: usize, eos: &[TokenId], limits: &Limits) -> Self {
            let tokenizer = lexicon.tokenizer.clone();
            let eos = eos.to_vec();
            Self(tokenizer.map(|tokenizer| Grammars::new(tokenizer, vocab_len, eos, limits)))
        }

        /// What the parameters ask for. Waits for it, within the bound of time.
        pub fn compile(&self, params: &SamplingParams, stats: &Stats) -> Result<Compiled> {
            // Without a tokenizer the door has refused the request already.
            let (Some(asked), Some(grammars)) = (&params.structured_outputs, &self.0) else {
                return Ok(Compiled(None));
            };
            let compiled = grammars.compile(asked)?;
            let (count, bytes) = grammars.held();
            Stats::set(&stats.grammars_cached, count as u64);
            Stats::set(&stats.grammar_bytes, bytes as u64);
            Ok(Compiled(Some(compiled)))
        }
    }

    /// A request's grammar, if it has one.
    #[derive(Clone, Debug)]
    pub(crate) struct Compiled(Option<Arc<Grammar>>);

    /// A sequence's place in it. Nothing is held before the first row.
    #[derive(Clone, Debug)]
    pub(crate) struct Constraint {
        grammar: Option<Arc<Grammar>>,
        place: Option<GrammarMatcher>,
    }

    impl Constraint {
        /// Before the first token.
        pub fn new(compiled: &Compiled) -> Self {
            Self {
                grammar: compiled.0.clone(),
                place: None,
            }
        }

        /// The tokens that may come, one bit each; nothing where anything may.
        pub fn mask(&mut self, position: usize) -> tokenmill_decode::Result<Option<&[u32]>> {
            let Some(place) = self.place() else {
                return Ok(None);
            };
            let failed = |reason| tokenmill_decode::Error::MaskFailed {
                position: position as u32,
                reason,
            };
            place.mask().map(Some).map_err(failed)
        }

        /// Moves behind a token.
        pub fn advance(&mut self, token: TokenId) {
            if let Some(place) = self.place() {
                place.advance(token);
            }
        }

        fn place(&mut self) -> Option<&mut GrammarMatcher> {
            let grammar = self.grammar.as_ref()?;
            Some(self.place.get_or_insert_with(|| grammar.matcher()))
        }
    }
}

#[cfg(feature = "text")]
pub(crate) use with_text::{Compiled, Compiler, Constraint};

#[cfg(not(feature = "text"))]
mod without_text {
    use tokenmill_core::{Limits, SamplingParams, TokenId};

    use crate::error::Result;
    use crate::lexicon::Lexicon;
    use crate::stats::Stats;

    #[derive(Debug)]
    pub(crate) struct Compiler;

    impl Compiler {
        pub fn new(_: &Lexicon, _vocab_len: usize, _eos: &[TokenId], _: &Limits) -> Self {
            Self
        }

        #[expect(
            clippy::unused_self,
            clippy::unnecessary_wraps,
            reason = "the same face as with text"
        )]
        pub fn compile(&self, _params: &SamplingParams, _: &Stats) -> Result<Compiled> {
            Ok(Compiled)
        }
    }

    #[derive(Clone, Debug)]
    pub(crate) struct Compiled;

    #[derive(Clone, Debug)]
    pub(crate) struct Constraint;

    impl Constraint {
        pub fn new(_: &Compiled) -> Self {
            Self
        }

        #[expect(
            clippy::unused_self,
            clippy::unnecessary_wraps,
            reason = "the same face as with text"
        )]
        pub fn mask(&mut self, _position: usize) -> tokenmill_decode::Result<Option<&[u32]>> {
            Ok(None)
        }

        #[expect(clippy::unused_self, reason = "the same face as with text")]
        pub fn advance(&mut self, _token: TokenId) {}
    }
}

#[cfg(not(feature = "text"))]
pub(crate) use without_text::{Compiled, Compiler, Constraint};
