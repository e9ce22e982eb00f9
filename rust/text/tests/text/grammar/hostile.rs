//! Cases 58 to 68 at this door: refused by name and in bounded time, or bounded while they run.

use std::time::{Duration, Instant};

use tokenmill_core::{Limits, OutputConstraint, StructuredOutputs};
use tokenmill_text::{Error, GgufVocabulary, Tokenizer};

use super::{allows, bytes, grammar, json, matcher, of, refusal, regex, takes};
use crate::tiny;

#[test]
fn case_058_patterns_that_cannot_be_are_refused() {
    for pattern in [
        "(",
        "a(?=b)",
        "(?<!a)b",
        r"(a)\1",
        "[z-a]",
        "a{2,1}",
        "[^\\s\\S]",
        r"\p{Nope}",
    ] {
        refusal(&regex(pattern));
    }
    // Full match needs no anchors, and inside a pattern there are none.
    for pattern in ["a^b", r"\bword", "a$b"] {
        refusal(&regex(pattern));
    }
}

#[test]
fn case_058_patterns_that_blow_up_are_refused_or_bounded() {
    let nested = "((((((a{0,99}){0,99}){0,99}){0,99}){0,99}){0,99})";
    let mut patterns = vec![
        nested.to_owned(),
        "[ab]*a[ab]{30}".into(),
        "(x+x+)+y".into(),
    ];
    patterns.push("(".repeat(2000) + "a" + &")".repeat(2000));
    patterns.push("(a?){500}a{500}".into());
    patterns.push(".*".repeat(500));
    for pattern in patterns {
        let began = Instant::now();
        let made = bytes().compile(&regex(&pattern));
        if let Ok(grammar) = made {
            let mut matcher = grammar.matcher();
            for byte in b"ab".repeat(200) {
                if matcher.mask().is_err() {
                    break;
                }
                matcher.advance(u32::from(byte));
            }
        }
        // Seconds of a busy machine and a slow build, not the bound itself.
        assert!(began.elapsed() < Duration::from_secs(20), "{pattern}");
    }
}

#[test]
fn case_059_schemas_that_are_none_are_refused() {
    for (schema, what) in [
        ("{", "is no JSON"),
        ("", "is no JSON"),
        ("[1]", "must be a schema"),
        ("false", "allows no value"),
        (r#"{"type": "strin"}"#, "strin"),
        (r#"{"type": 1}"#, "type"),
        (r#"{"type": "string", "pattern": "("}"#, ""),
        (r#"{"type": "integer", "minimum": 3, "maximum": 2}"#, ""),
        (r#"{"type": "string", "minLength": 3, "maxLength": 2}"#, ""),
        (r#"{"enum": []}"#, ""),
        (
            r#"{"allOf": [{"type": "string"}, {"type": "integer"}]}"#,
            "",
        ),
        (r#"{"type": "string", "format": "no-such"}"#, "no-such"),
        (r#"{"type": "object", "if": {"type": "null"}}"#, "if"),
        (r#"{"not": {"type": "string"}}"#, "not"),
        (
            r#"{"oneOf": [{"type": "integer"}, {"type": "number"}]}"#,
            "oneOf",
        ),
        (
            r#"{"x-guidance": {"lenient": true}}"#,
            "x-guidance is not taken",
        ),
    ] {
        let problem = refusal(&json(schema));
        assert!(problem.contains(what), "{schema}: {problem}");
    }
}

#[test]
fn case_060_schemas_beyond_the_bounds_are_refused_at_once() {
    let deep = |levels: usize| {
        let open = r#"{"type":"object","properties":{"a":"#.repeat(levels);
        format!("{open}{{}}{}", "}}".repeat(levels))
    };
    assert!(takes(&json(&deep(5)), "{}"));
    assert!(refusal(&json(&deep(33))).contains("nests schemas more than 32"));
    assert!(refusal(&json(&deep(100))).contains("is no JSON"));
    let wide = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("\"p{n}\":{{}}")).collect();
        format!("{{\"properties\":{{{}}}}}", names.join(","))
    };
    let began = Instant::now();
    assert!(refusal(&json(&wide(2001))).contains("more than 2000 properties"));
    assert!(began.elapsed() < Duration::from_secs(2));
    // Its length keeps 200,000 values out before they are looked at: a bound of the option.
    let most = Limits::default().schema_len_max_bytes;
    assert!(most < 200_000);
    let parens = format!("start: {}\"a\"{}", "(".repeat(30_000), ")".repeat(30_000));
    assert!(refusal(&grammar(&parens)).contains("more than 32 deep"));
}

#[test]
fn case_061_references_lead_nowhere_outside_and_round_in_no_circle() {
    for reference in [
        "http://127.0.0.1:9/x",
        "file:///etc/passwd",
        "other.json",
        "//host/x",
        "",
    ] {
        let schema = format!(r#"{{"$ref": "{reference}"}}"#);
        assert!(
            refusal(&json(&schema)).contains("must begin with #"),
            "{reference}"
        );
        let inside =
            format!(r#"{{"properties": {{"a": {{"anyOf": [{{"$ref": "{reference}"}}]}}}}}}"#);
        assert!(
            refusal(&json(&inside)).contains("must begin with #"),
            "{reference}"
        );
    }
    refusal(&json(r##"{"$ref": "#"}"##));
    refusal(&json(r##"{"$ref": "#/$defs/none"}"##));
    refusal(&json(r##"{"$ref": "#anchor"}"##));
    refusal(&json(
        r##"{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}"##,
    ));
    refusal(&grammar(r#"start: %json {"$ref": "http://127.0.0.1:9/x"}"#));
    // An object that holds itself by choice ends.
    let tree = r##"{"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": false}"##;
    assert!(takes(&json(tree), r#"{"next": {"next": {}}}"#));
}

#[test]
fn case_062_products_of_alternatives_are_refused() {
    let any = |letter: char| {
        let one = |n: u32| {
            format!(r#"{{"type":"object","properties":{{"{letter}{n}":{{"type":"integer"}}}}}}"#)
        };
        let all: Vec<String> = (0..12).map(one).collect();
        format!(r#"{{"anyOf":[{}]}}"#, all.join(","))
    };
    let all: Vec<String> = "abcdefgh".chars().map(any).collect();
    let schema = format!(r#"{{"allOf":[{}]}}"#, all.join(","));
    let began = Instant::now();
    let impatient = Limits::default();
    let tokenizer = Tokenizer::from_gguf(tiny::byte_level_vocabulary()).unwrap();
    let grammars = of(tokenizer, super::END, &impatient);
    let error = grammars.compile(&json(&schema)).unwrap_err();
    assert!(matches!(error, Error::BadField { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn case_063_a_language_without_a_text_is_refused() {
    for text in [
        "start: \"a\" start",
        "start: a\na: b\nb: \"x\" a",
        "start: start",
        "root ::= \"a\" root",
    ] {
        assert!(refusal(&grammar(text)).contains("allows no text"), "{text}");
    }
    refusal(&grammar("start: A\nA: /a/ & /b/"));
    refusal(&grammar("start: missing"));
    refusal(&grammar("nothing like a grammar"));
    refusal(&regex("[^\\s\\S]"));
    let endless = r##"{"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}"##;
    assert!(refusal(&json(endless)).contains("allows no text"));
}

#[test]
fn a_grammar_that_speaks_of_sampling_or_of_bytes_that_are_no_text_is_refused() {
    assert!(refusal(&grammar("start: a\na[temperature=0.5]: /[a-z]+/")).contains("temperature"));
    let invalid = "%llguidance {\"allow_invalid_utf8\": true}\nstart: /(?s-u:.)+/";
    assert!(refusal(&grammar(invalid)).contains("allow_invalid_utf8"));
    assert!(refusal(&grammar("{\"grammars\": []}")).contains("without a grammar"));
    let counted = r#"{"grammars": [{"lark_grammar": "start: \"a\""}], "max_tokens": 3}"#;
    assert!(refusal(&grammar(counted)).contains("max_tokens"));
}

#[test]
fn case_064_a_minimum_of_a_milliard_runs_with_bounded_masks_or_is_refused() {
    let asked = json(r#"{"type": "string", "minLength": 1000000000}"#);
    let Ok(grammar) = bytes().compile(&asked) else {
        return;
    };
    let mut matcher = grammar.matcher();
    for byte in std::iter::once(b'"').chain(b"x".repeat(300)) {
        let began = Instant::now();
        assert!(allows(&mut matcher, u32::from(byte)));
        assert!(!allows(&mut matcher, u32::from(b'"')) || byte == b'"');
        assert!(began.elapsed() < Duration::from_secs(1));
        matcher.advance(u32::from(byte));
    }
}

/// A vocabulary of a few letters, which can spell numbers and no JSON.
#[test]
fn case_067_what_the_vocabulary_cannot_spell_is_refused_or_leaves_no_token() {
    let tokenizer = Tokenizer::from_gguf(GgufVocabulary {
        model: "gpt2".into(),
        pre: Some("smollm".into()),
        tokens: ["a", "b", "1", "<|end|>"].map(String::from).to_vec(),
        token_types: vec![1, 1, 1, 3],
        eos: Some(3),
        ..GgufVocabulary::default()
    });
    let grammars = of(tokenizer.unwrap(), 3, &super::patient());
    let error = grammars
        .compile(&json(r#"{"type": "object"}"#))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no text that a token of this model begins"),
        "{error}"
    );
    // It begins, and cannot go on.
    let mut matcher = grammars.compile(&regex("ab2")).unwrap().matcher();
    for token in [0, 1] {
        assert_eq!(matcher.mask().unwrap(), [1 << token]);
        matcher.advance(token);
    }
    assert!(matcher.mask().unwrap().iter().all(|&word| word == 0));
}

#[test]
fn case_068_the_cache_keeps_to_its_bounds_and_an_entry_in_use_stays() {
    let limits = Limits {
        grammar_cache_len_max: 8,
        ..super::patient()
    };
    let tokenizer = Tokenizer::from_gguf(tiny::byte_level_vocabulary()).unwrap();
    let grammars = of(tokenizer, super::END, &limits);
    let honest = json(r#"{"type": "integer"}"#);
    let first = grammars.compile(&honest).unwrap();
    for n in 0..60 {
        grammars.compile(&regex(&format!("a{n}"))).unwrap();
        let again = grammars.compile(&honest).unwrap();
        assert!(std::sync::Arc::ptr_eq(&first, &again), "after {n}");
        let (len, bytes) = grammars.held();
        assert!(len <= 8 && bytes <= limits.grammar_cache_max_bytes);
    }
    let small = Limits {
        grammar_cache_max_bytes: 3 * first.bytes(),
        ..super::patient()
    };
    let tokenizer = Tokenizer::from_gguf(tiny::byte_level_vocabulary()).unwrap();
    let grammars = of(tokenizer, super::END, &small);
    for n in 0..20 {
        grammars.compile(&regex(&format!("a{n}"))).unwrap();
        let (len, bytes) = grammars.held();
        assert!(len <= 4 && bytes <= small.grammar_cache_max_bytes);
    }
}

#[test]
fn no_message_holds_what_a_caller_wrote_at_length() {
    let long = "q".repeat(3000);
    for asked in [
        regex(&format!("({long}")),
        grammar(&format!("start: {long}")),
        json(&format!(r#"{{"type": "{long}"}}"#)),
        StructuredOutputs::from(OutputConstraint::StructuralTag(format!(
            "{{\"{long}\": 1}}"
        ))),
    ] {
        let problem = refusal(&asked);
        assert!(!problem.contains("<backtrace>"), "{problem}");
        let _ = matcher(&regex("a"));
    }
}
