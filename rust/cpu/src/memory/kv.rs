//! The block-paged cache of K and V: where a token's vectors lie, how they are written, copied and found.
//!
//! Per (layer, KV head) the slots are cut into tiles of 16 tokens. K is stored as a packed weight, so that a
//! tile of scores is a matrix product without a horizontal sum; V row by row.
//!
//! ```text
//!          f32                                   bf16
//! K tile   [head_dim][16 tokens]                 [head_dim / 2][16 tokens][2]   (head_dim rounded up to 2)
//! V tile   [16 tokens][head_dim to 16]           the same
//! ```
//! Invariants: block sizes are multiples of 16, so a tile never spans blocks; a write touches its own token's
//! elements and padding only; padding is zero once written. Refuses to know which slots hold a token.

#![expect(
    clippy::cast_ptr_alignment,
    reason = "tiles and rows start on lines of 64 bytes"
)]

use tokenmill_core::BlockId;
use tokenmill_model::{BlockCopy, KvFormat, KvShape, Result};

use crate::arena::{Arena, LINE_BYTES, Region};

/// Tokens of a tile.
pub(crate) const TILE: usize = 16;
/// Fresh caches up to this size are filled with NaN in debug builds; a larger fill would cost real memory.
const POISON_BYTES_MAX: usize = 64 << 20;

/// The cache of all layers.
pub(crate) struct KvCache {
    region: Region,
    format: KvFormat,
    block_size: usize,
    tiles: usize,
    layers: Vec<Layer>,
}

/// One layer's geometry.
#[derive(Clone, Copy, Debug)]
struct Layer {
    shape: KvShape,
    /// First byte of K; head h starts `h * tiles * k_tile_bytes` further.
    k_start: usize,
    v_start: usize,
    k_tile_bytes: usize,
    v_tile_bytes: usize,
}

/// K and V of one layer and KV head, and the block table of one sequence.
#[derive(Clone, Copy)]
pub(crate) struct KvView<'a> {
    k: *const u8,
    v: *const u8,
    k_tile_bytes: usize,
    v_tile_bytes: usize,
    table: &'a [BlockId],
    block_tiles: usize,
    /// Storage of the elements.
    pub(crate) format: KvFormat,
}

impl KvView<'_> {
    /// The K and V tiles that hold positions `16 * tile ..`.
    #[inline(always)]
    pub(crate) fn tile(&self, tile: usize) -> (*const u8, *const u8) {
        let block = self.table[tile / self.block_tiles].0 as usize;
        let place = block * self.block_tiles + tile % self.block_tiles;
        // SAFETY: the step was checked: every block of a table lies inside the cache.
        unsafe {
            (
                self.k.add(place * self.k_tile_bytes),
                self.v.add(place * self.v_tile_bytes),
            )
        }
    }
}

impl KvCache {
    /// A cache of `blocks` blocks of `block_size` slots.
    pub(crate) fn new(
        shapes: &[KvShape],
        format: KvFormat,
        blocks: usize,
        block_size: usize,
    ) -> Result<Self> {
        assert!(
            block_size.is_multiple_of(TILE) && block_size > 0,
            "checked by the caller"
        );
        let tiles = blocks.saturating_mul(block_size / TILE);
        let element = format.element_bytes();
        let mut end = 0usize;
        let mut layers = Vec::with_capacity(shapes.len());
        for shape in shapes {
            let k_tile_bytes = k_rows(format, shape.head_dim) * TILE * element;
            let v_tile_bytes = v_width(shape.head_dim) * TILE * element;
            let heads_tiles = tiles.saturating_mul(shape.heads);
            let k_start = end;
            let v_start = k_start.saturating_add(heads_tiles.saturating_mul(k_tile_bytes));
            end = v_start.saturating_add(heads_tiles.saturating_mul(v_tile_bytes));
            layers.push(Layer {
                shape: *shape,
                k_start,
                v_start,
                k_tile_bytes,
                v_tile_bytes,
            });
        }
        let bytes = end.max(LINE_BYTES);
        let mut region = Arena::sparse(bytes, "the KV cache")?.take(bytes)?;
        if cfg!(debug_assertions) && bytes <= POISON_BYTES_MAX {
            // All ones is a NaN in both formats.
            region.as_mut_slice().fill(0xFF);
        }
        Ok(Self {
            region,
            format,
            block_size,
            tiles,
            layers,
        })
    }

    /// Bytes of the cache.
    pub(crate) fn bytes(&self) -> usize {
        self.region.len()
    }

    /// Slots of the cache.
    pub(crate) fn slots(&self) -> usize {
        self.tiles * TILE
    }

    /// Slots per block.
    pub(crate) fn block_size(&self) -> usize {
        self.block_size
    }

    /// What attention of one KV head over one sequence reads.
    pub(crate) fn view<'a>(&self, layer: usize, head: usize, table: &'a [BlockId]) -> KvView<'a> {
        let place = self.layers[layer];
        let first_tile = head * self.tiles;
        KvView {
            k: self.at(place.k_start + first_tile * place.k_tile_bytes),
            v: self.at(place.v_start + first_tile * place.v_tile_bytes),
            k_tile_bytes: place.k_tile_bytes,
            v_tile_bytes: place.v_tile_bytes,
            table,
            block_tiles: self.block_size / TILE,
            format: self.format,
        }
    }

    /// Writes the K of one token and head.
    ///
    /// # Safety
    /// `slot` is inside the cache, nobody else touches this slot and head now, `x` holds `head_dim` values.
    pub(crate) unsafe fn write_k(&self, layer: usize, head: usize, slot: usize, x: *const f32) {
        let place = self.layers[layer];
        let tile = head * self.tiles + slot / TILE;
        let (start, lane) = (
            self.at(place.k_start + tile * place.k_tile_bytes)
                .cast_mut(),
            slot % TILE,
        );
        let head_dim = place.shape.head_dim;
        // SAFETY: the tile holds `k_rows` lines of 16 tokens (pairs for bf16), and the caller owns the lane.
        unsafe {
            match self.format {
                KvFormat::F32 => {
                    let tile = start.cast::<f32>().add(lane);
                    for i in 0..head_dim {
                        tile.add(i * TILE).write(*x.add(i));
                    }
                }
                KvFormat::Bf16 => {
                    let tile = start.cast::<[u16; 2]>().add(lane);
                    for pair in 0..head_dim.div_ceil(2) {
                        let second = if 2 * pair + 1 < head_dim {
                            *x.add(2 * pair + 1)
                        } else {
                            0.0
                        };
                        tile.add(pair * TILE)
                            .write([narrow(*x.add(2 * pair)), narrow(second)]);
                    }
                }
            }
        }
    }

    /// Writes the V of one token and head.
    ///
    /// # Safety
    /// As `write_k`.
    pub(crate) unsafe fn write_v(&self, layer: usize, head: usize, slot: usize, x: *const f32) {
        let place = self.layers[layer];
        let tile = head * self.tiles + slot / TILE;
        let start = self
            .at(place.v_start + tile * place.v_tile_bytes)
            .cast_mut();
        let (head_dim, width) = (place.shape.head_dim, v_width(place.shape.head_dim));
        // SAFETY: the caller vouches for `x`; the tile holds 16 rows of `width`, and the caller owns this one.
        unsafe {
            let x = std::slice::from_raw_parts(x, head_dim);
            match self.format {
                KvFormat::F32 => {
                    let row = start.cast::<f32>().add(slot % TILE * width);
                    let row = std::slice::from_raw_parts_mut(row, width);
                    row[..head_dim].copy_from_slice(x);
                    row[head_dim..].fill(0.0);
                }
                KvFormat::Bf16 => {
                    let row = start.cast::<u16>().add(slot % TILE * width);
                    let row = std::slice::from_raw_parts_mut(row, width);
                    row.iter_mut().zip(x).for_each(|(to, x)| *to = narrow(*x));
                    row[head_dim..].fill(0);
                }
            }
        }
    }

    /// Whether a copy stays inside the cache and inside its two blocks.
    pub(crate) fn is_inside(&self, copy: &BlockCopy) -> bool {
        let blocks = self.slots() / self.block_size;
        let fits = |block: BlockId, slot: u32| {
            (block.0 as usize) < blocks && slot as usize + copy.len as usize <= self.block_size
        };
        fits(copy.from, copy.from_slot) && fits(copy.to, copy.to_slot)
    }

    /// Copies the slots of one `is_inside` copy in every layer and head.
    pub(crate) fn copy(&mut self, copy: &BlockCopy) {
        let from = copy.from.0 as usize * self.block_size + copy.from_slot as usize;
        let to = copy.to.0 as usize * self.block_size + copy.to_slot as usize;
        let len = copy.len as usize;
        for layer in &self.layers {
            for head in 0..layer.shape.heads {
                for i in 0..len {
                    // The two may overlap: no slot is written before it was read.
                    let i = if from < to { len - 1 - i } else { i };
                    self.copy_slot(layer, head, from + i, to + i);
                }
            }
        }
    }

    fn copy_slot(&self, layer: &Layer, head: usize, from: usize, to: usize) {
        let element = self.format.element_bytes();
        let tile = |slot: usize| head * self.tiles + slot / TILE;
        let k = |slot: usize| {
            self.at(layer.k_start + tile(slot) * layer.k_tile_bytes)
                .cast_mut()
        };
        let v_row = v_width(layer.shape.head_dim) * element;
        let v = |slot: usize| {
            self.at(layer.v_start + tile(slot) * layer.v_tile_bytes + slot % TILE * v_row)
                .cast_mut()
        };
        // A lane of a K line is 4 bytes wide in both formats: one f32, or a pair of bf16.
        let k_lines = layer.k_tile_bytes / LINE_BYTES;
        // SAFETY: both slots lie inside the cache (`is_inside`), `copy` has `&mut self`; `ptr::copy` allows
        // that source and destination are the same.
        unsafe {
            let source = k(from).cast::<u32>().add(from % TILE);
            let target = k(to).cast::<u32>().add(to % TILE);
            for line in 0..k_lines {
                target
                    .add(line * TILE)
                    .write(source.add(line * TILE).read());
            }
            std::ptr::copy(v(from), v(to), v_row);
        }
    }

    fn at(&self, byte: usize) -> *const u8 {
        debug_assert!(byte <= self.region.len());
        // SAFETY: all offsets come from the layout, which ends at the region's length.
        unsafe { self.region.as_ptr().add(byte) }
    }
}

/// Elements of K per token, padding included.
pub(crate) fn k_rows(format: KvFormat, head_dim: usize) -> usize {
    match format {
        KvFormat::F32 => head_dim,
        KvFormat::Bf16 => head_dim.next_multiple_of(2),
    }
}

/// Elements of V per token, padding included.
pub(crate) fn v_width(head_dim: usize) -> usize {
    head_dim.next_multiple_of(TILE)
}

/// To bf16, nearest even; a NaN stays one. Without a branch, so that loops become vectors.
fn narrow(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = (bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16) as u16;
    let quiet = (bits >> 16) as u16 | 0x40;
    if x.is_nan() { quiet } else { rounded }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::narrow;

    #[test]
    fn narrowing_agrees_with_the_half_crate() {
        let mut bits = 1u32;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let x = f32::from_bits(bits);
            assert_eq!(narrow(x), bf16::from_f32(x).to_bits(), "{x}");
        }
        let special = [
            0.0,
            -0.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            f32::MAX,
            f32::MIN_POSITIVE,
        ];
        for x in special
            .into_iter()
            .chain([1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0])
        {
            assert_eq!(narrow(x), bf16::from_f32(x).to_bits(), "{x}");
        }
    }
}
