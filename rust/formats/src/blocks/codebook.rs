//! Blocks whose codes name entries of a small table of integers: IQ4_NL, IQ4_XS, MXFP4, NVFP4, and the
//! ternary TQ2_0. The table's values plus 128 are the codes of an 8-bit layout, so products over these
//! types are integer products like any other.

use super::legacy::{half, nibbles};

/// The non-linear grid of IQ4.
const IQ4: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];
/// Twice the values of fp4 (e2m1): the scale carries the other half. Minus zero is zero.
const FP4_DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Replaces each code below 16 by its table value plus 128.
fn look_up(table: &[i8; 16], codes: &mut [u8]) {
    for code in codes {
        let value = table
            .get(usize::from(*code & 15))
            .copied()
            .unwrap_or_default();
        *code = value.cast_unsigned() ^ 0x80;
    }
}

/// f16 d, nibbles as Q4_0; x = d table[q].
pub(super) fn iq4_nl(block: &[u8; 18], codes: &mut [u8; 32], scales: &mut [f32; 1]) {
    let [d0, d1, packed @ ..] = block;
    *scales = [half(*d0, *d1)];
    nibbles(packed, codes);
    look_up(&IQ4, codes);
}

/// f16 d, u16 upper bits, 4 B lower bits of eight 6-bit scales, 128 B nibbles in runs of 16 as Q4_0;
/// x = d (scale - 32) table[q].
pub(super) fn iq4_xs(block: &[u8; 136], codes: &mut [u8; 256], scales: &mut [f32; 8]) {
    let [d0, d1, h0, h1, l0, l1, l2, l3, packed @ ..] = block;
    let d = half(*d0, *d1);
    let mut low = u32::from_le_bytes([*l0, *l1, *l2, *l3]);
    let mut high = u16::from_le_bytes([*h0, *h1]);
    for scale in scales {
        let factor = (low & 15) | (u32::from(high & 3) << 4);
        *scale = d * (factor as f32 - 32.0);
        low >>= 4;
        high >>= 2;
    }
    for (packed, codes) in packed
        .as_chunks::<16>()
        .0
        .iter()
        .zip(codes.as_chunks_mut::<32>().0)
    {
        nibbles(packed, codes);
        look_up(&IQ4, codes);
    }
}

/// 64 B of 2-bit codes in two runs of 32 (bits 2k of byte m are element 32 k + m of the run), f16 d;
/// x = d (q - 1). Codes are moved up by 127, so that zero is 128.
pub(super) fn tq2_0(block: &[u8; 66], codes: &mut [u8; 256], scales: &mut [f32; 1]) {
    let [packed @ .., d0, d1] = block;
    *scales = [half(*d0, *d1)];
    super::k_quants::crumbs(packed, codes);
    for code in codes {
        *code = code.wrapping_add(127);
    }
}

/// u8 e, nibbles as Q4_0; x = 2^(e - 127) fp4.
pub(super) fn mxfp4(block: &[u8; 17], codes: &mut [u8; 32], scales: &mut [f32; 1]) {
    let [exponent, packed @ ..] = block;
    *scales = [half_power(*exponent)];
    nibbles(packed, codes);
    look_up(&FP4_DOUBLED, codes);
}

/// 2^(e - 128), subnormal for e < 2.
fn half_power(exponent: u8) -> f32 {
    let bits = match exponent {
        0 => 0x0020_0000,
        1 => 0x0040_0000,
        _ => u32::from(exponent.saturating_sub(1)) << 23,
    };
    f32::from_bits(bits)
}

/// 4 unsigned e4m3 scales, 32 B: per 16 elements 8 bytes, low nibbles the first 8; x = scale fp4.
pub(super) fn nvfp4(block: &[u8; 36], codes: &mut [u8; 64], scales: &mut [f32; 4]) {
    let [s0, s1, s2, s3, packed @ ..] = block;
    *scales = [s0, s1, s2, s3].map(|byte| half_ue4m3(*byte));
    for (packed, codes) in packed
        .as_chunks::<8>()
        .0
        .iter()
        .zip(codes.as_chunks_mut::<16>().0)
    {
        let (low, high) = codes.split_at_mut(8);
        for ((byte, low), high) in packed.iter().zip(low).zip(high) {
            *low = byte & 15;
            *high = byte >> 4;
        }
        look_up(&FP4_DOUBLED, codes);
    }
}

/// Half of an unsigned e4m3 number, bias 7. As ggml reads it: bit 7 is ignored, and 0x7F is 0, not NaN.
fn half_ue4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = ((byte >> 3) & 15, f32::from(byte & 7));
    match (byte, exponent) {
        (0x7F, _) => 0.0,
        (_, 0) => mantissa * f32::from_bits(0x3A80_0000),
        // 2^(exponent - 8): the bias of 7 and the half.
        _ => (1.0 + mantissa / 8.0) * f32::from_bits((u32::from(exponent).wrapping_add(119)) << 23),
    }
}
