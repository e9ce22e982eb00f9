//! A SentencePiece vocabulary against the definition, written out: join the adjacent pair whose piece has the
//! best score, the leftmost of equals, until no pair makes a piece; spell what is left in bytes.

use std::collections::HashMap;

use proptest::prelude::*;
use tokenmill_text::{Encode, GgufVocabulary, Tokenizer, decode};

const CORPUS: &str =
    "the sea is wide and the sea is deep and the wind is in the water and  two  blanks é 水水";
const PLAIN: Encode = Encode {
    add_bos: false,
    allow_control: false,
};

/// `<unk>`, `<s>`, `</s>`, 256 bytes, a user-defined token, the corpus' characters, and pieces that a byte-pair
/// training on it makes.
fn vocabulary() -> GgufVocabulary {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    let mut token_types = vec![2, 3, 3];
    for byte in 0..256 {
        tokens.push(format!("<0x{byte:02X}>"));
        token_types.push(6);
    }
    tokens.push("<|tool|>".into());
    token_types.push(4);
    let text = format!("▁{}", CORPUS.replace(' ', "▁"));
    let mut words: Vec<String> = text.chars().map(String::from).collect();
    let mut pieces: Vec<String> = Vec::new();
    while pieces.len() < 40 {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for pair in words.windows(2) {
            *counts.entry(pair.concat()).or_default() += 1;
        }
        let best = counts
            .into_iter()
            .max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
        let (best, _) = best.expect("a pair");
        if !pieces.contains(&best) {
            pieces.push(best.clone());
        }
        let mut joined = Vec::new();
        let mut at = 0;
        while at < words.len() {
            if at + 1 < words.len() && words[at..at + 2].concat() == best {
                joined.push(best.clone());
                at += 2;
            } else {
                joined.push(words[at].clone());
                at += 1;
            }
        }
        words = joined;
    }
    let mut scores = vec![0.0; tokens.len()];
    for (rank, piece) in pieces.iter().enumerate() {
        tokens.push(piece.clone());
        token_types.push(1);
        scores.push(-(rank as f32));
    }
    let mut chars: Vec<char> = text.chars().collect();
    chars.sort_unstable();
    chars.dedup();
    for c in chars {
        tokens.push(c.to_string());
        token_types.push(1);
        scores.push(-1000.0);
    }
    GgufVocabulary {
        model: "llama".into(),
        tokens,
        token_types,
        scores,
        bos: Some(1),
        eos: Some(2),
        unk: Some(0),
        ..GgufVocabulary::default()
    }
}

/// The ids by the definition.
fn defined(v: &GgufVocabulary, text: &str) -> Vec<u32> {
    let id_of = |piece: &str| v.tokens.iter().position(|token| token == piece);
    let normal = |piece: &str| id_of(piece).filter(|&id| v.token_types[id] == 1);
    let mut ids = Vec::new();
    let mut rest = text;
    loop {
        let (plain, tool) = match rest.split_once("<|tool|>") {
            Some((before, after)) => (before, Some(after)),
            None => (rest, None),
        };
        let marked = if plain.is_empty() {
            String::new()
        } else {
            format!("▁{}", plain.replace(' ', "▁"))
        };
        let mut symbols: Vec<String> = marked.chars().map(String::from).collect();
        loop {
            let mut best: Option<(f32, usize)> = None;
            for at in 0..symbols.len().saturating_sub(1) {
                if let Some(id) = normal(&symbols[at..at + 2].concat())
                    && best.is_none_or(|(score, _)| v.scores[id] > score)
                {
                    best = Some((v.scores[id], at));
                }
            }
            let Some((_, at)) = best else { break };
            let right = symbols.remove(at + 1);
            symbols[at].push_str(&right);
        }
        for symbol in symbols {
            match normal(&symbol) {
                Some(id) => ids.push(id as u32),
                None => ids.extend(symbol.bytes().map(|byte| 3 + u32::from(byte))),
            }
        }
        let Some(after) = tool else { break };
        ids.push(id_of("<|tool|>").expect("it is there") as u32);
        rest = after;
    }
    ids
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn ids_are_those_of_the_definition(
        text in "[the sawidn]{0,40}|(the|sea| |  |is|<\\|tool\\|>|é|水|\u{1F30A}|\n|<0x0A>|<s>){0,12}|\\PC{0,20}"
    ) {
        let v = vocabulary();
        let tokenizer = Tokenizer::from_gguf(v.clone()).unwrap();
        let ids = tokenizer.encode(&text, PLAIN).unwrap();
        prop_assert_eq!(&ids, &defined(&v, &text), "{:?}", text);
        // What was written is read again, but for the blanks in front of what follows a token that was cut out.
        if !text.contains("<|tool|>") && !text.contains('▁') {
            let read = decode(&tokenizer, &ids, false);
            prop_assert_eq!(read, text);
        }
    }
}

#[test]
fn the_begin_token_is_added_unless_the_file_says_otherwise() {
    let mut v = vocabulary();
    assert!(Tokenizer::from_gguf(v.clone()).unwrap().add_bos_default());
    v.add_bos = Some(false);
    assert!(!Tokenizer::from_gguf(v.clone()).unwrap().add_bos_default());
    v.add_space_prefix = Some(false);
    let tokenizer = Tokenizer::from_gguf(v.clone()).unwrap();
    let with_blank = tokenizer.encode(" the", PLAIN).unwrap();
    assert_ne!(tokenizer.encode("the", PLAIN).unwrap(), with_blank);
    assert_eq!(with_blank, defined(&v, "the"));
}

#[test]
fn a_vocabulary_that_contradicts_itself_is_refused() {
    type Change = fn(&mut GgufVocabulary);
    let cases: [(Change, &str); 5] = [
        (|v| v.scores.clear(), "tokenizer.ggml.scores"),
        (|v| v.scores[300] = f32::NAN, "token 300 is not finite"),
        (|v| v.tokens[10] = "<0xZZ>".into(), "is no byte"),
        (|v| v.tokens[300] = "é".into(), "stands there twice"),
        (
            |v| {
                for at in 270..300 {
                    v.tokens[at] = format!("{at}{}", "x".repeat(10_000));
                }
            },
            "too many long tokens",
        ),
    ];
    for (change, words) in cases {
        let mut v = vocabulary();
        change(&mut v);
        let error = Tokenizer::from_gguf(v).expect_err(words).to_string();
        assert!(error.contains(words), "{error:?} lacks {words:?}");
    }
}
