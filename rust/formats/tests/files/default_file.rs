//! The default model's file, where the environment names it (`TOKENMILL_TEST_GGUF`).

use std::path::PathBuf;

use tokenmill_formats::{Checkpoint, Config, Encoding, blocks};

/// The file, or `None` where the environment names none.
fn file() -> Option<PathBuf> {
    std::env::var_os("TOKENMILL_TEST_GGUF").map(PathBuf::from)
}

fn floats(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let tensor = checkpoint.tensor(name).unwrap();
    let (mut bytes, mut out) = (Vec::new(), vec![0.0; tensor.elements()]);
    checkpoint.read(name, &mut bytes).unwrap();
    blocks::dequantize(tensor.encoding, &bytes, &mut out).unwrap();
    out
}

#[test]
fn the_default_file_holds_what_its_page_says() {
    let Some(path) = file() else { return };
    let checkpoint = Checkpoint::open(&path).unwrap();
    let Config::Gguf(metadata) = checkpoint.config() else {
        panic!("not a GGUF config")
    };
    assert_eq!((metadata.version(), metadata.len()), (3, 33));
    let tensors: Vec<_> = checkpoint.tensors().collect();
    assert_eq!(tensors.len(), 272);
    assert_eq!(
        tensors
            .iter()
            .map(|tensor| tensor.elements())
            .sum::<usize>(),
        134_515_008
    );
    let count = |encoding| {
        tensors
            .iter()
            .filter(|tensor| tensor.encoding == encoding)
            .count()
    };
    assert_eq!(
        (
            count(Encoding::Q4_1),
            count(Encoding::Q8_0),
            count(Encoding::F32)
        ),
        (210, 1, 61)
    );
    assert_eq!(
        checkpoint.tensor("token_embd.weight").unwrap().shape,
        [49_152, 576]
    );
    assert_eq!(
        checkpoint.tensor("blk.0.ffn_gate.weight").unwrap().shape,
        [1536, 576]
    );
    assert_eq!(metadata.u64("llama.attention.head_count_kv").unwrap(), 3);
    assert_eq!(
        metadata
            .f32("llama.attention.layer_norm_rms_epsilon")
            .unwrap(),
        1e-5
    );
    assert_eq!(metadata.f32("llama.rope.freq_base").unwrap(), 1e5);
    assert_eq!(metadata.string("tokenizer.ggml.pre").unwrap(), "smollm");
    assert_eq!(
        metadata
            .string_array("tokenizer.ggml.tokens")
            .unwrap()
            .len(),
        49_152
    );
    assert_eq!(
        metadata
            .i32_array("tokenizer.ggml.token_type")
            .unwrap()
            .len(),
        49_152
    );
    assert_eq!(
        metadata
            .string_array("tokenizer.ggml.merges")
            .unwrap()
            .len(),
        48_900
    );
}

#[test]
fn the_default_file_decodes_to_known_values() {
    let Some(path) = file() else { return };
    let checkpoint = Checkpoint::open(&path).unwrap();
    let name = "blk.0.attn_q.weight";
    let mut bytes = Vec::new();
    checkpoint.read_range(name, 0, 8, &mut bytes).unwrap();
    assert_eq!(bytes, [0x0f, 0x30, 0xd8, 0xb9, 0x45, 0x87, 0x65, 0x40]);
    let values = floats(&checkpoint, name);
    assert_eq!(values[..3], [-0.096_313_48, 0.157_348_63, -0.096_313_48]);
    assert_eq!(
        values[2 * 576..2 * 576 + 3],
        [-0.159_179_69, 0.397_949_22, -0.019_897_461]
    );
    let sum: f64 = values.iter().copied().map(f64::from).sum();
    assert!((sum - 59.223221).abs() < 5e-7, "{sum}");
}
