//! Every tile of every available level against its scalar twin, and the twins against decoded weights.
//! Also the promises of the walk: a row never sees its company, a split of blocks changes nothing, and nothing
//! that was not prepared is ever read into an output.

use std::ops::Range;

use half::f16;
use proptest::prelude::*;
use tokenmill_formats::Encoding;
use tokenmill_formats::blocks::{dequantize, unpack_row};
use tokenmill_model::{Result, Tensor};

use super::{ActBuffer, OutView, RowsIn, matmul, prepare_rows};
use crate::arena::Arena;
use crate::isa::Level;
use crate::pack::{
    Bits, FloatMath, Grouped, IntMath, IntRow, IntRows, Layout, Math, PackPlan, PackedMatrix,
    ScaleKind, Stack, WeightForm, Zero, gather_row, pack, write_int_rows,
};

/// Not a value that any product gives: an output that was never written.
const UNTOUCHED: u32 = 0x7FC0_BEEF;

const EXACT: WeightForm = WeightForm {
    floats: FloatMath::F32,
    integers: IntMath::Exact,
};
const FAST: WeightForm = WeightForm {
    floats: FloatMath::Bf16,
    integers: IntMath::Int8,
};

struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    /// Between -1 and 1.
    fn unit(&mut self) -> f32 {
        self.bits() as f32 / 2_147_483_648.0 - 1.0
    }

    fn floats(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|_| self.unit() * scale).collect()
    }
}

/// Bytes of a block that are f16 scales or minima, for random blocks with sane scales.
fn f16_places(encoding: Encoding) -> &'static [usize] {
    match encoding {
        Encoding::Q4_1 | Encoding::Q5_1 | Encoding::Q4K | Encoding::Q5K => &[0, 2],
        Encoding::Q2K => &[80, 82],
        Encoding::Q3K => &[108],
        Encoding::Q6K => &[208],
        Encoding::Tq2_0 => &[64],
        Encoding::Q4_0 | Encoding::Q5_0 | Encoding::Q8_0 | Encoding::Iq4Nl | Encoding::Iq4Xs => {
            &[0]
        }
        _ => &[],
    }
}

fn tensor(encoding: Encoding, n: usize, k: usize, seed: u64) -> Tensor {
    let mut noise = Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut bytes = Vec::new();
    while bytes.len() < encoding.tensor_bytes(&[n, k]).unwrap() {
        let mut block: Vec<u8> = (0..encoding.block_bytes())
            .map(|_| noise.bits() as u8)
            .collect();
        match encoding {
            Encoding::F32 => block.copy_from_slice(&noise.unit().to_le_bytes()),
            Encoding::F16 => block.copy_from_slice(&f16::from_f32(noise.unit()).to_le_bytes()),
            Encoding::Bf16 => {
                block.copy_from_slice(&half::bf16::from_f32(noise.unit()).to_le_bytes());
            }
            Encoding::Mxfp4 => block[0] = 120 + block[0] % 8,
            Encoding::Nvfp4 => block[..4]
                .iter_mut()
                .for_each(|scale| *scale = *scale % 0x40 + 8),
            _ => {}
        }
        for at in f16_places(encoding) {
            block[*at..at + 2].copy_from_slice(&f16::from_f32(noise.unit() * 0.1).to_le_bytes());
        }
        bytes.extend(block);
    }
    Tensor {
        encoding,
        shape: vec![n, k],
        bytes,
    }
}

fn encodings() -> impl Iterator<Item = Encoding> {
    let floats = [Encoding::F32, Encoding::F16, Encoding::Bf16];
    Encoding::ALL
        .into_iter()
        .filter(move |encoding| floats.contains(encoding) || encoding.int_layout().is_some())
}

fn decoded(tensor: &Tensor) -> Vec<Vec<f32>> {
    let (n, k) = (tensor.shape[0], tensor.shape[1]);
    let mut all = vec![0.0; n * k];
    for (row, out) in all.chunks_mut(k).enumerate() {
        let len = tensor.bytes.len() / n;
        dequantize(
            tensor.encoding,
            &tensor.bytes[row * len..(row + 1) * len],
            out,
        )
        .unwrap();
    }
    all.chunks(k).map(<[f32]>::to_vec).collect()
}

fn packed(parts: &[&Tensor], is_interleaved: bool, form: WeightForm) -> PackedMatrix {
    pack(parts, is_interleaved, form, &Arena::new(16 << 20).unwrap()).unwrap()
}

/// Integers in any grouped format, as no file of ours has them.
struct Integers {
    grouped: Grouped,
    seed: u64,
    scale: f32,
}

impl IntRows for Integers {
    fn read(&self, row: usize, out: &mut IntRow) -> Result<()> {
        let mut noise =
            Noise((self.seed ^ (row as u64 + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let limit = match self.grouped.bits {
            Bits::Four => 16,
            Bits::Eight => 256,
        };
        let narrow = |value: f32| match self.grouped.scale {
            ScaleKind::F16 => f16::from_f32(value).to_f32(),
            ScaleKind::F32 => value,
        };
        out.codes
            .iter_mut()
            .for_each(|code| *code = (noise.bits() % limit) as u8);
        out.scales
            .iter_mut()
            .for_each(|scale| *scale = narrow(noise.unit() * self.scale));
        for second in &mut out.seconds {
            *second = match self.grouped.zero {
                Zero::Integer => (noise.bits() % limit) as f32,
                _ => narrow(noise.unit() * self.scale * 8.0),
            };
        }
        Ok(())
    }
}

fn packed_integers(source: &Integers, math: Math, n: usize, k: usize) -> PackedMatrix {
    let stack = Stack::new(vec![n], false).unwrap();
    let plan = PackPlan::with_layout(Layout::Int(source.grouped), math, stack, k).unwrap();
    let mut region = Arena::new(plan.bytes())
        .unwrap()
        .take(plan.bytes())
        .unwrap();
    write_int_rows(
        &plan.writer(),
        &[source],
        0..plan.blocks(),
        region.as_mut_slice(),
    )
    .unwrap();
    plan.finish(region)
}

/// A product in the making: its inputs, and where it is cut.
struct Product<'a> {
    level: Level,
    weights: &'a PackedMatrix,
    x: &'a [f32],
    rows: usize,
}

impl Product<'_> {
    /// `[rows][n + 3]`; outputs outside `rows` x `blocks` are `UNTOUCHED`.
    fn part(&self, rows: Range<usize>, blocks: Range<usize>) -> Vec<u32> {
        let k = self.weights.k();
        let acts = ActBuffer::new(self.rows, [(self.weights.act_form(), k)]).unwrap();
        let view = acts.view(self.weights.act_form(), k);
        let input = RowsIn {
            ptr: self.x.as_ptr(),
            ld: k,
        };
        let ld = self.weights.n() + 3;
        let mut out = vec![f32::from_bits(UNTOUCHED); self.rows * ld];
        let target = OutView {
            ptr: out.as_mut_ptr(),
            ld,
        };
        // SAFETY: `x` holds `rows` rows of `k`, `out` as many of `ld`; one thread; the level is available.
        unsafe {
            prepare_rows(self.level, &view, input, rows.clone());
            matmul(self.level, self.weights, &view, (rows, blocks), target);
        }
        out.iter().map(|value| value.to_bits()).collect()
    }

    fn whole(&self) -> Vec<u32> {
        self.part(0..self.rows, 0..self.weights.blocks())
    }
}

fn assert_written_exactly(out: &[u32], n: usize) {
    for row in out.chunks(n + 3) {
        assert!(
            row[..n].iter().all(|bits| !f32::from_bits(*bits).is_nan()),
            "an output is NaN"
        );
        assert!(
            row[n..].iter().all(|bits| *bits == UNTOUCHED),
            "written beyond n"
        );
    }
}

#[test]
fn packing_keeps_every_weight_of_every_encoding() {
    for encoding in encodings() {
        let (one, two) = (tensor(encoding, 19, 512, 1), tensor(encoding, 30, 512, 2));
        let expected = [decoded(&one), decoded(&two)].concat();
        let matrix = packed(&[&one, &two], false, EXACT);
        assert_eq!((matrix.n(), matrix.k(), matrix.blocks()), (49, 512, 4));
        let mut row = vec![f32::NAN; 512];
        for (index, expected) in expected.iter().enumerate() {
            gather_row(&matrix, index, &mut row);
            assert_eq!(&row, expected, "{encoding} row {index}");
        }
    }
}

#[test]
fn interleaved_parts_stand_in_turns_of_sixteen() {
    let (gate, up) = (
        tensor(Encoding::Q4_1, 24, 64, 3),
        tensor(Encoding::Q4_1, 24, 64, 4),
    );
    let matrix = packed(&[&gate, &up], true, EXACT);
    assert_eq!((matrix.n(), matrix.blocks()), (64, 4));
    let mut row = vec![0.0; 64];
    for (n, expected) in decoded(&gate).iter().enumerate() {
        gather_row(&matrix, n / 16 * 32 + n % 16, &mut row);
        assert_eq!(&row, expected);
    }
    for (n, expected) in decoded(&up).iter().enumerate() {
        gather_row(&matrix, n / 16 * 32 + 16 + n % 16, &mut row);
        assert_eq!(&row, expected);
    }
    gather_row(&matrix, 63, &mut row);
    assert_eq!(row[0], -0.0, "padding is zero");
}

#[test]
fn bytes_of_the_default_models_formats_are_those_of_the_file() {
    for encoding in [Encoding::Q4_1, Encoding::Q8_0] {
        let file = tensor(encoding, 48, 576, 5);
        assert_eq!(packed(&[&file], false, FAST).bytes(), file.bytes.len());
    }
}

#[test]
fn exact_products_equal_decoding_first_on_every_encoding_and_level() {
    for encoding in encodings() {
        let file = tensor(encoding, 35, 256, 6);
        let matrix = packed(&[&file], false, EXACT);
        let x = Noise(77).floats(7 * 256, 3.0);
        let expected: Vec<f32> = x
            .chunks(256)
            .flat_map(|x| {
                decoded(&file).into_iter().map(move |w| {
                    w.iter()
                        .zip(x)
                        .fold(0.0, |acc: f32, (w, x)| w.mul_add(*x, acc))
                })
            })
            .collect();
        for level in Level::available() {
            let product = Product {
                level,
                weights: &matrix,
                x: &x,
                rows: 7,
            };
            let out = product.whole();
            let got: Vec<f32> = out
                .chunks(38)
                .flat_map(|row| &row[..35])
                .map(|bits| f32::from_bits(*bits))
                .collect();
            assert_eq!(got, expected, "{encoding} at {level}");
        }
    }
}

/// The int8 product straight from the file's integers, with no packed layout in between.
fn int8_reference(file: &Tensor, x: &[f32]) -> Vec<f32> {
    let layout = file.encoding.int_layout().unwrap();
    let (n, k) = (file.shape[0], file.shape[1]);
    let span = layout.group.max(32);
    let scales: Vec<f32> = x
        .chunks(span)
        .map(|x| x.iter().fold(0.0, |m: f32, v| m.max(v.abs())) / 127.0)
        .collect();
    let codes: Vec<i64> = (0..k)
        .map(|at| {
            let max = x[at / span * span..]
                .iter()
                .take(span)
                .fold(0.0, |m: f32, v| m.max(v.abs()));
            (x[at] * (127.0 / max)).round_ties_even() as i64
        })
        .collect();
    (0..n)
        .map(|row| {
            let groups = k / layout.group;
            let mut ints = IntRow::new(k, groups);
            let has_minima = layout.zero == tokenmill_formats::IntZero::Minima;
            let minima = if has_minima {
                &mut ints.seconds[..]
            } else {
                &mut []
            };
            let len = file.bytes.len() / n;
            let bytes = &file.bytes[row * len..(row + 1) * len];
            unpack_row(
                file.encoding,
                bytes,
                &mut ints.codes,
                &mut ints.scales,
                minima,
            )
            .unwrap();
            (0..groups).fold(0.0, |acc: f32, group| {
                let span_scale = scales[group * layout.group / span];
                let inputs = group * layout.group..(group + 1) * layout.group;
                let zero = match layout.zero {
                    tokenmill_formats::IntZero::Fixed(zero) => i64::from(zero),
                    tokenmill_formats::IntZero::Minima => 0,
                };
                let sum: i64 = inputs
                    .clone()
                    .map(|at| (i64::from(ints.codes[at]) - zero) * codes[at])
                    .sum();
                let acc = (sum as f32).mul_add(ints.scales[group] * span_scale, acc);
                if !has_minima {
                    return acc;
                }
                let total: i64 = inputs.map(|at| codes[at]).sum();
                ints.seconds[group].mul_add(span_scale * total as f32, acc)
            })
        })
        .collect()
}

#[test]
fn int8_products_equal_the_files_integers_on_every_encoding_and_level() {
    for encoding in encodings().filter(|encoding| encoding.int_layout().is_some()) {
        let file = tensor(encoding, 35, 512, 8);
        let matrix = packed(&[&file], false, FAST);
        let x = Noise(78).floats(7 * 512, 3.0);
        let expected: Vec<f32> = x
            .chunks(512)
            .flat_map(|x| int8_reference(&file, x))
            .collect();
        for level in Level::available() {
            let product = Product {
                level,
                weights: &matrix,
                x: &x,
                rows: 7,
            };
            let out = product.whole();
            let got: Vec<f32> = out
                .chunks(38)
                .flat_map(|row| &row[..35])
                .map(|bits| f32::from_bits(*bits))
                .collect();
            assert_eq!(got, expected, "{encoding} at {level}");
        }
    }
}

#[test]
fn int8_and_bf16_products_are_near_the_exact_ones() {
    for (encoding, share) in [
        (Encoding::Q8_0, 0.01),
        (Encoding::Q4_1, 0.01),
        (Encoding::Q6K, 0.01),
        (Encoding::Bf16, 0.006),
    ] {
        let file = tensor(encoding, 32, 1536, 9);
        let x = Noise(79).floats(1536, 2.0);
        let (exact, fast) = (
            packed(&[&file], false, EXACT),
            packed(&[&file], false, FAST),
        );
        let level = Level::detect();
        let exact = Product {
            level,
            weights: &exact,
            x: &x,
            rows: 1,
        }
        .whole();
        let fast = Product {
            level,
            weights: &fast,
            x: &x,
            rows: 1,
        }
        .whole();
        let (mut error, mut power) = (0.0, 0.0);
        for (exact, fast) in exact[..32].iter().zip(&fast[..32]) {
            let (exact, fast) = (
                f64::from(f32::from_bits(*exact)),
                f64::from(f32::from_bits(*fast)),
            );
            error += (exact - fast).powi(2);
            power += exact.powi(2);
        }
        assert!(
            (error / power).sqrt() < share,
            "{encoding}: {}",
            (error / power).sqrt()
        );
    }
}

#[test]
fn activations_that_are_not_finite_spoil_their_own_row_only() {
    let file = tensor(Encoding::Q4_1, 20, 128, 10);
    let matrix = packed(&[&file], false, FAST);
    let mut x = Noise(80).floats(6 * 128, 1.0);
    let clean = Product {
        level: Level::Scalar,
        weights: &matrix,
        x: &x,
        rows: 6,
    }
    .whole();
    x[2 * 128 + 99] = f32::INFINITY;
    for level in Level::available() {
        let out = Product {
            level,
            weights: &matrix,
            x: &x,
            rows: 6,
        }
        .whole();
        for (row, (got, clean)) in out.chunks(23).zip(clean.chunks(23)).enumerate() {
            if row == 2 {
                assert!(got[..20].iter().all(|bits| f32::from_bits(*bits).is_nan()));
            } else {
                assert_eq!(got, clean);
            }
        }
    }
}

#[test]
fn a_buffer_used_for_a_wider_product_leaks_nothing_into_a_narrower_one() {
    let (wide, narrow) = (
        tensor(Encoding::F32, 16, 40, 11),
        tensor(Encoding::F32, 16, 33, 12),
    );
    for form in [EXACT, FAST] {
        let narrow = packed(&[&narrow], false, form);
        let wide = packed(&[&wide], false, form);
        let acts = ActBuffer::new(1, [(wide.act_form(), 40), (narrow.act_form(), 33)]).unwrap();
        let x = Noise(81).floats(33, 1.0);
        let poison = [f32::NAN; 40];
        for level in Level::available() {
            let mut out = [f32::NAN; 16];
            // SAFETY: one row of 40 and of 33 inputs, 16 outputs; one thread; the level is available.
            unsafe {
                prepare_rows(
                    level,
                    &acts.view(wide.act_form(), 40),
                    RowsIn {
                        ptr: poison.as_ptr(),
                        ld: 40,
                    },
                    0..1,
                );
                let view = acts.view(narrow.act_form(), 33);
                prepare_rows(
                    level,
                    &view,
                    RowsIn {
                        ptr: x.as_ptr(),
                        ld: 33,
                    },
                    0..1,
                );
                matmul(
                    level,
                    &narrow,
                    &view,
                    (0..1, 0..1),
                    OutView {
                        ptr: out.as_mut_ptr(),
                        ld: 16,
                    },
                );
            }
            assert!(
                out.iter().all(|value| value.is_finite()),
                "{form:?} at {level}: {out:?}"
            );
        }
    }
}

/// Any storage with any arithmetic it allows.
#[derive(Clone, Debug)]
enum Storage {
    Float(Encoding, WeightForm),
    Int(Grouped, Math),
}

fn any_storage() -> impl Strategy<Value = Storage> {
    let floats = (
        prop_oneof![
            Just(Encoding::F32),
            Just(Encoding::F16),
            Just(Encoding::Bf16)
        ],
        prop_oneof![Just(EXACT), Just(FAST)],
    )
        .prop_map(|(encoding, form)| Storage::Float(encoding, form));
    let ints = (
        prop_oneof![Just(Bits::Four), Just(Bits::Eight)],
        prop_oneof![
            Just(16),
            Just(24),
            Just(32),
            Just(40),
            Just(64),
            Just(128),
            Just(usize::MAX)
        ],
        prop_oneof![Just(Zero::Fixed), Just(Zero::Integer), Just(Zero::Minima)],
        prop_oneof![Just(ScaleKind::F16), Just(ScaleKind::F32)],
        prop_oneof![Just(Math::F32), Just(Math::Int8)],
    )
        .prop_map(|(bits, group, zero, scale, math)| {
            Storage::Int(
                Grouped {
                    bits,
                    group,
                    zero,
                    scale,
                },
                math,
            )
        });
    prop_oneof![1 => floats, 3 => ints]
}

fn stored(storage: &Storage, n: usize, k: usize, seed: u64) -> PackedMatrix {
    match storage {
        Storage::Float(encoding, form) => packed(&[&tensor(*encoding, n, k, seed)], false, *form),
        Storage::Int(grouped, math) => {
            // f16 scales stay inside f16; f32 ones may be extreme.
            let scale = match (grouped.scale, seed % 3) {
                (ScaleKind::F32, 0) => 1e-30,
                (ScaleKind::F32, 1) => 1e25,
                _ => 0.05,
            };
            packed_integers(
                &Integers {
                    grouped: *grouped,
                    seed,
                    scale,
                },
                *math,
                n,
                k,
            )
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_level_equals_its_scalar_twin(
        storage in any_storage(), n in 1_usize..70, k in 1_usize..330, rows in 1_usize..18, seed in 1_u64..1_000_000,
    ) {
        let weights = stored(&storage, n, k, seed);
        let x = Noise(seed + 1).floats(rows * k, [1.0, 1e-20, 1e9][seed as usize % 3]);
        let expected = Product { level: Level::Scalar, weights: &weights, x: &x, rows }.whole();
        assert_written_exactly(&expected, n);
        for level in Level::available() {
            let got = Product { level, weights: &weights, x: &x, rows }.whole();
            prop_assert_eq!(&got, &expected, "{} {:?}", level, &storage);
        }
    }

    #[test]
    fn a_row_and_a_block_alone_give_the_bits_they_give_in_company(
        storage in any_storage(), n in 1_usize..200, k in 1_usize..100, rows in 1_usize..40,
        row in 0_usize..40, block in 0_usize..13, seed in 1_u64..1_000_000,
    ) {
        let weights = stored(&storage, n, k, seed);
        let x = Noise(seed).floats(rows * k, 1.0);
        let (row, block) = (row % rows, block % weights.blocks());
        for level in Level::available() {
            let product = Product { level, weights: &weights, x: &x, rows };
            let whole = product.whole();
            let alone = product.part(row..row + 1, block..block + 1);
            for (at, (alone, whole)) in alone.iter().zip(&whole).enumerate() {
                let is_in = at / (n + 3) == row && at % (n + 3) / 16 == block && at % (n + 3) < n;
                prop_assert_eq!(*alone, if is_in { *whole } else { UNTOUCHED });
            }
            let middle = weights.blocks() / 2;
            let lower = product.part(0..rows, 0..middle);
            let upper = product.part(0..rows, middle..weights.blocks());
            for ((lower, upper), whole) in lower.iter().zip(&upper).zip(&whole) {
                prop_assert_eq!(if *lower == UNTOUCHED { upper } else { lower }, whole);
            }
        }
    }
}
