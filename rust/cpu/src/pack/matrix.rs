//! A weight ready for the kernels, and the way back: one row of it as f32, for embeddings and tests.
//! Knows storage; multiplication is in `linear`.

use half::{bf16, f16};

use super::layout::{Bits, GroupPlace, Grouped, Layout, ROWS, ScaleKind, Shape, Zero};
use super::plan::Math;
use crate::arena::{LINE_BYTES, Region};
use crate::linear::ActForm;

/// `n` outputs by `k` inputs, packed.
#[derive(Debug)]
pub(crate) struct PackedMatrix {
    region: Region,
    shape: Shape,
    math: Math,
    n: usize,
}

impl PackedMatrix {
    pub(super) fn new(region: Region, shape: Shape, math: Math, n: usize) -> Self {
        Self {
            region,
            shape,
            math,
            n,
        }
    }

    /// Outputs; an interleaved matrix counts the padding of its parts.
    pub(crate) fn n(&self) -> usize {
        self.n
    }

    /// Inputs.
    pub(crate) fn k(&self) -> usize {
        self.shape.k
    }

    /// Blocks of 16 outputs.
    pub(crate) fn blocks(&self) -> usize {
        self.n.div_ceil(ROWS)
    }

    /// Bytes that one product reads.
    pub(crate) fn bytes(&self) -> usize {
        self.region.len()
    }

    /// How it is multiplied.
    pub(crate) fn math(&self) -> Math {
        self.math
    }

    /// Sizes of a block.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// First byte of a block.
    pub(crate) fn block_ptr(&self, block: usize) -> *const u8 {
        assert!(block < self.blocks());
        self.region.as_slice()[block * self.shape.block_bytes..].as_ptr()
    }

    /// What the kernels want activations to be.
    pub(crate) fn act_form(&self) -> ActForm {
        match (self.math, self.shape.layout) {
            (Math::Int8, Layout::Int(grouped)) => ActForm::Int8 {
                group: grouped.act_group(),
                sums: grouped.group,
            },
            (Math::Bf16, Layout::Bf16) => ActForm::Bf16,
            _ => ActForm::F32,
        }
    }
}

/// Decodes output row `row` into `out`, `k` long: exactly the weights that f32 products use.
pub(crate) fn gather_row(matrix: &PackedMatrix, row: usize, out: &mut [f32]) {
    assert!(row < matrix.n, "row {row} of {}", matrix.n);
    assert_eq!(out.len(), matrix.k());
    let shape = &matrix.shape;
    let start = row / ROWS * shape.block_bytes;
    let block = &matrix.region.as_slice()[start..start + shape.block_bytes];
    let lane = row % ROWS;
    match shape.layout {
        Layout::F32 => {
            for (k, value) in out.iter_mut().enumerate() {
                *value = f32::from_le_bytes(read(block, k * LINE_BYTES + lane * 4));
            }
        }
        Layout::Bf16 => {
            for (k, value) in out.iter_mut().enumerate() {
                let at = k / 2 * LINE_BYTES + lane * 4 + k % 2 * 2;
                *value = bf16::from_le_bytes(read(block, at)).to_f32();
            }
        }
        Layout::Int(grouped) => {
            for (group, values) in out.chunks_mut(grouped.group).enumerate() {
                let place = shape.place(grouped, group);
                let (scale, second) = header(block, grouped, place, lane);
                for (k, value) in values.iter_mut().enumerate() {
                    let code = code(block, grouped.bits, place.codes, (k, lane));
                    *value = match grouped.zero {
                        Zero::Minima => scale.mul_add(f32::from(code), second),
                        _ => scale * (f32::from(code) - second),
                    };
                }
            }
        }
    }
}

/// A lane's scale, and its zero or minimum, of one group.
pub(crate) fn header(block: &[u8], grouped: Grouped, place: GroupPlace, lane: usize) -> (f32, f32) {
    let (scales, seconds) = (place.scales, place.seconds);
    let scale = match grouped.scale {
        ScaleKind::F16 => f16::from_le_bytes(read(block, scales + lane * 2)).to_f32(),
        ScaleKind::F32 => f32::from_le_bytes(read(block, scales + lane * 4)),
    };
    let second = match (grouped.zero, grouped.scale) {
        (Zero::Fixed, _) => f32::from(grouped.bits.fixed_zero()),
        (Zero::Integer, ScaleKind::F16) => {
            f32::from(i16::from_le_bytes(read(block, seconds + lane * 2)))
        }
        (Zero::Integer, ScaleKind::F32) => {
            i32::from_le_bytes(read(block, seconds + lane * 4)) as f32
        }
        (Zero::Minima, ScaleKind::F16) => {
            f16::from_le_bytes(read(block, seconds + lane * 2)).to_f32()
        }
        (Zero::Minima, ScaleKind::F32) => f32::from_le_bytes(read(block, seconds + lane * 4)),
    };
    (scale, second)
}

/// The code of input `k` of a group whose lines start at `codes`.
pub(crate) fn code(block: &[u8], bits: Bits, codes: usize, k_lane: (usize, usize)) -> u8 {
    let (k, lane) = k_lane;
    let at = codes + k / bits.per_line() * LINE_BYTES + lane * 4 + k % 4;
    match bits {
        Bits::Eight => block[at],
        Bits::Four => block[at] >> (k / 4 % 2 * 4) & 0x0F,
    }
}

fn read<const BYTES: usize>(block: &[u8], at: usize) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes.copy_from_slice(&block[at..at + BYTES]);
    bytes
}
