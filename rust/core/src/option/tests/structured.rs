//! `structured_outputs`: what its map may be, and what becomes of it.

use super::{Pair, bools, pair, sampling, text};
use crate::error::Error;
use crate::kind::HasKind;
use crate::option::{Group, Value, find, parse_text};
use crate::params::{OutputConstraint, StructuredOutputs};

fn map(pairs: &[(&str, Value)]) -> Value {
    let pair = |(key, value): &(&str, Value)| (text(key), value.clone());
    Value::Map(pairs.iter().map(pair).collect())
}

fn given(pairs: &[(&str, Value)]) -> Vec<Pair> {
    vec![pair("structured_outputs", map(pairs))]
}

fn read(pairs: &[(&str, Value)]) -> StructuredOutputs {
    let params = sampling(&given(pairs)).unwrap();
    params.structured_outputs.unwrap()
}

#[test]
fn each_constraint_is_read_and_shown_again() {
    let texts = Value::List(vec![text("yes"), text("no")]);
    for (key, value, expected) in [
        ("json", text("{}"), OutputConstraint::Json("{}".into())),
        (
            "json",
            map(&[("type", text("object"))]),
            OutputConstraint::Json(r#"{"type":"object"}"#.into()),
        ),
        ("regex", text(" "), OutputConstraint::Regex(" ".into())),
        (
            "choice",
            texts,
            OutputConstraint::Choice(vec!["yes".into(), "no".into()]),
        ),
        (
            "grammar",
            text("start: \"a\""),
            OutputConstraint::Grammar("start: \"a\"".into()),
        ),
        (
            "json_object",
            Value::Bool(true),
            OutputConstraint::JsonObject,
        ),
        (
            "structural_tag",
            map(&[]),
            OutputConstraint::StructuralTag("{}".into()),
        ),
    ] {
        let structured = read(&[(key, value)]);
        assert_eq!(structured.constraint, expected);
        assert_eq!(structured.constraint.name(), key);
        assert!(structured.constraint.path().ends_with(key));
        let params = sampling(&given(&[(key, Value::Null), ("json_object", bools(true))]));
        assert!(params.is_ok(), "null says nothing");
    }
    let structured = read(&[
        ("disable_any_whitespace", bools(true)),
        ("disable_additional_properties", bools(true)),
        ("json", text("{}")),
        ("regex", Value::Null),
        ("json_object", bools(false)),
    ]);
    assert!(structured.disable_any_whitespace && structured.disable_additional_properties);
}

#[test]
fn case_065_no_constraint_two_of_them_and_empty_ones_are_refused() {
    let long = |len: usize| text(&"x".repeat(len));
    for pairs in [
        vec![],
        vec![("disable_any_whitespace", bools(true))],
        vec![("json", text("{}")), ("regex", text("a"))],
        vec![("json_object", bools(false))],
        vec![("json_object", text("true"))],
        vec![("json", text(" "))],
        vec![("json", bools(true))],
        vec![("json", map(&[("minimum", Value::Float(f64::NAN))]))],
        vec![("json", long(65_537))],
        vec![("regex", text(""))],
        vec![("regex", bools(false))],
        vec![("regex", long(4097))],
        vec![("grammar", text("\n"))],
        vec![("grammar", long(65_537))],
        vec![("choice", Value::List(vec![]))],
        vec![("choice", text("a"))],
        vec![("choice", Value::List(vec![text("a"), text("")]))],
        vec![("choice", Value::List(vec![long(65_536), text("a")]))],
        vec![("structural_tag", text(""))],
        vec![("json", text("{}")), ("json", text("{}"))],
        vec![("json", text("{}")), ("backend", text("xgrammar"))],
        vec![("json", text("{}")), ("whitespace_pattern", text(""))],
        vec![
            ("json", text("{}")),
            ("disable_any_whitespace", text("yes")),
        ],
    ] {
        let error = sampling(&given(&pairs)).unwrap_err();
        assert_eq!(error.param(), Some("structured_outputs"), "{pairs:?}");
        assert!(error.to_string().contains("exactly one of json"), "{error}");
        assert!(error.to_string().len() < 1024);
    }
    assert!(
        sampling(&[pair(
            "structured_outputs",
            Value::Map(vec![(Value::Int(1), bools(true))])
        )])
        .is_err()
    );
}

#[test]
fn a_switch_that_says_nothing_is_refused_with_both_names() {
    for (constraint, switch) in [
        (
            ("regex", text("a")),
            ("disable_any_whitespace", bools(true)),
        ),
        (("grammar", text("a")), ("whitespace_pattern", text(" "))),
        (
            ("json_object", bools(true)),
            ("disable_additional_properties", bools(true)),
        ),
    ] {
        let error = sampling(&given(&[constraint.clone(), switch.clone()])).unwrap_err();
        let Error::Conflict { name, other, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(name, format!("structured_outputs.{}", switch.0));
        assert_eq!(other, format!("structured_outputs.{}", constraint.0));
    }
    let both = [
        ("json_object", bools(true)),
        ("disable_any_whitespace", bools(true)),
        ("whitespace_pattern", text(" ")),
    ];
    assert!(matches!(
        sampling(&given(&both)),
        Err(Error::Conflict { .. })
    ));
}

#[test]
fn a_pipeline_without_the_step_is_refused() {
    for pipeline in ["tokenmill", "vllm", "sglang", "llamacpp"] {
        let mut values = given(&[("regex", text("a"))]);
        values.push(pair("pipeline", text(pipeline)));
        assert!(sampling(&values).is_ok(), "{pipeline}");
    }
    let mut values = given(&[("regex", text("a"))]);
    values.push(pair("pipeline", text("hf")));
    let error = sampling(&values).unwrap_err();
    assert!(error.to_string().contains("structured_outputs"), "{error}");
}

#[test]
fn a_command_line_writes_json() {
    let spec = find(Group::Sampling, "structured_outputs").unwrap();
    let written = r#"{"json": {"type": "object"}, "disable_any_whitespace": true}"#;
    let value = parse_text(spec, written).unwrap();
    let params = sampling(&[pair("structured_outputs", value)]).unwrap();
    let structured = params.structured_outputs.unwrap();
    assert_eq!(
        structured.constraint,
        OutputConstraint::Json(r#"{"type":"object"}"#.into())
    );
    assert!(structured.disable_any_whitespace);
    assert_eq!(parse_text(spec, "none"), Ok(Value::Null));
    for text in ["regex:a", "{", "", "{\"regex\": \"a\"} b"] {
        assert!(parse_text(spec, text).is_err(), "{text}");
    }
}
