//! Seeded numbers for random programs: xorshift, because a test needs no better.

use tokenmill_core::TokenId;

/// A stream of numbers.
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// An integer below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((self.bits() >> 32) as usize) % end
    }

    /// About normal, standard deviation `scale`.
    pub fn normal(&mut self, scale: f32) -> f32 {
        let sum: f32 = (0..12)
            .map(|_| (self.bits() >> 40) as f32 / (1_u64 << 24) as f32)
            .sum();
        (sum - 6.0) * scale
    }

    /// Uniform in `low..high`.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.bits() >> 40) as f32 / (1_u64 << 24) as f32)
    }

    /// Token ids below `vocab`.
    pub fn tokens(&mut self, len: usize, vocab: usize) -> Vec<TokenId> {
        (0..len).map(|_| self.below(vocab) as TokenId).collect()
    }
}
