//! A structured output of any kind: compiled within its bounds or refused by name; what was compiled is followed for
//! a while along allowed tokens, each of which the place behind it must know what to do with.

use std::sync::{Arc, LazyLock};

use tokenmill_core::{HasKind, Kind, Limits, OutputConstraint, StructuredOutputs};
use tokenmill_text::{Grammars, Tokenizer};

/// Tokens that are walked.
const STEPS: usize = 12;
const VOCAB_LEN: usize = 271;
const END: u32 = 267;

static GRAMMARS: LazyLock<Grammars> = LazyLock::new(|| {
    let tokenizer =
        Tokenizer::from_gguf(super::tiny::byte_level_vocabulary()).expect("a tokenizer");
    let limits = Limits {
        // A slow build is no finding; what runs away is found by the fuzzer's own limit.
        grammar_compile_max_ms: 4000,
        grammar_cache_len_max: 2,
        ..Limits::default()
    };
    Grammars::new(Arc::new(tokenizer), VOCAB_LEN, vec![END], &limits)
});

/// The first byte is the kind and the switches, the rest its text.
pub fn run(data: &[u8]) {
    let Some((&head, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let owned = || text.to_owned();
    let constraint = match head % 5 {
        0 => OutputConstraint::Json(owned()),
        1 => OutputConstraint::Regex(owned()),
        2 => OutputConstraint::Grammar(owned()),
        3 => OutputConstraint::Choice(text.split('\n').map(str::to_owned).collect()),
        _ => OutputConstraint::StructuralTag(owned()),
    };
    let asked = StructuredOutputs {
        disable_any_whitespace: head & 32 > 0,
        disable_additional_properties: head & 64 > 0,
        ..StructuredOutputs::from(constraint)
    };
    let grammar = match GRAMMARS.compile(&asked) {
        Ok(grammar) => grammar,
        Err(error) => {
            assert_eq!(error.kind(), Kind::InvalidRequest, "{error}");
            let message = error.to_string();
            assert!(message.len() < 1024 && !message.contains('\n'), "{message}");
            return;
        }
    };
    let mut matcher = grammar.matcher();
    for step in 0..STEPS {
        // A bound that a mask meets is an answer.
        let Ok(mask) = matcher.mask() else {
            return;
        };
        let is_allowed = |id: u32| {
            mask.get(id as usize / 32)
                .is_some_and(|w| w >> (id % 32) & 1 == 1)
        };
        let allowed: Vec<u32> = (0..VOCAB_LEN as u32).filter(|&id| is_allowed(id)).collect();
        let Some(&token) = allowed.get((step * 31 + usize::from(head)) % allowed.len().max(1))
        else {
            return;
        };
        if matcher.has_ended() {
            assert_eq!(allowed, [END], "behind the end");
        }
        matcher.advance(token);
    }
}
