//! A row of blocks to codes, scales and minima: slices cut into arrays, so that the code of a block needs no
//! bounds and no lengths.

use super::{codebook, k_quants, legacy};
use crate::encoding::Encoding;

/// Decodes whole blocks. The caller has compared the lengths; plain numbers leave everything as it is.
pub(super) fn unpack(
    encoding: Encoding,
    bytes: &[u8],
    codes: &mut [u8],
    scales: &mut [f32],
    minima: &mut [f32],
) {
    match encoding {
        Encoding::Q4_0 => with_zero(bytes, codes, scales, legacy::q4_0),
        Encoding::Q4_1 => with_minima(bytes, codes, scales, minima, legacy::q4_1),
        Encoding::Q5_0 => with_zero(bytes, codes, scales, legacy::q5_0),
        Encoding::Q5_1 => with_minima(bytes, codes, scales, minima, legacy::q5_1),
        Encoding::Q8_0 => with_zero(bytes, codes, scales, legacy::q8_0),
        Encoding::Q2K => with_minima(bytes, codes, scales, minima, k_quants::q2_k),
        Encoding::Q3K => with_zero(bytes, codes, scales, k_quants::q3_k),
        Encoding::Q4K => with_minima(bytes, codes, scales, minima, k_quants::q4_k),
        Encoding::Q5K => with_minima(bytes, codes, scales, minima, k_quants::q5_k),
        Encoding::Q6K => with_zero(bytes, codes, scales, k_quants::q6_k),
        Encoding::Iq4Nl => with_zero(bytes, codes, scales, codebook::iq4_nl),
        Encoding::Iq4Xs => with_zero(bytes, codes, scales, codebook::iq4_xs),
        Encoding::Tq2_0 => with_zero(bytes, codes, scales, codebook::tq2_0),
        Encoding::Mxfp4 => with_zero(bytes, codes, scales, codebook::mxfp4),
        Encoding::Nvfp4 => with_zero(bytes, codes, scales, codebook::nvfp4),
        _ => {}
    }
}

/// Blocks of `B` bytes, `L` elements and `G` groups around a fixed zero.
fn with_zero<const B: usize, const L: usize, const G: usize>(
    bytes: &[u8],
    codes: &mut [u8],
    scales: &mut [f32],
    decode: impl Fn(&[u8; B], &mut [u8; L], &mut [f32; G]),
) {
    let (blocks, codes, scales) = (
        bytes.as_chunks().0,
        codes.as_chunks_mut().0,
        scales.as_chunks_mut().0,
    );
    for ((block, codes), scales) in blocks.iter().zip(codes).zip(scales) {
        decode(block, codes, scales);
    }
}

/// Blocks of `B` bytes, `L` elements and `G` groups with minima.
fn with_minima<const B: usize, const L: usize, const G: usize>(
    bytes: &[u8],
    codes: &mut [u8],
    scales: &mut [f32],
    minima: &mut [f32],
    decode: impl Fn(&[u8; B], &mut [u8; L], &mut [f32; G], &mut [f32; G]),
) {
    let (blocks, codes) = (bytes.as_chunks().0, codes.as_chunks_mut().0);
    let (scales, minima) = (scales.as_chunks_mut().0, minima.as_chunks_mut().0);
    for (((block, codes), scales), minima) in blocks.iter().zip(codes).zip(scales).zip(minima) {
        decode(block, codes, scales, minima);
    }
}
