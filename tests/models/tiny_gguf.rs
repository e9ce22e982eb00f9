// A whole model in a file of 0.4 MB, made here: two Llama layers of noise over the 256 bytes. It computes like a
// real one and means nothing, so examples and tests of the crate run where no model was fetched.
// Targets include this text, hence no inner doc comment.

const VOCAB: u64 = 258;
const HIDDEN: u64 = 64;
const INNER: u64 = 128;
const KV: u64 = 32;
const LAYERS: usize = 2;
/// The end of a text; the token before it is a control token as well.
const END: u32 = 257;
// GGUF's numbers of value types.
const U32: u32 = 4;
const F32: u32 = 6;
const I32: u32 = 5;
const TEXT: u32 = 8;
const LIST: u32 = 9;

/// The bytes of the file.
pub fn gguf() -> Vec<u8> {
    let keys = keys();
    let tensors = tensors();
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((keys.len() as u64).to_le_bytes());
    out.extend(keys.concat());
    let mut data = Vec::new();
    for (index, (name, dims)) in tensors.iter().enumerate() {
        out.extend(text(name));
        out.extend((dims.len() as u32).to_le_bytes());
        out.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
        out.extend(0u32.to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        let count: u64 = dims.iter().product();
        // Norms scale by about 1, matrices keep the size of what they multiply.
        let (middle, spread) = match dims[..] {
            [_] => (1.0, 0.1),
            [inputs, ..] => (0.0, 2.0 / (inputs as f32).sqrt()),
            [] => unreachable!("no tensor without dimensions"),
        };
        data.extend((0..count).flat_map(|at| {
            let noise = noise((index as u64) << 32 | at);
            (middle + spread * noise).to_le_bytes()
        }));
        data.resize(data.len().next_multiple_of(32), 0);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(data);
    out
}

fn tensors() -> Vec<(String, Vec<u64>)> {
    let mut all = vec![
        ("token_embd.weight".to_owned(), vec![HIDDEN, VOCAB]),
        ("output_norm.weight".to_owned(), vec![HIDDEN]),
        ("output.weight".to_owned(), vec![HIDDEN, VOCAB]),
    ];
    let of_layer: [(&str, &[u64]); 9] = [
        ("attn_norm", &[HIDDEN]),
        ("attn_q", &[HIDDEN, HIDDEN]),
        ("attn_k", &[HIDDEN, KV]),
        ("attn_v", &[HIDDEN, KV]),
        ("attn_output", &[HIDDEN, HIDDEN]),
        ("ffn_norm", &[HIDDEN]),
        ("ffn_gate", &[HIDDEN, INNER]),
        ("ffn_up", &[HIDDEN, INNER]),
        ("ffn_down", &[INNER, HIDDEN]),
    ];
    for layer in 0..LAYERS {
        for (name, dims) in of_layer {
            all.push((format!("blk.{layer}.{name}.weight"), dims.to_vec()));
        }
    }
    all
}

fn keys() -> Vec<Vec<u8>> {
    let number = |name: &str, value: u32| key(name, U32, &value.to_le_bytes());
    let mut kinds: Vec<u8> = (0..256).flat_map(|_| 1i32.to_le_bytes()).collect();
    kinds.extend((0..2).flat_map(|_| 3i32.to_le_bytes()));
    vec![
        key("general.architecture", TEXT, &text("llama")),
        number("llama.context_length", 4096),
        number("llama.embedding_length", HIDDEN as u32),
        number("llama.feed_forward_length", INNER as u32),
        number("llama.block_count", LAYERS as u32),
        number("llama.attention.head_count", 4),
        number("llama.attention.head_count_kv", 2),
        key(
            "llama.attention.layer_norm_rms_epsilon",
            F32,
            &1e-5f32.to_le_bytes(),
        ),
        key("tokenizer.ggml.model", TEXT, &text("gpt2")),
        key("tokenizer.ggml.pre", TEXT, &text("gpt-2")),
        key("tokenizer.ggml.tokens", LIST, &list(TEXT, VOCAB, &tokens())),
        key("tokenizer.ggml.token_type", LIST, &list(I32, VOCAB, &kinds)),
        key("tokenizer.ggml.merges", LIST, &list(TEXT, 0, &[])),
        number("tokenizer.ggml.eos_token_id", END),
        key(
            "tokenizer.chat_template",
            TEXT,
            &text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"),
        ),
    ]
}

/// The 256 bytes, each as the printable letter that byte-level vocabularies give it, and two control tokens.
fn tokens() -> Vec<u8> {
    let is_printed = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut others = 256..;
    let letters = (0..=255u8).map(|byte| {
        let code = if is_printed(byte) {
            u32::from(byte)
        } else {
            others.next().expect("more letters")
        };
        text(char::from_u32(code).expect("a letter").to_string())
    });
    let control = ["<|begin|>", "<|end|>"].map(text);
    letters.chain(control).flatten().collect()
}

fn key(name: &str, value_type: u32, value: &[u8]) -> Vec<u8> {
    [text(name).as_slice(), &value_type.to_le_bytes(), value].concat()
}

fn text(text: impl AsRef<str>) -> Vec<u8> {
    let text = text.as_ref().as_bytes();
    [(text.len() as u64).to_le_bytes().as_slice(), text].concat()
}

fn list(element_type: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [
        element_type.to_le_bytes().as_slice(),
        &count.to_le_bytes(),
        elements,
    ]
    .concat()
}

/// A number in -1..1 that depends on `at` alone.
fn noise(at: u64) -> f32 {
    let mut word = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^= word >> 31;
    (word >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}
