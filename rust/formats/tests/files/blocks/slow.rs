//! The blocks again, one element at a time, straight from the table of formulas: slow, with plain indices,
//! its own half-precision conversion and none of the library's code.

use tokenmill_formats::Encoding;

/// IEEE half to f32 by its definition.
fn half(bytes: &[u8]) -> f32 {
    let bits = u32::from(bytes[0]) | (u32::from(bytes[1]) << 8);
    let (sign, exponent, mantissa) = (bits >> 15, (bits >> 10) & 31, f64::from(bits & 1023));
    let magnitude = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + mantissa) * 2f64.powi(exponent as i32 - 25),
    };
    (if sign == 1 { -magnitude } else { magnitude }) as f32
}

const IQ4: [f32; 16] = [
    -127., -104., -83., -65., -49., -35., -22., -10., 1., 13., 25., 38., 53., 69., 89., 113.,
];
const FP4: [f32; 16] = [
    0., 0.5, 1., 1.5, 2., 3., 4., 6., 0., -0.5, -1., -1.5, -2., -3., -4., -6.,
];

/// Code of element `e` in 16 bytes of nibbles.
fn nibble(packed: &[u8], e: usize) -> u8 {
    if e < 16 {
        packed[e] & 15
    } else {
        packed[e - 16] >> 4
    }
}

fn bit(bytes: &[u8], index: usize) -> u8 {
    (bytes[index / 8] >> (index % 8)) & 1
}

/// 6-bit scale and minimum of sub-block `j`.
fn scale_and_minimum(s: &[u8], j: usize) -> (f32, f32) {
    let (scale, minimum) = if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        (
            (s[j + 4] & 15) + ((s[j - 4] >> 6) << 4),
            (s[j + 4] >> 4) + ((s[j] >> 6) << 4),
        )
    };
    (f32::from(scale), f32::from(minimum))
}

/// Element `e` of a block.
pub fn element(encoding: Encoding, b: &[u8], e: usize) -> f32 {
    match encoding {
        Encoding::Q4_0 => half(b) * (f32::from(nibble(&b[2..], e)) - 8.0),
        Encoding::Q4_1 => half(b) * f32::from(nibble(&b[4..], e)) + half(&b[2..]),
        Encoding::Q5_0 => half(b) * (f32::from(nibble(&b[6..], e) + 16 * bit(&b[2..], e)) - 16.0),
        Encoding::Q5_1 => {
            half(b) * f32::from(nibble(&b[8..], e) + 16 * bit(&b[4..], e)) + half(&b[2..])
        }
        Encoding::Q8_0 => half(b) * f32::from(b[2 + e] as i8),
        Encoding::Q2K => {
            let (scales, qs, d, dmin) = (&b[..16], &b[16..80], half(&b[80..]), half(&b[82..]));
            let q = (qs[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2)) & 3;
            d * f32::from(scales[e / 16] & 15) * f32::from(q)
                - dmin * f32::from(scales[e / 16] >> 4)
        }
        Encoding::Q3K => q3_k(b, e),
        Encoding::Q4K => {
            let (scale, minimum) = scale_and_minimum(&b[4..16], e / 32);
            let byte = b[16 + e / 64 * 32 + e % 32];
            let q = if e % 64 < 32 { byte & 15 } else { byte >> 4 };
            half(b) * scale * f32::from(q) - half(&b[2..]) * minimum
        }
        Encoding::Q5K => {
            let (scale, minimum) = scale_and_minimum(&b[4..16], e / 32);
            let byte = b[48 + e / 64 * 32 + e % 32];
            let q = if e % 64 < 32 { byte & 15 } else { byte >> 4 };
            let q = q + 16 * ((b[16 + e % 32] >> (e / 32)) & 1);
            half(b) * scale * f32::from(q) - half(&b[2..]) * minimum
        }
        Encoding::Q6K => q6_k(b, e),
        Encoding::Iq4Nl => half(b) * IQ4[usize::from(nibble(&b[2..], e))],
        Encoding::Iq4Xs => {
            let (high, low, i) = (u16::from_le_bytes([b[2], b[3]]), &b[4..8], e / 32);
            let scale =
                ((low[i / 2] >> (4 * (i % 2))) & 15) + ((((high >> (2 * i)) & 3) as u8) << 4);
            half(b) * (f32::from(scale) - 32.0) * IQ4[usize::from(nibble(&b[8 + 16 * i..], e % 32))]
        }
        Encoding::Tq2_0 => {
            let q = (b[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2)) & 3;
            half(&b[64..]) * (f32::from(q) - 1.0)
        }
        Encoding::Mxfp4 => {
            (2f64.powi(i32::from(b[0]) - 127) * f64::from(FP4[usize::from(nibble(&b[1..], e))]))
                as f32
        }
        Encoding::Nvfp4 => {
            let (byte, r) = (b[4 + e / 16 * 8 + e % 8], e % 16);
            ue4m3(b[e / 16]) * FP4[usize::from(if r < 8 { byte & 15 } else { byte >> 4 })]
        }
        other => panic!("{other} has no blocks"),
    }
}

fn q3_k(b: &[u8], e: usize) -> f32 {
    let (hmask, qs, scales, d) = (&b[..32], &b[32..96], &b[96..108], half(&b[108..]));
    let (part, k, l) = (e / 128, e % 128 / 32, e % 32);
    let v = f32::from((qs[part * 32 + l] >> (2 * k)) & 3);
    let v = v - if (hmask[l] >> (4 * part + k)) & 1 == 1 {
        0.0
    } else {
        4.0
    };
    let j = e / 16;
    let low = if j < 8 {
        scales[j] & 15
    } else {
        scales[j - 8] >> 4
    };
    let scale = low + (((scales[8 + j % 4] >> (2 * (j / 4))) & 3) << 4);
    d * (f32::from(scale) - 32.0) * v
}

fn q6_k(b: &[u8], e: usize) -> f32 {
    let (part, quarter, l) = (e / 128, e % 128 / 32, e % 32);
    let (ql, qh, scales) = (&b[64 * part..], &b[128 + 32 * part..], &b[192 + 8 * part..]);
    let byte = ql[l + 32 * (quarter % 2)];
    let low = if quarter < 2 { byte & 15 } else { byte >> 4 };
    let q = low + (((qh[l] >> (2 * quarter)) & 3) << 4);
    half(&b[208..]) * f32::from(scales[l / 16 + 2 * quarter] as i8) * (f32::from(q) - 32.0)
}

/// Unsigned e4m3, bit 7 ignored, 0x7F taken as 0.
fn ue4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = (i32::from((byte >> 3) & 15), f32::from(byte & 7));
    match (byte, exponent) {
        (0x7F, _) => 0.0,
        (_, 0) => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    }
}
