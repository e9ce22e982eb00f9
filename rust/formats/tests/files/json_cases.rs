//! Side files in JSON: size, depth, duplicates, and what a right one reads as.

use serde_json::json;
use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::{parse_json, read_json, read_small};

#[test]
fn json_that_two_readers_could_take_differently_is_refused() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let cases = [
        (r#"{"a":1,"a":2}"#.to_owned(), "duplicate key a"),
        (r#"{"a":1,"\u0061":2}"#.to_owned(), "duplicate key a"),
        (r#"[{"x":{"a":1,"a":1}}]"#.to_owned(), "duplicate key a"),
        (nested(129), "recursion limit"),
        (nested(1_000_000), "recursion limit"),
        (r#"{"a":NaN}"#.to_owned(), "valid JSON"),
        (r#"{"a":1e999}"#.to_owned(), "valid JSON"),
        (r#"{"a":1} x"#.to_owned(), "valid JSON"),
        (r#"{"a":1,}"#.to_owned(), "valid JSON"),
        (String::new(), "valid JSON"),
        ("\u{feff}{}".to_owned(), "valid JSON"),
        (r#""\ud800""#.to_owned(), "valid JSON"),
    ];
    for (text, says) in cases {
        let error = parse_json("x.json", text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(
            error.to_string().contains(says),
            "{error} does not say {says}"
        );
        assert!(error.to_string().contains("x.json") && error.to_string().len() < 1024);
    }
    assert!(
        parse_json("x.json", b"\"\xff\"").is_err(),
        "bytes that are not UTF-8"
    );
    assert!(
        parse_json("x.json", nested(127).as_bytes()).is_ok(),
        "depth 127 is allowed"
    );
}

#[test]
fn values_of_every_type_survive() {
    let text = r#" {"a":[1,-2,3.5,true,null,"é\n",{}],"b":18446744073709551615,"c":{"a":1}} "#;
    let expected = json!({"a": [1, -2, 3.5, true, null, "é\n", {}], "b": u64::MAX, "c": {"a": 1}});
    assert_eq!(parse_json("x.json", text.as_bytes()).unwrap(), expected);
}

#[test]
fn side_files_over_their_limit_or_absent_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    std::fs::write(&path, "[1]").unwrap();
    assert_eq!(read_small(&path, 3).unwrap(), b"[1]");
    assert_eq!(read_small(&path, 2).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(read_json(&path).unwrap(), json!([1]));
    assert_eq!(
        read_json(&folder.path().join("none.json"))
            .unwrap_err()
            .kind(),
        Kind::NotFound
    );
    assert_eq!(
        read_json(folder.path()).unwrap_err().kind(),
        Kind::Io,
        "a folder"
    );
    let large = std::fs::File::create(&path).unwrap();
    large.set_len(1 << 40).unwrap();
    assert_eq!(
        read_json(&path).unwrap_err().kind(),
        Kind::Corrupt,
        "a sparse terabyte"
    );
}
