//! Outputs that must be texts of a pattern or a schema: alone, as samples, in company and when preempted; and what is
//! refused at this door.

use std::time::Duration;

use tokenmill_core::option::Value;
use tokenmill_core::{
    FinishReason, HasKind, Kind, OutputConstraint, Prompt, Request, SamplingParams,
    StructuredOutputs,
};
use tokenmill_engine::{Door, Engine, Lexicon, Received, assemble};
use tokenmill_sched::SchedConfig;
use tokenmill_text::{GgufVocabulary, Tokenizer};

use crate::{NAN_TOKEN, end, engine, events, figure, listen, parts, sched, tokens};

/// The end, letters, digits and JSON's marks; no token for what else there is.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789{}[]\":,-.tTFN";

fn tokenizer() -> Tokenizer {
    let mut tokens = vec!["<|end|>".to_owned()];
    for letter in LETTERS.chars().map(String::from) {
        if !tokens.contains(&letter) {
            tokens.push(letter);
        }
    }
    let mut token_types = vec![1; tokens.len()];
    token_types[0] = 3;
    let vocabulary = GgufVocabulary {
        model: "gpt2".into(),
        pre: Some("smollm".into()),
        tokens,
        token_types,
        eos: Some(0),
        ..GgufVocabulary::default()
    };
    Tokenizer::from_gguf(vocabulary).expect("a tokenizer")
}

fn speaking(sched: SchedConfig) -> (Engine, Door) {
    let mut parts = parts(sched);
    parts.voice.lexicon = Lexicon::with_tokenizer(tokenizer());
    // A build for tests on a busy machine.
    parts.limits.grammar_compile_max_ms = 60_000;
    assemble(parts).expect("an engine")
}

fn asking(constraint: OutputConstraint, seed: i64) -> Request {
    let params = SamplingParams {
        seed: Some(seed),
        max_tokens: Some(24),
        structured_outputs: Some(StructuredOutputs::from(constraint)),
        ..SamplingParams::default()
    };
    Request::new(Prompt::Tokens(vec![1, 2, 3 + seed as u32 % 5]), params)
}

fn regex(pattern: &str) -> OutputConstraint {
    OutputConstraint::Regex(pattern.into())
}

fn text(events: &[tokenmill_core::Event], sample: u32) -> String {
    let of_sample = events.iter().filter(|event| event.index == sample);
    of_sample.map(|event| event.text.as_str()).collect()
}

#[test]
fn every_sample_is_a_text_of_the_pattern_and_ends_where_it_does() {
    let (mut engine, door) = speaking(sched());
    for seed in 0..20 {
        let mut request = asking(regex("[a-f]{3}-[0-9]{2}"), seed);
        request.params.n = 3;
        let heard = events(&mut engine, &door, request);
        for sample in 0..3 {
            let text = text(&heard, sample);
            let (letters, digits) = text.split_once('-').expect(&text);
            assert!(letters.len() == 3 && letters.bytes().all(|b| (b'a'..=b'f').contains(&b)));
            assert!(digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()));
            assert_eq!(tokens(&heard, sample).last(), Some(&0), "the end is forced");
        }
        assert_eq!(end(&heard).reason, FinishReason::Stop);
    }
    assert_eq!(figure(&door, "grammars_cached"), 1, "one grammar for all");
}

#[test]
fn company_and_preemption_change_no_token() {
    let patterns = [
        "[a-z]{8,20}",
        "([0-9]{2},)*[0-9]",
        "\"(a|b|cd)*\"",
        "(ab|ba|c){4,}",
    ];
    let requests = || {
        (0..12).map(|index| {
            let mut request = asking(regex(patterns[index % 4]), index as i64);
            request.params.n = 1 + index as u32 % 2;
            request
        })
    };
    let alone: Vec<Vec<Vec<u32>>> = requests()
        .map(|request| {
            let n = request.params.n;
            let (mut engine, door) = speaking(sched());
            let heard = events(&mut engine, &door, request);
            (0..n).map(|sample| tokens(&heard, sample)).collect()
        })
        .collect();
    let narrow = SchedConfig {
        blocks: 12,
        running_max: 6,
        ..sched()
    };
    let (mut engine, door) = speaking(narrow);
    let handles: Vec<_> = requests()
        .map(|request| door.submit(request).expect("it fits"))
        .collect();
    let heard = listen(&mut engine, &handles);
    for (index, (heard, alone)) in heard.iter().zip(&alone).enumerate() {
        for (sample, alone) in alone.iter().enumerate() {
            assert_eq!(
                &tokens(heard, sample as u32),
                alone,
                "request {index}.{sample}"
            );
        }
    }
    assert!(
        figure(&door, "preemptions") > 0,
        "the pool was to be narrow"
    );
}

#[test]
fn allowed_ids_and_a_grammar_intersect_and_nothing_left_ends_that_request_alone() {
    let (mut engine, door) = speaking(sched());
    let mut narrowed = asking(regex("[a-e]{4}"), 3);
    // b, c and the end.
    narrowed.params.allowed_token_ids = Some(vec![0, 2, 3]);
    let mut empty = asking(regex("[a-e]{4}"), 4);
    empty.params.allowed_token_ids = Some(vec![0, 30]);
    let plain = asking(regex("[a-e]{4}"), 5);
    let handles = [narrowed, empty, plain].map(|request| door.submit(request).expect("it fits"));
    let heard = listen(&mut engine, &handles);
    assert!(text(&heard[0], 0).bytes().all(|byte| b"bc".contains(&byte)));
    let failure = end(&heard[1]).error.as_ref().expect("an error");
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::InvalidRequest, Some("no_token_allowed"))
    );
    assert_eq!(text(&heard[2], 0).len(), 4);
}

#[test]
fn min_tokens_and_an_ignored_end_give_way_to_the_grammar() {
    let (mut engine, door) = speaking(sched());
    let mut short = asking(regex("ab"), 1);
    short.params.min_tokens = 10;
    let heard = events(&mut engine, &door, short);
    assert_eq!(
        (text(&heard, 0).as_str(), end(&heard).reason),
        ("ab", FinishReason::Stop)
    );
    assert_eq!(end(&heard).lifted, ["min_tokens"]);
    let mut endless = asking(regex("ab"), 1);
    endless.params.ignore_eos = true;
    endless.params.max_tokens = Some(6);
    let heard = events(&mut engine, &door, endless);
    assert_eq!(tokens(&heard, 0), [1, 2, 0, 0, 0, 0]);
    assert_eq!(end(&heard).reason, FinishReason::Length);
}

#[test]
fn a_stop_string_cuts_a_structured_output_as_any_other() {
    let (mut engine, door) = speaking(sched());
    let mut request = asking(regex("(ab){10}"), 1);
    request.params.stop = vec!["ba".into()];
    let heard = events(&mut engine, &door, request);
    assert_eq!(text(&heard, 0), "a");
}

#[test]
fn case_067_a_text_that_the_vocabulary_cannot_finish_ends_that_request() {
    let (mut engine, door) = speaking(sched());
    // There is no token for !, so the output begins and cannot go on.
    let handle = door.submit(asking(regex("ab!"), 1)).expect("it begins");
    let heard = listen(&mut engine, &[handle]).remove(0);
    let failure = end(&heard).error.as_ref().expect("an error");
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::InvalidRequest, Some("no_token_allowed"))
    );
    assert_eq!(tokens(&heard, 0), [1, 2]);
    let whole = door
        .submit(asking(regex("!"), 1))
        .expect_err("it cannot begin");
    assert_eq!(whole.param(), Some("structured_outputs.regex"));
    let next = events(&mut engine, &door, asking(regex("ab"), 1));
    assert_eq!(text(&next, 0), "ab");
}

#[test]
fn case_058_to_063_what_cannot_be_compiled_is_refused_by_name_and_leaves_nothing() {
    let (mut engine, door) = speaking(sched());
    let neighbour = door.submit(asking(regex("[a-z]{9}"), 7)).expect("it fits");
    engine.step();
    let schema = |schema: &str| OutputConstraint::Json(schema.into());
    let grammar = |text: &str| OutputConstraint::Grammar(text.into());
    for (constraint, param) in [
        (regex("("), "structured_outputs.regex"),
        (regex("a(?=b)"), "structured_outputs.regex"),
        (schema("{"), "structured_outputs.json"),
        (schema(r#"{"type": "strin"}"#), "structured_outputs.json"),
        (
            schema(r#"{"$ref": "http://127.0.0.1:1/"}"#),
            "structured_outputs.json",
        ),
        (grammar("start: \"a\" start"), "structured_outputs.grammar"),
        (grammar("root ::= x"), "structured_outputs.grammar"),
        (
            OutputConstraint::StructuralTag("{}".into()),
            "structured_outputs.structural_tag",
        ),
    ] {
        let error = door.submit(asking(constraint.clone(), 1)).expect_err(param);
        assert_eq!(
            (error.kind(), error.param()),
            (Kind::InvalidRequest, Some(param)),
            "{constraint:?}"
        );
        assert!(
            error.to_string().len() < 512 && !error.to_string().contains('\n'),
            "{error}"
        );
    }
    let heard = listen(&mut engine, &[neighbour]).remove(0);
    let (mut engine, alone) = speaking(sched());
    let alone = events(&mut engine, &alone, asking(regex("[a-z]{9}"), 7));
    assert_eq!(tokens(&heard, 0), tokens(&alone, 0));
    assert_eq!(figure(&door, "requests_live"), 0);
}

#[test]
fn case_065_bounds_hold_for_parameters_written_by_hand() {
    let (_engine, door) = speaking(sched());
    for constraint in [
        regex(""),
        regex(&"x".repeat(4097)),
        OutputConstraint::Json(" ".into()),
        OutputConstraint::Choice(vec![]),
        OutputConstraint::Grammar("x".repeat(65_537)),
    ] {
        let error = door
            .submit(asking(constraint, 1))
            .expect_err("out of bounds");
        assert_eq!(error.param(), Some("structured_outputs"), "{error}");
    }
    let mut request = asking(regex("a"), 1);
    let structured = request.params.structured_outputs.as_mut();
    structured.expect("set").disable_any_whitespace = true;
    let error = door.submit(request).expect_err("it says nothing");
    assert_eq!(
        error.param(),
        Some("structured_outputs.disable_any_whitespace")
    );
    let values = [("structured_outputs".to_owned(), Value::Map(vec![]))];
    assert!(door.params(&values).is_err());
}

#[test]
fn a_model_without_a_tokenizer_has_no_structured_outputs() {
    let (_engine, door) = engine();
    let error = door
        .submit(asking(regex("a"), 1))
        .expect_err("no tokenizer");
    assert_eq!(
        (error.kind(), error.param()),
        (Kind::Unsupported, Some("structured_outputs"))
    );
}

#[test]
fn a_caller_who_leaves_while_a_grammar_runs_frees_everything() {
    let (mut engine, door) = speaking(sched());
    let handle = door.submit(asking(regex("[a-z]{20}"), 1)).expect("it fits");
    for _ in 0..3 {
        engine.step();
    }
    assert!(matches!(
        handle.receive(Some(Duration::ZERO)),
        Received::Event(_)
    ));
    drop(handle);
    engine.step();
    assert_eq!(figure(&door, "requests_live"), 0);
    assert_eq!(figure(&door, "blocks_used"), 0);
    assert!(
        (NAN_TOKEN as usize) > tokenizer().vocab_len(),
        "a row without a token"
    );
}
