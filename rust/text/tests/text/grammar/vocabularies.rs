//! Every kind of vocabulary: what is shown, from the first token on, is a text of the grammar.

use serde_json::json;
use tokenmill_text::{GgufVocabulary, Tokenizer, decode};

use super::{of, patient, regex};
use crate::tiny;

/// `</s>` in all of them.
const END: u32 = 2;

/// SentencePiece as a GGUF file has it: a blank is dropped at the beginning of a text.
fn pieces() -> Tokenizer {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    let mut token_types = vec![2, 3, 3];
    for byte in 0..256 {
        tokens.push(format!("<0x{byte:02X}>"));
        token_types.push(6);
    }
    for piece in ["▁", "h", "e", "▁h", "▁▁", "▁▁h", "he", "l"] {
        tokens.push(piece.into());
        token_types.push(1);
    }
    let scores = (0..tokens.len()).map(|id| -(id as f32)).collect();
    let vocabulary = GgufVocabulary {
        model: "llama".into(),
        tokens,
        token_types,
        scores,
        bos: Some(1),
        eos: Some(2),
        unk: Some(0),
        ..GgufVocabulary::default()
    };
    Tokenizer::from_gguf(vocabulary).unwrap()
}

/// All texts of up to `left` more tokens that a grammar lets end, as they are shown.
fn texts(
    tokenizer: &Tokenizer,
    matcher: &tokenmill_text::GrammarMatcher,
    ids: &[u32],
    left: usize,
    found: &mut Vec<String>,
) {
    let mask = matcher.clone().mask().unwrap().to_vec();
    for id in 0..tokenizer.vocab_len() as u32 {
        if mask[id as usize / 32] >> (id % 32) & 1 == 0 {
            continue;
        }
        if id == END {
            found.push(decode(tokenizer, ids, true));
        } else if left > 0 {
            let mut next = matcher.clone();
            next.advance(id);
            texts(tokenizer, &next, &[ids, &[id]].concat(), left - 1, found);
        }
    }
}

/// Llama 2's tokens under a decoder that strikes every mark out of the first token.
fn marks() -> Tokenizer {
    let mut file = tiny::sentencepiece_json();
    file["decoder"] =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    file["pre_tokenizer"] = file["decoder"].clone();
    file["normalizer"] = json!(null);
    file["model"]["byte_fallback"] = json!(false);
    tiny::load(&file).unwrap()
}

fn llama() -> Tokenizer {
    tiny::load(&tiny::sentencepiece_json()).unwrap()
}

#[test]
fn the_blank_that_a_text_drops_is_not_the_grammars() {
    for make in [pieces, llama, marks] {
        let tokenizer = make();
        let grammars = of(make(), END, &patient());
        for pattern in ["h?e?l?", " h", " ?h?", "( h)*"] {
            let grammar = grammars.compile(&regex(pattern)).expect(pattern);
            let mut found = Vec::new();
            texts(&tokenizer, &grammar.matcher(), &[], 3, &mut found);
            let matching = ::regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
            let is_right = |text: &String| matching.is_match(text);
            assert!(found.iter().all(is_right), "{pattern:?} shows {found:?}");
            for text in ["", "h", "e", "hl", " h", " "] {
                let is_found = found.iter().any(|found| found == text);
                assert_eq!(
                    is_found,
                    matching.is_match(text),
                    "{text:?} of {pattern:?}: {found:?}"
                );
            }
        }
    }
}
