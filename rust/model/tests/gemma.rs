//! What Gemma's GGUF files leave out: whose root divides the scores.

mod support;

use support::{gguf_checkpoint, gguf_tensors, metadata};
use tokenmill_formats::gguf;
use tokenmill_model::ModelConfig;

/// The multiplier of the scores in a file of this architecture with so many layers; heads of 4, hidden / heads 2.
fn attention(architecture: &str, layers: u32) -> f32 {
    let mut pairs: Vec<(&'static str, gguf::Value)> = metadata()
        .into_iter()
        .map(|(key, value)| {
            let key: &'static str = key.replace("llama.", &format!("{architecture}.")).leak();
            (key, value)
        })
        .collect();
    let mut set = |name: &str, value| {
        let key: &'static str = match name {
            "general.architecture" => "general.architecture",
            _ => format!("{architecture}.{name}").leak(),
        };
        pairs.retain(|(known, _)| *known != key);
        pairs.push((key, value));
    };
    set(
        "general.architecture",
        gguf::Value::String(architecture.into()),
    );
    set("block_count", gguf::Value::U32(layers));
    set("attention.key_length", gguf::Value::U32(4));
    set("attention.value_length", gguf::Value::U32(4));
    set("rope.dimension_count", gguf::Value::U32(4));
    let config = ModelConfig::read(&gguf_checkpoint(pairs, gguf_tensors()));
    config.expect("sound metadata").factors.attention
}

#[test]
fn the_27b_models_divide_by_the_root_of_hidden_over_heads() {
    let (of_head, of_share) = (1.0 / 4f32.sqrt(), 1.0 / 2f32.sqrt());
    for (architecture, wide) in [("gemma2", 46), ("gemma3", 62)] {
        assert_eq!(attention(architecture, wide), of_share, "{architecture}");
        assert_eq!(attention(architecture, 2), of_head, "{architecture}");
    }
}
