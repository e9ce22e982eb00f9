//! Configurations of mixtures of experts, sound and hostile, and where their tensors are.

mod support;

use serde_json::{Map, Value, json};
use support::{config, f32, gguf_checkpoint, gguf_tensors, json_checkpoint, metadata, tensors};
use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::gguf;
use tokenmill_model::{Error, ExpertConfig, ModelConfig, Op, Weights, build};

/// The tiny model as Qwen3-MoE, with changes.
fn qwen3(changes: &[(&str, Value)]) -> Map<String, Value> {
    let mut config = config();
    let base = [
        ("architectures", json!(["Qwen3MoeForCausalLM"])),
        ("num_experts", json!(4)),
        ("num_experts_per_tok", json!(2)),
        ("moe_intermediate_size", json!(6)),
    ];
    for (key, value) in base.iter().chain(changes) {
        config.insert((*key).to_owned(), value.clone());
    }
    config
}

fn read(config: Map<String, Value>) -> Result<ModelConfig, Error> {
    ModelConfig::read(&json_checkpoint(config, tensors()))
}

fn mixture(is_renormalised: bool) -> ExpertConfig {
    ExpertConfig {
        count: 4,
        active: 2,
        inner: 6,
        is_renormalised,
    }
}

#[test]
fn a_flag_says_whether_weights_are_renormalised_and_lists_say_which_layers_are_dense() {
    let experts = |changes: &[(&str, Value)]| {
        let config = read(qwen3(changes)).expect("a sound config");
        [config.layers[0].experts, config.layers[1].experts]
    };
    let (plain, normed) = (Some(mixture(false)), Some(mixture(true)));
    assert_eq!(experts(&[]), [plain, plain]);
    assert_eq!(
        experts(&[("norm_topk_prob", json!(true))]),
        [normed, normed]
    );
    assert_eq!(experts(&[("mlp_only_layers", json!([0]))]), [None, plain]);
    assert_eq!(experts(&[("decoder_sparse_step", json!(2))]), [None, plain]);
    // Mixtral has no flag, and its experts are as wide as its MLPs would be.
    let mixtral = [
        ("architectures", json!(["MixtralForCausalLM"])),
        ("num_experts", json!(null)),
        ("num_local_experts", json!(4)),
    ];
    let wide = ExpertConfig {
        inner: 12,
        ..mixture(true)
    };
    assert_eq!(experts(&mixtral), [Some(wide), Some(wide)]);
}

#[test]
fn case_104_hostile_numbers_of_experts_are_refused_naming_the_key() {
    let cases = [
        ("num_experts", json!(0), "num_experts"),
        ("num_experts", json!(1_000_000_000), "num_experts must be"),
        ("num_experts", json!("4"), "num_experts"),
        ("num_experts", json!(null), "num_experts must be present"),
        ("num_local_experts", json!(5), "num_local_experts must be 4"),
        ("num_experts_per_tok", json!(5), "at most the 4 experts"),
        ("num_experts_per_tok", json!(0), "num_experts_per_tok"),
        (
            "num_experts_per_tok",
            json!(null),
            "num_experts_per_tok must be present",
        ),
        ("moe_intermediate_size", json!(0), "moe_intermediate_size"),
        ("norm_topk_prob", json!(1), "norm_topk_prob"),
        ("decoder_sparse_step", json!(0), "decoder_sparse_step"),
        ("mlp_only_layers", json!([2]), "layers from 0 to 1"),
        ("mlp_only_layers", json!([-1]), "layers from 0 to 1"),
        ("mlp_only_layers", json!([0.5]), "layers from 0 to 1"),
        ("mlp_only_layers", json!("0"), "a list of layers"),
    ];
    for (key, value, words) in cases {
        let error = read(qwen3(&[(key, value)])).expect_err(words);
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(error.to_string().contains(words), "{error} lacks {words}");
    }
    let many = [
        ("num_experts", json!(1024)),
        ("num_hidden_layers", json!(4096)),
    ];
    let error = read(qwen3(&many)).expect_err("four million experts");
    assert!(
        error.to_string().contains("at most 65536 experts"),
        "{error}"
    );
}

#[test]
fn experts_that_are_not_computed_are_refused_by_name() {
    let mut llama = config();
    llama.insert("num_experts".to_owned(), json!(4));
    let shared = qwen3(&[("shared_expert_intermediate_size", json!(8))]);
    let clipped = qwen3(&[("clip_qkv", json!(8.0))]);
    let cases = [
        (llama, "num_experts above 0 in llama"),
        (
            shared,
            "shared_expert_intermediate_size above 0 in qwen3moe",
        ),
        (clipped, "clip_qkv = 8 in qwen3moe"),
    ];
    for (config, words) in cases {
        let error = read(config).expect_err(words);
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
        assert!(error.to_string().contains(words), "{error} lacks {words}");
    }
}

/// The tiny Llama of a GGUF file with 4 experts of which 2 are used, in stacks of `count`.
fn stacked(count: usize) -> tokenmill_formats::Checkpoint {
    stacked_with(count, &[])
}

fn stacked_with(
    count: usize,
    more: &[(&'static str, gguf::Value)],
) -> tokenmill_formats::Checkpoint {
    let mut pairs = metadata();
    pairs.extend(more.iter().cloned());
    pairs.push(("llama.expert_count", gguf::Value::U32(4)));
    pairs.push(("llama.expert_used_count", gguf::Value::U32(2)));
    let mut tensors = gguf_tensors();
    tensors.retain(|(name, ..)| !name.contains("ffn_") || name.contains("ffn_norm"));
    for layer in 0..2 {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        tensors.push(f32(&name("ffn_gate_inp"), &[4, 8]));
        tensors.push(f32(&name("ffn_gate_exps"), &[count, 12, 8]));
        tensors.push(f32(&name("ffn_up_exps"), &[count, 12, 8]));
        tensors.push(f32(&name("ffn_down_exps"), &[count, 8, 12]));
    }
    gguf_checkpoint(pairs, tensors)
}

#[test]
fn a_gguf_llama_with_experts_is_a_mixtral_of_stacked_tensors() {
    let checkpoint = stacked(4);
    let program = build(&checkpoint).expect("sound metadata");
    assert_eq!(program.architecture, "mixtral");
    let weights = Weights::new(&program, &checkpoint).expect("all tensors are there");
    let moe = program.ops.iter().find_map(|op| match op {
        Op::Moe(moe) => Some(moe),
        _ => None,
    });
    let moe = moe.expect("a mixture");
    assert!(moe.is_renormalised);
    let last = weights.spec(moe.experts[3].down.weight);
    assert_eq!(last.name, "blk.0.ffn_down_exps.weight");
    assert_eq!(last.rows.map(|rows| (rows.start, rows.len)), Some((24, 8)));
}

#[test]
fn other_ways_to_weigh_or_to_choose_are_refused_and_neutral_ones_are_not() {
    use gguf::Value::{Bool, F32, U32};
    let read = |pair| ModelConfig::read(&stacked_with(4, &[pair]));
    for (key, value) in [
        ("llama.expert_gating_func", U32(2)),
        ("llama.expert_group_count", U32(4)),
        ("llama.expert_weights_scale", F32(2.5)),
        ("llama.expert_shared_count", U32(1)),
    ] {
        let error = read((key, value)).expect_err(key);
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
        assert!(error.to_string().contains(key), "{error}");
    }
    for (key, value) in [
        ("llama.expert_gating_func", U32(1)),
        ("llama.expert_weights_scale", F32(0.0)),
    ] {
        read((key, value)).expect(key);
    }
    let config = read(("llama.expert_weights_norm", Bool(false))).expect("a flag");
    assert!(
        config.layers[0]
            .experts
            .is_some_and(|experts| !experts.is_renormalised)
    );
}

#[test]
fn a_stack_of_another_number_of_experts_is_refused() {
    for count in [3, 5] {
        let checkpoint = stacked(count);
        let program = build(&checkpoint).expect("sound metadata");
        let error = Weights::new(&program, &checkpoint).expect_err("another number");
        let words = format!("blk.0.ffn_gate_exps.weight is [{count}, 12, 8], expected [48, 8]");
        assert!(error.to_string().contains(&words), "{error}");
    }
}
