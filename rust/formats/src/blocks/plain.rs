//! Plain numbers to f32: exact for F32, F16 and BF16. Others are no weights by themselves and are refused.

use half::{bf16, f16};

use crate::encoding::Encoding;
use crate::error::{Error, Result};

/// Decodes a row; the caller has compared the lengths.
pub(super) fn decode(encoding: Encoding, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    match encoding {
        Encoding::F32 => each(bytes, out, f32::from_le_bytes),
        Encoding::F16 => each(bytes, out, |word| f16::from_le_bytes(word).to_f32()),
        Encoding::Bf16 => each(bytes, out, |word| bf16::from_le_bytes(word).to_f32()),
        other => {
            let advice = "weights are F32, F16, BF16 or quantised blocks".to_owned();
            return Err(Error::Unsupported {
                file: "blocks".to_owned(),
                what: format!("{other} as floats"),
                advice,
            });
        }
    }
    Ok(())
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], decode: impl Fn([u8; N]) -> f32) {
    for (word, x) in bytes.as_chunks::<N>().0.iter().zip(out) {
        *x = decode(*word);
    }
}
