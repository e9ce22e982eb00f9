//! Configurations, sound and hostile (reliability case 104): every refusal names the key in the file.

mod support;

use serde_json::{Map, Value, json};
use support::{config, gguf_checkpoint, gguf_tensors, json_checkpoint, metadata, tensors};
use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::gguf;
use tokenmill_model::config::{RopeScaling, YarnScaling};
use tokenmill_model::{Error, LayerConfig, ModelConfig, RowOrder, build};

fn read(config: Map<String, Value>) -> Result<ModelConfig, Error> {
    ModelConfig::read(&json_checkpoint(config, tensors()))
}

/// The config with one key changed, or removed for `None`.
fn with(key: &str, value: Option<Value>) -> Map<String, Value> {
    let mut config = config();
    match value {
        Some(value) => config.insert(key.to_owned(), value),
        None => config.remove(key),
    };
    config
}

fn read_gguf(key: &'static str, value: Option<gguf::Value>) -> Result<ModelConfig, Error> {
    let mut pairs = metadata();
    pairs.retain(|(known, _)| *known != key);
    pairs.extend(value.map(|value| (key, value)));
    ModelConfig::read(&gguf_checkpoint(pairs, gguf_tensors()))
}

fn assert_refused(result: Result<ModelConfig, Error>, kind: Kind, words: &str) {
    let error = result.expect_err(words);
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(text.contains(words), "{text:?} lacks {words:?}");
}

#[test]
fn both_kinds_of_file_give_the_same_sizes() {
    let json = read(config()).expect("a sound config");
    let gguf = read_gguf("", None).expect("sound metadata");
    let layer = LayerConfig {
        heads: 4,
        kv_heads: 2,
        head_dim: 2,
        inner: 12,
        experts: None,
        window: None,
        rope: Some(0),
    };
    for config in [&json, &gguf] {
        assert_eq!(config.layers, [layer, layer]);
        assert_eq!(
            (config.vocab_len, config.hidden, config.context_len),
            (10, 8, 64)
        );
        assert_eq!(config.norm_eps, 1e-5);
        assert_eq!(config.ropes[0].theta, 10_000.0);
    }
    assert!(!json.is_tied && gguf.is_tied);
}

#[test]
fn hostile_values_of_config_json_are_refused_naming_the_key() {
    let huge = json!(9_223_372_036_854_775_808_u64);
    let cases: Vec<(&str, Option<Value>, &str)> = vec![
        ("num_attention_heads", Some(json!(0)), "num_attention_heads"),
        (
            "num_attention_heads",
            None,
            "num_attention_heads must be present",
        ),
        (
            "num_attention_heads",
            Some(json!(-4)),
            "num_attention_heads",
        ),
        (
            "num_attention_heads",
            Some(json!(4.5)),
            "num_attention_heads",
        ),
        ("num_attention_heads", Some(json!("4")), "got \"4\""),
        (
            "hidden_size",
            Some(json!(9)),
            "hidden_size must be a multiple of the 4",
        ),
        ("hidden_size", Some(json!(0)), "hidden_size"),
        (
            "num_key_value_heads",
            Some(json!(8)),
            "num_key_value_heads must be a divisor",
        ),
        (
            "num_key_value_heads",
            Some(json!(3)),
            "num_key_value_heads must be a divisor",
        ),
        ("num_key_value_heads", Some(json!(0)), "num_key_value_heads"),
        ("head_dim", Some(json!(3)), "head_dim must be an even"),
        (
            "num_hidden_layers",
            Some(json!(1_000_000_000)),
            "num_hidden_layers",
        ),
        ("num_hidden_layers", Some(json!(0)), "num_hidden_layers"),
        ("intermediate_size", Some(json!(0)), "intermediate_size"),
        (
            "intermediate_size",
            Some(json!([12])),
            "intermediate_size must be an integer, or a list of 2",
        ),
        ("vocab_size", Some(json!(0)), "vocab_size"),
        (
            "vocab_size",
            Some(json!(11)),
            "vocab_size must be the 10 rows of model.embed_tokens.weight",
        ),
        ("vocab_size", None, "vocab_size must be present"),
        ("rope_theta", Some(json!(0)), "rope_theta"),
        ("rope_theta", Some(json!("NaN")), "rope_theta"),
        ("rope_theta", Some(json!(-1e4)), "rope_theta"),
        (
            "max_position_embeddings",
            Some(huge),
            "max_position_embeddings",
        ),
        (
            "max_position_embeddings",
            Some(json!(0)),
            "max_position_embeddings",
        ),
        ("rms_norm_eps", Some(json!(-1e-5)), "rms_norm_eps"),
        ("rms_norm_eps", Some(json!(0)), "rms_norm_eps"),
        (
            "tie_word_embeddings",
            Some(json!(1)),
            "tie_word_embeddings must be true or false",
        ),
        ("attention_bias", Some(json!("no")), "attention_bias"),
        (
            "rope_scaling",
            Some(json!(7)),
            "rope_scaling must be an object",
        ),
        (
            "rope_scaling",
            Some(json!({"rope_type": "linear"})),
            "rope_scaling.factor must be present",
        ),
        (
            "rope_parameters",
            Some(json!({"rope_type": "linear", "factor": 0.0})),
            "rope_parameters.factor",
        ),
        (
            "rope_scaling",
            Some(
                json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                        "high_freq_factor": 4}),
            ),
            "rope_scaling.high_freq_factor must be above",
        ),
        (
            "architectures",
            Some(json!("LlamaForCausalLM")),
            "architectures must be a list",
        ),
    ];
    for (key, value, words) in cases {
        assert_refused(read(with(key, value)), Kind::Corrupt, words);
    }
}

#[test]
fn hostile_values_of_gguf_are_refused_naming_the_key() {
    use gguf::Value::{F32, I32, String, U32, U64};
    let cases = [
        (
            "llama.attention.head_count",
            Some(U32(0)),
            "llama.attention.head_count",
        ),
        (
            "llama.attention.head_count",
            Some(I32(-1)),
            "llama.attention.head_count",
        ),
        (
            "llama.attention.head_count_kv",
            Some(U32(8)),
            "llama.attention.head_count_kv",
        ),
        (
            "llama.embedding_length",
            Some(U32(9)),
            "llama.embedding_length must be a multiple",
        ),
        (
            "llama.block_count",
            Some(U32(1_000_000_000)),
            "llama.block_count",
        ),
        (
            "llama.block_count",
            None,
            "llama.block_count must be present",
        ),
        (
            "llama.context_length",
            Some(U64(1 << 63)),
            "llama.context_length",
        ),
        (
            "llama.vocab_size",
            Some(U32(9)),
            "llama.vocab_size must be the 10 rows",
        ),
        (
            "llama.rope.freq_base",
            Some(F32(0.0)),
            "llama.rope.freq_base",
        ),
        (
            "llama.rope.freq_base",
            Some(F32(f32::NAN)),
            "llama.rope.freq_base",
        ),
        (
            "llama.attention.layer_norm_rms_epsilon",
            Some(F32(-1e-5)),
            "llama.attention.layer_norm_rms_epsilon",
        ),
        (
            "llama.attention.layer_norm_rms_epsilon",
            None,
            "llama.attention.layer_norm_rms_epsilon must be present",
        ),
        (
            "llama.feed_forward_length",
            Some(String("12".into())),
            "llama.feed_forward_length",
        ),
    ];
    for (key, value, words) in cases {
        assert_refused(read_gguf(key, value), Kind::Corrupt, words);
    }
}

#[test]
fn what_we_do_not_do_is_refused_by_name() {
    let nested = json!({"full_attention": {"rope_type": "default"}});
    let cases: Vec<(&str, Value, &str)> = vec![
        (
            "quantization_config",
            json!({"quant_method": "gptq"}),
            "quantization_config gptq",
        ),
        ("quantization_config", json!({}), "quantization_config"),
        (
            "rope_scaling",
            json!({"type": "dynamic", "factor": 2}),
            "rope scaling dynamic",
        ),
        ("rope_parameters", nested, "per layer type"),
        (
            "partial_rotary_factor",
            json!(0.5),
            "partial_rotary_factor = 0.5",
        ),
        ("hidden_act", json!("quick_gelu"), "hidden_act quick_gelu"),
        (
            "tokenmill",
            json!({"sparsity": {"format": "24"}}),
            "tokenmill.sparsity",
        ),
    ];
    for (key, value, words) in cases {
        assert_refused(read(with(key, Some(value))), Kind::Unsupported, words);
    }
    let cases = [
        (
            "llama.expert_shared_count",
            gguf::Value::U32(1),
            "llama.expert_shared_count above 0 in llama",
        ),
        (
            "llama.rope.dimension_count",
            gguf::Value::U32(1),
            "llama.rope.dimension_count = 1",
        ),
        (
            "llama.attention.value_length",
            gguf::Value::U32(4),
            "llama.attention.value_length = 4",
        ),
        (
            "llama.attention.causal",
            gguf::Value::Bool(false),
            "llama.attention.causal",
        ),
        (
            "llama.rope.scaling.type",
            gguf::Value::String("longrope".into()),
            "longrope",
        ),
    ];
    for (key, value, words) in cases {
        assert_refused(read_gguf(key, Some(value)), Kind::Unsupported, words);
    }
}

fn read_gguf_rope(pairs: &[(&'static str, gguf::Value)]) -> Result<RopeScaling, Error> {
    let mut all = metadata();
    all.extend(pairs.iter().cloned());
    let config = ModelConfig::read(&gguf_checkpoint(all, gguf_tensors()))?;
    Ok(config.ropes[0].scaling.clone())
}

#[test]
fn scaling_of_gguf_is_read_as_llama_cpp_reads_it() {
    use gguf::Value::{F32, String, U32};
    const FACTOR: &str = "llama.rope.scaling.factor";
    const OLD: &str = "llama.rope.scale_linear";
    const KIND: &str = "llama.rope.scaling.type";
    let linear = |factor| RopeScaling::Linear { factor };
    let kind = |name: &str| (KIND, String(name.into()));
    let yarn = RopeScaling::Yarn(YarnScaling {
        factor: 4.0,
        original_context: 32.0,
        beta_fast: 16.0,
        beta_slow: 2.0,
        attention_factor: None,
        is_truncated: true,
    });
    let cases = [
        (vec![(FACTOR, F32(2.0))], linear(2.0)),
        (vec![(OLD, F32(2.0))], linear(2.0)),
        (vec![(FACTOR, F32(4.0)), (OLD, F32(2.0))], linear(4.0)),
        (vec![(FACTOR, F32(0.0)), (OLD, F32(2.0))], RopeScaling::None),
        (vec![(FACTOR, F32(2.0)), kind("none")], RopeScaling::None),
        (vec![(OLD, F32(2.0)), kind("linear")], linear(2.0)),
        (
            vec![
                (FACTOR, F32(4.0)),
                kind("yarn"),
                ("llama.rope.scaling.original_context_length", U32(32)),
                ("llama.rope.scaling.yarn_beta_fast", F32(16.0)),
                ("llama.rope.scaling.yarn_beta_slow", F32(2.0)),
                ("llama.rope.scaling.yarn_ext_factor", F32(1.0)),
                ("llama.rope.scaling.yarn_attn_factor", F32(1.0)),
                ("llama.rope.scaling.attn_factor", F32(1.0)),
            ],
            yarn,
        ),
    ];
    for (pairs, expected) in cases {
        assert_eq!(
            read_gguf_rope(&pairs).expect("sound"),
            expected,
            "{pairs:?}"
        );
    }
}

#[test]
fn factors_of_gguf_that_we_do_not_apply_are_refused_by_name() {
    use gguf::Value::{F32, String};
    let yarn = [
        ("llama.rope.scaling.type", String("yarn".into())),
        ("llama.rope.scaling.factor", F32(4.0)),
    ];
    let cases = [
        ("llama.rope.scaling.attn_factor", 1.2, Kind::Unsupported),
        (
            "llama.rope.scaling.yarn_attn_factor",
            0.5,
            Kind::Unsupported,
        ),
        ("llama.rope.scaling.yarn_ext_factor", 0.5, Kind::Unsupported),
        (
            "llama.rope.scaling.yarn_log_multiplier",
            0.1,
            Kind::Unsupported,
        ),
        ("llama.rope.scaling.attn_factor", f32::NAN, Kind::Corrupt),
        ("llama.rope.scaling.yarn_beta_fast", 0.0, Kind::Corrupt),
        ("llama.rope.scaling.factor", -2.0, Kind::Corrupt),
        ("llama.rope.scaling.factor", 0.5, Kind::Corrupt),
    ];
    for (key, value, kind) in cases {
        let mut pairs = metadata();
        pairs.extend(yarn.iter().filter(|(known, _)| *known != key).cloned());
        pairs.push((key, F32(value)));
        let read = ModelConfig::read(&gguf_checkpoint(pairs, gguf_tensors()));
        assert_refused(read, kind, key);
    }
    let bare = read_gguf("llama.rope.scaling.yarn_ext_factor", Some(F32(1.0)));
    assert_refused(bare, Kind::Unsupported, "yarn_ext_factor = 1");
}

#[test]
fn an_unknown_architecture_is_refused_by_name_with_the_list() {
    let known = "known are llama, mistral, mixtral, qwen2, qwen3";
    for name in ["MambaForCausalLM", "LlamaForSequenceClassification"] {
        let result = read(with("architectures", Some(json!([name]))));
        assert_refused(result, Kind::Unsupported, name);
        let result = read(with("architectures", Some(json!([name]))));
        assert_refused(result, Kind::Unsupported, known);
    }
    let result = read_gguf(
        "general.architecture",
        Some(gguf::Value::String("mamba".into())),
    );
    assert_refused(result, Kind::Unsupported, "mamba");
    let result = read_gguf("general.architecture", None);
    assert_refused(result, Kind::Unsupported, "(none)");
}

#[test]
fn a_long_name_from_a_file_is_cut() {
    let name = "x".repeat(100_000);
    let error = read(with("architectures", Some(json!([name])))).expect_err("unknown");
    assert!(error.to_string().len() < 300);
}

#[test]
fn the_model_type_decides_where_no_class_is_given() {
    let mut config = with("architectures", None);
    assert_eq!(
        read(config.clone()).expect("a llama").architecture.name,
        "llama"
    );
    config.insert("model_type".into(), json!("mamba"));
    assert_refused(read(config), Kind::Unsupported, "mamba");
}

#[test]
fn code_beside_the_weights_is_not_followed() {
    let auto_map = json!({"AutoModelForCausalLM": "modeling_evil.EvilForCausalLM"});
    let plain = read(config()).expect("a llama");
    let mapped = read(with("auto_map", Some(auto_map.clone()))).expect("a llama");
    assert_eq!(plain, mapped);
    let mut unknown = with("auto_map", Some(auto_map));
    unknown.insert("architectures".into(), json!(["EvilForCausalLM"]));
    assert_refused(read(unknown), Kind::Unsupported, "EvilForCausalLM");
}

fn windows(mut config: Map<String, Value>, pairs: &[(&str, Value)]) -> Vec<Option<usize>> {
    for (key, value) in pairs {
        config.insert((*key).to_owned(), value.clone());
    }
    let config = read(config).expect("a sound config");
    config.layers.iter().map(|layer| layer.window).collect()
}

/// The class has no window in transformers, whatever its file says; a GGUF `llama` may be a Mistral.
#[test]
fn a_llama_has_a_window_only_in_a_gguf_file() {
    assert_eq!(
        windows(config(), &[("sliding_window", json!(7))]),
        [None; 2]
    );
    let gguf = read_gguf("llama.attention.sliding_window", Some(gguf::Value::U32(7)));
    let layers = gguf.expect("sound metadata").layers;
    assert!(layers.iter().all(|layer| layer.window == Some(7)));
}

#[test]
fn mistral_looks_through_a_window_in_every_layer() {
    let mistral = with("architectures", Some(json!(["MistralForCausalLM"])));
    assert_eq!(windows(mistral.clone(), &[]), [Some(4096); 2]);
    assert_eq!(
        windows(mistral.clone(), &[("sliding_window", json!(7))]),
        [Some(7); 2]
    );
    assert_eq!(
        windows(mistral, &[("sliding_window", Value::Null)]),
        [None; 2]
    );
}

#[test]
fn qwen_has_windows_only_when_it_says_so() {
    let qwen = with("architectures", Some(json!(["Qwen2ForCausalLM"])));
    let window = ("sliding_window", json!(7));
    let on = ("use_sliding_window", json!(true));
    let first = ("max_window_layers", json!(1));
    let off = ("use_sliding_window", json!(false));
    assert_eq!(windows(qwen.clone(), &[window.clone(), off]), [None; 2]);
    assert_eq!(
        windows(qwen.clone(), &[window.clone(), on.clone(), first.clone()]),
        [None, Some(7)]
    );
    let kinds = (
        "layer_types",
        json!(["sliding_attention", "full_attention"]),
    );
    assert_eq!(
        windows(qwen.clone(), &[window, on.clone(), kinds]),
        [Some(7), None]
    );
    assert_eq!(
        windows(qwen.clone(), &[on.clone(), first.clone()]),
        [None, Some(4096)]
    );
    assert_eq!(
        windows(
            qwen.clone(),
            &[("sliding_window", Value::Null), on.clone(), first]
        ),
        [None; 2]
    );
    let mut odd = qwen;
    for (key, value) in [
        on,
        ("layer_types", json!(["linear_attention", "full_attention"])),
    ] {
        odd.insert(key.to_owned(), value);
    }
    assert_refused(read(odd), Kind::Unsupported, "linear_attention");
}

#[test]
fn layers_of_a_pruned_model_have_their_own_sizes() {
    let layers = json!([
        {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 4}, {}
    ]);
    let mut pruned = with("tokenmill", Some(json!({"layers": layers})));
    pruned.insert("head_dim".into(), json!(2));
    let sizes = |config: ModelConfig| {
        let layers = config.layers.into_iter();
        layers
            .map(|layer| (layer.heads, layer.kv_heads, layer.inner))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        sizes(read(pruned).expect("a sound config")),
        [(2, 1, 4), (4, 2, 12)]
    );
    let short = with("tokenmill", Some(json!({"layers": [{}]})));
    assert_refused(
        read(short),
        Kind::Corrupt,
        "layers must be a list of 2 objects",
    );
    let array = gguf::Value::Array(gguf::Array::I32(vec![4, 12]));
    let config = read_gguf("llama.feed_forward_length", Some(array)).expect("sound metadata");
    assert_eq!(sizes(config), [(4, 2, 4), (4, 2, 12)]);
}

#[test]
fn a_program_of_a_pruned_model_has_a_register_for_each_width() {
    let layers = json!([
        {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 4}, {}
    ]);
    let checkpoint = json_checkpoint(
        with("tokenmill", Some(json!({"layers": layers}))),
        tensors(),
    );
    let program = build(&checkpoint).expect("a llama");
    assert_eq!(program.regs.iter().filter(|&&width| width == 4).count(), 2);
    assert_eq!(program.shape.kv[0].heads, 1);
}

#[test]
fn only_gguf_llamas_have_paired_rows() {
    let paired = |program: &tokenmill_model::Program| {
        let paired = program
            .weights
            .iter()
            .filter(|spec| spec.order != RowOrder::Plain);
        paired.map(|spec| spec.name.clone()).collect::<Vec<_>>()
    };
    let json = build(&json_checkpoint(config(), tensors())).expect("a llama");
    assert!(paired(&json).is_empty());
    let gguf = build(&gguf_checkpoint(metadata(), gguf_tensors())).expect("a llama");
    let expected = [
        "blk.0.attn_q",
        "blk.0.attn_k",
        "blk.1.attn_q",
        "blk.1.attn_k",
    ];
    assert_eq!(paired(&gguf), expected.map(|name| format!("{name}.weight")));
    let qwen = metadata().into_iter().map(|(key, value)| match key {
        "general.architecture" => (key, gguf::Value::String("qwen2".into())),
        _ => (
            Box::leak(key.replace("llama", "qwen2").into_boxed_str()) as &'static str,
            value,
        ),
    });
    let qwen = build(&gguf_checkpoint(qwen.collect(), gguf_tensors())).expect("a qwen2");
    assert!(paired(&qwen).is_empty());
}

#[test]
fn frequency_factors_of_the_wrong_size_or_sign_are_refused() {
    let mut tensors = gguf_tensors();
    tensors.push(support::f32("rope_freqs.weight", &[2]));
    let error = build(&gguf_checkpoint(metadata(), tensors)).expect_err("wrong size");
    assert!(
        error
            .to_string()
            .contains("rope_freqs.weight is [2], expected [1]"),
        "{error}"
    );
    let mut tensors = gguf_tensors();
    tensors.push(support::f32("rope_freqs.weight", &[1]));
    let error = build(&gguf_checkpoint(metadata(), tensors)).expect_err("zero");
    assert!(error.to_string().contains("positive"), "{error}");
}
