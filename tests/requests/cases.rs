//! Bad inputs of sampling and request fields, by the number of their case: each is refused in the name of its
//! field, nothing is held for it, and a neighbour that runs meanwhile keeps its tokens.

use tokenmill_core::option::Value;
use tokenmill_core::{FinishReason, HasKind, Kind, Prompt, Request, SamplingParams};
use tokenmill_engine::{Door, Engine, Error, Handle};

use crate::{VOCAB, end, engine, events, figure, listen, request, tokens};

const BIG: f64 = 9_223_372_036_854_775_808.0;

/// An engine with a neighbour under way.
struct Bench {
    engine: Engine,
    door: Door,
    neighbour: Handle,
}

impl Bench {
    fn new() -> Self {
        let (mut engine, door) = engine();
        let neighbour = door.submit(request(&[1, 2, 3], 9)).expect("it fits");
        engine.step();
        Self {
            engine,
            door,
            neighbour,
        }
    }

    /// What the door says to these values.
    fn ask(&self, values: &[(&str, Value)]) -> Result<Handle, Error> {
        let named: Vec<(String, Value)> = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let params = self.door.params(&named)?;
        let mut request = request(&[1, 2, 3], 1);
        request.params = params;
        self.submit(request)
    }

    fn submit(&self, request: Request) -> Result<Handle, Error> {
        self.door.submit(request)
    }

    fn refuse(&self, name: &str, values: impl IntoIterator<Item = Value>) {
        for value in values {
            let error = self
                .ask(&[(name, value.clone())])
                .expect_err(&format!("{name} {value}"));
            assert_param(&error, name);
        }
    }

    fn refuse_request(&self, name: &str, change: impl FnOnce(&mut Request)) -> Error {
        let mut request = request(&[1, 2, 3], 4);
        change(&mut request);
        let error = self.submit(request).expect_err(name);
        assert_param(&error, name);
        error
    }

    /// The neighbour is as it would be alone, and nothing is left.
    fn done(mut self) {
        let heard = listen(&mut self.engine, &[self.neighbour]).remove(0);
        let (mut engine, door) = engine();
        let alone = events(&mut engine, &door, request(&[1, 2, 3], 9));
        assert_eq!(tokens(&heard, 0), tokens(&alone, 0));
        self.engine.step();
        assert_eq!(figure(&self.door, "requests_live"), 0);
        assert_eq!(figure(&self.door, "blocks_used"), 0);
    }
}

fn assert_param(error: &Error, name: &str) {
    assert_eq!(error.kind(), Kind::InvalidRequest, "{error}");
    assert_eq!(error.param(), Some(name), "{error}");
    assert!(error.to_string().len() < 1024 && !error.to_string().contains('\n'));
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

fn texts(text: &str, count: usize) -> Value {
    Value::List(vec![Value::Text(text.into()); count])
}

#[test]
fn case_029_temperature_outside_its_bound() {
    let bench = Bench::new();
    let bad = [
        float(-0.1),
        float(1e39),
        float(f64::NAN),
        text("0.7"),
        Value::Bool(true),
    ];
    bench.refuse("temperature", bad);
    bench.done();
}

#[test]
fn case_030_a_tiny_temperature_is_greedy() {
    let (mut engine, door) = engine();
    let with = |temperature| {
        let mut request = request(&[1, 2, 3], 6);
        request.params.temperature = temperature;
        request
    };
    let tiny = events(&mut engine, &door, with(1e-30));
    let zero = events(&mut engine, &door, with(0.0));
    assert_eq!(end(&tiny).reason, FinishReason::Length);
    assert_eq!(tokens(&tiny, 0), tokens(&zero, 0));
}

#[test]
fn case_031_top_p_outside_its_bound() {
    let bench = Bench::new();
    bench.refuse("top_p", [int(0), float(1.0001), int(-1)]);
    bench.done();
}

#[test]
fn case_032_top_k_outside_its_bound_and_above_the_vocabulary() {
    let mut bench = Bench::new();
    bench.refuse("top_k", [int(-2), float(1.5), float(BIG)]);
    let all = |k| {
        vec![
            ("seed", int(3)),
            ("top_k", int(k)),
            ("ignore_eos", Value::Bool(true)),
        ]
    };
    let off = bench.ask(&all(0)).expect("off");
    let above = bench.ask(&all(VOCAB as i64 + 1)).expect("a no-op");
    let far = bench.ask(&all(1 << 31)).expect("a no-op");
    let heard = listen(&mut bench.engine, &[off, above, far]);
    assert_eq!(tokens(&heard[0], 0), tokens(&heard[1], 0));
    assert_eq!(tokens(&heard[0], 0), tokens(&heard[2], 0));
    bench.done();
}

#[test]
fn case_033_min_p_above_one() {
    let bench = Bench::new();
    bench.refuse("min_p", [float(1.01), int(2), float(-0.1)]);
    bench.done();
}

#[test]
fn case_034_max_tokens_outside_its_bound() {
    let bench = Bench::new();
    bench.refuse("max_tokens", [int(0), int(-1), float(1.5), float(BIG)]);
    // This engine has no tokenizer, so no text can begin with a prompt.
    let mut echoed = request(&[1, 2, 3], 0);
    echoed.params.echo = true;
    let error = bench.submit(echoed).expect_err("no tokenizer");
    assert_eq!(
        (error.kind(), error.param()),
        (Kind::Unsupported, Some("echo"))
    );
    bench.done();
}

#[test]
fn case_035_prompt_and_output_above_the_context_are_named_with_the_three_numbers() {
    let bench = Bench::new();
    let error = bench.refuse_request("max_tokens", |request| {
        request.prompt = Prompt::Tokens(vec![1; 46]);
    });
    for number in ["48", "46", "4"] {
        assert!(error.to_string().contains(number), "{error}");
    }
    assert_eq!(error.code(), Some("context_length_exceeded"));
    bench.done();
}

#[test]
fn case_036_n_outside_its_bound() {
    let bench = Bench::new();
    bench.refuse("n", [int(0), int(17), int(1_000_000_000_000)]);
    bench.done();
}

#[test]
fn case_037_stop_strings_that_are_too_many_empty_long_or_no_text() {
    let bench = Bench::new();
    let bad = [
        texts("x", 17),
        text(""),
        texts("", 1),
        text(&"x".repeat(257)),
        int(1),
    ];
    bench.refuse("stop", bad);
    bench.refuse("stop", [Value::List(vec![int(1)])]);
    bench.done();
}

#[test]
fn case_039_logit_bias_that_is_too_long_unknown_or_outside_its_bound() {
    let bench = Bench::new();
    let bias = |id: Value, bias: Value| Value::Map(vec![(id, bias)]);
    let many = Value::Map((0..301).map(|id| (int(id), int(0))).collect());
    let bad = [
        many,
        bias(int(VOCAB as i64), int(1)),
        bias(text("abc"), int(1)),
        bias(int(1), int(101)),
        bias(int(1), int(-101)),
        bias(int(1), float(f64::NAN)),
    ];
    bench.refuse("logit_bias", bad);
    bench.done();
}

#[test]
fn case_039_a_bias_that_bans_everything_ends_with_a_code() {
    let (mut engine, door) = engine();
    let mut request = request(&[1, 2, 3], 4);
    request.params.logit_bias = (0..VOCAB as u32).map(|token| (token, -100.0)).collect();
    let heard = events(&mut engine, &door, request);
    let failure = end(&heard).error.clone().expect("a cause");
    assert_eq!(failure.code, Some("no_token_allowed"));
    engine.step();
    assert_eq!(figure(&door, "blocks_used"), 0);
}

#[test]
fn case_040_log_probs_above_the_limit() {
    let bench = Bench::new();
    for name in ["logprobs", "prompt_logprobs"] {
        bench.refuse(name, [int(21), int(-1), float(1.0), text("3")]);
    }
    bench.done();
}

#[test]
fn case_041_seeds_are_signed_and_of_64_bits() {
    let mut bench = Bench::new();
    bench.refuse("seed", [float(BIG), float(-1e19), text("1")]);
    let ends = [i64::MIN, i64::MAX].map(|seed| bench.ask(&[("seed", int(seed))]).expect("runs"));
    listen(&mut bench.engine, &ends);
    bench.done();
}

#[test]
fn case_042_penalties_outside_their_bound() {
    let bench = Bench::new();
    for name in ["presence_penalty", "frequency_penalty"] {
        bench.refuse(name, [float(2.1), float(-2.1), float(f64::INFINITY)]);
    }
    bench.done();
}

#[test]
fn case_043_a_repetition_penalty_of_nothing() {
    let bench = Bench::new();
    bench.refuse(
        "repetition_penalty",
        [int(0), int(-1), float(f64::INFINITY)],
    );
    bench.done();
}

#[test]
fn case_045_an_empty_prompt() {
    let bench = Bench::new();
    bench.refuse_request("prompt", |request| request.prompt = Prompt::Tokens(vec![]));
    bench.done();
}

#[test]
fn case_046_prompt_ids_outside_the_vocabulary() {
    let bench = Bench::new();
    for token in [VOCAB as u32, u32::MAX] {
        bench.refuse_request("prompt", |request| {
            request.prompt = Prompt::Tokens(vec![1, token]);
        });
    }
    bench.done();
}

#[test]
fn case_050_salts_that_are_long_empty_or_hold_control_characters_or_slashes() {
    let bench = Bench::new();
    let long = "s".repeat(10 << 10);
    for salt in [long.as_str(), "", "a\nb", "a\0", "\u{7f}", "a/b"] {
        let error = bench.refuse_request("cache_salt", |request| {
            request.cache_salt = Some(salt.to_owned());
        });
        assert!(
            !error.to_string().contains("sss"),
            "a salt is a secret: {error}"
        );
    }
    let mut request = request(&[1], 1);
    request.cache_salt = Some("tenant-7_é".into());
    bench.submit(request).expect("a plain salt");
    bench.done();
}

#[test]
fn case_052_a_deadline_of_nothing() {
    let bench = Bench::new();
    bench.refuse("deadline_ms", [int(0), int(-1), float(1.5), text("1")]);
    bench.refuse_request("deadline_ms", |request| {
        request.params = SamplingParams {
            deadline_ms: Some(0),
            ..SamplingParams::default()
        };
    });
    bench.done();
}
