//! A `config.json` of any architecture: a program, or a refusal that says what was wrong.

use serde_json::Value;
use tokenmill_core::option::EngineOptions;
use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::{Checkpoint, Config, parse_json};

/// Reads the configuration and writes the program.
pub fn run(data: &[u8]) {
    let config = match parse_json("config.json", data) {
        Ok(Value::Object(config)) => config,
        Ok(_) => return,
        Err(error) => return check(&error.to_string(), error.kind()),
    };
    // The same text as generation config: what end tokens and defaults are read from.
    let generation = Some(config.clone());
    let config = Config::Json { config, generation };
    let checkpoint = Checkpoint::from_memory(config, Vec::new()).expect("no tensors");
    match tokenmill_model::build(&checkpoint) {
        Err(error) => check(&error.to_string(), error.kind()),
        Ok(program) => {
            assert!(program.shape.vocab_len > 0 && !program.ops.is_empty());
            for rope in &program.ropes {
                assert!(rope.inv_freq.iter().all(|frequency| frequency.is_finite()));
            }
        }
    }
    let voice = tokenmill_engine::Voice::read(&checkpoint, &EngineOptions::default());
    if let Err(error) = voice {
        check(&error.to_string(), error.kind());
    }
}

/// A refusal is the file's fault, and fits a line.
pub fn check(message: &str, kind: Kind) {
    assert!(
        matches!(kind, Kind::Corrupt | Kind::Unsupported),
        "{kind:?}: {message}"
    );
    assert!(message.len() <= 4096, "a message of a page: {message:.200}");
}
