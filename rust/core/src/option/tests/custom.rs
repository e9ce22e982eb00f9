//! What a caller brings, and what is asked of whole outputs.

use super::*;

fn processor(pairs: &[(&str, Value)]) -> Value {
    let pairs = pairs.iter().map(|(key, value)| (text(key), value.clone()));
    Value::List(vec![Value::Map(pairs.collect())])
}

fn conflict(values: &[Pair]) -> (String, String) {
    match sampling(values) {
        Err(Error::Conflict { name, other, .. }) => (name, other),
        other => panic!("{values:?}: {other:?}"),
    }
}

#[test]
fn a_declared_processor_says_what_it_does_and_to_which_tokens() {
    let tokens = || ("tokens", ints(&[1, 2]));
    let kind = |name: &str| ("type", text(name));
    for good in [
        vec![kind("ban"), tokens()],
        vec![kind("ban"), ("matching", text(" sea"))],
        vec![kind("bias"), ("value", int(-3)), tokens(), ("from", int(3))],
        vec![
            kind("scale"),
            ("value", float(0.5)),
            tokens(),
            ("to", int(1)),
        ],
        vec![
            kind("clamp"),
            ("min", int(-1)),
            tokens(),
            ("max", Value::Null),
        ],
        vec![kind("clamp"), ("min", int(1)), ("max", int(1)), tokens()],
        vec![kind("ban"), tokens(), ("after", ints(&[7]))],
    ] {
        let values = [pair("logits_processors", processor(&good))];
        let params = sampling(&values).unwrap_or_else(|error| panic!("{good:?}: {error}"));
        assert!(params.validate(&Limits::default()).is_ok(), "{good:?}");
    }
    for bad in [
        vec![],
        vec![kind("ban")],
        vec![tokens()],
        vec![kind("boost"), tokens()],
        vec![kind("ban"), tokens(), ("matching", text("a"))],
        vec![kind("ban"), tokens(), ("value", int(1))],
        vec![kind("ban"), ("tokens", ints(&[]))],
        vec![kind("ban"), ("tokens", ints(&[-1]))],
        vec![kind("ban"), ("tokens", Value::List(vec![int(1); 1025]))],
        vec![kind("ban"), ("matching", text(""))],
        vec![kind("ban"), ("matching", text(&"x".repeat(257)))],
        vec![kind("bias"), tokens()],
        vec![kind("bias"), ("value", float(f64::NAN)), tokens()],
        vec![kind("bias"), ("value", float(1e39)), tokens()],
        vec![kind("bias"), ("value", text("1")), tokens()],
        vec![kind("scale"), ("value", int(0)), tokens()],
        vec![kind("scale"), ("value", int(-2)), tokens()],
        vec![kind("clamp"), tokens()],
        vec![kind("clamp"), ("min", int(2)), ("max", int(1)), tokens()],
        vec![kind("clamp"), ("min", int(2)), ("value", int(1)), tokens()],
        vec![kind("ban"), tokens(), ("from", int(2)), ("to", int(2))],
        vec![kind("ban"), tokens(), ("to", int(0))],
        vec![kind("ban"), tokens(), ("from", int(-1))],
        vec![kind("ban"), tokens(), ("after", ints(&[]))],
        vec![kind("ban"), tokens(), ("behind", ints(&[1]))],
        vec![kind("ban"), kind("ban"), tokens()],
    ] {
        let error = sampling(&[pair("logits_processors", processor(&bad))]);
        let error = error.expect_err(&format!("{bad:?}"));
        assert_eq!(error.param(), Some("logits_processors"), "{bad:?}");
    }
    let one = processor(&[kind("ban"), tokens()]);
    let many = Value::List(vec![one.as_list().unwrap()[0].clone(); 17]);
    assert!(sampling(&[pair("logits_processors", many)]).is_err());
}

#[test]
fn a_list_of_processors_is_written_as_json() {
    let spec = find(Group::Sampling, "logits_processors").unwrap();
    let written = r#"[{"type": "bias", "value": -1.5, "matching": "\"", "to": 4}]"#;
    let value = parse_text(spec, written).unwrap();
    let shown = sampling(&[pair("logits_processors", value)]).unwrap();
    let (_, shown) = shown
        .to_values()
        .into_iter()
        .find(|(name, _)| *name == "logits_processors")
        .unwrap();
    assert_eq!(
        shown.to_string(),
        r#"[{"type": "bias", "value": -1.5, "matching": "\"", "from": 0, "to": 4}]"#
    );
    assert!(parse_text(spec, "[{").is_err());
    let callable = find(Group::Sampling, "prefix_allowed_tokens_fn").unwrap();
    let value = parse_text(callable, "print").unwrap();
    assert!(callable.check(&value, &Limits::default()).is_err());
}

#[test]
fn case_34_no_token_is_asked_for_beside_echo_alone() {
    let none = pair("max_tokens", int(0));
    assert_eq!(
        conflict(std::slice::from_ref(&none)),
        ("max_tokens".into(), "echo".into())
    );
    let echo = pair("echo", Value::Bool(true));
    let params = sampling(&[none, echo.clone(), pair("logprobs", int(3))]).unwrap();
    assert_eq!(params.prompt_logprobs, Some(3));
    let own = [
        echo.clone(),
        pair("logprobs", int(3)),
        pair("prompt_logprobs", int(1)),
    ];
    assert_eq!(sampling(&own).unwrap().prompt_logprobs, Some(1));
    assert_eq!(
        sampling(std::slice::from_ref(&echo))
            .unwrap()
            .prompt_logprobs,
        None
    );
    let mute = [echo, pair("detokenize", Value::Bool(false))];
    assert_eq!(conflict(&mute), ("echo".into(), "detokenize".into()));
}

#[test]
fn the_best_of_samples_are_more_than_are_handed_out_and_known_at_the_end() {
    let best = |count| pair("best_of", int(count));
    for (values, other) in [
        (vec![best(2), pair("n", int(3))], "n"),
        (vec![best(2), pair("temperature", int(0))], "temperature"),
        (
            vec![best(2), pair("output_kind", text("delta"))],
            "output_kind",
        ),
        (
            vec![best(2), pair("stream_interval", int(3))],
            "stream_interval",
        ),
        (
            vec![best(2), pair("logprobs_mode", text("raw_logits"))],
            "logprobs_mode",
        ),
    ] {
        assert_eq!(conflict(&values), ("best_of".into(), other.into()));
    }
    for value in [int(0), int(17), float(2.0), Value::Bool(true)] {
        let error = sampling(&[pair("best_of", value)]).unwrap_err();
        assert_eq!(error.param(), Some("best_of"));
    }
    // As many as are handed out is what happens anyhow.
    let same = [
        best(2),
        pair("n", int(2)),
        pair("output_kind", text("delta")),
    ];
    assert!(!sampling(&same).unwrap().is_ranked());
}

#[test]
fn a_bound_on_thinking_is_a_number_of_tokens_or_off() {
    let budget = |value| sampling(&[pair("thinking_token_budget", value)]);
    assert_eq!(budget(int(-1)).unwrap().thinking.budget, None);
    assert_eq!(budget(Value::Null).unwrap().thinking.budget, None);
    assert_eq!(budget(int(0)).unwrap().thinking.budget, Some(0));
    for value in [int(-2), float(3.0), Value::Bool(true), text("5")] {
        assert_eq!(
            budget(value).unwrap_err().param(),
            Some("thinking_token_budget")
        );
    }
}
