//! What a right GGUF file reads as.

use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::gguf::{self, Array, Value};
use tokenmill_formats::{Encoding, HeaderLimits};

use crate::make::{Gguf, array, string};

const NAME: &str = "m.gguf";

#[test]
fn all_thirteen_value_types_are_read_in_file_order() {
    let number = |value_type: u32, bytes: &[u8]| (value_type, bytes.to_vec());
    let keys = [
        number(0, &[200]),
        number(1, &[200]),
        number(2, &0xfffeu16.to_le_bytes()),
        number(3, &0xfffeu16.to_le_bytes()),
        number(4, &u32::MAX.to_le_bytes()),
        number(5, &u32::MAX.to_le_bytes()),
        number(6, &1.5f32.to_le_bytes()),
        number(7, &[1]),
        number(8, &string("é")),
        number(9, &array(8, 2, &[string("a"), string("")].concat())),
        number(10, &u64::MAX.to_le_bytes()),
        number(11, &u64::MAX.to_le_bytes()),
        number(12, &2.5f64.to_le_bytes()),
    ];
    let file = keys
        .iter()
        .enumerate()
        .fold(Gguf::new(), |file, (i, (t, v))| {
            file.key(format!("k{i:02}"), *t, v)
        });
    let (metadata, tensors) = gguf::parse(NAME, &file.bytes(), &HeaderLimits::default()).unwrap();
    assert!(tensors.is_empty());
    let expected = [
        Value::U8(200),
        Value::I8(-56),
        Value::U16(0xfffe),
        Value::I16(-2),
        Value::U32(u32::MAX),
        Value::I32(-1),
        Value::F32(1.5),
        Value::Bool(true),
        Value::String("é".into()),
        Value::Array(Array::String(vec!["a".into(), String::new()])),
        Value::U64(u64::MAX),
        Value::I64(-1),
        Value::F64(2.5),
    ];
    let names: Vec<&str> = metadata.iter().map(|(key, _)| key).collect();
    assert_eq!(
        names,
        (0..13).map(|i| format!("k{i:02}")).collect::<Vec<_>>()
    );
    assert!(metadata.iter().map(|(_, value)| value).eq(&expected));
}

#[test]
fn every_array_type_is_stored_flat() {
    let elements: Vec<u8> = (0..16).map(|i| i % 2).collect();
    for (element_type, size) in [
        (0, 1),
        (1, 1),
        (2, 2),
        (3, 2),
        (4, 4),
        (5, 4),
        (6, 4),
        (7, 1),
        (10, 8),
        (11, 8),
        (12, 8),
    ] {
        let file = Gguf::new()
            .key("k", 9, &array(element_type, 16 / size, &elements))
            .bytes();
        let (metadata, _) = gguf::parse(NAME, &file, &HeaderLimits::default()).unwrap();
        let Some(Value::Array(items)) = metadata.get("k") else {
            panic!("no array of type {element_type}")
        };
        assert_eq!(items.len() as u64, 16 / size, "{items:?}");
        assert!(!items.is_empty());
    }
}

#[test]
fn getters_convert_what_loses_no_meaning_and_name_the_key_otherwise() {
    let file = Gguf::new()
        .key("small", 2, &7u16.to_le_bytes())
        .key("negative", 5, &(-7i32).to_le_bytes())
        .key("half", 6, &0.5f32.to_le_bytes())
        .key("wide", 12, &1e39f64.to_le_bytes())
        .key("nan", 6, &f32::NAN.to_le_bytes())
        .key("name", 8, &string("x"))
        .key("flag", 7, &[0])
        .key("ids", 9, &array(4, 2, &[1, 0, 0, 0, 255, 255, 255, 255]))
        .key("types", 9, &array(5, 2, &[1, 0, 0, 0, 255, 255, 255, 255]))
        .key("scores", 9, &array(6, 1, &(-1.0f32).to_le_bytes()));
    let (metadata, _) = gguf::parse(NAME, &file.bytes(), &HeaderLimits::default()).unwrap();
    assert_eq!(metadata.u64("small").unwrap(), 7);
    assert_eq!(metadata.f32("half").unwrap(), 0.5);
    assert_eq!(metadata.f64("wide").unwrap(), 1e39);
    assert_eq!(metadata.string("name").unwrap(), "x");
    assert!(!metadata.bool("flag").unwrap());
    assert_eq!(metadata.i32_array("types").unwrap(), [1, -1]);
    assert_eq!(metadata.u64_array("ids").unwrap(), [1, u64::from(u32::MAX)]);
    assert_eq!(metadata.f32_array("scores").unwrap(), [-1.0]);
    assert_eq!(
        metadata.optional("absent", gguf::Metadata::u64).unwrap(),
        None
    );
    assert_eq!(
        metadata.optional("small", gguf::Metadata::u64).unwrap(),
        Some(7)
    );
    assert!(
        metadata.optional("name", gguf::Metadata::u64).is_err(),
        "present and wrong is not absent"
    );
    let refusals = [
        (
            metadata.u64("negative").unwrap_err(),
            "m.gguf: negative must be an integer of at least 0, got i32 -7",
        ),
        (
            metadata.u64("absent").unwrap_err(),
            "m.gguf: absent must be an integer of at least 0, got nothing",
        ),
        (
            metadata.f32("wide").unwrap_err(),
            "wide must be a float within f32",
        ),
        (
            metadata.f64("nan").unwrap_err(),
            "nan must be a finite float",
        ),
        (
            metadata.i32_array("ids").unwrap_err(),
            "ids must be an array of integers within i32, got array of 2 u32",
        ),
        (metadata.u64_array("types").unwrap_err(), "types must be"),
        (
            metadata.string_array("scores").unwrap_err(),
            "scores must be an array of strings, got array of 1 f32",
        ),
        (metadata.bool("small").unwrap_err(), "small must be a bool"),
    ];
    for (error, says) in refusals {
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(
            error.to_string().contains(says),
            "{error} does not say {says}"
        );
    }
}

#[test]
fn tensors_come_in_file_order_with_dimensions_reversed() {
    for version in [2, 3] {
        let file = Gguf {
            version,
            ..Gguf::small()
        };
        let (metadata, tensors) =
            gguf::parse(NAME, &file.bytes(), &HeaderLimits::default()).unwrap();
        assert_eq!(metadata.version(), version);
        assert_eq!(metadata.len(), 2);
        let [a, b] = tensors.as_slice() else {
            panic!("{tensors:?}")
        };
        assert_eq!(
            (a.name.as_str(), a.encoding, a.shape.as_slice()),
            ("a", Encoding::Q4_0, [2, 32].as_slice())
        );
        assert_eq!(
            (b.name.as_str(), b.encoding, b.shape.as_slice()),
            ("b", Encoding::F32, [3].as_slice())
        );
        assert_eq!(
            (a.len_bytes(), a.elements(), b.len_bytes(), b.elements()),
            (36, 64, 12, 3)
        );
    }
}

#[test]
fn headers_longer_than_a_fetch_are_read_whole() {
    let words: Vec<String> = (0..60_000)
        .map(|i| "w".repeat(i % 23) + &i.to_string())
        .collect();
    let strings: Vec<u8> = words.iter().flat_map(string).collect();
    let numbers: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    let file = Gguf::new()
        .key("words", 9, &array(8, words.len() as u64, &strings))
        .key("numbers", 9, &array(4, 200_000, &numbers))
        .key("text", 8, &string("t".repeat(700_000)))
        .key("last", 0, &[9]);
    let (metadata, _) = gguf::parse(NAME, &file.bytes(), &HeaderLimits::default()).unwrap();
    assert!(metadata.string_array("words").unwrap() == words);
    assert!(
        metadata
            .u64_array("numbers")
            .unwrap()
            .into_iter()
            .eq(0..200_000)
    );
    assert_eq!(metadata.string("text").unwrap().len(), 700_000);
    assert_eq!(metadata.u64("last").unwrap(), 9);
}
