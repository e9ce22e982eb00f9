//! From tensors and the wanted arithmetic to a packed layout, and the packing itself.
//! Owns the choice of layout; the bytes are written by `fill`, the sizes come from `layout`.
//!
//! Invariants: packing is exact except where bf16 arithmetic is asked of wider floats, which rounds them to
//! nearest even; every quantised encoding keeps its codes, scales and minima.

use std::ops::Range;
use std::sync::Arc;

use tokenmill_formats::{Encoding, IntZero};
use tokenmill_model::{Error, Result, Tensor};

use super::fill::{Writer, write_blocks};
use super::layout::{Bits, Grouped, Layout, ROWS, ScaleKind, Shape, Zero};
use super::matrix::PackedMatrix;
use super::rows::Stack;
use crate::arena::{Arena, Region};

/// Arithmetic of unquantised weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatMath {
    /// f32 activations; weights as in the file.
    F32,
    /// bf16 weights and activations, f32 sums.
    Bf16,
}

/// Arithmetic of integer weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntMath {
    /// Weights are expanded to f32 in registers, activations stay f32.
    Exact,
    /// Activations are quantised per row and group.
    Int8,
}

/// What the user asked of weights of either sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WeightForm {
    /// Of unquantised weights.
    pub(crate) floats: FloatMath,
    /// Of integer weights.
    pub(crate) integers: IntMath,
}

/// How one packed matrix is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Math {
    /// f32 activations, f32 products.
    F32,
    /// bf16 activations, f32 sums.
    Bf16,
    /// int8 activations, integer sums inside a group.
    Int8,
}

/// A part of a matrix before packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartShape {
    /// Of the file.
    pub(crate) encoding: Encoding,
    /// Outputs.
    pub(crate) n: usize,
    /// Inputs.
    pub(crate) k: usize,
}

impl PartShape {
    /// Of a tensor `[n, k]`.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        match tensor.shape[..] {
            [n, k] => Ok(Self {
                encoding: tensor.encoding,
                n,
                k,
            }),
            _ => Err(internal(format!(
                "a matrix has two dimensions, not {:?}",
                tensor.shape
            ))),
        }
    }
}

/// Layout and size of a matrix, known before its bytes are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackPlan {
    shape: Shape,
    math: Math,
    stack: Stack,
    n: usize,
    blocks: usize,
}

impl PackPlan {
    /// Plans one matrix of the parts' outputs over their common inputs: one after another, or (interleaved) in
    /// turns of 16, each part padded to 16. Fails on an encoding without arithmetic, and on parts that no
    /// single layout holds (`can_stack` asks beforehand).
    pub(crate) fn new(parts: &[PartShape], is_interleaved: bool, form: WeightForm) -> Result<Self> {
        let first = parts
            .first()
            .ok_or_else(|| internal("no part to pack".to_owned()))?;
        if parts.iter().any(|part| part.k != first.k) {
            return Err(internal("stacked parts have different inputs".to_owned()));
        }
        let (mut layout, math) = choose(first.encoding, form)?;
        for part in &parts[1..] {
            let (other, _) = choose(part.encoding, form)?;
            layout = join(layout, other).ok_or_else(|| {
                internal(format!(
                    "{} and {} do not stack",
                    first.encoding, part.encoding
                ))
            })?;
        }
        let stack = Stack::new(parts.iter().map(|part| part.n).collect(), is_interleaved)
            .ok_or_else(|| internal("interleaved parts differ in length".to_owned()))?;
        Self::with_layout(layout, math, stack, first.k)
    }

    /// Plans a matrix in a given layout.
    pub(crate) fn with_layout(layout: Layout, math: Math, stack: Stack, k: usize) -> Result<Self> {
        let layout = match layout {
            Layout::Int(grouped) => Layout::Int(bounded(grouped, k)),
            float => float,
        };
        let n = stack.outputs();
        let blocks = n.div_ceil(ROWS);
        let shape = Shape::new(layout, k)
            .filter(|shape| shape.block_bytes.checked_mul(blocks).is_some())
            .ok_or_else(|| internal(format!("no packed shape for {layout:?} with {k} inputs")))?;
        Ok(Self {
            shape,
            math,
            stack,
            n,
            blocks,
        })
    }

    /// Whether one matrix can hold parts of these encodings.
    pub(crate) fn can_stack(encodings: &[Encoding], form: WeightForm) -> bool {
        let mut layouts = encodings
            .iter()
            .map(|encoding| choose(*encoding, form).ok());
        let Some(Some((mut layout, _))) = layouts.next() else {
            return false;
        };
        layouts.all(|other| {
            let joined = other.and_then(|(other, _)| join(layout, other));
            layout = joined.unwrap_or(layout);
            joined.is_some()
        })
    }

    /// How it is multiplied, for people.
    pub(crate) fn in_words(&self) -> &'static str {
        match (self.shape.layout, self.math) {
            (_, Math::Int8) => "int8",
            (_, Math::Bf16) => "bfloat16",
            (Layout::F32, Math::F32) => "float32",
            (_, Math::F32) => "float32, weights expanded as they are read",
        }
    }

    /// Bytes of the packed matrix.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks * self.shape.block_bytes
    }

    /// Blocks of 16 outputs.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Packs `blocks` into `dst`, which is exactly those blocks' bytes, zeroed. Several threads may fill disjoint
    /// ranges.
    pub(crate) fn fill(
        &self,
        parts: &[&Tensor],
        blocks: Range<usize>,
        dst: &mut [u8],
    ) -> Result<()> {
        for part in parts {
            let shape = PartShape::of(part)?;
            let expected = shape
                .encoding
                .row_bytes(shape.k)
                .and_then(|row| row.checked_mul(shape.n));
            if expected != Some(part.bytes.len()) {
                return Err(internal(format!(
                    "{} bytes do not hold {shape:?}",
                    part.bytes.len()
                )));
            }
        }
        let writer = Writer {
            shape: &self.shape,
            stack: &self.stack,
        };
        write_blocks(&writer, parts, blocks, dst)
    }

    /// The shape, for writers of rows that are no tensors.
    pub(crate) fn writer(&self) -> Writer<'_> {
        Writer {
            shape: &self.shape,
            stack: &self.stack,
        }
    }

    /// The matrix over a filled region.
    pub(crate) fn finish(&self, region: Region) -> PackedMatrix {
        assert_eq!(
            region.len(),
            self.bytes(),
            "the region was taken for another plan"
        );
        PackedMatrix::new(region, self.shape, self.math, self.n)
    }
}

/// Plans, takes memory and packs in one call.
pub(crate) fn pack(
    parts: &[&Tensor],
    is_interleaved: bool,
    form: WeightForm,
    arena: &Arc<Arena>,
) -> Result<PackedMatrix> {
    let shapes = parts
        .iter()
        .map(|part| PartShape::of(part))
        .collect::<Result<Vec<_>>>()?;
    let plan = PackPlan::new(&shapes, is_interleaved, form)?;
    let mut region = arena.take(plan.bytes())?;
    plan.fill(parts, 0..plan.blocks(), region.as_mut_slice())?;
    Ok(plan.finish(region))
}

/// The layout of an encoding, and how it is multiplied.
fn choose(encoding: Encoding, form: WeightForm) -> Result<(Layout, Math)> {
    let float_math = match form.floats {
        FloatMath::F32 => Math::F32,
        FloatMath::Bf16 => Math::Bf16,
    };
    match (encoding, float_math) {
        (Encoding::F32 | Encoding::F16, Math::F32) => return Ok((Layout::F32, Math::F32)),
        (Encoding::F32 | Encoding::F16 | Encoding::Bf16, _) => {
            return Ok((Layout::Bf16, float_math));
        }
        _ => {}
    }
    let layout = encoding.int_layout().ok_or_else(|| Error::Unsupported {
        what: format!("a matrix of {encoding}"),
        by: "cpu".to_owned(),
    })?;
    let bits = if layout.bits <= 4 {
        Bits::Four
    } else {
        Bits::Eight
    };
    let zero = match layout.zero {
        IntZero::Minima => Zero::Minima,
        IntZero::Fixed(code) if code == bits.fixed_zero() => Zero::Fixed,
        IntZero::Fixed(code) => return Err(internal(format!("{encoding} has zero {code}"))),
    };
    // One f16 per block is the file's whole scale; elsewhere it is a product that only f32 holds.
    let scale = match encoding {
        Encoding::Q4_0
        | Encoding::Q4_1
        | Encoding::Q5_0
        | Encoding::Q5_1
        | Encoding::Q8_0
        | Encoding::Iq4Nl
        | Encoding::Tq2_0 => ScaleKind::F16,
        _ => ScaleKind::F32,
    };
    let math = match form.integers {
        IntMath::Exact => Math::F32,
        IntMath::Int8 => Math::Int8,
    };
    let grouped = Grouped {
        bits,
        group: layout.group,
        zero,
        scale,
    };
    Ok((Layout::Int(grouped), math))
}

/// The layout that holds both exactly, if there is one.
fn join(one: Layout, other: Layout) -> Option<Layout> {
    match (one, other) {
        (Layout::Int(a), Layout::Int(b)) => {
            let scale = if a.scale == b.scale {
                a.scale
            } else {
                ScaleKind::F32
            };
            let (a, b) = (Grouped { scale, ..a }, Grouped { scale, ..b });
            (a == b).then_some(Layout::Int(a))
        }
        (Layout::Int(_), _) | (_, Layout::Int(_)) => None,
        (Layout::Bf16, Layout::Bf16) => Some(Layout::Bf16),
        _ => Some(Layout::F32),
    }
}

/// Cuts groups so long that an int32 sum could overflow (255 * 127 * group < 2^31), and those longer than the
/// row, whose scale then simply serves all of it.
fn bounded(grouped: Grouped, k: usize) -> Grouped {
    const GROUP_MAX: usize = 32_768;
    let row = k
        .next_multiple_of(grouped.bits.per_line())
        .max(grouped.bits.per_line());
    Grouped {
        group: if grouped.group > GROUP_MAX {
            GROUP_MAX.min(row)
        } else {
            grouped.group.min(row)
        },
        ..grouped
    }
}

fn internal(what: String) -> Error {
    Error::Internal {
        backend: "cpu",
        what,
    }
}
