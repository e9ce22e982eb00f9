//! Keyed noise: Philox4x32-10 and the exponential variates drawn from it. A word is a pure function of
//! (seed, position, sample, purpose, token), so neither batch layout nor the order of evaluation matters.
//! Knows nothing of logits. Invariants: purposes never share a counter; E and g come from the integer word
//! by one fixed f32 routine. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).

mod elementary;

pub use elementary::{exp, ln};

use crate::id::TokenId;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Counters computed side by side by [`Noise::lanes`]; four tokens each.
pub const LANES: usize = 16;

/// The largest g there is: that of word 0.
pub const GUMBEL_MAX: f32 = 22.873_857;

/// What a word is used for; each purpose has counters of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The draw of a token.
    Draw = 0,
    /// Per-step coins.
    Coin = 1,
    /// Acceptance uniforms of rejection and block verification.
    Accept = 2,
    /// Residual and bonus draws of those.
    Residual = 3,
    /// A drafter's private draw in those.
    Private = 4,
    /// Stochastic beams.
    Beam = 5,
}

/// Philox4x32-10: four random words of a counter under a key.
#[inline(always)]
pub const fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    let mut round = 0;
    while round < ROUNDS {
        let left = MULTIPLIERS[0] as u64 * c0 as u64;
        let right = MULTIPLIERS[1] as u64 * c2 as u64;
        (c0, c1, c2, c3) = (
            (right >> 32) as u32 ^ c1 ^ k0,
            right as u32,
            (left >> 32) as u32 ^ c3 ^ k1,
            left as u32,
        );
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
        round += 1;
    }
    [c0, c1, c2, c3]
}

/// The noise of one position of one sample for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    key: [u32; 2],
    position: u32,
    sample: u32,
    purpose: u32,
}

impl Noise {
    /// `position`: index of the token being drawn in the whole sequence; `sample`: 0..n (for
    /// [`Purpose::Beam`] the beam's number). A negative seed counts in two's complement.
    pub const fn new(seed: i64, position: u32, sample: u32, purpose: Purpose) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            position,
            sample,
            purpose: purpose as u32,
        }
    }

    /// The four words of counter `group`: those of tokens `4 * group` to `4 * group + 3`.
    #[inline(always)]
    pub const fn group(&self, group: u32) -> [u32; 4] {
        philox4x32([group, self.position, self.sample, self.purpose], self.key)
    }

    /// The word of a token.
    pub const fn word(&self, token: TokenId) -> u32 {
        self.group(token >> 2)[(token & 3) as usize]
    }

    /// The words of [`LANES`] successive groups: `result[i][lane]` belongs to token
    /// `4 * (first_group + lane) + i`. The same words as [`Noise::group`], computed side by side.
    // One lane after the other in the text: the compiler puts them side by side, counters in registers.
    #[inline(always)]
    pub fn lanes(&self, first_group: u32) -> [[u32; LANES]; 4] {
        let mut words = [[0; LANES]; 4];
        #[expect(
            clippy::needless_range_loop,
            reason = "four zipped iterators are a tenth slower"
        )]
        for lane in 0..LANES {
            let [w0, w1, w2, w3] = self.group(first_group.wrapping_add(lane as u32));
            words[0][lane] = w0;
            words[1][lane] = w1;
            words[2][lane] = w2;
            words[3][lane] = w3;
        }
        words
    }
}

/// v = (word + 0.5) / 2^32 in (0, 1], in f64, where it is exact.
pub const fn uniform(word: u32) -> f64 {
    (word as f64 + 0.5) / 4_294_967_296.0
}

/// E = -ln(1 - v), Exp(1): small E, where winners live, keeps full relative precision. Within 2 ulp.
#[inline]
pub fn exponential(word: u32) -> f32 {
    elementary::minus_ln_complement(word)
}

/// g = -ln E of the f32 [`exponential`], within 2 ulp of the logarithm of that value.
#[inline]
pub fn gumbel(word: u32) -> f32 {
    -elementary::ln(exponential(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: i64, sample: u32, kept: usize) -> Vec<u32> {
        const P7: [f64; 7] = [0.40, 0.25, 0.15, 0.08, 0.05, 0.04, 0.03];
        let value =
            |noise: &Noise, token: usize| P7[token].ln() as f32 + gumbel(noise.word(token as u32));
        (0..16)
            .map(|position| {
                let noise = Noise::new(seed, position, sample, Purpose::Draw);
                let mut best = 0;
                for token in 1..kept {
                    if value(&noise, token) > value(&noise, best) {
                        best = token;
                    }
                }
                best as u32
            })
            .collect()
    }

    #[test]
    fn philox_gives_the_published_words() {
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]
        );
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
        assert_eq!(
            philox4x32(
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xa4093822, 0x299f31d0]
            ),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn words_exponentials_and_gumbels_of_seed_42_are_the_known_ones() {
        let noise = Noise::new(42, 5, 0, Purpose::Draw);
        let words = [
            0x014d2af4, 0x63e518d1, 0x47b8e79b, 0xb1b52b03, 0x184daa36, 0x08ca790d, 0xa4ace736,
        ];
        let exponentials = [
            0.005097, 0.494648, 0.328733, 1.184728, 0.099749, 0.034943, 1.030757,
        ];
        let gumbels = [
            5.279161, 0.703909, 1.112508, -0.169513, 2.305102, 3.354039, -0.030294,
        ];
        for token in 0..7 {
            let word = noise.word(token as u32);
            assert_eq!(word, words[token]);
            assert!((f64::from(exponential(word)) - exponentials[token]).abs() < 6e-7);
            assert!((f64::from(gumbel(word)) - gumbels[token]).abs() < 6e-7);
        }
    }

    #[test]
    fn draws_from_p7_are_the_known_ones() {
        let first = [2, 0, 0, 0, 0, 0, 2, 1, 0, 0, 2, 2, 0, 0, 2, 1];
        assert_eq!(draws(42, 0, 7), first);
        assert_eq!(
            draws(42, 1, 7),
            [0, 0, 1, 4, 2, 1, 2, 0, 0, 3, 3, 0, 1, 5, 0, 4]
        );
        assert_eq!(
            draws((1 << 40) + 7, 0, 7),
            [2, 0, 2, 0, 1, 0, 4, 0, 4, 0, 0, 1, 1, 5, 2, 2]
        );
        assert_eq!(
            draws(42, 0, 3),
            first,
            "removing losers never changes the winner"
        );
    }

    #[test]
    fn coins_of_seed_42_are_the_known_ones() {
        for (position, coin) in [0.126032, 0.272126, 0.127036].into_iter().enumerate() {
            let word = Noise::new(42, position as u32, 0, Purpose::Coin).group(0)[0];
            assert!((uniform(word) - coin).abs() < 5e-7);
        }
    }

    #[test]
    fn lanes_are_the_groups_side_by_side() {
        for (seed, first) in [(0, 0), (-1, 7), (i64::MIN, u32::MAX - 3), (42, 160)] {
            let noise = Noise::new(seed, 9, 3, Purpose::Draw);
            let [w0, w1, w2, w3] = noise.lanes(first);
            let lanes = w0.into_iter().zip(w1).zip(w2).zip(w3);
            for (lane, (((w0, w1), w2), w3)) in lanes.enumerate() {
                assert_eq!(
                    noise.group(first.wrapping_add(lane as u32)),
                    [w0, w1, w2, w3]
                );
            }
        }
    }

    #[test]
    fn a_negative_seed_is_its_two_complement_and_purposes_differ() {
        assert_eq!(
            Noise::new(-2, 1, 2, Purpose::Coin).group(5),
            philox4x32([5, 1, 2, 1], [0xffff_fffe, 0xffff_ffff])
        );
        assert_ne!(
            Noise::new(1, 1, 0, Purpose::Draw).word(0),
            Noise::new(1, 1, 0, Purpose::Beam).word(0)
        );
    }

    /// Error of E and of g for one word, in ulp; E from the exact v, g from the f32 E.
    fn ulp_errors(word: u32) -> (f64, f64) {
        let e = exponential(word);
        let exact = -(-uniform(word)).ln_1p();
        let g = -f64::from(e).ln();
        (
            ulps(e, exact),
            if g == 0.0 { 0.0 } else { ulps(gumbel(word), g) },
        )
    }

    fn ulps(got: f32, exact: f64) -> f64 {
        let rounded = exact.abs() as f32;
        let ulp = f64::from(f32::from_bits(rounded.to_bits() + 1)) - f64::from(rounded);
        (f64::from(got) - exact).abs() / ulp
    }

    fn worst_over(words: impl Iterator<Item = u32>) -> (f64, f64) {
        words.map(ulp_errors).fold((0.0, 0.0), |(e, g), (e1, g1)| {
            (f64::max(e, e1), f64::max(g, g1))
        })
    }

    #[test]
    fn noise_is_within_two_ulp_of_f64_on_a_grid_and_at_the_ends() {
        let ends = (0..100_000)
            .chain(u32::MAX - 100_000..=u32::MAX)
            .chain(1_257_900_000..1_258_000_000);
        let (e, g) = worst_over(ends.chain((0..u32::MAX).step_by(2099)));
        assert!(e <= 2.0 && g <= 2.0, "worst {e} {g} ulp");
        assert_eq!(gumbel(0), GUMBEL_MAX);
        assert!(
            (0..u32::MAX)
                .step_by(104_729)
                .all(|word| gumbel(word) <= GUMBEL_MAX)
        );
    }

    #[test]
    #[ignore = "all 2^32 words: minutes"]
    fn noise_is_within_two_ulp_of_f64_for_every_word() {
        let (e, g) = worst_over(0..=u32::MAX);
        assert!(e <= 2.0 && g <= 2.0, "worst {e} {g} ulp");
    }

    #[test]
    fn g_of_the_whole_chain_is_off_by_less_than_two_ulp_of_one() {
        let worst = (0..u32::MAX)
            .step_by(3001)
            .map(|word| {
                let exact = -(-(-uniform(word)).ln_1p()).ln();
                (f64::from(gumbel(word)) - exact).abs() / exact.abs().max(1.0)
            })
            .fold(0.0, f64::max);
        assert!(worst <= 2.0 * f64::from(f32::EPSILON), "worst {worst}");
    }
}
