//! Blocks against three oracles: the vectors of the format page, the Python package `gguf` (digests made by
//! tests/models/make_block_fixtures.py), and the slow reading of the formulas in `slow`.

mod slow;

use half::{bf16, f16};
use proptest::prelude::*;
use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::blocks::{dequantize, unpack_row};
use tokenmill_formats::{Encoding, IntZero, WeightFormat};

const FIXTURES: &str = include_str!("../../fixtures/blocks.tsv");

fn quantised() -> impl Iterator<Item = Encoding> {
    Encoding::ALL
        .into_iter()
        .filter(|encoding| encoding.is_quantised())
}

fn decoded(encoding: Encoding, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![f32::NAN; bytes.len() / encoding.block_bytes() * encoding.block_len()];
    dequantize(encoding, bytes, &mut out).unwrap();
    out
}

/// Bits of a value, every NaN taken as one.
fn bits(value: f32) -> u32 {
    if value.is_nan() {
        0x7fc0_0000
    } else {
        value.to_bits()
    }
}

fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// The stream of the fixture script.
fn splitmix64(mut seed: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < len {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out.extend((word ^ (word >> 31)).to_le_bytes());
    }
    out.truncate(len);
    out
}

#[test]
fn random_blocks_equal_the_python_package_bit_for_bit() {
    const PLAIN_LEN: usize = 64;
    let mut count = 0;
    for encoding in Encoding::ALL {
        let expected: Vec<Vec<&str>> = FIXTURES
            .lines()
            .map(|line| line.split('\t').collect())
            .filter(|row: &Vec<&str>| row[0] == encoding.name())
            .collect();
        let row_bytes = encoding.block_bytes()
            * if encoding.is_quantised() {
                1
            } else {
                PLAIN_LEN
            };
        let stream = splitmix64(fnv1a(encoding.name().bytes()), row_bytes * expected.len());
        for (row, bytes) in expected.iter().zip(stream.chunks(row_bytes)) {
            let values: Vec<u32> = decoded(encoding, bytes).into_iter().map(bits).collect();
            let (first, last) = (values[0], values[values.len() - 1]);
            let digest = fnv1a(values.iter().flat_map(|value| value.to_le_bytes()));
            let got = [
                format!("{digest:016x}"),
                format!("{first:08x}"),
                format!("{last:08x}"),
            ];
            assert_eq!(got.as_slice(), &row[2..], "{encoding} block {}", row[1]);
            count += 1;
        }
    }
    assert_eq!(count, 17 * 48, "all types of the fixture were met");
}

/// Block byte i = (7 i + 11) mod 256, with scales of its own.
fn vector_block(encoding: Encoding) -> Vec<u8> {
    let mut block: Vec<u8> = (0..encoding.block_bytes())
        .map(|i| (7 * i + 11) as u8)
        .collect();
    let (d, minimum) = ([0x00, 0x38], [0x00, 0x34]);
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    match encoding {
        Encoding::Q4_1 | Encoding::Q5_1 | Encoding::Q4K | Encoding::Q5K => {
            put(0, &[d, minimum].concat());
        }
        Encoding::Q2K => put(80, &[d, minimum].concat()),
        Encoding::Q3K => put(108, &d),
        Encoding::Q6K => put(208, &d),
        Encoding::Tq2_0 => put(64, &d),
        Encoding::Mxfp4 => put(0, &[128]),
        Encoding::Nvfp4 => put(0, &[0x38, 0x40, 0x30, 0x3c]),
        _ => put(0, &d),
    }
    block
}

#[test]
fn reader_vectors_of_the_format_page_hold() {
    let vectors: [(Encoding, [f64; 7]); 15] = [
        (Encoding::Q4_0, [0.5, -4., -0.5, 3., 0., -33., -631.5]),
        (Encoding::Q4_1, [3.75, 7.25, 2.75, 6.25, 4.75, 110., 1596.]),
        (Encoding::Q5_0, [2.5, -2., -6.5, 5., -3.5, -51., -694.5]),
        (Encoding::Q5_1, [9.75, 13.25, 8.75, 4.25, 5.25, 252., 3873.]),
        (Encoding::Q8_0, [12.5, 16., 19.5, 23., -7., -40., -7392.]),
        (Encoding::Q2K, [16.5, 11., 5.5, 0., -1.75, 1212., 158137.5]),
        (
            Encoding::Q3K,
            [40.5, -27., 13.5, -54., 29., -733.5, -175164.],
        ),
        (
            Encoding::Q4K,
            [213.75, 38.25, 174.75, -0.75, 24.25, 27792., 2353104.],
        ),
        (
            Encoding::Q5K,
            [525.75, 38.25, 486.75, -0.75, 20.25, 58360., 4997920.],
        ),
        (
            Encoding::Q6K,
            [1012.5, 75., -262.5, -1200., 304., -10464., -1170972.],
        ),
        (
            Encoding::Iq4Nl,
            [6.5, -63.5, -5., 44.5, 0.5, -421.5, -7918.5],
        ),
        (
            Encoding::Iq4Xs,
            [292.5, -112.5, 468., -4.5, -551., -915., -481732.5],
        ),
        (Encoding::Tq2_0, [1., 0.5, 0., -0.5, 1., 58., 7373.]),
        (Encoding::Mxfp4, [2., -1., 0., 12., 12., 80., 2040.]),
        (Encoding::Nvfp4, [6., -4., 3., -2., 0., 5., -1714.5]),
    ];
    for (encoding, expected) in vectors {
        let values: Vec<f64> = decoded(encoding, &vector_block(encoding))
            .into_iter()
            .map(f64::from)
            .collect();
        let sum: f64 = values.iter().sum();
        let moment: f64 = values.iter().enumerate().map(|(j, x)| j as f64 * x).sum();
        let got = [
            values[0],
            values[1],
            values[2],
            values[3],
            values[values.len() - 1],
            sum,
            moment,
        ];
        assert_eq!(got, expected, "{encoding}");
    }
    assert!(
        quantised().all(|encoding| vectors.iter().any(|(other, _)| *other == encoding)),
        "every type has one"
    );
}

#[test]
fn writer_vectors_decode_to_the_ramp_they_came_from() {
    let unhex = |text: &str| -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    let vectors = [
        (Encoding::Q4_0, "0040 809191a2a2b3b3c4c4d5d5e6e6f7f7f8", 2.0),
        (
            Encoding::Q4_1,
            "2240 00cc 80809191a2a2b3b3c4c4d5d5e6e6f7f7",
            1.1,
        ),
        (
            Encoding::Q5_0,
            "003c 0000ffff 00112233445566778899aabbccddeeff",
            0.0,
        ),
        (
            Encoding::Q5_1,
            "003c 00cc 0000ffff 00112233445566778899aabbccddeeff",
            0.0,
        ),
        (
            Encoding::Q8_0,
            "0830 81899199a1a9b1b9c0c8d0d8e0e8f0f8000810182028303840474f575f676f77",
            0.07,
        ),
    ];
    for (encoding, text, tolerance) in vectors {
        for (j, x) in decoded(encoding, &unhex(text)).into_iter().enumerate() {
            let error = (x - (j as f32 - 16.0)).abs();
            assert!(error <= tolerance, "{encoding} element {j} is {x}");
        }
    }
}

#[test]
fn plain_numbers_are_exact() {
    for word in 0..=u16::MAX {
        let bytes = word.to_le_bytes();
        assert_eq!(
            bits(decoded(Encoding::F16, &bytes)[0]),
            bits(f16::from_bits(word).to_f32())
        );
        assert_eq!(
            bits(decoded(Encoding::Bf16, &bytes)[0]),
            bits(bf16::from_bits(word).to_f32())
        );
        assert_eq!(
            bits(decoded(Encoding::Bf16, &bytes)[0]),
            bits(f32::from_bits(u32::from(word) << 16))
        );
    }
    assert_eq!(decoded(Encoding::F32, &(-1.25f32).to_le_bytes()), [-1.25]);
    let mut out = [0.0];
    for encoding in [Encoding::I8, Encoding::U8, Encoding::Bool, Encoding::F8E4m3] {
        assert_eq!(
            dequantize(encoding, &[1], &mut out).unwrap_err().kind(),
            Kind::Unsupported
        );
    }
}

#[test]
fn sizes_follow_the_table() {
    for (encoding, bits_per_weight) in [
        (Encoding::Q2K, 2.625),
        (Encoding::Q3K, 3.4375),
        (Encoding::Q4K, 4.5),
        (Encoding::Q5K, 5.5),
        (Encoding::Q6K, 6.5625),
        (Encoding::Iq4Xs, 4.25),
        (Encoding::Q8_0, 8.5),
        (Encoding::F32, 32.0),
    ] {
        assert_eq!(encoding.bits_per_weight(), bits_per_weight);
    }
    assert_eq!(Encoding::Q4_1.row_bytes(64), Some(40));
    assert_eq!(Encoding::Q4_1.row_bytes(48), None);
    assert_eq!(
        Encoding::Q8_0.row_bytes(usize::MAX - 31),
        None,
        "34 bytes for 32 elements"
    );
    assert_eq!(Encoding::F32.row_bytes(usize::MAX), None);
    assert_eq!(Encoding::F32.tensor_bytes(&[]), Some(4));
    assert_eq!(Encoding::F32.tensor_bytes(&[3, 0]), Some(0));
    assert_eq!(Encoding::Q8_0.tensor_bytes(&[3, 64]), Some(204));
    assert_eq!(
        Encoding::F32.tensor_bytes(&[1 << 61]),
        None,
        "more than half of the address space"
    );
}

#[test]
fn wrong_buffer_lengths_are_refused() {
    for encoding in quantised() {
        let layout = encoding.int_layout().unwrap();
        let (bytes, len) = (vec![0; encoding.block_bytes()], encoding.block_len());
        let groups = len / layout.group;
        let minima = if layout.zero == IntZero::Minima {
            groups
        } else {
            0
        };
        let run = |bytes: &[u8], codes: usize, scales: usize, minima: usize| {
            let (mut codes, mut scales, mut minima) =
                (vec![0; codes], vec![0.0; scales], vec![0.0; minima]);
            unpack_row(encoding, bytes, &mut codes, &mut scales, &mut minima)
        };
        assert!(run(&bytes, len, groups, minima).is_ok());
        assert!(run(&[], 0, 0, 0).is_ok());
        let wrong = [
            run(&bytes[1..], len, groups, minima),
            run(&bytes, len - 1, groups, minima),
            run(&bytes, 2 * len, 2 * groups, 2 * minima),
            run(&bytes, len, groups + 1, minima),
            run(&bytes, len, groups, minima + 1),
            dequantize(encoding, &bytes, &mut vec![0.0; len + 1]),
            dequantize(encoding, &bytes, &mut vec![0.0; 2 * len]),
            dequantize(encoding, &bytes[1..], &mut vec![0.0; len]),
        ];
        for outcome in wrong {
            assert_eq!(
                outcome.unwrap_err().kind(),
                Kind::InvalidRequest,
                "{encoding}"
            );
        }
    }
    let error = unpack_row(Encoding::F32, &[0; 4], &mut [0], &mut [0.0], &mut []).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
}

#[test]
fn every_quantised_encoding_has_an_integer_format() {
    for encoding in Encoding::ALL {
        let format = WeightFormat::from(encoding);
        assert_eq!(
            encoding.is_quantised(),
            matches!(format, WeightFormat::Int(_)),
            "{encoding}"
        );
        if let Some(layout) = encoding.int_layout() {
            assert!(encoding.block_len().is_multiple_of(layout.group));
            assert!(matches!(layout.bits, 4 | 8));
        }
    }
    assert_eq!(WeightFormat::from(Encoding::Bf16), WeightFormat::Bf16);
    assert_eq!(
        WeightFormat::from(Encoding::I64),
        WeightFormat::Other(Encoding::I64)
    );
    assert_eq!(WeightFormat::from(Encoding::Q4_1).to_string(), "int4 g32");
}

/// An encoding and whole blocks of it, sometimes more than a tile.
fn rows() -> impl Strategy<Value = (Encoding, Vec<u8>)> {
    let types: Vec<Encoding> = quantised().collect();
    (prop::sample::select(types), 1usize..40).prop_flat_map(|(encoding, blocks)| {
        (
            Just(encoding),
            prop::collection::vec(any::<u8>(), encoding.block_bytes() * blocks),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_equal_the_slow_reading_bit_for_bit((encoding, bytes) in rows()) {
        let fast = decoded(encoding, &bytes);
        let blocks = bytes.chunks(encoding.block_bytes());
        let slow = blocks.flat_map(|block| (0..encoding.block_len()).map(|e| slow::element(encoding, block, e)));
        for (index, (fast, slow)) in fast.iter().zip(slow).enumerate() {
            prop_assert_eq!(bits(*fast), bits(slow), "{} element {}: {} and {}", encoding, index, fast, slow);
        }
    }

    #[test]
    fn integers_times_scales_equal_the_floats_bit_for_bit((encoding, bytes) in rows()) {
        let floats = decoded(encoding, &bytes);
        let layout = encoding.int_layout().unwrap();
        let groups = floats.len() / layout.group;
        let mut codes = vec![0xaa; floats.len()];
        let mut scales = vec![f32::NAN; groups];
        let mut minima = vec![f32::NAN; if layout.zero == IntZero::Minima { groups } else { 0 }];
        unpack_row(encoding, &bytes, &mut codes, &mut scales, &mut minima).unwrap();
        for (index, (code, float)) in codes.iter().zip(&floats).enumerate() {
            prop_assert!(u32::from(*code) < 1 << layout.bits);
            let group = index / layout.group;
            let x = match layout.zero {
                IntZero::Fixed(zero) => scales[group] * (f32::from(*code) - f32::from(zero)),
                IntZero::Minima => scales[group] * f32::from(*code) + minima[group],
            };
            prop_assert_eq!(bits(x), bits(*float), "{} element {}", encoding, index);
        }
    }
}
