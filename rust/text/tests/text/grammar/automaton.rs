//! Masks against what a regular expression allows, by brute force: for every string of tokens up to some length, a
//! token may come if and only if some matching string begins with what then stands there.

use std::collections::HashSet;

use regex::Regex;
use tokenmill_text::{GgufVocabulary, GrammarMatcher, Grammars, Tokenizer};

use super::{of, patient, regex as asked};

/// Tokens over a, b and 0, some of several letters, two that stand for the same, one with a role, and the end.
const TOKENS: [&str; 10] = [
    "a", "b", "0", "ab", "ba", "aab", "00", "ab0", "<|role|>", "<|end|>",
];
const ROLE: u32 = 8;
const END: u32 = 9;

/// Longest string that the oracle knows, and most tokens that are walked.
const LEN_MAX: usize = 11;
const TOKENS_MAX: usize = 2;

fn grammars() -> Grammars {
    let mut token_types = vec![1; TOKENS.len()];
    token_types[ROLE as usize] = 3;
    token_types[END as usize] = 3;
    let merges = ["a b", "b a", "a ab", "0 0", "ab 0"];
    let tokenizer = Tokenizer::from_gguf(GgufVocabulary {
        model: "gpt2".into(),
        pre: Some("smollm".into()),
        tokens: TOKENS.map(String::from).to_vec(),
        merges: merges.map(String::from).to_vec(),
        token_types,
        eos: Some(END),
        ..GgufVocabulary::default()
    });
    of(tokenizer.unwrap(), END, &patient())
}

/// Every beginning of a string over the letters that the pattern matches as a whole, and those strings.
struct Oracle {
    beginnings: HashSet<String>,
    whole: HashSet<String>,
}

impl Oracle {
    fn new(pattern: &str) -> Self {
        let matching = Regex::new(&format!("^(?:{pattern})$")).unwrap();
        let mut oracle = Self {
            beginnings: HashSet::new(),
            whole: HashSet::new(),
        };
        let mut strings = vec![String::new()];
        for _ in 0..=LEN_MAX {
            let longer = strings
                .iter()
                .flat_map(|s| ["a", "b", "0"].map(|l| format!("{s}{l}")));
            let longer = longer.collect();
            for string in strings {
                if matching.is_match(&string) {
                    let cuts = (0..=string.len()).map(|end| string[..end].to_owned());
                    oracle.beginnings.extend(cuts);
                    oracle.whole.insert(string);
                }
            }
            strings = longer;
        }
        oracle
    }

    fn allows(&self, text: &str, token: u32) -> bool {
        match token {
            END => self.whole.contains(text),
            ROLE => false,
            _ => self
                .beginnings
                .contains(&format!("{text}{}", TOKENS[token as usize])),
        }
    }
}

/// Compares every place up to `left` tokens on; says how many it saw.
fn walk(oracle: &Oracle, matcher: &GrammarMatcher, text: &str, left: usize) -> usize {
    let mut seen = 1;
    let mut here = matcher.clone();
    let mask = here.mask().unwrap().to_vec();
    for token in 0..TOKENS.len() as u32 {
        let is_allowed = mask.first().is_some_and(|word| word >> token & 1 == 1);
        let expected = oracle.allows(text, token);
        assert_eq!(
            is_allowed, expected,
            "{:?} behind {text:?}",
            TOKENS[token as usize]
        );
        if is_allowed && token != END && left > 0 {
            let mut next = matcher.clone();
            next.advance(token);
            let text = format!("{text}{}", TOKENS[token as usize]);
            seen += walk(oracle, &next, &text, left - 1);
        }
    }
    seen
}

#[test]
fn masks_are_what_the_automaton_allows_on_every_string_of_a_tiny_vocabulary() {
    let grammars = grammars();
    let mut seen = 0;
    for pattern in [
        "a",
        "ab|ba",
        "(ab)+",
        "a*b",
        "[ab]{2,4}",
        "(a|b)*0",
        "a?b?0?",
        "(aab|00)+",
        "[^0]+",
        "a{3}b{2}",
        "(a|ab)(0|b0)",
        "0+|b",
        "(ab0)*",
        "(?:a|b0){2,3}",
        ".{3}",
        "a(b(0(a)?)?)?",
    ] {
        let oracle = Oracle::new(pattern);
        let grammar = grammars.compile(&asked(pattern)).expect(pattern);
        seen += walk(&oracle, &grammar.matcher(), "", TOKENS_MAX);
    }
    assert!(seen > 200, "{seen} places");
}

#[test]
fn a_clone_goes_its_own_way_and_a_place_does_not_depend_on_others() {
    let grammars = grammars();
    let grammar = grammars.compile(&asked("(a|b)*0")).unwrap();
    let mut one = grammar.matcher();
    one.advance(0);
    let mut other = one.clone();
    other.advance(2);
    let mut again = grammar.matcher();
    again.advance(0);
    assert_eq!(one.mask(), again.mask());
    assert_ne!(one.mask().unwrap(), other.mask().unwrap());
    // Behind the end there are only ends.
    assert!(other.has_ended() && !one.has_ended());
    let only_end = vec![1 << END];
    for _ in 0..3 {
        assert_eq!(other.mask().unwrap(), only_end);
        other.advance(END);
    }
}

#[test]
fn a_token_that_may_not_come_leaves_an_error_and_no_panic() {
    let grammar = grammars().compile(&asked("ab")).unwrap();
    for token in [1, ROLE, 1000, END] {
        let mut matcher = grammar.matcher();
        matcher.advance(token);
        assert!(matcher.mask().is_err(), "token {token}");
        matcher.advance(0);
        assert!(matcher.mask().is_err());
    }
}
