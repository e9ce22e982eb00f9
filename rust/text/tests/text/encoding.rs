//! Text to ids and back.

use proptest::prelude::*;
use serde_json::json;
use tokenmill_text::{Encode, Tokenizer, decode};

use crate::tiny::{byte_level, byte_level_vocabulary, load, sentencepiece, sentencepiece_json};

const TRUSTED: Encode = Encode {
    add_bos: false,
    allow_control: true,
};
const UNTRUSTED: Encode = Encode {
    add_bos: false,
    allow_control: false,
};

fn names(tok: &Tokenizer, text: &str, how: Encode) -> Vec<String> {
    let ids = tok.encode(text, how).unwrap();
    ids.iter()
        .map(|&id| tok.token_name(id).unwrap().to_owned())
        .collect()
}

#[test]
fn merges_stay_inside_words_and_digits_stand_alone() {
    let tok = byte_level();
    assert_eq!(
        names(tok, "hello wo12", UNTRUSTED),
        ["hello", "Ġwo", "1", "2"]
    );
    assert_eq!(names(tok, "a  2", UNTRUSTED), ["a", "Ġ", "Ġ", "2"]);
    assert_eq!(names(tok, "he llo", UNTRUSTED), ["he", "Ġ", "ll", "o"]);
    assert!(tok.encode("", UNTRUSTED).unwrap().is_empty());
}

#[test]
fn control_tokens_are_cut_out_of_trusted_text_only() {
    let tok = byte_level();
    assert_eq!(
        names(tok, "<|start|>hello<|end|>", TRUSTED),
        ["<|start|>", "hello", "<|end|>"]
    );
    let untrusted = tok.encode("<|start|>hello<|end|><pad>", UNTRUSTED).unwrap();
    assert!(untrusted.iter().all(|&id| !tok.is_control(id)));
    assert_eq!(decode(tok, &untrusted, true), "<|start|>hello<|end|><pad>");
    assert_eq!(names(tok, "a<tool>b", UNTRUSTED), ["a", "<tool>", "b"]);
    assert_eq!(
        tok.encode("é日", UNTRUSTED).unwrap(),
        [tok.id_of("é日").unwrap()]
    );
    assert_eq!(decode(tok, &[tok.id_of("é日").unwrap()], true), "é日");
}

#[test]
fn no_merge_makes_a_control_token_out_of_text() {
    let tok = sentencepiece();
    assert_eq!(names(tok, "</s>", TRUSTED), ["</s>"]);
    assert_eq!(names(tok, "</s>", UNTRUSTED), ["▁", "</", "s>"]);
    let mut vocabulary = byte_level_vocabulary();
    vocabulary.merges.push("he h".to_owned());
    vocabulary.tokens.push("heh".to_owned());
    vocabulary.token_types.push(3);
    let tok = &Tokenizer::from_gguf(vocabulary).unwrap();
    assert_eq!(names(tok, "heh", UNTRUSTED), ["he", "h"]);
    assert_eq!(names(tok, "heh", TRUSTED), ["heh"]);
}

#[test]
fn the_beginning_token_comes_first_when_asked_for() {
    let tok = byte_level();
    let with_bos = tok
        .encode(
            "he",
            Encode {
                add_bos: true,
                allow_control: false,
            },
        )
        .unwrap();
    assert_eq!(with_bos, [tok.bos().unwrap(), tok.id_of("he").unwrap()]);
    assert!(!tok.add_bos_default());
    assert_eq!(tok.eos(), [tok.id_of("<|end|>").unwrap()]);
    assert_eq!((tok.bos_text(), tok.eos_text()), ("<|start|>", "<|end|>"));
    assert!(sentencepiece().add_bos_default());
    assert_eq!(sentencepiece().bos(), Some(1));
}

#[test]
fn roles_come_from_the_config_where_there_is_one() {
    let file = serde_json::to_vec(&sentencepiece_json()).unwrap();
    let config =
        json!({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "add_bos_token": false});
    let tok = Tokenizer::from_json(&file, Some(&config)).unwrap();
    assert_eq!(
        (tok.bos(), tok.eos(), tok.add_bos_default()),
        (Some(1), &[2][..], false)
    );
    for config in [
        json!({"eos_token": "nope"}),
        json!({"eos_token": 3}),
        json!({"add_bos_token": "yes"}),
        json!({"add_eos_token": true}),
        json!([]),
    ] {
        assert!(
            Tokenizer::from_json(&file, Some(&config)).is_err(),
            "{config}"
        );
    }
}

#[test]
fn llama_bpe_takes_a_word_that_is_a_token_whole_and_begins_with_bos() {
    let mut vocabulary = byte_level_vocabulary();
    vocabulary.tokens.push("zzz".to_owned());
    vocabulary.token_types.push(1);
    let mut llama = vocabulary.clone();
    llama.pre = Some("llama-bpe".to_owned());
    let (smol, llama) = (
        &Tokenizer::from_gguf(vocabulary).unwrap(),
        &Tokenizer::from_gguf(llama).unwrap(),
    );
    assert_eq!(names(smol, "zzz", UNTRUSTED), ["z", "z", "z"]);
    assert_eq!(names(llama, "zzz", UNTRUSTED), ["zzz"]);
    assert_eq!(
        (smol.add_bos_default(), llama.add_bos_default()),
        (false, true)
    );
}

#[test]
fn splitters_differ_where_their_patterns_do() {
    let split = |pre: &str, text: &str| {
        let mut vocabulary = byte_level_vocabulary();
        vocabulary.pre = Some(pre.to_owned());
        let word = |token: &str| token.chars().all(|c| c.is_ascii_alphanumeric());
        vocabulary
            .tokens
            .extend(["12", "34", "1234", "123", "aB"].map(String::from));
        vocabulary.token_types.extend([1; 5]);
        vocabulary
            .merges
            .extend(["1 2", "3 4", "12 34", "12 3", "a B"].map(String::from));
        let names = names(&Tokenizer::from_gguf(vocabulary).unwrap(), text, UNTRUSTED);
        assert!(names.iter().all(|name| word(name)));
        names
    };
    assert_eq!(split("gpt-2", "1234"), ["1234"]);
    assert_eq!(split("smollm", "1234"), ["1", "2", "3", "4"]);
    assert_eq!(split("qwen2", "1234"), ["1", "2", "3", "4"]);
    assert_eq!(split("llama-bpe", "1234"), ["123", "4"]);
    assert_eq!(split("gpt-2", "aB"), ["aB"]);
    assert_eq!(split("tekken", "aB"), ["a", "B"]);
}

#[test]
fn bytes_without_a_token_vanish_from_the_text() {
    let mut vocabulary = byte_level_vocabulary();
    // Byte 04 becomes a token that no text makes.
    vocabulary.tokens[4] = "unreachable".to_owned();
    let tok = &Tokenizer::from_gguf(vocabulary).unwrap();
    let ids = tok.encode("a\u{4}b\u{4}", UNTRUSTED).unwrap();
    assert_eq!(decode(tok, &ids, true), "ab");
}

#[test]
fn sentencepiece_text_comes_back_without_the_blank_that_was_added() {
    let tok = sentencepiece();
    let ids = tok.encode("hello world", UNTRUSTED).unwrap();
    assert_eq!(tok.token_name(ids[0]), Some("▁hello"));
    assert_eq!(decode(tok, &ids, true), "hello world");
    assert_eq!(
        decode(tok, &tok.encode("  he", UNTRUSTED).unwrap(), true),
        "  he"
    );
    assert_eq!(
        decode(tok, &tok.encode("é\n", UNTRUSTED).unwrap(), true),
        "é\n"
    );
    assert_eq!(tok.token_bytes(3 + 10), Some(&b"\n"[..]));
}

#[test]
fn ids_without_a_token_are_no_text() {
    let mut file = sentencepiece_json();
    file["added_tokens"]
        .as_array_mut()
        .unwrap()
        .push(crate::tiny::added(400, "<far>"));
    let tok = &load(&file).unwrap();
    assert_eq!(tok.vocab_len(), 401);
    assert_eq!(tok.token_bytes(399), None);
    assert_eq!(tok.token_bytes(401), None);
    assert_eq!(decode(tok, &[399, 401, u32::MAX, 400], false), "<far>");
    assert_eq!(tok.id_of("<far>"), Some(400));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_survives_encode_and_decode(text in "\\PC{0,40}|[ \\n\\t]{0,9}[a-z<|>é日]{0,9}", trusted: bool) {
        let how = Encode { add_bos: false, allow_control: trusted };
        let tok = byte_level();
        prop_assert_eq!(decode(tok, &tok.encode(&text, how).unwrap(), false), text.clone());
        let tok = sentencepiece();
        // A mark in the text is a blank afterwards, as in SentencePiece.
        prop_assert_eq!(decode(tok, &tok.encode(&text, UNTRUSTED).unwrap(), false), text.replace('▁', " "));
    }
}
