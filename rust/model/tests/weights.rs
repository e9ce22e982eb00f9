//! Weights against headers (reliability case 89), and the moves of rows between a file's order and ours.

mod support;

use support::{
    Header, config, f32, gguf_checkpoint, gguf_tensors, json_checkpoint, metadata, tensors,
};
use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::{Checkpoint, Config, Encoding};
use tokenmill_model::{
    ModelShape, Program, RowOrder, RowSlice, WeightId, WeightSpec, Weights, build,
};

fn problems(tensors: Vec<Header>) -> String {
    let checkpoint = json_checkpoint(config(), tensors);
    let program = build(&checkpoint).expect("a llama");
    match Weights::new(&program, &checkpoint) {
        Ok(_) => String::new(),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Corrupt);
            error.to_string()
        }
    }
}

#[test]
fn a_complete_checkpoint_has_no_problems() {
    assert_eq!(problems(tensors()), "");
    let checkpoint = gguf_checkpoint(metadata(), gguf_tensors());
    let program = build(&checkpoint).expect("a llama");
    Weights::new(&program, &checkpoint).expect("all there");
}

#[test]
fn missing_misshapen_and_unexpected_tensors_are_listed_together() {
    let mut tensors = tensors();
    tensors.retain(|(name, _, _)| name != "model.norm.weight");
    for (name, encoding, shape) in &mut tensors {
        if name.ends_with("1.mlp.down_proj.weight") {
            *shape = vec![12, 8];
        }
        if name.ends_with("0.self_attn.v_proj.weight") {
            *encoding = Encoding::I32;
        }
    }
    tensors.push(f32("model.layers.2.mlp.up_proj.weight", &[12, 8]));
    let text = problems(tensors);
    for words in [
        "missing model.norm.weight",
        "model.layers.1.mlp.down_proj.weight is [12, 8], expected [8, 12]",
        "model.layers.0.self_attn.v_proj.weight is I32, expected floats",
        "unexpected model.layers.2.mlp.up_proj.weight",
    ] {
        assert!(text.contains(words), "{text:?} lacks {words:?}");
    }
}

#[test]
fn a_bias_that_the_config_does_not_announce_is_unexpected() {
    let mut tensors = tensors();
    tensors.push(f32("model.layers.0.self_attn.q_proj.bias", &[8]));
    assert!(problems(tensors).contains("unexpected model.layers.0.self_attn.q_proj.bias"));
}

#[test]
fn more_than_ten_problems_are_counted() {
    let text = problems(vec![f32("model.embed_tokens.weight", &[10, 8])]);
    assert_eq!(text.matches("missing").count(), 10);
    assert!(text.ends_with("and 10 more"), "{text}");
}

#[test]
fn buffers_and_a_repeated_head_are_no_problem() {
    let mut tensors = tensors();
    tensors.push(f32("model.layers.0.self_attn.rotary_emb.inv_freq", &[1]));
    assert_eq!(problems(tensors.clone()), "");
    let mut tied = config();
    tied.insert("tie_word_embeddings".into(), true.into());
    let checkpoint = json_checkpoint(tied, tensors);
    let program = build(&checkpoint).expect("a llama");
    assert!(
        program
            .weights
            .iter()
            .all(|spec| spec.name != "lm_head.weight")
    );
    Weights::new(&program, &checkpoint).expect("the head repeats the embedding");
}

/// One weight of a file whose element at (row, column) is 100 * row + column.
fn read(spec: &WeightSpec, file: [usize; 2]) -> Result<Vec<f32>, String> {
    let elements =
        (0..file[0]).flat_map(|row| (0..file[1]).map(move |at| 100.0 * row as f32 + at as f32));
    let bytes = elements.flat_map(f32::to_le_bytes).collect();
    let shape = if spec.shape.len() == 1 {
        vec![file[0]]
    } else {
        file.to_vec()
    };
    read_from(spec, (spec.name.clone(), Encoding::F32, shape, bytes))
}

fn read_from(
    spec: &WeightSpec,
    tensor: (String, Encoding, Vec<usize>, Vec<u8>),
) -> Result<Vec<f32>, String> {
    let config = Config::Json {
        config: config(),
        generation: None,
    };
    let checkpoint = Checkpoint::from_memory(config, vec![tensor]).expect("headers agree");
    let program = Program {
        architecture: "test",
        shape: ModelShape {
            vocab_len: 1,
            hidden: 1,
            context_len: 1,
            kv: Vec::new(),
        },
        regs: Vec::new(),
        weights: vec![spec.clone()],
        ropes: Vec::new(),
        ops: Vec::new(),
    };
    let weights = Weights::new(&program, &checkpoint).map_err(|error| error.to_string())?;
    let tensor = weights.tensor(WeightId(0)).expect("reads");
    assert_eq!(tensor.shape, spec.shape);
    assert_eq!(
        tensor.bytes.len() as u64,
        weights.len_bytes(WeightId(0)).expect("is there")
    );
    Ok(tensor.to_f32().expect("decodes"))
}

fn spec(shape: &[usize]) -> WeightSpec {
    WeightSpec {
        name: "w".to_owned(),
        shape: shape.to_vec(),
        rows: None,
        order: RowOrder::Plain,
        is_transposed: false,
    }
}

#[test]
fn paired_rows_come_back_as_halves() {
    let paired = WeightSpec {
        order: RowOrder::RopePairs { head_dim: 4 },
        ..spec(&[8, 1])
    };
    let rows = [0.0, 200.0, 100.0, 300.0, 400.0, 600.0, 500.0, 700.0];
    assert_eq!(read(&paired, [8, 1]).expect("fits"), rows);
    let bias = WeightSpec {
        shape: vec![8],
        ..paired
    };
    assert_eq!(read(&bias, [8, 1]).expect("fits"), rows);
}

#[test]
fn a_slice_takes_its_rows_of_a_fused_tensor() {
    let slice = |start, len, stride, repeat| WeightSpec {
        rows: Some(RowSlice {
            start,
            len,
            stride,
            repeat,
            total: 6,
        }),
        ..spec(&[len * repeat, 1])
    };
    assert_eq!(
        read(&slice(2, 2, 2, 1), [6, 1]).expect("fits"),
        [200.0, 300.0]
    );
    assert_eq!(
        read(&slice(1, 1, 3, 2), [6, 1]).expect("fits"),
        [100.0, 400.0]
    );
    for rows in [5, 7] {
        let error = read(&slice(1, 1, 3, 2), [rows, 1]).expect_err("another number of rows");
        let words = format!("w is [{rows}, 1], expected [6, 1]");
        assert!(error.contains(&words), "{error}");
    }
}

#[test]
fn slices_count_rows_through_stacked_experts() {
    let expert = WeightSpec {
        rows: Some(RowSlice {
            start: 4,
            len: 2,
            stride: 2,
            repeat: 1,
            total: 6,
        }),
        ..spec(&[2, 1])
    };
    let bytes: Vec<u8> = (0..6).flat_map(|row| (row as f32).to_le_bytes()).collect();
    let stack = |shape: &[usize]| {
        let bytes = bytes[..4 * shape.iter().product::<usize>()].to_vec();
        read_from(
            &expert,
            ("w".to_owned(), Encoding::F32, shape.to_vec(), bytes),
        )
    };
    assert_eq!(stack(&[3, 2, 1]).expect("fits"), [4.0, 5.0]);
    for shape in [[2, 3, 1], [2, 2, 1], [3, 1, 2], [6, 1, 1]] {
        let error = stack(&shape).expect_err("another stack");
        assert!(error.contains("expected [6, 1]"), "{error}");
    }
}

#[test]
fn a_transposed_tensor_is_turned_and_then_sliced() {
    let turned = WeightSpec {
        is_transposed: true,
        ..spec(&[3, 2])
    };
    let expected = [0.0, 100.0, 1.0, 101.0, 2.0, 102.0];
    assert_eq!(read(&turned, [2, 3]).expect("fits"), expected);
    let sliced = WeightSpec {
        rows: Some(RowSlice {
            start: 1,
            len: 2,
            stride: 2,
            repeat: 1,
            total: 3,
        }),
        shape: vec![2, 2],
        ..turned
    };
    assert_eq!(read(&sliced, [2, 3]).expect("fits"), expected[2..]);
}

#[test]
fn quantised_rows_move_whole_and_never_apart() {
    let row = |scale: f32, code: i8| {
        let mut bytes = half_bits(scale).to_le_bytes().to_vec();
        bytes.extend([code as u8; 32]);
        bytes
    };
    let bytes: Vec<u8> = (0..4).flat_map(|index| row(1.0, index)).collect();
    let paired = WeightSpec {
        order: RowOrder::RopePairs { head_dim: 4 },
        ..spec(&[4, 32])
    };
    let tensor = ("w".to_owned(), Encoding::Q8_0, vec![4, 32], bytes);
    let got = read_from(&paired, tensor.clone()).expect("fits");
    let firsts: Vec<f32> = got.chunks(32).map(|row| row[0]).collect();
    assert_eq!(firsts, [0.0, 2.0, 1.0, 3.0]);
    let turned = WeightSpec {
        is_transposed: true,
        order: RowOrder::Plain,
        shape: vec![32, 4],
        ..paired
    };
    let error = read_from(&turned, tensor).expect_err("blocks cannot be turned");
    assert!(
        error.contains("w is Q8_0, expected plain floats"),
        "{error}"
    );
}

/// Bits of a half-precision 1, all that the test needs.
fn half_bits(value: f32) -> u16 {
    assert_eq!(value, 1.0);
    0x3C00
}
