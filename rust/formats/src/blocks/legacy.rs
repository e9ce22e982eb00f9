//! Blocks of 32 with one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. In the 16 bytes of codes, byte j holds element
//! j in its low nibble and element j + 16 in its high one; where there is a fifth bit, bit e of the
//! little-endian word `qh` belongs to element e.

use half::f16;

/// Bytes of a code less its zero, moved to the middle of a byte: -128..128 becomes 0..256.
const SIGN_FLIP: u8 = 0x80;

pub(super) fn half(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

/// 16 bytes to 32 codes of 4 bits.
pub(super) fn nibbles(packed: &[u8; 16], codes: &mut [u8; 32]) {
    let (low, high) = codes.split_at_mut(16);
    for ((byte, low), high) in packed.iter().zip(low).zip(high) {
        *low = byte & 15;
        *high = byte >> 4;
    }
}

/// Adds bit e of `bits` to code e as its bit 4.
fn fifth_bits(mut bits: u32, codes: &mut [u8; 32]) {
    for code in codes {
        *code |= ((bits & 1) as u8) << 4;
        bits >>= 1;
    }
}

/// f16 d, nibbles; x = d (q - 8).
pub(super) fn q4_0(block: &[u8; 18], codes: &mut [u8; 32], scales: &mut [f32; 1]) {
    let [d0, d1, packed @ ..] = block;
    *scales = [half(*d0, *d1)];
    nibbles(packed, codes);
}

/// f16 d, f16 m, nibbles; x = d q + m.
pub(super) fn q4_1(
    block: &[u8; 20],
    codes: &mut [u8; 32],
    scales: &mut [f32; 1],
    minima: &mut [f32; 1],
) {
    let [d0, d1, m0, m1, packed @ ..] = block;
    *scales = [half(*d0, *d1)];
    *minima = [half(*m0, *m1)];
    nibbles(packed, codes);
}

/// f16 d, u32 qh, nibbles; x = d (q - 16). Codes are moved up by 112, so that zero is 128.
pub(super) fn q5_0(block: &[u8; 22], codes: &mut [u8; 32], scales: &mut [f32; 1]) {
    let [d0, d1, h0, h1, h2, h3, packed @ ..] = block;
    *scales = [half(*d0, *d1)];
    nibbles(packed, codes);
    fifth_bits(u32::from_le_bytes([*h0, *h1, *h2, *h3]), codes);
    for code in codes {
        *code = code.wrapping_add(128 - 16);
    }
}

/// f16 d, f16 m, u32 qh, nibbles; x = d q + m.
pub(super) fn q5_1(
    block: &[u8; 24],
    codes: &mut [u8; 32],
    scales: &mut [f32; 1],
    minima: &mut [f32; 1],
) {
    let [d0, d1, m0, m1, h0, h1, h2, h3, packed @ ..] = block;
    *scales = [half(*d0, *d1)];
    *minima = [half(*m0, *m1)];
    nibbles(packed, codes);
    fifth_bits(u32::from_le_bytes([*h0, *h1, *h2, *h3]), codes);
}

/// f16 d, 32 i8; x = d q. Codes are q + 128.
pub(super) fn q8_0(block: &[u8; 34], codes: &mut [u8; 32], scales: &mut [f32; 1]) {
    let [d0, d1, bytes @ ..] = block;
    *scales = [half(*d0, *d1)];
    for (byte, code) in bytes.iter().zip(codes) {
        *code = byte ^ SIGN_FLIP;
    }
}
