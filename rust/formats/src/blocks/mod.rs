//! The blocks of quantised tensors, decoded. Every type is written once, as integers with scales
//! (`unpack_row`); floats (`dequantize`) are these integers times their scales, rounded as ggml's reference
//! rounds, so both views agree bit for bit. Layouts: the comments of `legacy`, `k_quants` and `codebook`.
//!
//! Oracle: the Python package `gguf`, through `tests/fixtures/blocks.tsv`.

mod codebook;
mod finite;
mod k_quants;
mod legacy;
mod plain;
mod rows;

pub use finite::all_finite;

use crate::encoding::{Encoding, IntLayout, IntZero};
use crate::error::{Error, Result};

/// Elements decoded at a time: a multiple of every block length.
const TILE_LEN: usize = 1024;
/// Most groups of a tile: the shortest group has 16 elements.
const TILE_GROUPS_MAX: usize = TILE_LEN / 16;

/// Decodes `bytes` into `out`, whose length must be what the bytes hold. NVFP4 values lack their tensor's own
/// f32 scale, which is another tensor.
pub fn dequantize(encoding: Encoding, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    check_len("bytes of a row", encoding.row_bytes(out.len()), bytes.len())?;
    let Some(layout) = encoding.int_layout() else {
        return plain::decode(encoding, bytes, out);
    };
    let tile_bytes = encoding.row_bytes(TILE_LEN).unwrap_or(0).max(1);
    let mut codes = [0u8; TILE_LEN];
    let mut scales = [0f32; TILE_GROUPS_MAX];
    let mut minima = [0f32; TILE_GROUPS_MAX];
    for (tile, out) in bytes.chunks(tile_bytes).zip(out.chunks_mut(TILE_LEN)) {
        let groups = out.len().div_ceil(layout.group.max(1));
        let (Some(codes), Some(scales)) = (codes.get_mut(..out.len()), scales.get_mut(..groups))
        else {
            break;
        };
        let minima_len = if layout.zero == IntZero::Minima {
            groups
        } else {
            0
        };
        let Some(minima) = minima.get_mut(..minima_len) else {
            break;
        };
        rows::unpack(encoding, tile, codes, scales, minima);
        expand(layout, codes, scales, minima, out);
    }
    Ok(())
}

/// Decodes `bytes` into one code per element and one scale per group of `int_layout().group` elements, and one
/// minimum per group where the layout has minima (else `minima` must be empty).
pub fn unpack_row(
    encoding: Encoding,
    bytes: &[u8],
    codes: &mut [u8],
    scales: &mut [f32],
    minima: &mut [f32],
) -> Result<()> {
    let layout = encoding.int_layout().ok_or_else(|| Error::Unsupported {
        file: "blocks".to_owned(),
        what: format!("{encoding} as integers"),
        advice: "dequantise it".to_owned(),
    })?;
    check_len(
        "bytes of a row",
        encoding.row_bytes(codes.len()),
        bytes.len(),
    )?;
    let groups = codes.len().checked_div(layout.group);
    check_len("scales of a row", groups, scales.len())?;
    check_len(
        "minima of a row",
        if layout.zero == IntZero::Minima {
            groups
        } else {
            Some(0)
        },
        minima.len(),
    )?;
    rows::unpack(encoding, bytes, codes, scales, minima);
    Ok(())
}

/// scale · (code − zero), or scale · code + minimum, each operation rounded once.
fn expand(layout: IntLayout, codes: &[u8], scales: &[f32], minima: &[f32], out: &mut [f32]) {
    let groups = codes
        .chunks(layout.group)
        .zip(out.chunks_mut(layout.group))
        .zip(scales);
    match layout.zero {
        IntZero::Fixed(zero) => {
            for ((codes, out), scale) in groups {
                for (code, x) in codes.iter().zip(out) {
                    *x = scale * (f32::from(*code) - f32::from(zero));
                }
            }
        }
        IntZero::Minima => {
            for (((codes, out), scale), minimum) in groups.zip(minima) {
                for (code, x) in codes.iter().zip(out) {
                    *x = scale * f32::from(*code) + minimum;
                }
            }
        }
    }
}

fn check_len(what: &str, expected: Option<usize>, got: usize) -> Result<()> {
    if expected == Some(got) {
        return Ok(());
    }
    let expected = expected.map_or_else(
        || "of a row of whole blocks".to_owned(),
        |len| len.to_string(),
    );
    Err(Error::BadLength {
        what: what.to_owned(),
        expected,
        got: got as u64,
    })
}
