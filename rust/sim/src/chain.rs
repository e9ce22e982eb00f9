//! The oracle's arithmetic: a 64-bit chain over a scope and tokens, and logits that depend on it alone.
//! A test computes the right answer of a request with these two functions and no scheduler.

use tokenmill_core::TokenId;

/// A prefix of tokens, hashed. Equal prefixes under equal scopes, and practically only those, are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain(pub u64);

/// The finaliser of splitmix64: a bijection that spreads every input bit.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Chain {
    /// The empty prefix of a cache scope.
    pub const fn empty(scope: u64) -> Self {
        Self(mix(scope ^ 0x9e37_79b9_7f4a_7c15))
    }

    /// The prefix as the model of a seed sees it; that of seed 0 sees it as it is.
    #[must_use]
    pub const fn seen_by(self, seed: u64) -> Self {
        if seed == 0 {
            return self;
        }
        Self(mix(self.0 ^ mix(seed)))
    }

    /// The prefix with one token more.
    #[must_use]
    pub const fn push(self, token: TokenId) -> Self {
        Self(mix(self
            .0
            .wrapping_mul(3)
            .wrapping_add(token as u64)
            .wrapping_add(1)))
    }
}

/// The model's logits after a prefix: uniform in [-4, 4), from the chain and the token id.
pub fn logits_row(chain: Chain, row: &mut [f32]) {
    for (token, logit) in row.iter_mut().enumerate() {
        let word = mix(chain.0 ^ (token as u64).wrapping_mul(0x2545_f491_4f6c_dd1d));
        // 24 bits are exact in f32.
        *logit = (word >> 40) as f32 / (1u64 << 21) as f32 - 4.0;
    }
}

/// The logits that a row has after `layer` layers: another row of the same prefix.
pub fn exit_row(chain: Chain, layer: u32, row: &mut [f32]) {
    let other = Chain(mix(
        chain.0 ^ (u64::from(layer) + 1).wrapping_mul(0x9e6c_63d0_876a_3f6b)
    ));
    logits_row(other, row);
}

/// The hidden state of a row: uniform in [-4, 4), from the chain and the element.
pub fn state_row(chain: Chain, row: &mut [f32]) {
    logits_row(Chain(mix(chain.0 ^ 0xd1b5_4a32_d192_ed03)), row);
}

#[cfg(test)]
mod tests {
    use super::{Chain, logits_row};

    #[test]
    fn the_chain_tells_scopes_orders_and_lengths_apart() {
        let of = |scope: u64, tokens: &[u32]| {
            tokens
                .iter()
                .fold(Chain::empty(scope), |chain, &token| chain.push(token))
        };
        let all = [
            of(0, &[]),
            of(1, &[]),
            of(0, &[0]),
            of(0, &[1, 2]),
            of(0, &[2, 1]),
            of(1, &[1, 2]),
            of(0, &[1, 2, 0]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b));
        }
    }

    #[test]
    fn logits_are_in_range_and_differ() {
        let mut row = [0f32; 512];
        logits_row(Chain::empty(7), &mut row);
        assert!(row.iter().all(|x| (-4.0..4.0).contains(x)));
        assert!(row.iter().sum::<f32>().abs() < 512.0);
        assert!(row.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
