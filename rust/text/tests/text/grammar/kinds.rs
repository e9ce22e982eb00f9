//! Every kind of constraint and every switch: what it takes and what it does not.

use tokenmill_core::{OutputConstraint, StructuredOutputs};

use super::{END, allows, grammar, json, matcher, refusal, regex, takes};

fn choice(texts: &[&str]) -> StructuredOutputs {
    OutputConstraint::Choice(texts.iter().map(|&text| text.into()).collect()).into()
}

#[test]
fn a_regular_expression_is_matched_as_a_whole_with_anchors_or_without() {
    for pattern in ["[0-9]{2}", "^[0-9]{2}", "[0-9]{2}$", "^[0-9]{2}$"] {
        assert!(takes(&regex(pattern), "12"), "{pattern}");
        assert!(!takes(&regex(pattern), "1") && !takes(&regex(pattern), "123"));
    }
    assert!(takes(&regex(r"a\$"), "a$") && !takes(&regex(r"a\$"), "a"));
    assert!(takes(&regex(r"\\$"), "\\"));
    assert!(takes(&regex("a/b"), "a/b") && takes(&regex("é+|日"), "éé"));
}

#[test]
fn one_of_several_texts_with_whatever_they_hold() {
    let asked = choice(&["yes", "no", "a\"b\\c\nd/e", "é日", "ye"]);
    for text in ["yes", "no", "a\"b\\c\nd/e", "é日", "ye"] {
        assert!(takes(&asked, text), "{text}");
    }
    for text in ["y", "yesno", "a", "NO"] {
        assert!(!takes(&asked, text), "{text}");
    }
}

#[test]
fn a_grammar_may_be_lark_ebnf_or_a_list_as_json() {
    let lark = "start: greeting \", \" NAME\ngreeting: \"hi\" | \"hello\"\nNAME: /[a-z]+/";
    let ebnf = "root ::= greeting \", \" name\ngreeting ::= \"hi\" | \"hello\"\nname ::= [a-z]+\n";
    let list = serde_json::json!({"grammars": [{"lark_grammar": lark}]}).to_string();
    for text in [lark, ebnf, &list] {
        let asked = grammar(text);
        assert!(
            takes(&asked, "hi, bob") && takes(&asked, "hello, x"),
            "{text}"
        );
        assert!(!takes(&asked, "hi bob") && !takes(&asked, "hi, "), "{text}");
    }
    let nested = grammar("root ::= \"(\" root \")\" | [0-9]{1,2} | \"\"");
    assert!(takes(&nested, "((42))") && takes(&nested, "()") && !takes(&nested, "((1)"));
    let dotted = grammar("root ::= . (\"a\" | \"\\n\")?\n");
    assert!(takes(&dotted, "é") && takes(&dotted, "\n\n") && !takes(&dotted, ""));
    let recursive = grammar("start: \"a\" start \"b\" | \"\"");
    assert!(takes(&recursive, "aabb") && !takes(&recursive, "aab"));
}

#[test]
fn any_object_is_an_object() {
    let asked = StructuredOutputs::from(OutputConstraint::JsonObject);
    for text in ["{}", r#"{"a": [1, -2.5e3, null, true], "b": {"c": "é\n"}}"#] {
        assert_eq!(takes(&asked, text), !text.contains('\n'), "{text}");
    }
    for text in ["[]", "1", "", "{", r#"{"a"}"#] {
        assert!(!takes(&asked, text), "{text}");
    }
}

#[test]
fn white_space_is_as_the_switches_say() {
    let schema = r#"{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false}"#;
    let spaced = "{ \"a\" : 1 }";
    assert!(takes(&json(schema), spaced) && takes(&json(schema), "{\"a\":1}"));
    let compact = StructuredOutputs {
        disable_any_whitespace: true,
        ..json(schema)
    };
    assert!(!takes(&compact, spaced) && takes(&compact, "{\"a\":1}"));
    let patterned = StructuredOutputs {
        whitespace_pattern: Some(r"\n".into()),
        ..json(schema)
    };
    assert!(!takes(&patterned, spaced) && takes(&patterned, "{\n\"a\":\n1}"));
}

#[test]
fn objects_are_closed_where_they_say_nothing() {
    let schema = r##"{"type": "object", "properties": {"a": {"$ref": "#/$defs/inner"}}, "required": ["a"],
        "$defs": {"inner": {"properties": {"b": {"enum": [{"type": "object"}]}}, "type": "object"}}}"##;
    let inner = r#"{"a": {"b": {"type": "object"}, "c": 1}}"#;
    let outer = r#"{"a": {}, "c": 1}"#;
    assert!(takes(&json(schema), inner) && takes(&json(schema), outer));
    let closed = StructuredOutputs {
        disable_additional_properties: true,
        ..json(schema)
    };
    assert!(!takes(&closed, inner) && !takes(&closed, outer));
    assert!(takes(&closed, r#"{"a": {"b": {"type": "object"}}}"#));
}

#[test]
fn tags_begin_with_a_trigger_and_hold_their_schema() {
    let tags = r#"{"type": "structural_tag", "triggers": ["<function="], "structures": [
        {"begin": "<function=add>", "schema": {"type": "object", "properties": {"n": {"type": "integer"}},
         "required": ["n"], "additionalProperties": false}, "end": "</function>"},
        {"begin": "<function=stop>", "schema": {"type": "null"}, "end": ""}]}"#;
    let asked = StructuredOutputs::from(OutputConstraint::StructuralTag(tags.into()));
    for text in [
        "",
        "free text, and < or <func",
        "so: <function=add>{\"n\": 3}</function> and <function=stop>null",
        "<function=stop>null<function=stop>null done",
    ] {
        assert!(takes(&asked, text), "{text}");
    }
    for text in [
        "<function=",
        "<function=add>{}</function>",
        "<function=sub>{\"n\": 3}</function>",
        "a <function=add>{\"n\": 3}",
    ] {
        assert!(!takes(&asked, text), "{text}");
    }
    for (tags, what) in [
        ("[]", "must be an object"),
        (
            r#"{"type": "x", "structures": [], "triggers": []}"#,
            "the type",
        ),
        (
            r#"{"type": "structural_tag", "format": {}}"#,
            "must be an object",
        ),
        (
            r#"{"type": "structural_tag", "structures": [], "triggers": ["a"]}"#,
            "at least one",
        ),
        (
            r#"{"type": "structural_tag", "structures": [{"begin": "ab", "schema": {}, "end": ""}], "triggers": ["a", "ab"]}"#,
            "trigger 1 holds trigger 0",
        ),
        (
            r#"{"type": "structural_tag", "structures": [{"begin": "b", "schema": {}, "end": ""}], "triggers": ["a"]}"#,
            "begins no structure",
        ),
        (
            r#"{"type": "structural_tag", "structures": [{"begin": "a", "schema": 1, "end": ""}], "triggers": ["a"]}"#,
            "must have a schema",
        ),
    ] {
        let asked = OutputConstraint::StructuralTag(tags.into()).into();
        let problem = refusal(&asked);
        assert!(problem.contains(what), "{tags}: {problem}");
    }
}

#[test]
fn a_token_with_a_role_is_no_text_and_the_end_comes_only_at_ends() {
    // 266 and 267 are <|start|> and <|end|>; 269 is <tool>, which is text to a reader.
    let asked = regex(".*");
    let mut free = matcher(&asked);
    assert!(!allows(&mut free, 266) && allows(&mut free, END) && allows(&mut free, 269));
    assert!(!allows(&mut free, 271), "a row without a token");
    let mut spelled = matcher(&regex("<[|]end[|]>"));
    assert!(!allows(&mut spelled, END) && allows(&mut spelled, u32::from(b'<')));
    let mut named = matcher(&grammar("start: \"a\" <|start|> \"b\""));
    named.advance(u32::from(b'a'));
    assert!(allows(&mut named, 266) && !allows(&mut named, u32::from(b'<')));
}

#[test]
fn white_space_that_nobody_bounds_ends_all_the_same() {
    let asked = json(r#"{"type": "array", "items": {"type": "null"}}"#);
    let blanks = |count: usize| format!("[null,{}null]", " ".repeat(count));
    assert!(takes(&asked, &blanks(64)) && !takes(&asked, &blanks(65)));
    assert!(takes(&asked, "[null,\n\t null]"));
}
