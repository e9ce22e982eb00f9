//! Cases 94 to 103.

use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::{HeaderLimits, gguf};

use crate::make::{Gguf, array, string};
use crate::refusal::{check_all, corrupt, unsupported};

const NAME: &str = "m.gguf";

fn with(change: impl FnOnce(&mut Gguf)) -> Vec<u8> {
    let mut file = Gguf::small();
    change(&mut file);
    file.bytes()
}

#[test]
fn case_94_magic_and_version_are_checked() {
    check_all(
        NAME,
        vec![
            corrupt(94, "empty file", Vec::new(), "magic"),
            corrupt(94, "three bytes", b"GGU".to_vec(), "magic"),
            corrupt(94, "bad magic", with(|file| file.magic = *b"GGML"), "magic"),
            corrupt(94, "version 0", with(|file| file.version = 0), "version"),
            corrupt(
                94,
                "future version",
                with(|file| file.version = 4),
                "version",
            ),
            corrupt(
                94,
                "byte-swapped",
                with(|file| file.version = 3u32.swap_bytes()),
                "big-endian",
            ),
            unsupported(94, "version 1", with(|file| file.version = 1), "version 1"),
        ],
    );
}

#[test]
fn case_95_counts_beyond_the_file_are_refused_before_allocation() {
    check_all(
        NAME,
        vec![
            corrupt(
                95,
                "2^64-1 keys",
                with(|file| file.key_count = Some(u64::MAX)),
                "kv_count",
            ),
            corrupt(
                95,
                "2^32 keys",
                with(|file| file.key_count = Some(1 << 32)),
                "kv_count",
            ),
            corrupt(
                95,
                "2^64-1 tensors",
                with(|file| file.tensor_count = Some(u64::MAX)),
                "tensor_count",
            ),
            corrupt(
                95,
                "2^32 tensors",
                with(|file| file.tensor_count = Some(1 << 32)),
                "tensor_count",
            ),
            corrupt(
                95,
                "one tensor more than there is",
                with(|file| file.tensor_count = Some(3)),
                "m.gguf",
            ),
            corrupt(
                95,
                "100,001 tensors",
                Gguf {
                    tensor_count: Some(100_001),
                    ..Gguf::new()
                }
                .with_data(4 << 20)
                .bytes(),
                "at most 100000",
            ),
            corrupt(
                95,
                "file ends after the version",
                with(|_| ())[..8].to_vec(),
                "tensor_count",
            ),
        ],
    );
}

/// One key over a data section of 4 KiB.
fn key(value_type: u32, value: &[u8]) -> Vec<u8> {
    Gguf::new()
        .key("some.key", value_type, value)
        .with_data(4096)
        .bytes()
}

#[test]
fn case_96_strings_and_arrays_are_bounded() {
    let deep: Vec<u8> = (0..129).flat_map(|_| array(9, 1, &[])).collect();
    check_all(
        NAME,
        vec![
            corrupt(
                96,
                "string past end",
                key(8, &(1u64 << 40).to_le_bytes()),
                "some.key",
            ),
            corrupt(
                96,
                "string of 2^64-1",
                key(8, &u64::MAX.to_le_bytes()),
                "some.key",
            ),
            corrupt(
                96,
                "string over 1 MiB",
                key(8, &string(vec![b'a'; (1 << 20) + 1])),
                "at most 1048576",
            ),
            corrupt(
                96,
                "array past end",
                key(9, &array(4, 5000, &[])),
                "some.key",
            ),
            corrupt(
                96,
                "array whose bytes wrap",
                key(9, &array(10, u64::MAX / 8 + 2, &[])),
                "some.key",
            ),
            corrupt(96, "nested 129 deep", key(9, &deep), "array of arrays"),
            corrupt(
                96,
                "10^9 one-byte elements",
                key(9, &array(0, 1_000_000_000, &[])),
                "some.key",
            ),
            corrupt(
                96,
                "10^7 + 1 elements that are there",
                key(9, &array(0, 10_000_001, &vec![0; 10_000_001])),
                "at most 10000000",
            ),
            corrupt(
                96,
                "strings past end",
                key(9, &array(8, 1 << 30, &[])),
                "some.key",
            ),
            corrupt(96, "value type 13", key(13, &[0; 8]), "value type"),
            corrupt(
                96,
                "array of type 99",
                key(9, &array(99, 1, &[0; 8])),
                "value type",
            ),
        ],
    );
}

#[test]
fn case_97_names_are_given_once_and_plain() {
    check_all(
        NAME,
        vec![
            corrupt(
                97,
                "duplicate key",
                Gguf::small()
                    .key("general.architecture", 4, &[0; 4])
                    .bytes(),
                "general.architecture",
            ),
            corrupt(
                97,
                "duplicate tensor",
                Gguf::small().tensor("a", &[1], 0, 64).bytes(),
                "tensor a",
            ),
            corrupt(
                97,
                "empty key",
                Gguf::small().key("", 4, &[0; 4]).bytes(),
                "key",
            ),
            corrupt(
                97,
                "empty tensor name",
                Gguf::small().tensor("", &[1], 0, 64).bytes(),
                "tensor name",
            ),
            corrupt(
                97,
                "tensor name that is a path",
                Gguf::small().tensor("../../x", &[1], 0, 64).bytes(),
                "tensor name",
            ),
            corrupt(
                97,
                "key of 1,025 bytes",
                Gguf::small().key([b'k'; 1025], 4, &[0; 4]).bytes(),
                "key",
            ),
        ],
    );
}

#[test]
fn case_102_case_103_bools_and_strings_are_checked() {
    check_all(
        NAME,
        vec![
            corrupt(103, "bool of 2", key(7, &[2]), "some.key"),
            corrupt(
                103,
                "bool of 2 under a long key",
                Gguf::new().key([b'k'; 1024], 7, &[2]).bytes(),
                "bool",
            ),
            corrupt(
                103,
                "bool of 255 in an array",
                key(9, &array(7, 2, &[1, 255])),
                "some.key",
            ),
            corrupt(
                103,
                "key that is not UTF-8",
                Gguf::small().key([0xff, 0xfe], 4, &[0; 4]).bytes(),
                "UTF-8",
            ),
            corrupt(
                103,
                "string that is not UTF-8",
                key(8, &string([0xc3])),
                "UTF-8",
            ),
            corrupt(
                102,
                "token of 2^31 + 1 bytes",
                key(9, &array(8, 1, &((1u64 << 31) + 1).to_le_bytes())),
                "some.key",
            ),
        ],
    );
}

#[test]
fn case_98_alignments_that_are_no_power_of_two_or_too_large_are_refused() {
    let aligned = |value_type, value: &[u8]| {
        Gguf::new()
            .key("general.alignment", value_type, value)
            .tensor("a", &[1], 0, 0)
            .with_data(64)
            .bytes()
    };
    let of = |value: u32| aligned(4, &value.to_le_bytes());
    check_all(
        NAME,
        vec![
            corrupt(98, "0", of(0), "general.alignment"),
            corrupt(98, "3", of(3), "general.alignment"),
            corrupt(98, "2^31", of(1 << 31), "general.alignment"),
            corrupt(98, "2^32-1", of(u32::MAX), "general.alignment"),
            corrupt(
                98,
                "a u64",
                aligned(10, &32u64.to_le_bytes()),
                "general.alignment",
            ),
            corrupt(
                98,
                "a string",
                aligned(8, &string("32")),
                "general.alignment",
            ),
        ],
    );
}

#[test]
fn case_99_dimensions_that_are_absent_zero_or_wrap_are_refused() {
    let shaped = |dims: &[u64], type_id| {
        Gguf::new()
            .tensor("a", dims, type_id, 0)
            .with_data(4 << 20)
            .bytes()
    };
    let counted = |count| {
        Gguf::new()
            .tensor_of_dims("a", count, &[1, 1, 1, 1], 0, 0)
            .with_data(64)
            .bytes()
    };
    let half = 1u64 << 32;
    check_all(
        NAME,
        vec![
            corrupt(99, "no dimension", counted(0), "shape of tensor a"),
            corrupt(99, "5 dimensions", counted(5), "shape of tensor a"),
            corrupt(
                99,
                "2^32-1 dimensions",
                counted(u32::MAX),
                "shape of tensor a",
            ),
            corrupt(99, "dimension 0", shaped(&[4, 0], 0), "shape of tensor a"),
            corrupt(
                99,
                "product wraps to 0",
                shaped(&[half, half], 0),
                "shape of tensor a",
            ),
            corrupt(
                99,
                "product wraps to 4 MiB",
                shaped(&[half + 1, half], 0),
                "shape of tensor a",
            ),
            corrupt(99, "bytes wrap", shaped(&[1 << 62], 0), "shape of tensor a"),
            corrupt(
                99,
                "bytes wrap in blocks",
                shaped(&[(1 << 60) + 32, 32], 2),
                "shape of tensor a",
            ),
            corrupt(
                99,
                "exabytes claimed",
                shaped(&[1 << 58], 0),
                "inside the file",
            ),
            corrupt(
                99,
                "row of half a block",
                shaped(&[48, 2], 2),
                "blocks of 32",
            ),
            corrupt(
                99,
                "row of no whole super-block",
                shaped(&[576, 4], 12),
                "blocks of 256",
            ),
        ],
    );
}

#[test]
fn case_100_element_types_are_told_apart_as_unknown_removed_and_not_read() {
    let typed = |type_id| {
        Gguf::new()
            .tensor("a", &[256], type_id, 0)
            .with_data(2048)
            .bytes()
    };
    let mut cases = vec![
        corrupt(100, "unknown", typed(43), "type of tensor a"),
        corrupt(100, "unknown, large", typed(4096), "type of tensor a"),
        corrupt(100, "negative", typed(u32::MAX), "type of tensor a"),
    ];
    cases.extend(
        [4, 5, 31, 32, 33, 36, 37, 38].map(|id| corrupt(100, "removed", typed(id), "removed")),
    );
    let not_read = [
        (9, "Q8_1"),
        (15, "Q8_K"),
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (19, "IQ1_S"),
        (21, "IQ3_S"),
        (22, "IQ2_S"),
        (29, "IQ1_M"),
        (34, "TQ1_0"),
        (41, "Q1_0"),
        (42, "Q2_0"),
    ];
    cases.extend(not_read.map(|(id, name)| unsupported(100, name, typed(id), name)));
    check_all(NAME, cases);
}

#[test]
fn case_101_offsets_unaligned_past_the_end_or_overlapping_are_refused() {
    let at = |offset| {
        Gguf::new()
            .tensor("a", &[8], 0, offset)
            .with_data(64)
            .bytes()
    };
    let two = |second| {
        Gguf::new()
            .tensor("b", &[16], 0, second)
            .tensor("a", &[16], 0, 0)
            .with_data(256)
            .bytes()
    };
    check_all(
        NAME,
        vec![
            corrupt(101, "unaligned", at(4), "offset of tensor a"),
            corrupt(101, "at the end", at(64), "data of tensor a"),
            corrupt(101, "past the end", at(1 << 40), "data of tensor a"),
            corrupt(101, "sum wraps", at(u64::MAX - 31), "data of tensor a"),
            corrupt(101, "the same place twice", two(0), "data of tensor"),
            corrupt(101, "overlap by a half", two(32), "data of tensor"),
            corrupt(
                101,
                "truncated data",
                Gguf::small().with_data(64 + 11).bytes(),
                "data of tensor b",
            ),
        ],
    );
    assert!(
        gguf::parse(NAME, &two(64), &HeaderLimits::default()).is_ok(),
        "neighbours do not overlap"
    );
    assert!(
        gguf::parse(NAME, &two(96), &HeaderLimits::default()).is_ok(),
        "a gap is allowed"
    );
}

#[test]
fn a_split_file_is_refused_by_name() {
    let parts = |count: u16| {
        Gguf::small()
            .key("split.count", 2, &count.to_le_bytes())
            .bytes()
    };
    check_all(
        NAME,
        vec![unsupported(94, "split", parts(3), "split into 3 files")],
    );
    assert!(gguf::parse(NAME, &parts(1), &HeaderLimits::default()).is_ok());
}

#[test]
fn header_limits_hold_and_can_be_raised() {
    let file = Gguf::small().key("long", 8, &string([b'x'; 500])).bytes();
    let tight = HeaderLimits {
        gguf_header_len_max_bytes: 400,
        ..HeaderLimits::default()
    };
    assert_eq!(
        gguf::parse(NAME, &file, &tight).unwrap_err().kind(),
        Kind::Corrupt
    );
    assert!(gguf::parse(NAME, &file, &HeaderLimits::default()).is_ok());
}
