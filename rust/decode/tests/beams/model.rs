//! A model that is a hash of the whole prefix: no two prefixes share a row, so no ties come from what was reordered.
//! The recorder of the fixtures repeats it in Python, to the bit.

use tokenmill_core::TokenId;

/// Logits in -4..4, each a multiple of 2^-17.
pub fn hashed(prefix: &[TokenId], vocab_len: usize, seed: u64) -> Vec<f32> {
    let mut state = mixed(seed ^ 0x9E37_79B9_7F4A_7C15);
    for &token in prefix {
        state = mixed(state ^ (u64::from(token) + 1));
    }
    let logit = |token: usize| {
        let word = mixed(state ^ ((token as u64 + 1) << 32)) >> 44;
        word as f32 / 131_072.0 - 4.0
    };
    (0..vocab_len).map(logit).collect()
}

/// A word that depends on all bits of another.
pub fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}
