//! What is under test: a model in a number format on a backend. Tiny random Llamas in every format, and the
//! default model where its file is named by `TOKENMILL_TEST_GGUF`.

use tokenmill_cpu::CpuBackend;
use tokenmill_formats::{Checkpoint, Config, Encoding};
use tokenmill_model::{Activations, Backend, ComputeDtype, KvFormat};
use tokenmill_reference::ReferenceBackend;
use tokenmill_sim::SimBackend;

/// How weights are stored and met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Sim,
    Reference,
    F32,
    Bf16,
    FourBit,
}

impl Form {
    pub const REAL: [Self; 3] = [Self::F32, Self::Bf16, Self::FourBit];

    pub fn backend(self) -> Box<dyn Backend> {
        match self {
            Self::Sim => Box::new(SimBackend::default()),
            Self::Reference => Box::new(ReferenceBackend::default()),
            _ => Box::new(CpuBackend::new().expect("a level")),
        }
    }

    pub fn arithmetic(self) -> (ComputeDtype, Activations, KvFormat) {
        match self {
            Self::Sim | Self::Reference | Self::F32 => {
                (ComputeDtype::Float32, Activations::Exact, KvFormat::F32)
            }
            Self::Bf16 => (ComputeDtype::Bfloat16, Activations::Auto, KvFormat::Bf16),
            Self::FourBit => (ComputeDtype::Auto, Activations::Int8, KvFormat::Bf16),
        }
    }

    fn encoding(self) -> Encoding {
        match self {
            Self::Sim | Self::Reference | Self::F32 => Encoding::F32,
            Self::Bf16 => Encoding::Bf16,
            Self::FourBit => Encoding::Q4_1,
        }
    }
}

/// Sizes of the tiny model: odd where that is allowed, so that tails are met.
const VOCAB: usize = 203;
const HIDDEN: usize = 96;
const INNER: usize = 160;
const HEADS: usize = 6;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 16;
const LAYERS: usize = 3;

struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [-scale, scale).
    fn float(&mut self, scale: f32) -> f32 {
        ((self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * scale
    }
}

fn tensor(words: &mut Words, encoding: Encoding, elements: usize, scale: f32) -> Vec<u8> {
    match encoding {
        Encoding::F32 => (0..elements)
            .flat_map(|_| words.float(scale).to_le_bytes())
            .collect(),
        // The upper half of an f32 is a bf16.
        Encoding::Bf16 => (0..elements)
            .flat_map(|_| ((words.float(scale).to_bits() >> 16) as u16).to_le_bytes())
            .collect(),
        Encoding::Q4_1 => (0..elements / 32)
            .flat_map(|_| q4_1_block(words, scale))
            .collect(),
        other => panic!("no tiny model in {other:?}"),
    }
}

/// f16 scale, f16 minimum, 16 bytes of codes: values in [-scale, scale].
fn q4_1_block(words: &mut Words, scale: f32) -> Vec<u8> {
    let step = half_bits(scale * (0.8 + words.float(0.2)) / 7.5);
    let least = half_bits(-scale * (0.8 + words.float(0.2)));
    let mut block = [step.to_le_bytes(), least.to_le_bytes()].concat();
    block.extend(words.next().to_le_bytes());
    block.extend(words.next().to_le_bytes());
    block
}

/// f16 bits of a normal number, truncated.
fn half_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let exponent = ((bits >> 23) & 0xff) as i32 - 127 + 15;
    assert!((1..31).contains(&exponent), "{value} is no normal f16");
    ((bits >> 16) & 0x8000) as u16 | (exponent as u16) << 10 | ((bits >> 13) & 0x3ff) as u16
}

/// A tiny random Llama.
pub fn tiny(form: Form) -> Checkpoint {
    drawn(form, 7, LAYERS)
}

/// Another one over the same tokens, with fewer layers.
pub fn amateur(form: Form) -> Checkpoint {
    drawn(form, 8, LAYERS - 1)
}

fn drawn(form: Form, seed: u64, layers: usize) -> Checkpoint {
    let mut words = Words(seed);
    let mut tensors = Vec::new();
    let mut add = |name: String, encoding: Encoding, shape: Vec<usize>, scale: f32| {
        let bytes = tensor(&mut words, encoding, shape.iter().product(), scale);
        tensors.push((name, encoding, shape, bytes));
    };
    let encoding = form.encoding();
    add(
        "model.embed_tokens.weight".into(),
        encoding,
        vec![VOCAB, HIDDEN],
        1.0,
    );
    for layer in 0..layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        for (part, outputs, inputs) in [
            ("self_attn.q_proj", HEADS * HEAD_DIM, HIDDEN),
            ("self_attn.k_proj", KV_HEADS * HEAD_DIM, HIDDEN),
            ("self_attn.v_proj", KV_HEADS * HEAD_DIM, HIDDEN),
            ("self_attn.o_proj", HIDDEN, HEADS * HEAD_DIM),
            ("mlp.gate_proj", INNER, HIDDEN),
            ("mlp.up_proj", INNER, HIDDEN),
            ("mlp.down_proj", HIDDEN, INNER),
        ] {
            add(name(part), encoding, vec![outputs, inputs], 0.25);
        }
        add(name("input_layernorm"), Encoding::F32, vec![HIDDEN], 1.0);
        add(
            name("post_attention_layernorm"),
            Encoding::F32,
            vec![HIDDEN],
            1.0,
        );
    }
    add("model.norm.weight".into(), Encoding::F32, vec![HIDDEN], 1.0);
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB, "hidden_size": HIDDEN,
        "intermediate_size": INNER, "num_hidden_layers": layers, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "max_position_embeddings": 2048, "tie_word_embeddings": true, "hidden_act": "silu",
    });
    let config = Config::Json {
        config: config.as_object().expect("an object").clone(),
        generation: None,
    };
    Checkpoint::from_memory(config, tensors).expect("a tiny model")
}
