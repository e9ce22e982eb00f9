//! Whether a tensor is numbers throughout, from its scales alone where there are any: codes are finite, and
//! no product of a finite f16 with the factors of a block leaves f32.

use crate::encoding::Encoding;

/// Largest exponent byte of MXFP4 under which no code overflows.
const E8M0_MAX: u8 = 252;

/// Whether every element decodes to a finite number. Encodings that are no weights count as such.
pub fn all_finite(encoding: Encoding, bytes: &[u8]) -> bool {
    let halves: &[usize] = match encoding {
        Encoding::F32 => return words(bytes, |word| u32::from_le_bytes(word) << 1 < 0xFF00_0000),
        Encoding::F16 => return words(bytes, is_half_finite),
        Encoding::Bf16 => return words(bytes, |word| u16::from_le_bytes(word) << 1 < 0xFF00),
        Encoding::Mxfp4 => {
            let mut blocks = bytes.chunks_exact(encoding.block_bytes());
            return blocks.all(|block| block.first().is_some_and(|&e| e <= E8M0_MAX));
        }
        Encoding::Q4_0 | Encoding::Q5_0 | Encoding::Q8_0 | Encoding::Iq4Nl | Encoding::Iq4Xs => {
            &[0]
        }
        Encoding::Q4_1 | Encoding::Q5_1 | Encoding::Q4K | Encoding::Q5K => &[0, 2],
        Encoding::Q2K => &[80, 82],
        Encoding::Q3K => &[108],
        Encoding::Q6K => &[208],
        Encoding::Tq2_0 => &[64],
        _ => return true,
    };
    let is_finite = |block: &[u8], at: usize| {
        let half = block.get(at..).and_then(|rest| rest.first_chunk());
        half.is_some_and(|half| is_half_finite(*half))
    };
    let mut blocks = bytes.chunks_exact(encoding.block_bytes());
    blocks.all(|block| halves.iter().all(|&at| is_finite(block, at)))
}

/// All of them, without a branch in the loop.
fn words<const N: usize>(bytes: &[u8], is_finite: impl Fn([u8; N]) -> bool) -> bool {
    let words = bytes.as_chunks::<N>().0.iter();
    words.fold(true, |all, word| all & is_finite(*word))
}

fn is_half_finite(half: [u8; 2]) -> bool {
    u16::from_le_bytes(half) << 1 < 0xF800
}

#[cfg(test)]
mod tests {
    use super::all_finite;
    use crate::blocks::dequantize;
    use crate::encoding::Encoding;

    fn is_weight(encoding: Encoding) -> bool {
        encoding.is_quantised()
            || matches!(encoding, Encoding::F32 | Encoding::F16 | Encoding::Bf16)
    }

    /// Blocks of random bytes: a half is not finite in 1 of 32 cases.
    #[test]
    fn case_90_the_scales_tell_whether_all_elements_are_finite() {
        let mut state = 7_u64;
        for encoding in Encoding::ALL.into_iter().filter(|e| is_weight(*e)) {
            let mut seen = [0; 2];
            for _ in 0..4000 {
                let bytes: Vec<u8> = (0..encoding.block_bytes())
                    .map(|_| {
                        state = state
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1);
                        (state >> 56) as u8
                    })
                    .collect();
                let mut elements = vec![0.0; encoding.block_len()];
                dequantize(encoding, &bytes, &mut elements).expect("whole blocks");
                let truth = elements.iter().all(|x| x.is_finite());
                let said = all_finite(encoding, &bytes);
                // MXFP4's largest exponents overflow with large codes only, and are refused with any.
                let is_strict = encoding == Encoding::Mxfp4 && bytes[0] > super::E8M0_MAX;
                assert!(
                    said == truth || (is_strict && !said),
                    "{encoding} {bytes:?}"
                );
                seen[usize::from(said)] += 1;
            }
            assert!(
                seen[1] > 0 && (seen[0] > 0 || encoding == Encoding::Nvfp4),
                "{encoding}"
            );
        }
    }
}
