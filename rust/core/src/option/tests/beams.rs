//! The options of beam search: alone, together, and beside what has no meaning there.

use super::*;
use crate::params::{Beams, EarlyStopping, LengthPenaltyKind};

fn searched(values: &[Pair]) -> Result<SamplingParams> {
    let mut all = vec![pair("beam_width", int(6))];
    all.extend_from_slice(values);
    sampling(&all)
}

#[test]
fn a_search_is_greedy_unless_somebody_gives_a_temperature() {
    assert!(!sampling(&[]).unwrap().is_greedy());
    assert!(searched(&[]).unwrap().is_greedy());
    for pipeline in ["hf", "llamacpp", "vllm"] {
        let params = searched(&[pair("pipeline", text(pipeline))]).unwrap();
        assert!(params.is_greedy(), "{pipeline}");
    }
    let hf = searched(&[pair("pipeline", text("hf"))]).unwrap();
    assert_eq!(hf.top_k, 0, "what only draws would see is not filled in");
    let drawn = searched(&[pair("temperature", float(0.5))]).unwrap();
    assert_eq!(drawn.temperature, 0.5);
}

#[test]
fn every_wish_reaches_its_field() {
    let params = searched(&[
        pair("length_penalty", float(0.65)),
        pair("length_penalty_kind", text("gnmt")),
        pair("early_stopping", text("never")),
        pair("num_return_sequences", int(2)),
        pair("num_beam_groups", int(3)),
        pair("diversity_penalty", float(0.5)),
    ]);
    let expected = Beams {
        width: Some(6),
        length_penalty: 0.65,
        length_penalty_kind: LengthPenaltyKind::Gnmt,
        early_stopping: EarlyStopping::Never,
        num_return_sequences: Some(2),
        num_beam_groups: 3,
        diversity_penalty: 0.5,
    };
    assert_eq!(params.unwrap().beams, expected);
    let stopping = |value: Value| {
        let params = searched(&[pair("early_stopping", value)]);
        params.map(|params| params.beams.early_stopping)
    };
    assert_eq!(stopping(Value::Bool(true)), Ok(EarlyStopping::True));
    assert_eq!(stopping(Value::Bool(false)), Ok(EarlyStopping::False));
    assert!(stopping(text("sometimes")).is_err());
    assert!(stopping(int(1)).is_err());
}

#[test]
fn as_text_early_stopping_is_a_switch_or_never() {
    let spec = find(Group::Sampling, "early_stopping").unwrap();
    for (word, value) in [
        ("true", Value::Bool(true)),
        ("off", Value::Bool(false)),
        (" never ", text("never")),
    ] {
        assert_eq!(parse_text(spec, word), Ok(value));
    }
    let odd = parse_text(spec, "soon").unwrap();
    let error = spec.check(&odd, &Limits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "early_stopping must be true, false or never, got \"soon\""
    );
}

#[test]
fn what_a_search_cannot_mean_is_refused_with_both_names() {
    let loop_of_two = repetition(&[("max_pattern_size", 2), ("min_count", 2)]);
    let drawn = |more: Pair| vec![pair("temperature", int(1)), more];
    let cases = [
        (
            vec![pair("n", int(2)), pair("temperature", int(1))],
            "n",
            "beam_width",
        ),
        (drawn(pair("mirostat", int(2))), "mirostat", "beam_width"),
        (
            drawn(pair("adaptive_target", float(0.3))),
            "adaptive_target",
            "beam_width",
        ),
        (vec![pair("mirostat", int(2))], "mirostat", "temperature"),
        (
            vec![pair("typical_p", float(0.5))],
            "typical_p",
            "temperature",
        ),
        (
            vec![pair("repetition_detection", loop_of_two)],
            "repetition_detection",
            "beam_width",
        ),
        (
            vec![pair("logprobs_mode", text("raw_logits"))],
            "logprobs_mode",
            "beam_width",
        ),
        (
            vec![pair("num_return_sequences", int(7))],
            "num_return_sequences",
            "beam_width",
        ),
        (
            vec![
                pair("num_beam_groups", int(4)),
                pair("diversity_penalty", int(1)),
            ],
            "num_beam_groups",
            "beam_width",
        ),
        (
            vec![pair("num_beam_groups", int(3))],
            "num_beam_groups",
            "diversity_penalty",
        ),
        (
            vec![pair("diversity_penalty", int(1))],
            "diversity_penalty",
            "num_beam_groups",
        ),
    ];
    for (values, name, other) in cases {
        match searched(&values) {
            Err(Error::Conflict {
                name: got,
                other: met,
                ..
            }) => {
                assert_eq!((got.as_str(), met.as_str()), (name, other), "{values:?}");
            }
            result => panic!("{values:?}: {result:?}"),
        }
    }
}

#[test]
fn a_wish_for_beams_without_beams_is_refused() {
    for (name, value) in [
        ("length_penalty", float(2.0)),
        ("length_penalty_kind", text("gnmt")),
        ("early_stopping", Value::Bool(true)),
        ("num_return_sequences", int(1)),
        ("num_beam_groups", int(2)),
        ("diversity_penalty", float(0.1)),
    ] {
        let error = sampling(&[pair(name, value)]).unwrap_err();
        assert_eq!(
            (error.kind(), error.param()),
            (Kind::InvalidRequest, Some(name))
        );
        assert!(error.to_string().contains("beam_width"), "{error}");
        let neutral = find(Group::Sampling, name).unwrap().default_value();
        assert!(sampling(&[pair(name, neutral)]).is_ok(), "{name}");
    }
}

#[test]
fn as_many_beams_as_the_limit_and_no_more() {
    let width = |width: i64| sampling(&[pair("beam_width", int(width))]);
    let most = i64::from(Limits::default().beam_width_max);
    assert!(width(1).is_ok() && width(most).is_ok());
    for bad in [0, -1, most + 1] {
        assert_eq!(width(bad).unwrap_err().param(), Some("beam_width"));
    }
}
