//! A `tokenizer.json`: a tokenizer that encodes and decodes, or a refusal. Streamed text is whole text.

use tokenmill_core::{HasKind, Kind};
use tokenmill_text::{Detokenizer, Encode, Tokenizer, decode};

const TEXTS: [&str; 3] = [
    "hello world 123",
    " \n\u{e9}\u{4f60}\u{1f600}<s>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
];

/// Loads, encodes, decodes.
pub fn run(data: &[u8]) {
    let tokenizer = match Tokenizer::from_json(data, None) {
        Ok(tokenizer) => tokenizer,
        Err(error) => {
            let kind = error.kind();
            assert!(
                matches!(kind, Kind::Corrupt | Kind::Unsupported),
                "{kind:?}: {error}"
            );
            return;
        }
    };
    for (index, text) in TEXTS.iter().enumerate() {
        let how = Encode {
            add_bos: index == 0,
            allow_control: index == 1,
        };
        let Ok(ids) = tokenizer.encode(text, how) else {
            continue;
        };
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_len()));
        let mut streamed = String::new();
        let mut detokenizer = Detokenizer::new(false);
        for &id in &ids {
            detokenizer.push(&tokenizer, id, &mut streamed);
        }
        detokenizer.finish(&mut streamed);
        assert_eq!(streamed, decode(&tokenizer, &ids, false));
    }
}
