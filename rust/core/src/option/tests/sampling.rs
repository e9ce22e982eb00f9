//! Values of sampling options: what is refused, what is odd and legal, what contradicts what.

use super::*;

#[test]
fn bad_sampling_fields_are_refused_by_name() {
    let stops = |count: usize, len: usize| Value::List(vec![text(&"x".repeat(len)); count]);
    let biases = |count: i64| Value::Map((0..count).map(|id| (int(id), int(0))).collect());
    let bias = |id: Value, bias: Value| Value::Map(vec![(id, bias)]);
    let cases: Vec<(&str, Vec<Value>)> = vec![
        (
            "temperature",
            vec![
                float(-0.1),
                float(1e39),
                float(f64::NAN),
                text("0.7"),
                Value::Bool(true),
            ],
        ),
        ("top_p", vec![int(0), float(1.0001), int(-1)]),
        (
            "top_k",
            vec![int(-2), float(1.5), float(9.223372036854776e18)],
        ),
        ("min_p", vec![float(1.0001), float(-0.1)]),
        ("max_tokens", vec![int(-1), float(1.5), float(9.3e18)]),
        (
            "n",
            vec![int(0), int(17), int(1_000_000_000_000), Value::Bool(true)],
        ),
        (
            "stop",
            vec![
                stops(17, 1),
                text(""),
                stops(1, 257),
                stops(1, 0),
                ints(&[1]),
                int(1),
            ],
        ),
        (
            "stop_token_ids",
            vec![
                ints(&[-1]),
                ints(&[1 << 32]),
                Value::List(vec![text("1")]),
                int(3),
            ],
        ),
        (
            "logit_bias",
            vec![
                biases(301),
                bias(text("abc"), int(1)),
                bias(text("+1"), int(1)),
                bias(text(""), int(1)),
                bias(int(-1), int(1)),
                bias(int(1 << 32), int(1)),
                bias(float(1.0), int(1)),
                bias(int(1), int(101)),
                bias(int(1), int(-101)),
                bias(int(1), float(f64::NAN)),
                bias(int(1), Value::Bool(true)),
                Value::Map(vec![(int(1), int(1)), (text("1"), int(2))]),
            ],
        ),
        (
            "logprobs",
            vec![int(21), int(-1), int(-2), float(1.0), Value::Bool(false)],
        ),
        (
            "prompt_logprobs",
            vec![int(21), int(-1), int(-2), float(1.0), Value::Bool(false)],
        ),
        (
            "logprob_token_ids",
            vec![ints(&[]), ints(&[1; 129]), ints(&[-1]), int(3)],
        ),
        (
            "allowed_token_ids",
            vec![ints(&[]), ints(&[1 << 32]), text("1"), ints(&[1; 32_769])],
        ),
        (
            "suppress_tokens",
            vec![ints(&[1; 1025]), ints(&[-1]), int(1)],
        ),
        (
            "begin_suppress_tokens",
            vec![ints(&[1; 1025]), Value::List(vec![float(1.0)])],
        ),
        (
            "bad_words",
            vec![
                text(""),
                text(" \n"),
                stops(129, 1),
                stops(1, 257),
                Value::List(vec![text("a"), text("  ")]),
                ints(&[1]),
            ],
        ),
        (
            "repetition_detection",
            vec![
                repetition(&[]),
                repetition(&[("max_pattern_size", 3)]),
                repetition(&[("min_count", 3)]),
                repetition(&[("max_pattern_size", 0), ("min_count", 2)]),
                repetition(&[("max_pattern_size", 1025), ("min_count", 2)]),
                repetition(&[("max_pattern_size", 3), ("min_count", 1)]),
                repetition(&[("max_pattern_size", 3), ("min_count", 1025)]),
                repetition(&[
                    ("max_pattern_size", 3),
                    ("min_count", 2),
                    ("min_pattern_size", 4),
                ]),
                repetition(&[
                    ("max_pattern_size", 3),
                    ("min_count", 2),
                    ("min_pattern_size", -1),
                ]),
                repetition(&[("max_pattern_size", 3), ("min_count", 2), ("min_count", 2)]),
                repetition(&[("max_pattern_size", 3), ("min_count", 2), ("size", 2)]),
                Value::Map(vec![
                    (text("max_pattern_size"), float(3.0)),
                    (text("min_count"), int(2)),
                ]),
            ],
        ),
        (
            "sequence_bias",
            vec![
                biased(&[(&[], 1.0)]),
                biased(&[(&[-1], 1.0)]),
                biased(&[(&[1], f64::NAN)]),
                biased(&[(&[1], f64::INFINITY)]),
                biased(&[(&[1], 1e39)]),
                biased(&[(&[1, 2], 1.0), (&[1, 2], 2.0)]),
                biased(&[(&[1; 257], 1.0)]),
                biased(&many_sequences()),
                Value::List(vec![ints(&[1])]),
                Value::Map(vec![(int(1), float(1.0))]),
                int(1),
            ],
        ),
        (
            "bad_words_ids",
            vec![
                Value::List(vec![ints(&[])]),
                Value::List(vec![ints(&[1 << 32])]),
                Value::List(vec![ints(&[1]); 301]),
                Value::List(vec![ints(&[1; 257])]),
                ints(&[1]),
                text("1"),
            ],
        ),
        (
            "forced_bos_token_id",
            vec![int(-1), int(1 << 32), ints(&[1]), text("1")],
        ),
        (
            "forced_eos_token_id",
            vec![int(-1), ints(&[]), ints(&[-1]), text("1"), float(1.0)],
        ),
        (
            "exponential_decay_length_penalty",
            vec![
                ints(&[5]),
                ints(&[-1, 2]),
                Value::List(vec![int(5), int(0)]),
                Value::List(vec![int(5), float(f64::INFINITY)]),
                Value::List(vec![float(5.5), float(1.5)]),
                Value::List(vec![int(5), float(1e-60)]),
                int(5),
            ],
        ),
        (
            "dry_sequence_breakers",
            vec![
                text(""),
                stops(17, 1),
                stops(1, 41),
                text(&"ü".repeat(41)),
                ints(&[1]),
            ],
        ),
        ("dry_allowed_length", vec![int(0), int(1025), float(2.0)]),
        ("dry_penalty_last_n", vec![int(-2), float(1.0)]),
        (
            "dry_multiplier",
            vec![float(-0.1), float(100.5), float(f64::NAN)],
        ),
        ("dry_base", vec![float(0.9), float(f64::INFINITY)]),
        (
            "typical_p",
            vec![int(0), float(1.01), float(f64::NAN), Value::Bool(true)],
        ),
        (
            "epsilon_cutoff",
            vec![int(1), float(-0.1), float(0.999_999_999)],
        ),
        ("eta_cutoff", vec![int(1), float(-0.1), text("0.1")]),
        ("top_h", vec![int(0), float(1.1), float(-1.0)]),
        ("top_n_sigma", vec![float(-1.1), float(1001.0), text("1")]),
        ("xtc_probability", vec![float(1.1), float(-0.1)]),
        ("xtc_threshold", vec![float(1.1), float(-0.1)]),
        ("dynatemp_range", vec![float(-0.1), float(100.1)]),
        ("dynatemp_exponent", vec![float(-0.1), float(f64::NAN)]),
        (
            "mirostat",
            vec![int(-1), int(3), Value::Bool(true), float(1.0)],
        ),
        ("mirostat_tau", vec![float(-0.1), float(100.1)]),
        ("mirostat_eta", vec![float(-0.1), float(100.1)]),
        ("mirostat_variant", vec![text("paper"), int(1)]),
        ("adaptive_target", vec![float(-0.1), float(1.1)]),
        ("adaptive_decay", vec![float(-0.1), int(1), float(0.991)]),
        (
            "encoder_repetition_penalty",
            vec![int(0), int(-1), float(f64::INFINITY)],
        ),
        ("encoder_no_repeat_ngram_size", vec![int(-1), int(1025)]),
        ("remove_invalid_values", vec![int(1), text("yes")]),
        ("renormalize_logits", vec![int(0), text("no")]),
        (
            "pipeline",
            vec![
                text("HF"),
                text(""),
                text("top_k"),
                Value::List(vec![text("topk")]),
                Value::List(vec![int(1)]),
                int(1),
            ],
        ),
        ("penalty_last_n", vec![int(-2), int(1 << 31), float(64.0)]),
        (
            "stream_interval",
            vec![int(0), int(-1), float(1.0), int(1 << 32)],
        ),
        (
            "deadline_ms",
            vec![int(0), int(-1), float(1.5), int(1 << 32)],
        ),
        ("min_length", vec![int(-1), float(1.0), int(1 << 32)]),
        ("output_kind", vec![text("DELTA"), text("all"), int(1)]),
        (
            "seed",
            vec![float(9.223372036854776e18), float(-9.3e18), text("1")],
        ),
        (
            "presence_penalty",
            vec![float(2.1), float(-2.1), float(f64::INFINITY)],
        ),
        (
            "frequency_penalty",
            vec![float(2.1), float(-2.1), float(f64::NEG_INFINITY)],
        ),
        (
            "repetition_penalty",
            vec![
                int(0),
                int(-1),
                float(f64::INFINITY),
                float(1e39),
                float(1e-50),
            ],
        ),
    ];
    for (name, values) in cases {
        for value in values {
            let error =
                sampling(&[pair(name, value.clone())]).expect_err(&format!("{name} {value}"));
            assert!(
                matches!(error, Error::BadValue { .. }),
                "{name} {value}: {error}"
            );
            assert_eq!(error.param(), Some(name));
            assert!(error.to_string().len() < 700, "{error}");
        }
    }
}

#[test]
fn what_looks_odd_and_is_legal_runs() {
    let top_k = |k| sampling(&[pair("top_k", int(k))]).unwrap().top_k;
    assert_eq!(
        [top_k(-1), top_k(0), top_k(1 << 31), top_k(i64::MAX)],
        [0, 0, 1 << 31, u32::MAX]
    );
    assert!(
        sampling(&[pair("temperature", float(1e-30))])
            .unwrap()
            .is_greedy()
    );
    assert!(
        !sampling(&[pair("temperature", float(1e-5))])
            .unwrap()
            .is_greedy()
    );
    let seed = |seed| sampling(&[pair("seed", int(seed))]).unwrap().seed;
    assert_eq!(
        [seed(i64::MIN), seed(i64::MAX), seed(-1)],
        [Some(i64::MIN), Some(i64::MAX), None]
    );
    let ids = sampling(&[pair("stop_token_ids", ints(&[5, 2, 5, 2]))])
        .unwrap()
        .stop_token_ids;
    assert_eq!(ids, [5, 2]);
    let bias = Value::Map(vec![(text("7"), int(-100)), (int(2), float(0.5))]);
    assert_eq!(
        sampling(&[pair("logit_bias", bias)]).unwrap().logit_bias,
        [(2, 0.5), (7, -100.0)]
    );
    assert_eq!(sampling(&[pair("stop", text("x"))]).unwrap().stop, ["x"]);
    assert_eq!(
        sampling(&[pair("stop", Value::List(vec![]))]).unwrap().stop,
        [""; 0]
    );
    assert_eq!(
        sampling(&[pair("logprobs", Value::Bool(true))])
            .unwrap()
            .logprobs,
        Some(1)
    );
    assert_eq!(
        sampling(&[pair("max_tokens", Value::Null)])
            .unwrap()
            .max_tokens,
        None,
        "to the end"
    );
    let sizes = repetition(&[("min_count", 2), ("max_pattern_size", 3)]);
    let detection = sampling(&[pair("repetition_detection", sizes)])
        .unwrap()
        .repetition_detection
        .unwrap();
    assert_eq!(
        (detection.min_pattern_size, detection.max_pattern_size),
        (1, 3)
    );
    let mode = sampling(&[pair("logprobs_mode", text("processed_logits"))])
        .unwrap()
        .logprobs_mode;
    assert_eq!(mode, LogprobsMode::ProcessedLogits);
}

#[test]
fn the_vocabulary_is_reported_only_where_the_engine_allows_it() {
    let options = EngineOptions::from_values(&[pair("max_logprobs", int(-1))]).unwrap();
    let whole = [pair("logprobs", int(-1))];
    assert_eq!(
        SamplingParams::from_values(&whole, &options.limits())
            .unwrap()
            .logprobs,
        Some(u32::MAX)
    );
    assert!(SamplingParams::from_values(&whole, &EngineOptions::default().limits()).is_err());
    assert_eq!(EngineOptions::default().limits(), Limits::default());
}

#[test]
fn options_that_contradict_each_other_are_refused_with_both_names() {
    let cases = [
        (
            vec![pair("n", int(2)), pair("temperature", int(0))],
            "n",
            "temperature",
        ),
        (
            vec![pair("min_tokens", int(17))],
            "min_tokens",
            "max_tokens",
        ),
        (
            vec![pair("min_tokens", int(3)), pair("max_tokens", int(2))],
            "min_tokens",
            "max_tokens",
        ),
        (
            vec![
                pair("stop", text("x")),
                pair("detokenize", Value::Bool(false)),
            ],
            "stop",
            "detokenize",
        ),
        (
            vec![pair("top_k", int(1)), pair("top_k", int(1))],
            "top_k",
            "top_k",
        ),
        (
            vec![
                pair("logprob_token_ids", ints(&[1, 2])),
                pair("logprobs", int(3)),
            ],
            "logprob_token_ids",
            "logprobs",
        ),
        (
            vec![
                pair("prompt_logprobs", int(1)),
                pair("skip_reading_prefix_cache", Value::Bool(false)),
            ],
            "skip_reading_prefix_cache",
            "prompt_logprobs",
        ),
        (
            vec![
                pair("output_kind", text("final_only")),
                pair("stream_interval", int(2)),
            ],
            "stream_interval",
            "output_kind",
        ),
        (
            vec![
                pair("pipeline", text("hf")),
                pair("presence_penalty", int(1)),
            ],
            "pipeline",
            "presence_penalty",
        ),
        (
            vec![
                pair("pipeline", text("vllm")),
                pair("suppress_tokens", ints(&[1])),
            ],
            "pipeline",
            "suppress_tokens",
        ),
        (
            vec![
                pair("pipeline", text("sglang")),
                pair("no_repeat_ngram_size", int(2)),
            ],
            "pipeline",
            "no_repeat_ngram_size",
        ),
        (
            vec![
                pair("pipeline", text("llamacpp")),
                pair("min_tokens", int(2)),
            ],
            "pipeline",
            "min_tokens",
        ),
        (
            vec![
                pair("pipeline", steps(&["top_k", "temperature"])),
                pair("top_p", float(0.5)),
            ],
            "pipeline",
            "top_p",
        ),
        (
            vec![pair("pipeline", steps(&["top_k", "top_k"]))],
            "pipeline",
            "top_k",
        ),
        (
            vec![pair("pipeline", steps(&["top_k", "logit_bias"]))],
            "pipeline",
            "logit_bias",
        ),
        (
            vec![pair("pipeline", text("vllm")), pair("top_h", float(0.5))],
            "pipeline",
            "top_h",
        ),
        (
            vec![
                pair("pipeline", text("llamacpp")),
                pair("mirostat", int(1)),
                pair("frequency_penalty", int(1)),
            ],
            "pipeline",
            "frequency_penalty",
        ),
        (
            vec![
                pair("forced_bos_token_id", int(3)),
                pair("suppress_tokens", ints(&[3])),
            ],
            "forced_bos_token_id",
            "suppress_tokens",
        ),
        (
            vec![
                pair("forced_eos_token_id", ints(&[4, 3])),
                pair("suppress_tokens", ints(&[3])),
            ],
            "forced_eos_token_id",
            "suppress_tokens",
        ),
    ];
    for (values, first, second) in cases {
        match sampling(&values) {
            Err(Error::Conflict { name, other, .. }) => {
                assert_eq!((name.as_str(), other.as_str()), (first, second));
            }
            other => panic!("{values:?}: {other:?}"),
        }
    }
    let values = [
        pair("max_num_seqs", int(8)),
        pair("max_num_queued_reqs", int(7)),
    ];
    assert!(matches!(
        EngineOptions::from_values(&values),
        Err(Error::Conflict { .. })
    ));
    assert!(sampling(&[pair("min_tokens", int(16))]).is_ok());
}

#[test]
fn the_authors_of_mirostat_fill_in_their_constants_and_llamacpp_no_other_cut() {
    let mirostat = |values: &[Pair]| {
        let params = sampling(values).unwrap();
        (params.mirostat.tau, params.mirostat.eta, params.top_k)
    };
    let on = pair("mirostat", int(2));
    let authors = pair("mirostat_variant", text("authors"));
    assert_eq!(mirostat(std::slice::from_ref(&on)), (5.0, 0.1, 0));
    assert_eq!(mirostat(&[on.clone(), authors.clone()]), (3.0, 1.0, 0));
    let own = pair("mirostat_tau", float(4.0));
    assert_eq!(mirostat(&[on.clone(), authors, own]), (4.0, 1.0, 0));
    let llamacpp = pair("pipeline", text("llamacpp"));
    assert_eq!(mirostat(&[on, llamacpp]), (5.0, 0.1, 0));
}

#[test]
fn sequences_come_as_a_map_or_as_pairs_and_one_forced_end_as_itself() {
    let map = Value::Map(vec![(ints(&[3, 4]), int(-2)), (ints(&[5]), float(0.5))]);
    let pairs = biased(&[(&[3, 4], -2.0), (&[5], 0.5)]);
    for value in [map, pairs] {
        let bias = sampling(&[pair("sequence_bias", value)])
            .unwrap()
            .sequence_bias;
        assert_eq!(bias, [(vec![3, 4], -2.0), (vec![5], 0.5)]);
    }
    let ends = sampling(&[pair("forced_eos_token_id", int(7))]).unwrap();
    assert_eq!(ends.forced_eos_token_id, Some(vec![7]));
}

#[test]
fn a_named_pipeline_fills_in_what_its_engine_would_and_nobody_said() {
    let filled = |values: &[Pair]| {
        let params = sampling(values).unwrap();
        (params.temperature, params.top_k, params.top_p, params.min_p)
    };
    let named = |name: &str| pair("pipeline", text(name));
    let nothing = (1.0, 0, 1.0, 0.0);
    for name in ["tokenmill", "vllm", "sglang"] {
        assert_eq!(filled(&[named(name)]), nothing);
    }
    assert_eq!(filled(&[named("hf")]), (1.0, 50, 1.0, 0.0));
    assert_eq!(
        filled(&[named("hf"), pair("temperature", int(0))]),
        (0.0, 0, 1.0, 0.0)
    );
    assert_eq!(filled(&[pair("top_k", int(0)), named("hf")]), nothing);
    assert_eq!(filled(&[named("llamacpp")]), (0.8, 40, 0.95, 0.05));
    let own = [
        named("llamacpp"),
        pair("temperature", float(1.0)),
        pair("top_k", int(0)),
        pair("top_p", float(1.0)),
        pair("min_p", float(0.0)),
    ];
    assert_eq!(filled(&own), nothing);
    assert_eq!(
        filled(&[named("llamacpp"), pair("top_k", Value::Null)]).1,
        40,
        "null leaves a field open"
    );
    let params = sampling(&[pair("pipeline", steps(&[]))]).unwrap();
    assert_eq!(params.pipeline, PipelineChoice::Listed(vec![]));
    assert_eq!(params.output_kind, OutputKind::Cumulative);
}

#[test]
fn a_loop_is_found_when_its_last_copy_is_complete() {
    let detection = |longest, shortest, count| crate::params::RepetitionDetection {
        max_pattern_size: longest,
        min_pattern_size: shortest,
        min_count: count,
    };
    for (output, sizes, expected) in [
        (&[1, 2, 1, 2][..], detection(2, 1, 2), true),
        (&[9, 1, 2, 1, 2], detection(3, 1, 2), true),
        (&[1, 2, 1, 2, 1], detection(2, 1, 2), true),
        (&[2, 1, 2], detection(2, 1, 2), false),
        (&[1, 2, 1, 3], detection(2, 1, 2), false),
        (&[5, 5], detection(4, 1, 2), true),
        (&[5, 5], detection(4, 2, 2), false),
        (&[5, 5, 5, 5], detection(4, 2, 2), true),
        (&[5, 5], detection(1, 1, 3), false),
        (&[5, 5, 5], detection(1, 1, 3), true),
        (&[1, 2, 3, 1, 2, 3, 1, 2], detection(3, 1, 3), false),
        (&[1, 2, 3, 1, 2, 3, 1, 2, 3], detection(3, 1, 3), true),
        (&[], detection(3, 1, 2), false),
    ] {
        assert_eq!(sizes.finds(output), expected, "{output:?} {sizes:?}");
    }
}

/// One sequence more than there may be.
fn many_sequences() -> Vec<(&'static [i64], f64)> {
    static IDS: [i64; 301] = {
        let mut ids = [0; 301];
        let mut at = 0;
        while at < ids.len() {
            ids[at] = at as i64;
            at += 1;
        }
        ids
    };
    IDS.chunks(1).map(|id| (id, 1.0)).collect()
}
