//! Writes rows of weights into packed blocks, lane by lane, straight from the file's bytes.
//! Owns byte order inside a line; which row stands where comes from `Stack`, where a group lies from `Shape`.
//!
//! Invariants: only bytes of the given blocks are written; padding stays as it was, which is zero; every value
//! is stored exactly, or (f32 and f16 into bf16) rounded to nearest even.

use std::ops::Range;

use half::{bf16, f16};
use tokenmill_formats::Encoding;
use tokenmill_model::{Result, Tensor};

use super::ggml;
use super::layout::{Bits, GroupPlace, Grouped, Layout, ROWS, ScaleKind, Shape, Zero};
use super::rows::{IntRow, IntRows, Stack, row_bytes};
use crate::arena::LINE_BYTES;

/// The target of a packing.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'a> {
    /// Sizes.
    pub(crate) shape: &'a Shape,
    /// Which row stands where.
    pub(crate) stack: &'a Stack,
}

/// One output's place in a block: bytes `4 index .. 4 index + 4` of every code line.
pub(super) struct Lane<'a> {
    /// The block.
    pub(super) block: &'a mut [u8],
    /// Below 16.
    pub(super) index: usize,
}

impl Lane<'_> {
    /// Writes this lane's value of a vector of 16 that starts at `start`.
    pub(super) fn put<const BYTES: usize>(&mut self, start: usize, value: [u8; BYTES]) {
        let start = start + self.index * BYTES;
        self.block[start..start + BYTES].copy_from_slice(&value);
    }
}

/// Packs `blocks` of the parts into `dst`.
pub(crate) fn write_blocks(
    writer: &Writer<'_>,
    parts: &[&Tensor],
    blocks: Range<usize>,
    dst: &mut [u8],
) -> Result<()> {
    let Layout::Int(grouped) = writer.shape.layout else {
        return write_floats(writer, parts, blocks, dst);
    };
    let mut row = IntRow::new(writer.shape.k, writer.shape.groups);
    each_lane(writer, blocks, dst, |mut lane, part, index| {
        let tensor = parts[part];
        let bytes = row_bytes(tensor, index);
        if !ggml::write_lane(writer.shape, grouped, (tensor.encoding, bytes), &mut lane) {
            tensor.read(index, &mut row)?;
            write_int_lane(writer.shape, grouped, &row, &mut lane);
        }
        Ok(())
    })
}

/// Packs `blocks` of rows that are no tensors (other containers' integers).
pub(crate) fn write_int_rows(
    writer: &Writer<'_>,
    parts: &[&dyn IntRows],
    blocks: Range<usize>,
    dst: &mut [u8],
) -> Result<()> {
    let Layout::Int(grouped) = writer.shape.layout else {
        unreachable!("integer rows are planned in integer layouts");
    };
    let mut row = IntRow::new(writer.shape.k, writer.shape.groups);
    each_lane(writer, blocks, dst, |mut lane, part, index| {
        parts[part].read(index, &mut row)?;
        write_int_lane(writer.shape, grouped, &row, &mut lane);
        Ok(())
    })
}

/// Calls `write(lane, part, row)` for every output of `blocks` that is no padding.
fn each_lane(
    writer: &Writer<'_>,
    blocks: Range<usize>,
    dst: &mut [u8],
    mut write: impl FnMut(Lane<'_>, usize, usize) -> Result<()>,
) -> Result<()> {
    let block_bytes = writer.shape.block_bytes;
    assert_eq!(
        dst.len(),
        blocks.len() * block_bytes,
        "exactly the blocks' bytes"
    );
    for (at, block) in blocks.enumerate() {
        let bytes = &mut dst[at * block_bytes..(at + 1) * block_bytes];
        for index in 0..ROWS {
            if let Some((part, row)) = writer.stack.source(block, index) {
                let lane = Lane {
                    block: &mut *bytes,
                    index,
                };
                write(lane, part, row)?;
            }
        }
    }
    Ok(())
}

fn write_floats(
    writer: &Writer<'_>,
    parts: &[&Tensor],
    blocks: Range<usize>,
    dst: &mut [u8],
) -> Result<()> {
    each_lane(writer, blocks, dst, |mut lane, part, index| {
        let tensor = parts[part];
        let bytes = row_bytes(tensor, index);
        let (halves, _) = bytes.as_chunks::<2>();
        let (words, _) = bytes.as_chunks::<4>();
        match (tensor.encoding, writer.shape.layout) {
            (Encoding::Bf16, Layout::Bf16) => write_bf16_lane(halves.iter().copied(), &mut lane),
            (Encoding::Bf16, _) => {
                write_f32_lane(
                    halves
                        .iter()
                        .map(|half| bf16::from_le_bytes(*half).to_f32()),
                    &mut lane,
                );
            }
            (Encoding::F16, layout) => {
                write_float_lane(
                    halves.iter().map(|half| f16::from_le_bytes(*half).to_f32()),
                    layout,
                    &mut lane,
                );
            }
            (_, layout) => {
                write_float_lane(
                    words.iter().map(|word| f32::from_le_bytes(*word)),
                    layout,
                    &mut lane,
                );
            }
        }
        Ok(())
    })
}

fn write_float_lane(values: impl Iterator<Item = f32>, layout: Layout, lane: &mut Lane<'_>) {
    if layout == Layout::Bf16 {
        write_bf16_lane(
            values.map(|value| bf16::from_f32(value).to_le_bytes()),
            lane,
        );
    } else {
        write_f32_lane(values, lane);
    }
}

fn write_f32_lane(values: impl Iterator<Item = f32>, lane: &mut Lane<'_>) {
    for (k, value) in values.enumerate() {
        lane.put(k * LINE_BYTES, value.to_le_bytes());
    }
}

fn write_bf16_lane(values: impl Iterator<Item = [u8; 2]>, lane: &mut Lane<'_>) {
    for (k, value) in values.enumerate() {
        let start = k / 2 * LINE_BYTES + lane.index * 4 + k % 2 * 2;
        lane.block[start..start + 2].copy_from_slice(&value);
    }
}

/// Writes one row of integers.
pub(super) fn write_int_lane(shape: &Shape, grouped: Grouped, row: &IntRow, lane: &mut Lane<'_>) {
    let per_line = grouped.bits.per_line();
    for group in 0..shape.groups {
        let place = shape.place(grouped, group);
        write_header(
            grouped,
            place,
            (row.scales[group], row.seconds[group]),
            lane,
        );
        for line in 0..place.lines {
            let start = group * grouped.group + line * per_line;
            let codes = &row.codes[start..shape.k.min(start + per_line)];
            lane.put(
                place.codes + line * LINE_BYTES,
                line_word(grouped.bits, codes),
            );
        }
    }
}

fn write_header(grouped: Grouped, place: GroupPlace, header: (f32, f32), lane: &mut Lane<'_>) {
    let (scale, second) = header;
    match grouped.scale {
        ScaleKind::F16 => lane.put(place.scales, f16::from_f32(scale).to_le_bytes()),
        ScaleKind::F32 => lane.put(place.scales, scale.to_le_bytes()),
    }
    match (grouped.zero, grouped.scale) {
        (Zero::Fixed, _) => {}
        (Zero::Integer, ScaleKind::F16) => lane.put(place.seconds, (second as i16).to_le_bytes()),
        (Zero::Integer, ScaleKind::F32) => lane.put(place.seconds, (second as i32).to_le_bytes()),
        (Zero::Minima, ScaleKind::F16) => {
            lane.put(place.seconds, f16::from_f32(second).to_le_bytes());
        }
        (Zero::Minima, ScaleKind::F32) => lane.put(place.seconds, second.to_le_bytes()),
    }
}

/// The four bytes that one row has in a line; `codes` may be short at the end of a row.
fn line_word(bits: Bits, codes: &[u8]) -> [u8; 4] {
    let mut word = [0; 4];
    for (at, code) in codes.iter().enumerate() {
        match bits {
            Bits::Eight => word[at] = *code,
            Bits::Four => word[at % 4] |= (code & 0x0F) << (at / 4 * 4),
        }
    }
    word
}
