//! The tokens as bytes, for llguidance to walk: what each id stands for in text, ids with a role kept apart, and
//! what the beginning of a text does to its first token.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::api::ParserLimits;
use toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

use crate::detokenizer::Detokenizer;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// Longest token that a grammar may use: the walk keeps ten bits for the depth.
const TOKEN_LEN_MAX_BYTES: usize = 1000;

/// Bounds of one grammar, below llguidance's own. Masks are made on the engine's thread, so the two for a step are
/// milliseconds: 50,000 units of fuel are about 4, 20,000 items about 1.
const LIMITS: ParserLimits = ParserLimits {
    max_items_in_row: 1000,
    initial_lexer_fuel: 500_000,
    step_lexer_fuel: 50_000,
    step_max_items: 20_000,
    // At one or two kilobytes each: what one sequence may come to hold.
    max_lexer_states: 5000,
    max_grammar_size: 100_000,
    precompute_large_lexemes: true,
    verbose_errors: false,
};

/// A vocabulary that grammars can be compiled for.
pub(super) struct Walkable {
    pub(super) factory: ParserFactory,
    /// Where a text drops a blank at its beginning: the tokens that may come first, one bit each. They stand for
    /// one blank more than they show, and the grammar has one more in front.
    pub(super) first: Option<Vec<u32>>,
}

impl Walkable {
    /// Of `tokenizer`, for rows of `vocab_len` logits of which `eos` end a text.
    pub(super) fn new(tokenizer: &Tokenizer, vocab_len: usize, eos: &[u32]) -> Result<Self> {
        let problem = |what: &str| Error::Unsupported {
            what: format!("structured_outputs with a vocabulary that {what}"),
            expected: "one that text can be spelled with".to_owned(),
        };
        let Some(&first_eos) = eos.first() else {
            return Err(problem("has no end token"));
        };
        let words: Vec<Vec<u8>> = (0..vocab_len as u32)
            .map(|id| word(tokenizer, eos, id))
            .collect();
        // The walk asserts its bounds on the number and length of tokens.
        let built = catch_unwind(AssertUnwindSafe(|| {
            let trie = TokTrie::from(&TokRxInfo::new(vocab_len as u32, first_eos), &words);
            let trie = trie.with_eos_tokens(eos);
            let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
            ParserFactory::new_simple(&env)
        }));
        let Ok(Ok(mut factory)) = built else {
            return Err(problem("is too large"));
        };
        factory.quiet();
        *factory.limits_mut() = LIMITS;
        Ok(Self {
            factory,
            first: first_tokens(tokenizer, &words),
        })
    }
}

/// What `id` stands for: with the marker in front where it is no text, nothing where it may not come.
fn word(tokenizer: &Tokenizer, eos: &[u32], id: u32) -> Vec<u8> {
    let bytes = tokenizer.token_bytes(id).unwrap_or_default();
    if bytes.len() > TOKEN_LEN_MAX_BYTES {
        return Vec::new();
    }
    if tokenizer.is_control(id) || eos.contains(&id) {
        let name = tokenizer.token_name(id).unwrap_or_default().as_bytes();
        return [&[TokTrie::SPECIAL_TOKEN_MARKER], name].concat();
    }
    bytes.to_vec()
}

/// The tokens that show all but a leading blank at the beginning of a text, where that is not what they stand for.
fn first_tokens(tokenizer: &Tokenizer, words: &[Vec<u8>]) -> Option<Vec<u32>> {
    let mut is_whole = true;
    let mut mask = vec![0_u32; words.len().div_ceil(32)];
    for (id, word) in words.iter().enumerate() {
        let shown = Detokenizer::new(true)
            .begin(tokenizer, id as u32)
            .into_owned();
        is_whole &= word.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) || shown == *word;
        if word.strip_prefix(b" ") == Some(&shown) {
            mask[id / 32] |= 1 << (id % 32);
        }
    }
    (!is_whole).then_some(mask)
}
