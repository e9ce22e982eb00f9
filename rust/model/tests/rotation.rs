//! LongRoPE: its two lists of factors, in config.json and as tensors of GGUF files.

mod support;

use serde_json::{Value, json};
use support::{config, gguf_checkpoint, gguf_tensors, json_checkpoint, metadata, tensors};
use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::{Checkpoint, Config, Encoding, gguf};
use tokenmill_model::config::RopeScaling;
use tokenmill_model::{Error, ModelConfig, Program, build};

fn read(scaling: Value, more: &[(&str, Value)]) -> Result<ModelConfig, Error> {
    let mut config = config();
    config.insert("rope_scaling".to_owned(), scaling);
    for (key, value) in more {
        config.insert((*key).to_owned(), value.clone());
    }
    ModelConfig::read(&json_checkpoint(config, tensors()))
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: Kind, words: &str) {
    let error = result.expect_err(words);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error} lacks {words}");
}

#[test]
fn case_104_lists_of_rope_factors_are_checked() {
    let long = |change: (&str, Value)| {
        let mut scaling = json!({
            "type": "longrope", "short_factor": [1.5], "long_factor": [3.0],
            "original_max_position_embeddings": 32,
        });
        scaling[change.0] = change.1;
        read(scaling, &[])
    };
    let config = long(("type", json!("su"))).expect("sound lists");
    let RopeScaling::Long(scaling) = &config.ropes[0].scaling else {
        panic!("{:?}", config.ropes);
    };
    assert_eq!(
        (&*scaling.short, &*scaling.long),
        (&[1.5_f32][..], &[3.0_f32][..])
    );
    // Twice the context: the root of 1 + ln 2 / ln 32.
    assert!((scaling.attention_factor - 1.2_f64.sqrt()).abs() < 1e-12);
    let mut program = config.program();
    assert_eq!(program.ropes[0].inv_freq, [1.0 / 1.5]);
    program.serve_context(32);
    assert_eq!(program.ropes[0].inv_freq, [1.0 / 1.5]);
    let mut program = config.program();
    program.serve_context(33);
    assert_eq!(program.ropes[0].inv_freq, [1.0 / 3.0]);

    let cases = [
        (
            "short_factor",
            json!([1.0, 1.0]),
            "a list of 1 numbers, got a list of 2",
        ),
        ("long_factor", json!(null), "long_factor must be present"),
        ("long_factor", json!(2.0), "a list of 1 numbers"),
        (
            "long_factor",
            json!([0.0]),
            "long_factor must be a number from",
        ),
        (
            "long_factor",
            json!(["x"]),
            "long_factor must be a number from",
        ),
        (
            "original_max_position_embeddings",
            json!(1),
            "original_max_position_embeddings",
        ),
        ("attention_factor", json!(-1), "attention_factor"),
    ];
    for (key, value, words) in cases {
        assert_refused(long((key, value)), Kind::Corrupt, words);
    }
}

#[test]
fn two_original_contexts_must_be_one_and_its_logarithm_not_zero() {
    let scaling = json!({"type": "longrope", "short_factor": [1.5], "long_factor": [3.0],
        "original_max_position_embeddings": 32});
    let outer = [("original_max_position_embeddings", json!(16))];
    assert_refused(
        read(scaling, &outer),
        Kind::Corrupt,
        "original_max_position_embeddings must be 32",
    );
    let scaling =
        json!({"type": "longrope", "short_factor": [1.5], "long_factor": [3.0], "factor": 2});
    let tiny = [("max_position_embeddings", json!(1))];
    assert_refused(
        read(scaling, &tiny),
        Kind::Corrupt,
        "original_max_position_embeddings",
    );
}

/// The tiny Llama of a GGUF file with these tensors of factors and pairs of metadata.
fn gguf_long(
    factors: &[(&str, &[f32])],
    more: &[(&'static str, gguf::Value)],
) -> Result<Program, Error> {
    let mut pairs = metadata();
    pairs.extend(more.iter().cloned());
    let checkpoint = gguf_checkpoint(pairs, Vec::new());
    let Config::Gguf(metadata) = checkpoint.config().clone() else {
        unreachable!("it was made of metadata");
    };
    let zeros = gguf_tensors().into_iter().map(|(name, encoding, shape)| {
        let len = encoding.tensor_bytes(&shape).expect("whole blocks");
        (name, encoding, shape, vec![0; len])
    });
    let factors = factors.iter().map(|(name, values)| {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        ((*name).to_owned(), Encoding::F32, vec![values.len()], bytes)
    });
    let all = zeros.chain(factors).collect();
    build(&Checkpoint::from_memory(Config::Gguf(metadata), all).expect("sound headers"))
}

const SHORT: &str = "rope_factors_short.weight";
const LONG: &str = "rope_factors_long.weight";

#[test]
fn a_gguf_file_has_its_factors_as_tensors_and_its_attention_as_a_number() {
    let original = (
        "llama.rope.scaling.original_context_length",
        gguf::Value::U32(32),
    );
    let attention = ("llama.rope.scaling.attn_factor", gguf::Value::F32(1.25));
    let kind = (
        "llama.rope.scaling.type",
        gguf::Value::String("longrope".into()),
    );
    for more in [
        vec![original.clone(), attention.clone()],
        vec![original, attention, kind],
    ] {
        let program = gguf_long(&[(SHORT, &[2.0]), (LONG, &[4.0])], &more).expect("sound factors");
        let rope = &program.ropes[0];
        let long = rope.long.as_ref().expect("a second list");
        assert_eq!(
            (&*rope.inv_freq, &*long.inv_freq),
            (&[0.5_f32][..], &[0.25_f32][..])
        );
        assert_eq!((rope.attention_factor, long.original_context), (1.25, 32));
    }
}

#[test]
fn hostile_factors_of_gguf_files_are_refused() {
    type Factors<'a> = &'a [(&'a str, &'a [f32])];
    let cases: [(Factors<'_>, &str); 5] = [
        (&[(SHORT, &[2.0])], "only one of"),
        (&[(LONG, &[2.0])], "only one of"),
        (&[(SHORT, &[2.0, 2.0]), (LONG, &[4.0])], "expected [1]"),
        (
            &[(SHORT, &[2.0]), (LONG, &[0.0])],
            "expected positive numbers",
        ),
        (
            &[(SHORT, &[f32::NAN]), (LONG, &[1.0])],
            "expected positive numbers",
        ),
    ];
    for (factors, words) in cases {
        assert_refused(gguf_long(factors, &[]), Kind::Corrupt, words);
    }
    let both: &[(&str, &[f32])] = &[(SHORT, &[2.0]), (LONG, &[4.0])];
    let cases = [
        (
            "llama.rope.scaling.factor",
            gguf::Value::F32(4.0),
            "a factor of 4",
        ),
        (
            "llama.rope.scaling.type",
            gguf::Value::String("yarn".into()),
            "rope scaling yarn",
        ),
        (
            "llama.rope.scaling.yarn_ext_factor",
            gguf::Value::F32(1.0),
            "yarn_ext_factor",
        ),
    ];
    for (key, value, words) in cases {
        assert_refused(gguf_long(both, &[(key, value)]), Kind::Unsupported, words);
    }
}
