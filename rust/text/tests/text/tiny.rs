//! Small tokenizers, made in the tests: byte-level as in a GGUF file, and SentencePiece's kind as in a
//! `tokenizer.json`.

use std::sync::LazyLock;

use serde_json::{Value, json};
use tokenmill_text::{GgufVocabulary, Tokenizer};

/// The character of GPT-2's alphabet for a byte.
pub fn spell(byte: u8) -> char {
    let is_printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if is_printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !is_printable(b)).count();
    char::from_u32(256 + before as u32).unwrap()
}

/// Ids 0..=255 are the bytes, then merges, then control tokens and a user-defined one.
pub fn byte_level_vocabulary() -> GgufVocabulary {
    let mut tokens: Vec<String> = (0..=255).map(|byte| spell(byte).to_string()).collect();
    let merges = [
        "h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o", "< |", "| >", "Ð ¸", "ä ½",
    ];
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    let mut token_types = vec![1; tokens.len()];
    for (token, kind) in [
        ("<|start|>", 3),
        ("<|end|>", 3),
        ("<pad>", 5),
        ("<tool>", 4),
        ("é日", 4),
    ] {
        tokens.push(token.to_owned());
        token_types.push(kind);
    }
    let id = |token: &str| tokens.iter().position(|t| t == token).map(|id| id as u32);
    GgufVocabulary {
        model: "gpt2".to_owned(),
        pre: Some("smollm".to_owned()),
        bos: id("<|start|>"),
        eos: id("<|end|>"),
        eot: id("<|end|>"),
        pad: id("<pad>"),
        merges: merges.iter().map(|&merge| merge.to_owned()).collect(),
        token_types,
        tokens,
        ..GgufVocabulary::default()
    }
}

/// Shared by all tests, which also shows that a tokenizer may be.
pub fn byte_level() -> &'static Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> =
        LazyLock::new(|| Tokenizer::from_gguf(byte_level_vocabulary()).unwrap());
    &TOKENIZER
}

/// A file in the manner of Llama 2: bytes 3..=258, then characters and merges.
pub fn sentencepiece_json() -> Value {
    let mut vocab = serde_json::Map::new();
    let mut add = |token: String| {
        let id = vocab.len();
        vocab.entry(token).or_insert(json!(id));
    };
    for token in ["<unk>", "<s>", "</s>"] {
        add(token.to_owned());
    }
    for byte in 0..=255 {
        add(format!("<0x{byte:02X}>"));
    }
    for token in [
        "▁", "h", "e", "l", "o", "w", "r", "d", "/", "s", ">", "<", "he", "ll", "hell", "hello",
        "▁hello", "</", "s>",
    ] {
        add(token.to_owned());
    }
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocab,
            "merges": ["h e", "l l", ["he", "ll"], "hell o", "▁ hello", "< /", "s >", "</ s>"]},
    })
}

/// An added control token.
pub fn added(id: u32, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true})
}

pub fn load(file: &Value) -> tokenmill_text::Result<Tokenizer> {
    Tokenizer::from_json(&serde_json::to_vec(file).unwrap(), None)
}

pub fn sentencepiece() -> &'static Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| load(&sentencepiece_json()).unwrap());
    &TOKENIZER
}
