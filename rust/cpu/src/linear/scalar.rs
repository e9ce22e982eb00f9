//! The scalar twins: every kernel's arithmetic in the same order, one output at a time, with nothing clever.
//! They are the reference of all faster levels (bit-equal but for denormals of `vdpbf16ps`) and the level
//! `scalar`. Checked themselves against float64 over decoded weights in `tests`.
//!
//! Orders (spec: one chain per output, k ascending):
//! - f32 products: `acc = fma(w[k], x[k], acc)`, w decoded to f32.
//! - bf16 products: per pair, the odd input first, as `vdpbf16ps` does.
//! - int8 products: per group the exact integer sum less zero * sum of codes, then
//!   `acc = fma(f32(sum), s_w * s_a, acc)`, and for minima `acc = fma(min, s_a * sum a, acc)`.

use half::bf16;

use super::quantise::GroupMeta;
use super::tile::{Tile, TileFn, TileSet};
use crate::pack::{Grouped, Layout, Math, ROWS, Zero, code, header};

/// The twins of an arithmetic. A twin takes tiles of any size; up to four rows by one block keep the walk like
/// that of the fast levels.
pub(super) fn tile_set(math: Math) -> &'static TileSet {
    const F32: [TileFn; 4] = [tile_f32; 4];
    const BF16: [TileFn; 4] = [tile_bf16; 4];
    const INT8: [TileFn; 4] = [tile_int8; 4];
    match math {
        Math::F32 => &TileSet {
            tiles: &[&F32],
            gemv_blocks: [1; 4],
            gemm_blocks: 1,
        },
        Math::Bf16 => &TileSet {
            tiles: &[&BF16],
            gemv_blocks: [1; 4],
            gemm_blocks: 1,
        },
        Math::Int8 => &TileSet {
            tiles: &[&INT8],
            gemv_blocks: [1; 4],
            gemm_blocks: 1,
        },
    }
}

/// Calls `output(block bytes, lane, row)` for each output of the tile and stores what it returns.
///
/// # Safety
/// The tile's pointers cover what it names.
unsafe fn each_output(tile: &Tile<'_>, mut output: impl FnMut(&[u8], usize, usize) -> f32) {
    let block_bytes = tile.shape.block_bytes;
    for n in 0..tile.width {
        // SAFETY: n / 16 is below the tile's blocks.
        let block = unsafe {
            std::slice::from_raw_parts(tile.weights.add(n / ROWS * block_bytes), block_bytes)
        };
        for row in 0..tile.rows {
            let value = output(block, n % ROWS, row);
            // SAFETY: output n of this row is the tile's to write.
            unsafe { tile.out.add(row * tile.out_stride + n).write(value) };
        }
    }
}

/// The values of a row, as many as whole lines hold.
///
/// # Safety
/// `T` is what the tile's activations are made of, and `row` is below its rows.
unsafe fn acts<'a, T>(tile: &Tile<'a>, row: usize) -> &'a [T] {
    let padded = tile.shape.k.next_multiple_of(8);
    // SAFETY: rows are padded to whole lines by `prepare_row`.
    unsafe { std::slice::from_raw_parts(tile.acts.add(row * tile.act_stride).cast(), padded) }
}

fn word(block: &[u8], at: usize) -> [u8; 4] {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&block[at..at + 4]);
    bytes
}

/// # Safety
/// See `TileFn`; activations are f32.
unsafe fn tile_f32(tile: &Tile<'_>) {
    // Inputs of whole lines: the fast kernels multiply the padding too, and -0 + 0 is 0.
    let inputs = tile.shape.lines
        * match tile.shape.layout {
            Layout::F32 => 1,
            Layout::Bf16 => 2,
            Layout::Int(grouped) => grouped.bits.per_line(),
        };
    // SAFETY: passed on.
    unsafe {
        each_output(tile, |block, lane, row| {
            let x = &acts::<f32>(tile, row)[..inputs];
            match tile.shape.layout {
                Layout::F32 => x.iter().enumerate().fold(0.0, |acc, (k, x)| {
                    f32::from_le_bytes(word(block, k * 64 + lane * 4)).mul_add(*x, acc)
                }),
                Layout::Bf16 => x.iter().enumerate().fold(0.0, |acc, (k, x)| {
                    let pair = word(block, k / 2 * 64 + lane * 4);
                    let half = [pair[k % 2 * 2], pair[k % 2 * 2 + 1]];
                    bf16::from_le_bytes(half).to_f32().mul_add(*x, acc)
                }),
                Layout::Int(grouped) => dot_decoded(tile, grouped, (block, lane), x),
            }
        });
    }
}

fn dot_decoded(tile: &Tile<'_>, grouped: Grouped, (block, lane): (&[u8], usize), x: &[f32]) -> f32 {
    let mut acc = 0.0;
    for (group, x) in x.chunks(grouped.group).enumerate() {
        let place = tile.shape.place(grouped, group);
        let (scale, second) = header(block, grouped, place, lane);
        for (k, x) in x.iter().enumerate() {
            let code = f32::from(code(block, grouped.bits, place.codes, (k, lane)));
            let weight = match grouped.zero {
                Zero::Minima => scale.mul_add(code, second),
                _ => scale * (code - second),
            };
            acc = weight.mul_add(*x, acc);
        }
    }
    acc
}

/// # Safety
/// See `TileFn`; activations are bf16.
unsafe fn tile_bf16(tile: &Tile<'_>) {
    // SAFETY: passed on.
    unsafe {
        each_output(tile, |block, lane, row| {
            let (pairs, _) = acts::<bf16>(tile, row).as_chunks::<2>();
            pairs[..tile.shape.lines]
                .iter()
                .enumerate()
                .fold(0.0, |acc, (line, x)| {
                    let [a, b, c, d] = word(block, line * 64 + lane * 4);
                    let odd = bf16::from_le_bytes([c, d])
                        .to_f32()
                        .mul_add(x[1].to_f32(), acc);
                    bf16::from_le_bytes([a, b])
                        .to_f32()
                        .mul_add(x[0].to_f32(), odd)
                })
        });
    }
}

/// # Safety
/// See `TileFn`; activations are int8, with group entries.
unsafe fn tile_int8(tile: &Tile<'_>) {
    let Layout::Int(grouped) = tile.shape.layout else {
        unreachable!("int8 arithmetic is planned for integer layouts only");
    };
    // SAFETY: passed on.
    unsafe {
        each_output(tile, |block, lane, row| {
            let codes = &acts::<i8>(tile, row)[..tile.shape.k];
            let meta = std::slice::from_raw_parts(
                tile.meta.add(row * tile.meta_stride),
                tile.shape.groups,
            );
            let mut acc = 0.0;
            for ((group, codes), meta) in codes.chunks(grouped.group).enumerate().zip(meta) {
                acc = add_group(tile, grouped, (block, lane), (group, codes, meta), acc);
            }
            acc
        });
    }
}

fn add_group(
    tile: &Tile<'_>,
    grouped: Grouped,
    (block, lane): (&[u8], usize),
    (group, codes, meta): (usize, &[i8], &GroupMeta),
    acc: f32,
) -> f32 {
    let place = tile.shape.place(grouped, group);
    let (scale, second) = header(block, grouped, place, lane);
    let product = |(k, a): (usize, &i8)| {
        i32::from(code(block, grouped.bits, place.codes, (k, lane))) * i32::from(*a)
    };
    let mut sum: i32 = codes.iter().enumerate().map(product).sum();
    if grouped.zero != Zero::Minima {
        sum += second as i32 * meta.minus_sum;
    }
    let acc = (sum as f32).mul_add(scale * meta.scale, acc);
    match grouped.zero {
        Zero::Minima => second.mul_add(meta.scaled_sum, acc),
        _ => acc,
    }
}
