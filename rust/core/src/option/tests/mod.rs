//! The table against itself.

mod beams;
mod custom;
mod cuts;
mod sampling;
mod sources;

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::error::{Error, Result};
use crate::kind::{HasKind, Kind};
use crate::limits::Limits;
use crate::params::{
    Callable, Callback, LogprobsMode, OutputKind, PipelineChoice, SamplingParams, Step,
};

type Pair = (String, Value);

fn pair(name: &str, value: Value) -> Pair {
    (name.into(), value)
}

fn sampling(values: &[Pair]) -> Result<SamplingParams> {
    SamplingParams::from_values(values, &Limits::default())
}

/// Every option of a group after setting some.
fn after(group: Group, values: &[Pair]) -> Result<Vec<(&'static str, Value)>> {
    match group {
        Group::Sampling => sampling(values).map(|params| params.to_values()),
        Group::Engine => EngineOptions::from_values(values).map(|options| options.to_values()),
    }
}

fn int(int: i64) -> Value {
    Value::Int(int)
}

fn float(float: f64) -> Value {
    Value::Float(float)
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn ints(items: &[i64]) -> Value {
    Value::List(items.iter().map(|&item| int(item)).collect())
}

/// A value that is legal and not the default, in its normal form; where there is only one such, that.
fn another(spec: &OptionSpec) -> Value {
    match spec.kind {
        OptionType::Bool => Value::Bool(spec.default_value() != Value::Bool(true)),
        OptionType::Int { max: 2, .. } => int(2),
        OptionType::Beams if spec.name == "beam_width" => int(14),
        OptionType::Int { .. } | OptionType::Samples | OptionType::Logprobs | OptionType::Beams => {
            int(7)
        }
        OptionType::EarlyStopping => text("never"),
        OptionType::Float { min: 1.0, .. } => float(1.5),
        OptionType::Float { .. } => float(0.625),
        OptionType::Text => text("other"),
        OptionType::Choice(names) => text(
            names
                .iter()
                .find(|name| text(name) != spec.default_value())
                .expect("two names"),
        ),
        // As many as the log-probs that `Logprobs` has here, since the two must agree.
        OptionType::TokenIds(_) => ints(&[3, 1, 4, 0, 5, 9, 2]),
        OptionType::StopStrings | OptionType::Words | OptionType::Breakers => {
            Value::List(vec![text("a"), text("b")])
        }
        OptionType::Repetition => repetition(&[
            ("max_pattern_size", 4),
            ("min_pattern_size", 2),
            ("min_count", 3),
        ]),
        // Another order of everything, so that it contradicts no other option.
        OptionType::Pipeline => {
            let mut steps: Vec<Value> = Step::ALL.iter().map(|step| text(step.name())).collect();
            steps.swap(0, 1);
            Value::List(steps)
        }
        OptionType::TokenSequences => Value::List(vec![ints(&[5, 5]), ints(&[0])]),
        OptionType::SequenceBias => biased(&[(&[5, 5], -2.5), (&[0], 0.5)]),
        OptionType::LengthDecay => Value::List(vec![int(3), float(1.5)]),
        OptionType::BiasMap => Value::Map(vec![(int(1), float(-100.0)), (int(9), float(0.5))]),
        OptionType::Contrastive => Value::Map(vec![
            (text("amateur"), text("other")),
            (text("mode"), text("scaled")),
            (text("alpha"), float(0.25)),
            (text("beta"), float(2.0)),
            (text("temperature"), float(0.5)),
        ]),
        OptionType::Layers => ints(&[1, 4]),
        OptionType::Processors => Value::List(vec![Value::Map(vec![
            (text("type"), text("bias")),
            (text("value"), float(1.5)),
            (text("tokens"), ints(&[3, 1])),
            (text("from"), int(2)),
            (text("to"), int(9)),
            (text("after"), ints(&[4])),
        ])]),
        OptionType::Callable => Value::Callable(Callable(Arc::new(Nothing))),
        OptionType::Untyped => Value::Null,
    }
}

/// A callback that is never called.
#[derive(Debug)]
struct Nothing;

impl Callback for Nothing {
    fn name(&self) -> String {
        "nothing".into()
    }

    fn process(&self, _: &[u32], _: &[u32], _: &mut [f32]) -> std::result::Result<(), String> {
        Ok(())
    }

    fn allowed(&self, _: &[u32], _: &[u32]) -> std::result::Result<Vec<u32>, String> {
        Ok(vec![0])
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn repetition(sizes: &[(&str, i64)]) -> Value {
    let pair = |&(key, size): &(&str, i64)| (text(key), int(size));
    Value::Map(sizes.iter().map(pair).collect())
}

fn biased(pairs: &[(&[i64], f64)]) -> Value {
    let pair = |&(ids, bias): &(&[i64], f64)| Value::List(vec![ints(ids), float(bias)]);
    Value::List(pairs.iter().map(pair).collect())
}

fn steps(names: &[&str]) -> Value {
    Value::List(names.iter().map(|name| text(name)).collect())
}

/// What an option needs beside it to mean anything. A temperature, since a search without one is greedy.
fn beside(spec: &OptionSpec) -> Vec<Pair> {
    let mut needed = Vec::new();
    let is_of_beams = matches!(
        spec.name,
        "length_penalty" | "length_penalty_kind" | "early_stopping" | "num_return_sequences"
    );
    let is_of_groups = matches!(spec.name, "num_beam_groups" | "diversity_penalty");
    if is_of_beams || is_of_groups {
        needed.push(pair("beam_width", int(14)));
    }
    match spec.name {
        "negative_prompt" | "negative_prompt_token_ids" => {
            needed.push(pair("guidance_scale", float(2.0)));
        }
        "penalty_alpha" => {
            needed.push(pair("temperature", float(0.0)));
            needed.push(pair("top_k", int(5)));
        }
        _ => {}
    }
    if spec.name == "diversity_penalty" {
        needed.push(pair("num_beam_groups", int(7)));
    }
    if is_of_beams || is_of_groups || spec.name == "beam_width" {
        needed.push(pair("temperature", float(1.0)));
    }
    needed
}

/// Every option of its group after setting one beside what it needs.
fn with(spec: &OptionSpec, value: Value) -> Result<Vec<(&'static str, Value)>> {
    let mut values = beside(spec);
    values.push(pair(spec.name, value));
    after(spec.group, &values)
}

fn supported() -> impl Iterator<Item = &'static OptionSpec> {
    OPTIONS.iter().filter(|spec| spec.is_supported())
}

#[test]
fn names_flags_and_environment_names_are_unique() {
    let mut names = HashSet::new();
    let mut envs = HashSet::new();
    for spec in OPTIONS {
        assert!(names.insert((spec.group, spec.name)), "{} twice", spec.name);
        assert!(envs.insert(spec.env()), "{} twice", spec.env());
        assert!(
            spec.name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        );
        assert_eq!(
            find(spec.group, spec.name).map(|found| found.name),
            Some(spec.name)
        );
    }
}

#[test]
fn every_row_says_what_it_does_or_why_it_is_refused() {
    for spec in OPTIONS {
        let line = match spec.status {
            Status::Supported => spec.doc,
            Status::Later(reason) | Status::Refused(reason) => reason,
        };
        assert!(
            line.len() > 8 && !line.ends_with('.') && !line.contains('\n'),
            "{}: {line:?}",
            spec.name
        );
        assert_eq!(spec.describe().len(), 10);
        assert_eq!(spec.kind == OptionType::Untyped, !spec.is_supported());
    }
}

#[test]
fn every_option_sets_its_own_field_and_reads_it_back() {
    for spec in supported() {
        let value = another(spec);
        assert_ne!(value, spec.default_value(), "{}", spec.name);
        let before = after(spec.group, &beside(spec)).unwrap();
        let now = with(spec, value.clone()).unwrap();
        for ((name, old), (_, new)) in before.iter().zip(&now) {
            assert_eq!(
                new,
                if *name == spec.name { &value } else { old },
                "{} changed {name}",
                spec.name
            );
        }
        // Of the options with a null of their own, these have another default.
        let nulled = with(spec, Value::Null).unwrap();
        let has_other_default = matches!(
            (spec.group, spec.name),
            (Group::Sampling, "max_tokens") | (Group::Engine, "seed")
        );
        assert_eq!(nulled == before, !has_other_default, "{}", spec.name);
    }
}

#[test]
fn all_values_together_come_back_as_they_were() {
    // What contradicts another of these values.
    let alone = [
        "detokenize",
        "mirostat",
        "adaptive_target",
        "forced_eos_token_id",
        "n",
        "repetition_detection",
        "logprobs_mode",
        "negative_prompt",
        "contrastive",
        "dola_layers",
        "penalty_alpha",
    ];
    for group in [Group::Sampling, Group::Engine] {
        let values: Vec<Pair> = supported()
            .filter(|spec| spec.group == group && !alone.contains(&spec.name))
            .map(|spec| pair(spec.name, another(spec)))
            .collect();
        let shown = after(group, &values).unwrap();
        let again: Vec<Pair> = shown
            .iter()
            .map(|(name, value)| pair(name, value.clone()))
            .collect();
        assert_eq!(after(group, &again).unwrap(), shown);
    }
}

#[test]
fn bounds_accept_their_ends_and_refuse_what_lies_just_outside() {
    let accepts = |spec: &OptionSpec, value: Value| with(spec, value).is_ok();
    for spec in supported() {
        match spec.kind {
            OptionType::Int { min, max } => {
                // min_tokens of a large number contradicts the default max_tokens, which is another rule.
                let top = if spec.name == "min_tokens" { 16 } else { max };
                // And no token at all is asked for beside echo alone.
                let low = if spec.name == "max_tokens" { 1 } else { min };
                assert!(
                    accepts(spec, int(low)) && accepts(spec, int(top)),
                    "{}",
                    spec.name
                );
                assert!(
                    min == i64::MIN || !accepts(spec, int(min - 1)),
                    "{}",
                    spec.name
                );
                assert!(
                    max == i64::MAX || !accepts(spec, int(max + 1)),
                    "{}",
                    spec.name
                );
            }
            OptionType::Float {
                min,
                is_min_open,
                max,
            } => {
                assert_eq!(accepts(spec, float(min)), !is_min_open, "{}", spec.name);
                assert!(accepts(spec, float(max)), "{}", spec.name);
                assert!(!accepts(spec, float(min.next_down())), "{}", spec.name);
                assert!(!accepts(spec, float(max.next_up())), "{}", spec.name);
                assert!(
                    !accepts(spec, float(1e-60)) || !is_min_open,
                    "{}: narrows to the open end",
                    spec.name
                );
            }
            OptionType::Choice(names) => {
                assert!(
                    names.iter().all(|name| accepts(spec, text(name))),
                    "{}",
                    spec.name
                );
                assert!(!accepts(spec, text("no such")), "{}", spec.name);
            }
            _ => {}
        }
    }
}

#[test]
fn a_value_of_another_type_is_refused() {
    let all = [
        Value::Bool(true),
        int(1),
        float(1.0),
        float(1.5),
        float(f64::NAN),
        float(f64::INFINITY),
        float(9.3e18),
        text("1"),
        text(""),
        ints(&[1]),
        Value::Map(vec![]),
    ];
    for spec in supported() {
        let taken: &[usize] = match spec.kind {
            OptionType::Bool | OptionType::EarlyStopping => &[0],
            OptionType::Int { .. } | OptionType::Samples | OptionType::Beams => &[1],
            OptionType::Logprobs => &[0, 1],
            OptionType::Float { max, .. } if max > 1.0 => &[1, 2, 3],
            OptionType::Float { max, .. } if max < 1.0 => &[],
            OptionType::Float { .. } => &[1, 2],
            OptionType::Text
            | OptionType::StopStrings
            | OptionType::Words
            | OptionType::Breakers => &[7],
            OptionType::TokenIds(IdList::Forced) => &[1, 9],
            OptionType::TokenIds(_) | OptionType::Layers => &[9],
            OptionType::BiasMap | OptionType::SequenceBias | OptionType::Contrastive => &[10],
            OptionType::Choice(_)
            | OptionType::Untyped
            | OptionType::Repetition
            | OptionType::TokenSequences
            | OptionType::LengthDecay
            | OptionType::Processors
            | OptionType::Callable
            | OptionType::Pipeline => &[],
        };
        for (index, value) in all.iter().enumerate() {
            let result = with(spec, value.clone());
            // 9.3e18 is a legal repetition penalty; nothing else takes it.
            let is_taken =
                taken.contains(&index) || (index == 6 && spec.name.ends_with("repetition_penalty"));
            assert_eq!(result.is_ok(), is_taken, "{} {value}", spec.name);
            if let Err(error) = result {
                assert_eq!(
                    (error.kind(), error.param()),
                    (Kind::InvalidRequest, Some(spec.name))
                );
            }
        }
    }
}

#[test]
fn unknown_names_are_refused_with_the_nearest_and_absent_ones_with_the_reason() {
    match sampling(&[pair("temprature", int(1))]) {
        Err(Error::UnknownOption { name, hint }) => {
            assert_eq!(
                (name.as_str(), hint.as_deref()),
                ("temprature", Some("temperature"))
            );
        }
        other => panic!("{other:?}"),
    }
    let long = sampling(&[pair(&"ü".repeat(10_000), int(1))]).unwrap_err();
    assert!(long.to_string().chars().count() < 100, "a name is cut");
    for spec in OPTIONS.iter().filter(|spec| !spec.is_supported()) {
        let error = after(spec.group, &[pair(spec.name, text("no neutral value"))]).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{}", spec.name);
        assert_eq!(
            (error.kind(), error.param()),
            (Kind::Unsupported, Some(spec.name))
        );
        assert!(
            after(spec.group, &[pair(spec.name, Value::Null)]).is_ok(),
            "{}",
            spec.name
        );
    }
}

#[test]
fn a_spelled_out_neutral_value_of_an_absent_option_runs() {
    let engine = |name, value| EngineOptions::from_values(&[pair(name, value)]);
    assert!(engine("tensor_parallel_size", int(1)).is_ok());
    assert!(engine("tensor_parallel_size", int(2)).is_err());
    assert!(engine("trust_remote_code", Value::Bool(false)).is_ok());
    assert!(engine("trust_remote_code", Value::Bool(true)).is_err());
    assert!(engine("gpu_memory_utilization", float(0.9)).is_ok());
}

#[test]
fn parameters_built_by_hand_meet_the_same_bounds() {
    let limits = Limits::default();
    let params = SamplingParams::default;
    assert_eq!(params().validate(&limits), Ok(()));
    for (bad, name) in [
        (
            SamplingParams {
                temperature: f32::NAN,
                ..params()
            },
            "temperature",
        ),
        (
            SamplingParams {
                top_p: 0.0,
                ..params()
            },
            "top_p",
        ),
        (
            SamplingParams {
                repetition_penalty: f32::INFINITY,
                ..params()
            },
            "repetition_penalty",
        ),
        (SamplingParams { n: 17, ..params() }, "n"),
        (
            SamplingParams {
                max_tokens: Some(0),
                ..params()
            },
            "max_tokens",
        ),
        (
            SamplingParams {
                stop: vec![String::new()],
                ..params()
            },
            "stop",
        ),
        (
            SamplingParams {
                logit_bias: vec![(1, 0.0), (1, 1.0)],
                ..params()
            },
            "logit_bias",
        ),
        (
            SamplingParams {
                logprobs: Some(21),
                ..params()
            },
            "logprobs",
        ),
        (
            SamplingParams {
                min_tokens: 17,
                ..params()
            },
            "min_tokens",
        ),
    ] {
        assert_eq!(bad.validate(&limits).unwrap_err().param(), Some(name));
    }
}
