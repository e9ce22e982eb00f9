//! Super-blocks of 256 with scales of their own precision: Q2_K to Q6_K. A group's scale is the product of
//! the block's f16 d and a small integer, exact in f32; so is its minimum.

use super::legacy::half;

/// Codes of 2 bits: 32 bytes hold 128 elements, bits 2k of byte l being element 32 k + l.
pub(super) fn crumbs(packed: &[u8; 64], codes: &mut [u8; 256]) {
    for (bytes, codes) in packed.chunks_exact(32).zip(codes.chunks_exact_mut(128)) {
        for (shift, codes) in [0, 2, 4, 6].into_iter().zip(codes.chunks_exact_mut(32)) {
            for (byte, code) in bytes.iter().zip(codes) {
                *code = byte.wrapping_shr(shift) & 3;
            }
        }
    }
}

/// 128 bytes to 256 codes of 4 bits: 32 bytes hold 64 elements, low nibbles the first 32.
fn nibbles(packed: &[u8; 128], codes: &mut [u8; 256]) {
    for (bytes, codes) in packed.chunks_exact(32).zip(codes.chunks_exact_mut(64)) {
        let (low, high) = codes.split_at_mut(32);
        for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
            *low = byte & 15;
            *high = byte >> 4;
        }
    }
}

/// 16 B scales (low nibble scale, high nibble minimum), 64 B codes, f16 d, f16 dmin.
pub(super) fn q2_k(
    block: &[u8; 84],
    codes: &mut [u8; 256],
    scales: &mut [f32; 16],
    minima: &mut [f32; 16],
) {
    let [head @ .., d0, d1, m0, m1] = block;
    let (d, dmin) = (half(*d0, *d1), half(*m0, *m1));
    let Some((factors, rest)) = head.split_first_chunk::<16>() else {
        return;
    };
    let Some(packed) = rest.first_chunk::<64>() else {
        return;
    };
    for ((factor, scale), minimum) in factors.iter().zip(scales).zip(minima) {
        *scale = d * f32::from(factor & 15);
        *minimum = -(dmin * f32::from(factor >> 4));
    }
    crumbs(packed, codes);
}

/// 32 B high bits, 64 B codes of 2 bits, 12 B scales, f16 d; x = d (scale - 32) (q - 4), where the high bit
/// adds 4. Codes are moved up by 124, so that zero is 128.
pub(super) fn q3_k(block: &[u8; 110], codes: &mut [u8; 256], scales: &mut [f32; 16]) {
    let [head @ .., d0, d1] = block;
    let d = half(*d0, *d1);
    let Some((high_bits, rest)) = head.split_first_chunk::<32>() else {
        return;
    };
    let Some((packed, rest)) = rest.split_first_chunk::<64>() else {
        return;
    };
    let Some(factors) = rest.first_chunk::<12>() else {
        return;
    };
    crumbs(packed, codes);
    for (bit, codes) in (0u32..8).zip(codes.chunks_exact_mut(32)) {
        for (byte, code) in high_bits.iter().zip(codes) {
            *code = (*code | ((byte.wrapping_shr(bit) & 1) << 2)).wrapping_add(128 - 4);
        }
    }
    for (scale, factor) in scales.iter_mut().zip(six_bit_16(factors)) {
        *scale = d * (f32::from(factor) - 32.0);
    }
}

/// Sixteen 6-bit numbers in 12 bytes: the low 4 bits of number j are the low nibble of byte j (j < 8) or the
/// high nibble of byte j - 8; its upper 2 bits are bits 2 (j / 4) of byte 8 + j % 4.
fn six_bit_16(packed: &[u8; 12]) -> [u8; 16] {
    let [low @ .., u0, u1, u2, u3] = packed;
    let upper = [u0, u1, u2, u3];
    let mut numbers = [0; 16];
    let lows = low
        .iter()
        .map(|byte| byte & 15)
        .chain(low.iter().map(|byte| byte >> 4));
    let uppers = [0u32, 2, 4, 6]
        .into_iter()
        .flat_map(|shift| upper.map(|byte| byte.wrapping_shr(shift) & 3));
    for ((number, low), upper) in numbers.iter_mut().zip(lows).zip(uppers) {
        *number = low | (upper << 4);
    }
    numbers
}

/// f16 d, f16 dmin, 12 B scales and minima, 128 B codes.
pub(super) fn q4_k(
    block: &[u8; 144],
    codes: &mut [u8; 256],
    scales: &mut [f32; 8],
    minima: &mut [f32; 8],
) {
    let [d0, d1, m0, m1, rest @ ..] = block;
    let Some((factors, rest)) = rest.split_first_chunk::<12>() else {
        return;
    };
    let Some(packed) = rest.first_chunk::<128>() else {
        return;
    };
    scale_8(half(*d0, *d1), half(*m0, *m1), factors, scales, minima);
    nibbles(packed, codes);
}

/// As Q4_K with 32 B of fifth bits before the codes: element l of group j has bit j of byte l.
pub(super) fn q5_k(
    block: &[u8; 176],
    codes: &mut [u8; 256],
    scales: &mut [f32; 8],
    minima: &mut [f32; 8],
) {
    let [d0, d1, m0, m1, rest @ ..] = block;
    let Some((factors, rest)) = rest.split_first_chunk::<12>() else {
        return;
    };
    let Some((high_bits, rest)) = rest.split_first_chunk::<32>() else {
        return;
    };
    let Some(packed) = rest.first_chunk::<128>() else {
        return;
    };
    scale_8(half(*d0, *d1), half(*m0, *m1), factors, scales, minima);
    nibbles(packed, codes);
    for (bit, codes) in (0u32..8).zip(codes.chunks_exact_mut(32)) {
        for (byte, code) in high_bits.iter().zip(codes) {
            *code |= (byte.wrapping_shr(bit) & 1) << 4;
        }
    }
}

/// Eight 6-bit scales and minima in 12 bytes s: for j < 4 they are s[j] & 63 and s[j + 4] & 63; for j >= 4
/// the low 4 bits are the nibbles of s[j + 4], the upper 2 the top bits of s[j - 4] and s[j].
fn scale_8(d: f32, dmin: f32, s: &[u8; 12], scales: &mut [f32; 8], minima: &mut [f32; 8]) {
    let [a @ .., _, _, _, _, _, _, _, _] = s;
    let [_, _, _, _, b @ .., _, _, _, _] = s;
    let [_, _, _, _, _, _, _, _, c @ ..] = s;
    let (scales_low, scales_high) = scales.split_at_mut(4);
    let (minima_low, minima_high) = minima.split_at_mut(4);
    let low = scales_low.iter_mut().zip(minima_low);
    let high = scales_high.iter_mut().zip(minima_high);
    for (((a, b), c), ((scale_low, minimum_low), (scale_high, minimum_high))) in
        a.iter().zip(b).zip(c).zip(low.zip(high))
    {
        *scale_low = d * f32::from(a & 63);
        *minimum_low = -(dmin * f32::from(b & 63));
        *scale_high = d * f32::from((c & 15) | ((a >> 6) << 4));
        *minimum_high = -(dmin * f32::from((c >> 4) | ((b >> 6) << 4)));
    }
}

/// 128 B low nibbles, 64 B upper 2 bits, 16 i8 scales, f16 d; x = d scale (q - 32). Per half of 128 elements,
/// 64 bytes of nibbles and 32 of upper bits: the quarters are low(0..32), low(32..64), high(0..32),
/// high(32..64), with bits 0, 2, 4, 6 of the upper bytes. Codes are moved up by 96, so that zero is 128.
pub(super) fn q6_k(block: &[u8; 210], codes: &mut [u8; 256], scales: &mut [f32; 16]) {
    let [head @ .., d0, d1] = block;
    let d = half(*d0, *d1);
    let Some((low, rest)) = head.split_first_chunk::<128>() else {
        return;
    };
    let Some((high, factors)) = rest.split_first_chunk::<64>() else {
        return;
    };
    for (scale, factor) in scales.iter_mut().zip(factors) {
        *scale = d * f32::from(factor.cast_signed());
    }
    for ((low, high), codes) in low
        .chunks_exact(64)
        .zip(high.chunks_exact(32))
        .zip(codes.chunks_exact_mut(128))
    {
        let (first, second) = low.split_at(32);
        let quarters = [(first, 0u32), (second, 0), (first, 4), (second, 4)];
        let shifts = [0u32, 2, 4, 6];
        for (((low, low_shift), shift), codes) in quarters
            .into_iter()
            .zip(shifts)
            .zip(codes.chunks_exact_mut(32))
        {
            for ((low, high), code) in low.iter().zip(high).zip(codes) {
                let upper = high.wrapping_shr(shift) & 3;
                *code = ((low.wrapping_shr(low_shift) & 15) | (upper << 4)).wrapping_add(128 - 32);
            }
        }
    }
}
