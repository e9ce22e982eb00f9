//! Checkpoints in memory for the tests of this crate: a config.json or GGUF metadata, and tensors by shape.

#![allow(dead_code)] // each test file uses its own part

use serde_json::{Map, Value, json};
use tokenmill_formats::{Checkpoint, Config, Encoding, gguf};

/// A tensor of zeros: name, encoding, shape.
pub type Header = (String, Encoding, Vec<usize>);

/// The tensors of a tiny model in Hugging Face names: 2 layers, hidden 8, 4 heads of 2, 2 KV heads, MLP 12,
/// vocabulary 10.
pub fn tensors() -> Vec<Header> {
    let mut tensors = vec![f32("model.embed_tokens.weight", &[10, 8])];
    for layer in 0..2 {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        tensors.push(f32(&name("input_layernorm"), &[8]));
        tensors.push(f32(&name("self_attn.q_proj"), &[8, 8]));
        tensors.push(f32(&name("self_attn.k_proj"), &[4, 8]));
        tensors.push(f32(&name("self_attn.v_proj"), &[4, 8]));
        tensors.push(f32(&name("self_attn.o_proj"), &[8, 8]));
        tensors.push(f32(&name("post_attention_layernorm"), &[8]));
        tensors.push(f32(&name("mlp.gate_proj"), &[12, 8]));
        tensors.push(f32(&name("mlp.up_proj"), &[12, 8]));
        tensors.push(f32(&name("mlp.down_proj"), &[8, 12]));
    }
    tensors.push(f32("model.norm.weight", &[8]));
    tensors.push(f32("lm_head.weight", &[10, 8]));
    tensors
}

/// An f32 header.
pub fn f32(name: &str, shape: &[usize]) -> Header {
    (name.to_owned(), Encoding::F32, shape.to_vec())
}

/// The config.json of `tensors`.
pub fn config() -> Map<String, Value> {
    let Value::Object(config) = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 10,
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": false,
    }) else {
        unreachable!("an object was written")
    };
    config
}

/// The metadata of the same model as a GGUF file.
pub fn metadata() -> Vec<(&'static str, gguf::Value)> {
    vec![
        ("general.architecture", gguf::Value::String("llama".into())),
        ("llama.context_length", gguf::Value::U32(64)),
        ("llama.embedding_length", gguf::Value::U32(8)),
        ("llama.block_count", gguf::Value::U32(2)),
        ("llama.feed_forward_length", gguf::Value::U32(12)),
        ("llama.attention.head_count", gguf::Value::U32(4)),
        ("llama.attention.head_count_kv", gguf::Value::U32(2)),
        (
            "llama.attention.layer_norm_rms_epsilon",
            gguf::Value::F32(1e-5),
        ),
    ]
}

/// The tensors of the same model in GGUF names; the head is tied.
pub fn gguf_tensors() -> Vec<Header> {
    let mut tensors = vec![f32("token_embd.weight", &[10, 8])];
    for layer in 0..2 {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        tensors.push(f32(&name("attn_norm"), &[8]));
        tensors.push(f32(&name("attn_q"), &[8, 8]));
        tensors.push(f32(&name("attn_k"), &[4, 8]));
        tensors.push(f32(&name("attn_v"), &[4, 8]));
        tensors.push(f32(&name("attn_output"), &[8, 8]));
        tensors.push(f32(&name("ffn_norm"), &[8]));
        tensors.push(f32(&name("ffn_gate"), &[12, 8]));
        tensors.push(f32(&name("ffn_up"), &[12, 8]));
        tensors.push(f32(&name("ffn_down"), &[8, 12]));
    }
    tensors.push(f32("output_norm.weight", &[8]));
    tensors
}

/// A checkpoint of zeros with a config.json.
pub fn json_checkpoint(config: Map<String, Value>, tensors: Vec<Header>) -> Checkpoint {
    let config = Config::Json {
        config,
        generation: None,
    };
    checkpoint(config, tensors)
}

/// A checkpoint of zeros with GGUF metadata.
pub fn gguf_checkpoint(
    pairs: Vec<(&'static str, gguf::Value)>,
    tensors: Vec<Header>,
) -> Checkpoint {
    let mut metadata = gguf::Metadata::new("test.gguf", 3);
    for (key, value) in pairs {
        metadata.insert(key, value).expect("keys differ");
    }
    checkpoint(Config::Gguf(metadata), tensors)
}

fn checkpoint(config: Config, tensors: Vec<Header>) -> Checkpoint {
    let tensors = tensors.into_iter().map(|(name, encoding, shape)| {
        let bytes = encoding.tensor_bytes(&shape).expect("whole blocks");
        (name, encoding, shape, vec![0; bytes])
    });
    Checkpoint::from_memory(config, tensors.collect()).expect("headers agree")
}
