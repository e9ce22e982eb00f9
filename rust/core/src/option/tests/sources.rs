//! What second rows and contrastive search take, and what they refuse beside themselves.

use super::{Pair, float, int, ints, pair, sampling, text};
use crate::error::Error;
use crate::limits::Limits;
use crate::option::{Group, Value, find, parse_text};
use crate::params::{Contrastive, ContrastiveMode, DolaLayers, SamplingParams};

fn contrastive(pairs: &[(&str, Value)]) -> Pair {
    let entry = |(key, value): &(&str, Value)| (text(key), value.clone());
    pair("contrastive", Value::Map(pairs.iter().map(entry).collect()))
}

fn conflict(values: &[Pair]) -> [String; 2] {
    match sampling(values) {
        Err(Error::Conflict { name, other, .. }) => [name, other],
        other => panic!("{other:?}"),
    }
}

fn search() -> Vec<Pair> {
    vec![pair("penalty_alpha", float(0.6)), pair("top_k", int(4))]
}

fn with(mut values: Vec<Pair>, more: Pair) -> Vec<Pair> {
    values.push(more);
    values
}

#[test]
fn entries_of_contrastive_decoding_have_defaults_and_bounds() {
    let read = |pairs: &[(&str, Value)]| sampling(&[contrastive(pairs)]).map(|p| p.contrastive);
    let plain = Ok(Some(Contrastive::default()));
    assert_eq!(read(&[]), plain);
    assert_eq!(read(&[("lambda", Value::Null)]), plain);
    let scaled = read(&[("mode", text("scaled")), ("beta", int(2))]);
    let scaled = scaled.unwrap().unwrap();
    assert_eq!((scaled.mode, scaled.beta), (ContrastiveMode::Scaled, 2.0));
    assert_eq!(read(&[("alpha", int(0))]).unwrap().unwrap().alpha, 0.0);
    for refused in [
        vec![("alpha", float(1.1))],
        vec![("alpha", float(f64::NAN))],
        vec![("lambda", float(-0.1))],
        vec![("beta", float(0.5))],
        vec![("mode", text("scaled")), ("lambda", float(1.0))],
        vec![("mode", text("ratio"))],
        vec![("temperature", int(0))],
        vec![("temperature", float(1e-60))],
        vec![("amateur", text(""))],
        vec![("amateur", int(3))],
        vec![("tau", float(1.0))],
        vec![("alpha", float(0.1)), ("alpha", float(0.1))],
    ] {
        let error = read(&refused).unwrap_err();
        let is_named = matches!(&error, Error::BadValue { name, .. } if name == "contrastive");
        assert!(is_named, "{error}");
    }
}

#[test]
fn a_command_line_writes_entries_and_layers_as_text() {
    let parse = |name: &str, written: &str| {
        let spec = find(Group::Sampling, name).unwrap();
        sampling(&[pair(name, parse_text(spec, written)?)])
    };
    let by_hand = parse("contrastive", "mode:scaled, alpha:0.2,beta:1").unwrap();
    let json = "{\"mode\": \"scaled\", \"alpha\": 0.2, \"beta\": 1}";
    let as_json = parse("contrastive", json).unwrap();
    assert_eq!(by_hand.contrastive, as_json.contrastive);
    assert_eq!(by_hand.contrastive.unwrap().alpha, 0.2);
    let empty = parse("contrastive", "{}").unwrap();
    assert_eq!(empty.contrastive, Some(Contrastive::default()));
    assert!(parse("contrastive", "").is_err() && parse("contrastive", "scaled").is_err());
    let layers = |written: &str| parse("dola_layers", written).map(|params| params.dola.layers);
    assert_eq!(layers("low"), Ok(Some(DolaLayers::Low)));
    assert_eq!(layers("[4, 2]"), Ok(Some(DolaLayers::Listed(vec![2, 4]))));
    assert_eq!(layers("3"), Ok(Some(DolaLayers::Listed(vec![3]))));
    assert!(layers("middle").is_err() && layers("-1").is_err() && layers("").is_err());
}

#[test]
fn layers_are_listed_once_ascending_and_not_too_many() {
    let layers = |value: Value| sampling(&[pair("dola_layers", value)]).map(|p| p.dola.layers);
    let all: Vec<i64> = (0..17).collect();
    let listed = DolaLayers::Listed(vec![0, 2, 8]);
    assert_eq!(layers(ints(&[8, 2, 8, 0])), Ok(Some(listed)));
    assert!(layers(ints(&all[..16])).is_ok() && layers(ints(&all)).is_err());
    assert!(layers(ints(&[])).is_err() && layers(text("all")).is_err());
}

#[test]
fn two_second_rows_are_refused_by_both_names() {
    let guided = pair("guidance_scale", float(2.0));
    let layered = pair("dola_layers", text("low"));
    let amateur = contrastive(&[]);
    for (first, second) in [
        (&guided, &amateur),
        (&guided, &layered),
        (&amateur, &layered),
    ] {
        let refused = [first.0.clone(), second.0.clone()];
        assert_eq!(conflict(&[first.clone(), second.clone()]), refused);
        assert_eq!(conflict(&[second.clone(), first.clone()]), refused);
    }
    let idle = pair("guidance_scale", float(1.0));
    let both = [idle, layered];
    assert!(sampling(&both).is_ok(), "a scale of 1 is no second row");
}

#[test]
fn a_negative_prompt_needs_a_scale_and_is_said_in_one_way() {
    let negative = pair("negative_prompt", text("no"));
    let ids = pair("negative_prompt_token_ids", ints(&[1, 1]));
    let scale = pair("guidance_scale", float(3.0));
    for alone in [&negative, &ids] {
        let refused = [alone.0.clone(), "guidance_scale".to_owned()];
        assert_eq!(conflict(std::slice::from_ref(alone)), refused);
    }
    let both = [scale.clone(), negative.clone(), ids.clone()];
    let refused = ["negative_prompt", "negative_prompt_token_ids"];
    assert_eq!(conflict(&both), refused);
    let guidance = sampling(&[scale, ids]).unwrap().guidance;
    let kept = guidance.negative_prompt_token_ids;
    assert_eq!(kept, Some(vec![1, 1]), "repeated tokens stay");
    // One spelled out as 1 would leave the scores as they are.
    let one = [pair("guidance_scale", int(1)), negative];
    assert_eq!(conflict(&one), ["negative_prompt", "guidance_scale"]);
}

#[test]
fn a_search_is_alone_and_draws_nothing() {
    let params = sampling(&search()).unwrap();
    assert!(params.is_contrastive_search());
    assert!(params.is_greedy(), "nobody spoke of a temperature");
    let uncached = pair("skip_reading_prefix_cache", Value::Bool(false));
    for (more, is_first) in [
        (pair("temperature", float(1.0)), false),
        (pair("guidance_scale", float(2.0)), true),
        (contrastive(&[]), true),
        (pair("dola_layers", text("low")), true),
        (pair("n", int(2)), true),
        (pair("top_p", float(0.9)), true),
        (pair("min_p", float(0.1)), true),
        (uncached, true),
    ] {
        let name = more.0.clone();
        // Several samples of a greedy request are refused before any search is thought of.
        let other = if name == "n" {
            "temperature"
        } else {
            "penalty_alpha"
        };
        let mut refused = [name, other.to_owned()];
        if !is_first {
            refused.reverse();
        }
        assert_eq!(conflict(&with(search(), more)), refused);
    }
    assert_eq!(conflict(&search()[..1]), ["penalty_alpha", "top_k"]);
    for (top_k, is_taken) in [(1, true), (64, true), (65, false), (0, false)] {
        let values = [pair("penalty_alpha", float(0.6)), pair("top_k", int(top_k))];
        assert_eq!(sampling(&values).is_ok(), is_taken, "{top_k}");
    }
    let none = [pair("penalty_alpha", int(0)), pair("top_p", float(0.9))];
    assert!(sampling(&none).is_ok(), "0 is off");
}

#[test]
fn other_engines_orders_have_no_second_row() {
    for (name, is_taken) in [
        ("tokenmill", true),
        ("hf", true),
        ("vllm", false),
        ("llamacpp", false),
    ] {
        let order = pair("pipeline", text(name));
        let values = [pair("guidance_scale", float(2.0)), order];
        assert_eq!(sampling(&values).is_ok(), is_taken, "{name}");
    }
    let listed = |steps: &[&str]| {
        let steps = Value::List(steps.iter().map(|step| text(step)).collect());
        sampling(&[pair("dola_layers", text("low")), pair("pipeline", steps)])
    };
    assert!(listed(&["dola", "temperature"]).is_ok());
    assert!(listed(&["logit_bias", "dola"]).is_err(), "it comes first");
    assert!(listed(&["temperature"]).is_err(), "nothing is left out");
}

#[test]
fn parameters_come_back_as_they_were() {
    let limits = Limits::default();
    let reference = [
        pair("dola_layers", ints(&[3])),
        pair("dola_divergence", text("reference")),
    ];
    for params in [
        sampling(&search()).unwrap(),
        sampling(&[contrastive(&[("mode", text("scaled"))])]).unwrap(),
        sampling(&reference).unwrap(),
    ] {
        assert_eq!(params.validate(&limits), Ok(()));
        let values = params.to_values().into_iter();
        let values: Vec<Pair> = values
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        assert_eq!(sampling(&values), Ok(params));
    }
    let by_hand = SamplingParams {
        penalty_alpha: 0.5,
        ..SamplingParams::default()
    };
    assert!(by_hand.validate(&limits).is_err());
}
