//! Schemas of the kinds that people write: a right document is taken, a wrong one is not.

use super::{json, takes};

#[test]
fn right_documents_are_taken_and_wrong_ones_are_not() {
    for (schema, right, wrong) in [
        (
            r#"{"type": "integer", "minimum": 3, "maximum": 12}"#,
            "12",
            "13",
        ),
        (r#"{"type": "number"}"#, "-1.5e3", "1."),
        (
            r#"{"type": "string", "maxLength": 3}"#,
            "\"abc\"",
            "\"abcd\"",
        ),
        (
            r#"{"type": "string", "pattern": "^[a-c]+$"}"#,
            "\"abc\"",
            "\"d\"",
        ),
        (
            r#"{"type": "string", "format": "date"}"#,
            "\"2026-11-24\"",
            "\"24.11.2026\"",
        ),
        (r#"{"enum": ["red", 3, null]}"#, "3", "\"blue\""),
        (r#"{"const": {"a": 1}}"#, r#"{"a": 1}"#, r#"{"a": 2}"#),
        (
            r#"{"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3}"#,
            "[true, false]",
            "[true]",
        ),
        (r#"{"type": ["integer", "null"]}"#, "null", "true"),
        (
            r#"{"anyOf": [{"type": "integer"}, {"type": "string"}]}"#,
            "\"x\"",
            "[]",
        ),
        (
            r#"{"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": false, "minItems": 2}"#,
            "[1, 2]",
            "[2, 1]",
        ),
        ("true", "[1]", "[1"),
        (
            r#"{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"], "additionalProperties": false}"#,
            r#"{"name": "x", "age": 3}"#,
            r#"{"name": "x"}"#,
        ),
        (
            r#"{"type": "object", "additionalProperties": {"type": "integer"}}"#,
            r#"{"a": 1, "b": 2}"#,
            r#"{"a": "1"}"#,
        ),
        (
            r#"{"type": "object", "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": false}"#,
            r#"{"x1": 1}"#,
            r#"{"y": 1}"#,
        ),
        (
            r##"{"$defs": {"leaf": {"type": "object", "properties": {"v": {"type": "integer"}}, "required": ["v"]}}, "type": "array", "items": {"$ref": "#/$defs/leaf"}}"##,
            r#"[{"v": 1}, {"v": 2}]"#,
            r#"[{"w": 1}]"#,
        ),
    ] {
        assert!(
            takes(&json(schema), right),
            "{schema} does not take {right}"
        );
        assert!(!takes(&json(schema), wrong), "{schema} takes {wrong}");
    }
}
