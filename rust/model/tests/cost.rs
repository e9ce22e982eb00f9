//! Costs against the printed tables and fixtures of the specification, and against other closed forms.

mod support;

use serde_json::json;
use tokenmill_formats::Encoding;
use tokenmill_model::cost::{
    OpCost, SpanShape, StepShape, WeightBytes, step_cost, touched_experts,
};
use tokenmill_model::{
    Activation, Affine, Mlp, ModelConfig, ModelShape, Moe, Op, Program, Reg, RowOrder, WeightId,
    WeightSpec,
};

/// Sizes of a model, as its config.json has them.
struct Sizes {
    class: &'static str,
    layers: usize,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    inner: usize,
    vocab: usize,
    is_tied: bool,
}

const LLAMA_7B: Sizes = Sizes {
    class: "LlamaForCausalLM",
    layers: 32,
    hidden: 4096,
    heads: 32,
    kv_heads: 32,
    head_dim: 128,
    inner: 11008,
    vocab: 32000,
    is_tied: false,
};
const LLAMA_3_8B: Sizes = Sizes {
    kv_heads: 8,
    inner: 14336,
    vocab: 128_256,
    ..LLAMA_7B
};
const QWEN3_06B: Sizes = Sizes {
    class: "Qwen3ForCausalLM",
    layers: 28,
    hidden: 1024,
    heads: 16,
    kv_heads: 8,
    head_dim: 128,
    inner: 3072,
    vocab: 151_936,
    is_tied: true,
};
const SMOLLM2: Sizes = Sizes {
    class: "LlamaForCausalLM",
    layers: 30,
    hidden: 576,
    heads: 9,
    kv_heads: 3,
    head_dim: 64,
    inner: 1536,
    vocab: 49152,
    is_tied: true,
};

/// The program of these sizes; no weight exists.
fn program(sizes: &Sizes) -> Program {
    let config = json!({
        "architectures": [sizes.class],
        "vocab_size": sizes.vocab,
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.inner,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_dim,
        "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": sizes.is_tied,
    });
    let config = config.as_object().expect("an object").clone();
    let checkpoint = support::json_checkpoint(config, Vec::new());
    ModelConfig::read(&checkpoint)
        .expect("sound sizes")
        .program()
}

fn shape(spans: Vec<SpanShape>, logits_rows: usize) -> StepShape {
    StepShape {
        spans,
        logits_rows,
        exit_rows: 0,
        kv_element_bytes: 2,
        activation_bytes: 2,
        is_square: false,
    }
}

/// One decode row for each of `sequences` at a context of `context` tokens, the row's own included.
fn decode(sequences: usize, context: usize) -> StepShape {
    let span = SpanShape {
        rows: 1,
        offset: context - 1,
    };
    shape(vec![span; sequences], sequences)
}

/// `sequences` prompts of `len` tokens, last rows with logits.
fn prefill(sequences: usize, len: usize) -> StepShape {
    let span = SpanShape {
        rows: len,
        offset: 0,
    };
    shape(vec![span; sequences], sequences)
}

fn sum(program: &Program, costs: &[OpCost], filter: impl Fn(&Op) -> bool) -> OpCost {
    let pairs = program.ops.iter().zip(costs);
    pairs
        .filter(|(op, _)| filter(op))
        .map(|(_, cost)| *cost)
        .sum()
}

fn is_product(op: &Op) -> bool {
    matches!(op, Op::Qkv(_) | Op::Linear(_) | Op::Mlp(_) | Op::Logits(_))
}

/// Whether a number is the printed one, to the digits printed.
#[track_caller]
fn assert_printed(got: f64, printed: f64, digits: i32) {
    let exponent = got.abs().log10().floor() as i32 - digits + 1;
    let unit = 10_f64.powi(exponent);
    let rounded = (got / unit).round() * unit;
    assert!(
        (rounded - printed).abs() < unit * 1e-6,
        "{got} is not {printed}"
    );
}

#[test]
fn llama_7b_prefill_is_the_table_of_the_specification() {
    let program = program(&LLAMA_7B);
    let weights = WeightBytes::uniform(&program, 2);
    let step = StepShape {
        is_square: true,
        ..prefill(8, 1024)
    };
    let costs = step_cost(&program, &weights, &step);
    let first = |filter: fn(&Op) -> bool| {
        let index = program.ops.iter().position(filter).expect("an operation");
        costs[index]
    };
    let qkv = first(|op| matches!(op, Op::Qkv(_)));
    assert_printed(qkv.matrix_flops as f64, 8.246e11, 4);
    assert_printed((qkv.flops - qkv.matrix_flops) as f64, 2.013e8, 4);
    assert_printed(qkv.bytes() as f64 / 2.0, 1.845e8, 4);
    assert_printed(qkv.matrix_flops as f64 / qkv.bytes() as f64, 2234.2, 5);
    let attention = first(|op| matches!(op, Op::Attention(_)));
    assert_printed(attention.flops as f64, 1.385e11, 4);
    assert_printed(attention.bytes() as f64 / 2.0, 1.342e8, 4);
    assert_printed(attention.intensity(), 516.0, 3);
    let out = first(|op| matches!(op, Op::Linear(_)));
    assert_printed(out.flops as f64, 2.749e11, 4);
    assert_printed(out.intensity(), 1638.4, 5);
    let mlp = first(|op| matches!(op, Op::Mlp(_)));
    let (s, h, f) = (8192, 4096, 11008);
    assert_printed((mlp.matrix_flops - 2 * s * h * f) as f64, 1.477e12, 4);
    assert_printed((mlp.matrix_flops - 4 * s * h * f) as f64, 7.387e11, 4);
    assert_printed((mlp.flops - mlp.matrix_flops) as f64, 1.804e8, 4);
    let gate_up = s * h + 2 * h * f + s * f;
    let down = s * f + h * f + s * h;
    assert_eq!(mlp.bytes(), 2 * (gate_up + down));
    let add = first(|op| matches!(op, Op::Add(_)));
    let norm = first(|op| matches!(op, Op::Norm(_)));
    assert_printed((add.flops + norm.flops) as f64, 1.678e8, 4);
    assert_printed((add.bytes() + norm.bytes()) as f64 / 2.0, 1.007e8, 4);
}

#[test]
fn llama_7b_as_a_whole_is_the_paragraph_of_the_specification() {
    let program = program(&LLAMA_7B);
    let weights = WeightBytes::uniform(&program, 2);
    assert_eq!(weights.total() / 2, 6_738_415_616);
    let step = StepShape {
        is_square: true,
        ..prefill(8, 1024)
    };
    let costs = step_cost(&program, &weights, &step);
    let head = sum(&program, &costs, |op| matches!(op, Op::Logits(_)));
    let body = sum(&program, &costs, |op| !matches!(op, Op::Logits(_)));
    assert_printed(head.flops as f64, 2.10e9, 3);
    assert_printed(body.flops as f64, 1.1056e14, 5);
    let linears = sum(&program, &costs, |op| {
        is_product(op) && !matches!(op, Op::Logits(_))
    });
    let attention = sum(&program, &costs, |op| matches!(op, Op::Attention(_)));
    assert_printed(
        100.0 * linears.matrix_flops as f64 / body.flops as f64,
        95.97,
        4,
    );
    assert_printed(100.0 * attention.flops as f64 / body.flops as f64, 4.01, 3);
    let costs = step_cost(&program, &weights, &decode(8, 1024));
    let head = sum(&program, &costs, |op| matches!(op, Op::Logits(_)));
    let all: OpCost = costs.iter().copied().sum();
    assert_printed(head.flops as f64, 2.10e9, 3);
    assert_printed((all.flops - head.flops) as f64, 1.0797e11, 5);
    assert_printed(all.weight_bytes as f64, 1.3215e10, 5);
    assert_printed(all.kv_read_bytes as f64, 4.295e9, 4);
    let floor = all.weight_bytes + all.kv_read_bytes;
    assert_printed(all.flops as f64 / floor as f64, 6.286, 4);
}

#[test]
fn llama_3_8b_is_the_fixture_of_the_specification() {
    let program = program(&LLAMA_3_8B);
    let weights = WeightBytes::uniform(&program, 2);
    let one = step_cost(&program, &weights, &decode(1, 1024));
    let products = sum(&program, &one, is_product);
    let head = sum(&program, &one, |op| matches!(op, Op::Logits(_)));
    assert_eq!(head.weight_bytes, 2 * 525_336_576);
    assert_eq!(products.weight_bytes - head.weight_bytes, 2 * 6_979_321_856);
    assert_printed(products.weight_bytes as f64, 1.5009e10, 5);
    let all: OpCost = one.iter().copied().sum();
    assert_eq!(all.kv_read_bytes, 1024 * 131_072);
    assert_printed(all.matrix_flops as f64, 1.5546e10, 5);
    let floor_bytes = (products.weight_bytes + all.kv_read_bytes) as f64;
    assert_printed(floor_bytes / 4.3e12 * 1e3, 3.522, 4);
    let many: OpCost = step_cost(&program, &weights, &decode(64, 1024))
        .into_iter()
        .sum();
    assert_printed(many.matrix_flops as f64, 9.9496e11, 5);
    let floor_bytes = (products.weight_bytes + many.kv_read_bytes) as f64;
    assert_printed(floor_bytes / 4.3e12 * 1e3, 5.488, 4);
}

#[test]
fn qwen3_06b_is_the_fixture_of_the_specification() {
    let program = program(&QWEN3_06B);
    let weights = WeightBytes::uniform(&program, 2);
    let costs = step_cost(&program, &weights, &decode(1, 1024));
    let head = sum(&program, &costs, |op| matches!(op, Op::Logits(_)));
    let matrices = sum(&program, &costs, |op| {
        is_product(op) && !matches!(op, Op::Logits(_))
    });
    let head_norms = 28 * 2 * 128;
    assert_eq!(head.weight_bytes, 2 * 155_582_464);
    assert_eq!(matrices.weight_bytes, 2 * (440_401_920 + head_norms));
    let matrix_bytes = matrices.weight_bytes + head.weight_bytes - 2 * head_norms;
    assert_printed(matrix_bytes as f64, 1.192e9, 4);
    let all: OpCost = costs.into_iter().sum();
    assert_eq!(all.kv_read_bytes, 1024 * 114_688);
    assert_printed(
        (matrix_bytes + all.kv_read_bytes) as f64 / 4.3e12 * 1e3,
        0.3045,
        4,
    );
}

/// Bytes of the default model's weights by the encodings of its file.
fn smollm2_weights(program: &Program) -> WeightBytes {
    let tensors = program.weights.iter().map(|spec| {
        let encoding = match (&*spec.name, spec.shape.len()) {
            ("model.embed_tokens.weight", _) => Encoding::Q8_0,
            (_, 2) => Encoding::Q4_1,
            _ => Encoding::F32,
        };
        (spec.name.clone(), encoding, spec.shape.clone())
    });
    let checkpoint = support::json_checkpoint(support::config(), tensors.collect());
    let weights = tokenmill_model::Weights::new(program, &checkpoint).expect("all there");
    WeightBytes::of(&weights).expect("all there")
}

#[test]
fn the_default_model_is_the_fixture_of_the_specification() {
    let program = program(&SMOLLM2);
    let weights = smollm2_weights(&program);
    let costs = step_cost(&program, &weights, &decode(1, 1024));
    let products = sum(&program, &costs, is_product);
    let head = sum(&program, &costs, |op| matches!(op, Op::Logits(_)));
    assert_eq!(head.weight_bytes, 30_081_024);
    assert_eq!(products.weight_bytes - head.weight_bytes, 66_355_200);
    assert_printed(products.weight_bytes as f64, 96.44e6, 4);
    let all: OpCost = costs.iter().copied().sum();
    assert_eq!(all.kv_read_bytes, 1024 * 23_040);
    assert_eq!(all.kv_write_bytes, 23_040);
    assert_printed(all.matrix_flops as f64, 0.3397e9, 4);
    let floor = (products.weight_bytes + all.kv_read_bytes) as f64;
    assert_printed(floor, 120.0e6, 4);
    assert_printed(floor / 31e9 * 1e3, 3.87, 3);
    assert_printed(floor / 58e9 * 1e3, 2.07, 3);
}

#[test]
fn visible_pairs_equal_a_count_of_every_pair() {
    let mut tiny = program(&Sizes {
        layers: 1,
        hidden: 8,
        heads: 4,
        kv_heads: 2,
        head_dim: 2,
        inner: 12,
        vocab: 10,
        ..LLAMA_7B
    });
    let weights = WeightBytes::uniform(&tiny, 4);
    for (rows, offset) in [(1, 0), (1, 9), (5, 0), (5, 3), (9, 2), (4, 11)] {
        for window in [None, Some(1), Some(3), Some(6), Some(100)] {
            for op in &mut tiny.ops {
                if let Op::Attention(op) = op {
                    op.window = window;
                }
            }
            let sees = |row: usize, at: usize| {
                at <= offset + row && window.is_none_or(|window| at + window > offset + row)
            };
            let end = offset + rows;
            let pairs = (0..rows)
                .map(|row| (0..end).filter(|&at| sees(row, at)).count())
                .sum::<usize>();
            let tokens = (0..end)
                .filter(|&at| (0..rows).any(|row| sees(row, at)))
                .count();
            let step = shape(vec![SpanShape { rows, offset }], 0);
            let costs = step_cost(&tiny, &weights, &step);
            let attention = sum(&tiny, &costs, |op| matches!(op, Op::Attention(_)));
            assert_eq!(
                attention.matrix_flops,
                (4 * 4 * 2 * pairs) as u64,
                "{rows} {offset} {window:?}"
            );
            assert_eq!(
                attention.kv_read_bytes,
                (2 * 2 * 2 * 2 * tokens) as u64,
                "{rows} {offset} {window:?}"
            );
        }
    }
}

#[test]
fn a_prefill_in_chunks_computes_what_one_prefill_does() {
    let program = program(&SMOLLM2);
    let weights = WeightBytes::uniform(&program, 2);
    let total = |step: &StepShape| {
        step_cost(&program, &weights, step)
            .into_iter()
            .sum::<OpCost>()
    };
    let whole = total(&shape(
        vec![SpanShape {
            rows: 100,
            offset: 0,
        }],
        1,
    ));
    let chunks = [(0, 64, 0), (64, 30, 0), (94, 6, 1)]
        .map(|(offset, rows, logits)| total(&shape(vec![SpanShape { rows, offset }], logits)));
    let chunked: OpCost = chunks.into_iter().sum();
    assert_eq!(whole.flops, chunked.flops);
    assert_eq!(whole.kv_write_bytes, chunked.kv_write_bytes);
    assert!(chunked.weight_bytes > 2 * whole.weight_bytes);
}

#[test]
fn a_mixed_step_reads_weights_once() {
    let program = program(&SMOLLM2);
    let weights = WeightBytes::uniform(&program, 2);
    let total = |step: &StepShape| {
        step_cost(&program, &weights, step)
            .into_iter()
            .sum::<OpCost>()
    };
    let decode_span = SpanShape {
        rows: 1,
        offset: 77,
    };
    let chunk_span = SpanShape {
        rows: 32,
        offset: 16,
    };
    let mixed = total(&shape(vec![decode_span, chunk_span], 1));
    let alone = total(&shape(vec![decode_span], 1));
    let chunk = total(&shape(vec![chunk_span], 0));
    assert_eq!(mixed.flops, alone.flops + chunk.flops);
    assert_eq!(mixed.weight_bytes, alone.weight_bytes);
    assert_eq!(
        mixed.kv_read_bytes,
        alone.kv_read_bytes + chunk.kv_read_bytes
    );
}

#[test]
fn experts_touched_are_those_of_the_specification() {
    let cases = [
        (8, 2, 1, 2.0, 2),
        (8, 2, 8, 7.199, 4),
        (8, 2, 32, 7.9992, 5),
        (128, 8, 1, 8.0, 2),
        (128, 8, 8, 51.62, 4),
        (128, 8, 32, 111.77, 5),
        (128, 8, 128, 127.97, 5),
    ];
    for (experts, active, rows, printed, digits) in cases {
        assert_printed(touched_experts(experts, active, rows), printed, digits);
    }
}

/// A program of one MLP, or of one mixture of `experts` such.
fn feed_forward(experts: Option<usize>) -> Program {
    let matrix = |index: usize, shape: [usize; 2]| WeightSpec {
        name: format!("w{index}"),
        shape: shape.to_vec(),
        rows: None,
        order: RowOrder::Plain,
        is_transposed: false,
    };
    let mut weights = vec![matrix(0, [experts.unwrap_or(1), 8])];
    let mut mlps = Vec::new();
    for _ in 0..experts.unwrap_or(1) {
        let affine = |id: usize| Affine {
            weight: WeightId(id as u32),
            bias: None,
        };
        let first = weights.len();
        weights.extend([
            matrix(first, [12, 8]),
            matrix(first + 1, [12, 8]),
            matrix(first + 2, [8, 12]),
        ]);
        mlps.push(Mlp {
            gate: Some(affine(first)),
            up: affine(first + 1),
            down: affine(first + 2),
            activation: Activation::Silu,
            input: Reg(0),
            out: Reg(1),
        });
    }
    let op = if experts.is_none() {
        Op::Mlp(mlps.remove(0))
    } else {
        Op::Moe(Moe {
            router: WeightId(0),
            experts: mlps,
            active: 1,
            is_renormalised: true,
            input: Reg(0),
            out: Reg(1),
        })
    };
    Program {
        architecture: "test",
        shape: ModelShape {
            vocab_len: 1,
            hidden: 8,
            context_len: 64,
            kv: Vec::new(),
        },
        regs: vec![8, 8],
        weights,
        ropes: Vec::new(),
        ops: vec![op],
    }
}

#[test]
fn one_expert_costs_a_dense_mlp_and_its_router() {
    let step = decode(5, 10);
    let cost = |program: &Program| {
        let weights = WeightBytes::uniform(program, 2);
        step_cost(program, &weights, &step).remove(0)
    };
    let dense = cost(&feed_forward(None));
    let mut expert = cost(&feed_forward(Some(1)));
    expert.flops -= 2 * 5 * 8;
    expert.matrix_flops -= 2 * 5 * 8;
    expert.weight_bytes -= 2 * 8;
    expert.activation_bytes -= 2 * 5;
    assert_eq!(dense, expert);
    let four = cost(&feed_forward(Some(4)));
    let touched = touched_experts(4, 1, 5);
    let expected = 2.0 * 4.0 * 8.0 + touched * dense.weight_bytes as f64;
    assert!((four.weight_bytes as f64 - expected).abs() < 1.0);
}
