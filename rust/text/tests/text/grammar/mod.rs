//! Grammars through the public door: masks against an automaton, every kind, hostile ones, every kind of vocabulary.

mod automaton;
mod hostile;
mod kinds;
mod schemas;
mod vocabularies;

use std::sync::{Arc, LazyLock};

use tokenmill_core::{Limits, OutputConstraint, StructuredOutputs};
use tokenmill_text::{Error, GrammarMatcher, Grammars, Tokenizer};

use crate::tiny;

/// The byte-level vocabulary: its end, and how many tokens it has.
pub const END: u32 = 267;
pub const VOCAB_LEN: usize = 272;

/// A build for tests on a busy machine must not meet the bound of time.
pub fn patient() -> Limits {
    Limits {
        grammar_compile_max_ms: 60_000,
        ..Limits::default()
    }
}

pub fn of(tokenizer: Tokenizer, eos: u32, limits: &Limits) -> Grammars {
    let vocab_len = tokenizer.vocab_len();
    Grammars::new(Arc::new(tokenizer), vocab_len, vec![eos], limits)
}

/// For the byte-level vocabulary, where id `b` is byte `b`.
pub fn bytes() -> &'static Grammars {
    static GRAMMARS: LazyLock<Grammars> = LazyLock::new(|| {
        let tokenizer = Tokenizer::from_gguf(tiny::byte_level_vocabulary()).unwrap();
        assert_eq!(
            (tokenizer.eos(), tokenizer.vocab_len()),
            (&[END][..], VOCAB_LEN - 1)
        );
        let tokenizer = Arc::new(tokenizer);
        Grammars::new(tokenizer, VOCAB_LEN, vec![END], &patient())
    });
    &GRAMMARS
}

pub fn json(schema: &str) -> StructuredOutputs {
    OutputConstraint::Json(schema.into()).into()
}

pub fn regex(pattern: &str) -> StructuredOutputs {
    OutputConstraint::Regex(pattern.into()).into()
}

pub fn grammar(text: &str) -> StructuredOutputs {
    OutputConstraint::Grammar(text.into()).into()
}

pub fn matcher(asked: &StructuredOutputs) -> GrammarMatcher {
    let grammar = bytes().compile(asked);
    grammar
        .unwrap_or_else(|error| panic!("{asked:?}: {error}"))
        .matcher()
}

/// Why `asked` is refused; it names the constraint.
pub fn refusal(asked: &StructuredOutputs) -> String {
    match bytes().compile(asked) {
        Err(Error::BadField { param, problem }) => {
            assert_eq!(param, asked.constraint.path());
            assert!(problem.len() <= 300 && !problem.contains('\n'), "{problem}");
            problem
        }
        other => panic!("{asked:?} gave {other:?}"),
    }
}

pub fn allows(matcher: &mut GrammarMatcher, token: u32) -> bool {
    let mask = matcher.mask().unwrap();
    mask.get(token as usize / 32)
        .is_some_and(|word| word >> (token % 32) & 1 == 1)
}

/// Whether `text`, byte by byte, is a whole text of the grammar.
pub fn takes(asked: &StructuredOutputs, text: &str) -> bool {
    let mut matcher = matcher(asked);
    for byte in text.bytes() {
        if !allows(&mut matcher, u32::from(byte)) {
            return false;
        }
        matcher.advance(u32::from(byte));
    }
    allows(&mut matcher, END)
}
