//! A whole GGUF file: header, then what is made of its metadata: a program, a tokenizer, a template.

use tokenmill_core::option::EngineOptions;
use tokenmill_core::{HasKind, Kind};
use tokenmill_engine::Voice;
use tokenmill_formats::{Checkpoint, Config, HeaderLimits, gguf};

/// Parses, and reads on as loading does.
pub fn run(data: &[u8]) {
    let (metadata, tensors) = match gguf::parse("fuzz.gguf", data, &HeaderLimits::default()) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert!(matches!(error.kind(), Kind::Corrupt | Kind::Unsupported));
            assert!(error.to_string().len() <= 1024, "a message of a page");
            return;
        }
    };
    let bytes: u64 = tensors
        .iter()
        .map(tokenmill_formats::TensorInfo::len_bytes)
        .sum();
    assert!(
        bytes <= data.len() as u64,
        "tensors hold more than their file"
    );
    for tensor in &tensors {
        let needed = tensor.encoding.tensor_bytes(&tensor.shape);
        assert_eq!(needed, Some(tensor.len_bytes() as usize));
    }
    let checkpoint =
        Checkpoint::from_memory(Config::Gguf(metadata), Vec::new()).expect("no tensors");
    if let Err(error) = tokenmill_model::build(&checkpoint) {
        super::config_json::check(&error.to_string(), error.kind());
    }
    match Voice::read(&checkpoint, &EngineOptions::default()) {
        Err(error) => super::config_json::check(&error.to_string(), error.kind()),
        Ok(voice) if voice.lexicon.has_tokenizer() => {
            // Refused or encoded: either is right.
            if let Ok(tokens) = voice.lexicon.encode("a b\u{e9} 12\n", true, false) {
                let _ = voice.lexicon.decode(&tokens, false);
            }
        }
        Ok(_) => {}
    }
}
