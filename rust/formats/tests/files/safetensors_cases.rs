//! Cases 81 to 87, and what a right file reads as.

use tokenmill_formats::{Checkpoint, Encoding};

use crate::make::{safetensors as file, small_safetensors};
use crate::refusal::{Case, check_all, corrupt, unsupported};

const NAME: &str = "model.safetensors";

fn entry(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
}

/// One tensor `a` over `data` bytes.
fn one(dtype: &str, shape: &str, offsets: &str, data: usize) -> Vec<u8> {
    file(
        format!(r#"{{"a":{}}}"#, entry(dtype, shape, offsets)),
        &vec![0; data],
    )
}

/// Tensors U8 `[4]` `a` and `b` at the given offsets over `data` bytes.
fn two(a: &str, b: &str, data: usize) -> Vec<u8> {
    let header = format!(
        r#"{{"a":{},"b":{}}}"#,
        entry("U8", "[4]", a),
        entry("U8", "[4]", b)
    );
    file(header, &vec![0; data])
}

fn claimed(header_len: u64) -> Vec<u8> {
    [header_len.to_le_bytes().as_slice(), b"{}"].concat()
}

#[test]
fn case_81_header_lengths_that_cannot_be_are_refused() {
    let mut cases: Vec<Case> = (0..8)
        .map(|len| {
            corrupt(
                81,
                "short file",
                small_safetensors()[..len].to_vec(),
                "file size",
            )
        })
        .collect();
    let over = [
        ((16u64 << 20) + 1).to_le_bytes().to_vec(),
        vec![b' '; (16 << 20) + 1],
    ]
    .concat();
    cases.extend([
        corrupt(81, "2^64-1", claimed(u64::MAX), "header length"),
        corrupt(81, "past end", claimed(3), "header length"),
        corrupt(81, "limit + 1, and there", over, "header length"),
        corrupt(81, "0", claimed(0), "header"),
    ]);
    check_all(NAME, cases);
}

#[test]
fn case_82_headers_that_are_no_flat_object_are_refused() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(129), "]".repeat(129));
    let deep_object = format!(
        r#"{{"__metadata__":{}1{}}}"#,
        r#"{"a":"#.repeat(129),
        "}".repeat(129)
    );
    check_all(
        NAME,
        vec![
            corrupt(82, "not UTF-8", file(b"{\"\xff\xfe\":1}", &[]), "header"),
            corrupt(82, "an array", file("[]", &[]), "header"),
            corrupt(82, "a number", file("1", &[]), "header"),
            corrupt(82, "blank", file("        ", &[]), "header"),
            corrupt(82, "blank first", file(" {}", &[]), "header"),
            corrupt(82, "cut", file(r#"{"a":"#, &[]), "header"),
            corrupt(82, "two objects", file("{}{}", &[]), "header"),
            corrupt(82, "depth 129", file(deep, &[]), "header"),
            corrupt(82, "depth 129 of objects", file(deep_object, &[]), "header"),
            corrupt(
                82,
                "tensor is an array",
                file(r#"{"a":["U8",[0],[0,0]]}"#, &[]),
                "header",
            ),
            corrupt(
                82,
                "tensor is 1 MB of text",
                file(format!(r#"{{"a":"{}"}}"#, "x".repeat(1_000_000)), &[]),
                "column",
            ),
            corrupt(82, "tensor is null", file(r#"{"a":null}"#, &[]), "header"),
            corrupt(
                82,
                "field missing",
                file(r#"{"a":{"dtype":"U8","shape":[0]}}"#, &[]),
                "data_offsets",
            ),
            corrupt(
                82,
                "field unknown",
                file(
                    r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}}"#,
                    &[],
                ),
                "unknown",
            ),
        ],
    );
}

#[test]
fn case_83_data_that_is_not_covered_exactly_once_is_refused() {
    check_all(
        NAME,
        vec![
            corrupt(
                83,
                "overlap",
                two("[0,4]", "[2,6]", 6),
                "data_offsets of tensor b",
            ),
            corrupt(
                83,
                "same place",
                two("[0,4]", "[0,4]", 4),
                "data_offsets of tensor",
            ),
            corrupt(
                83,
                "gap",
                two("[0,4]", "[6,10]", 10),
                "data_offsets of tensor b",
            ),
            corrupt(
                83,
                "gap at the start",
                two("[2,6]", "[6,10]", 10),
                "data_offsets of tensor a",
            ),
            corrupt(83, "trailing bytes", two("[0,4]", "[4,8]", 9), "file size"),
            corrupt(
                83,
                "trailing bytes, no tensor",
                file("{}", &[0]),
                "file size",
            ),
            corrupt(83, "past end", two("[0,4]", "[4,8]", 7), "file size"),
            corrupt(
                83,
                "reversed",
                one("U8", "[4]", "[4,0]", 4),
                "data_offsets of tensor a",
            ),
        ],
    );
}

#[test]
fn case_83_offsets_are_two_integers_as_far_apart_as_the_shape_needs() {
    check_all(
        NAME,
        vec![
            corrupt(83, "negative", one("U8", "[4]", "[-4,0]", 4), "header"),
            corrupt(83, "fraction", one("U8", "[4]", "[0,4.0]", 4), "header"),
            corrupt(
                83,
                "three offsets",
                one("U8", "[4]", "[0,4,4]", 4),
                "header",
            ),
            corrupt(83, "one offset", one("U8", "[4]", "[0]", 4), "header"),
            corrupt(
                83,
                "more bytes than the shape",
                one("U8", "[4]", "[0,5]", 5),
                "data_offsets of tensor a",
            ),
            corrupt(
                83,
                "end of 2^64-1",
                one(
                    "U8",
                    "[4]",
                    "[18446744073709551611,18446744073709551615]",
                    4,
                ),
                "data_offsets",
            ),
        ],
    );
}

#[test]
fn case_84_shapes_that_overflow_or_are_too_many_are_refused() {
    let many = format!("[{}]", vec!["1"; 100_000].join(","));
    check_all(
        NAME,
        vec![
            corrupt(
                84,
                "product wraps to 0",
                one("F32", "[4294967296,4294967296]", "[0,0]", 0),
                "shape of tensor a",
            ),
            corrupt(
                84,
                "bytes wrap to 0",
                one("F32", "[4611686018427387904]", "[0,0]", 0),
                "shape of tensor a",
            ),
            corrupt(
                84,
                "zero x 2^63",
                one("F32", "[0,9223372036854775808]", "[0,0]", 0),
                "shape of tensor a",
            ),
            corrupt(
                84,
                "2^63 x zero",
                one("F32", "[9223372036854775808,0]", "[0,0]", 0),
                "shape of tensor a",
            ),
            corrupt(
                84,
                "dimension of 2^64",
                one("F32", "[18446744073709551616]", "[0,0]", 0),
                "header",
            ),
            corrupt(
                84,
                "dimension negative",
                one("F32", "[-1]", "[0,0]", 0),
                "header",
            ),
            corrupt(
                84,
                "10^5 dimensions",
                one("U8", &many, "[0,1]", 1),
                "8 dimensions",
            ),
            corrupt(
                84,
                "9 dimensions",
                one("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]", 1),
                "8 dimensions",
            ),
        ],
    );
}

#[test]
fn case_85_dtypes_are_checked() {
    check_all(
        NAME,
        vec![
            corrupt(
                85,
                "unknown dtype",
                one("F7", "[1]", "[0,1]", 1),
                "dtype of tensor a",
            ),
            corrupt(
                85,
                "empty dtype",
                one("", "[1]", "[0,1]", 1),
                "dtype of tensor a",
            ),
            corrupt(
                85,
                "lower case",
                one("f32", "[1]", "[0,4]", 4),
                "dtype of tensor a",
            ),
            corrupt(
                85,
                "odd length of 4-bit elements",
                one("F4", "[3]", "[0,2]", 2),
                "whole number of bytes",
            ),
            corrupt(
                85,
                "odd length of 6-bit elements",
                one("F6_E2M3", "[3]", "[0,3]", 3),
                "whole number of bytes",
            ),
            unsupported(85, "4-bit elements", one("F4", "[4]", "[0,2]", 2), "F4"),
            unsupported(85, "complex", one("C64", "[1]", "[0,8]", 8), "C64"),
        ],
    );
}

#[test]
fn case_86_names_are_single_few_short_and_no_paths() {
    let empty = entry("U8", "[0]", "[0,0]");
    let named = |name: &str| file(format!(r#"{{"{name}":{empty}}}"#), &[]);
    let many = |count: usize| {
        let entries: Vec<String> = (0..count).map(|i| format!(r#""{i}":{empty}"#)).collect();
        file(format!("{{{}}}", entries.join(",")), &[])
    };
    check_all(
        NAME,
        vec![
            corrupt(
                86,
                "duplicate",
                file(format!(r#"{{"a":{empty},"a":{empty}}}"#), &[]),
                "duplicate name a",
            ),
            corrupt(
                86,
                "duplicate by escape",
                file(format!(r#"{{"a":{empty},"\u0061":{empty}}}"#), &[]),
                "duplicate name a",
            ),
            corrupt(
                86,
                "duplicate field",
                file(
                    r#"{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#,
                    &[],
                ),
                "duplicate",
            ),
            corrupt(86, "10^6 names", many(1_000_000), "header length"),
            corrupt(86, "100,001 names", many(100_001), "100000 tensors"),
            corrupt(
                86,
                "name of 1 MB",
                named(&"n".repeat(1_000_000)),
                "tensor name",
            ),
            corrupt(86, "path", named("../../x"), "tensor name"),
            corrupt(86, "absolute path", named("/etc/x"), "tensor name"),
            corrupt(86, "back-slash", named(r"..\\x"), "tensor name"),
            corrupt(86, "NUL", named(r"a\u0000b"), "tensor name"),
            corrupt(86, "line feed", named(r"a\nb"), "tensor name"),
            corrupt(86, "empty", named(""), "tensor name"),
        ],
    );
}

#[test]
fn case_87_metadata_of_wrong_types_is_refused() {
    let with = |metadata: &str| file(format!(r#"{{"__metadata__":{metadata}}}"#), &[]);
    check_all(
        NAME,
        vec![
            corrupt(87, "a number", with("1"), "header"),
            corrupt(87, "an array", with("[]"), "header"),
            corrupt(87, "null", with("null"), "header"),
            corrupt(87, "number inside", with(r#"{"a":1}"#), "header"),
            corrupt(87, "object inside", with(r#"{"a":{}}"#), "header"),
            corrupt(
                87,
                "duplicate inside",
                with(r#"{"a":"1","a":"2"}"#),
                "duplicate",
            ),
            corrupt(
                87,
                "twice",
                file(r#"{"__metadata__":{},"__metadata__":{}}"#, &[]),
                "duplicate",
            ),
        ],
    );
}

#[test]
fn a_right_file_is_read_in_data_order() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("config.json"),
        r#"{"model_type":"llama"}"#,
    )
    .unwrap();
    std::fs::write(folder.path().join(NAME), small_safetensors()).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let names: Vec<_> = checkpoint
        .tensors()
        .map(|t| (t.name.as_str(), t.encoding, t.shape.clone()))
        .collect();
    assert_eq!(
        names,
        [
            ("a", Encoding::F32, vec![2, 2]),
            ("b", Encoding::Bf16, vec![3])
        ]
    );
    let mut bytes = Vec::new();
    checkpoint.read("b", &mut bytes).unwrap();
    assert_eq!(bytes, [16, 17, 18, 19, 20, 21]);
    checkpoint.read_range("a", 3, 2, &mut bytes).unwrap();
    assert_eq!(bytes, [3, 4]);
    assert_eq!(checkpoint.weight_bytes(), 22);
}
