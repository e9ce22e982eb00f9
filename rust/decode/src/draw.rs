//! The draw: argmax of z + g over the surviving tokens, ties to the lower id. An exponential race, so no
//! softmax and no order matter. Most tokens are passed over without their noise, only where it cannot
//! change the winner. Reference: the full pass in the tests.

use tokenmill_core::TokenId;
use tokenmill_core::noise::{GUMBEL_MAX, LANES, Noise, exp, gumbel};

use crate::row::CHUNK;
use crate::warper::Scores;
use crate::warper::order::Candidate;

const _: () = assert!(CHUNK == 4 * LANES, "a chunk is one call of the noise");

/// The winner so far.
#[derive(Clone, Copy, Debug)]
struct Leader {
    token: TokenId,
    value: f32,
}

impl Leader {
    fn meet(&mut self, token: TokenId, value: f32) {
        if value > self.value || (value == self.value && token < self.token) {
            *self = Self { token, value };
        }
    }

    /// Whether no token of this score can win or tie.
    fn is_out_of_reach(self, score: f32) -> bool {
        score + GUMBEL_MAX < self.value
    }
}

/// Draws a token.
pub(crate) fn draw(scores: &Scores<'_, '_>, noise: &Noise) -> TokenId {
    let best = scores.best();
    let mut leader = Leader {
        token: best.token,
        value: best.score + gumbel(noise.word(best.token)),
    };
    match scores.kept() {
        Some(kept) => meet_list(kept, noise, &mut leader),
        None => meet_row(scores, noise, &mut leader),
    }
    leader.token
}

fn meet_list(kept: &[Candidate], noise: &Noise, leader: &mut Leader) {
    let mut group = u32::MAX;
    let mut words = [0; 4];
    for candidate in kept {
        if leader.is_out_of_reach(candidate.score) {
            continue;
        }
        if candidate.token >> 2 != group {
            group = candidate.token >> 2;
            words = noise.group(group);
        }
        let word = words[(candidate.token & 3) as usize];
        leader.meet(candidate.token, candidate.score + gumbel(word));
    }
}

fn meet_row(scores: &Scores<'_, '_>, noise: &Noise, leader: &mut Leader) {
    let row = scores.row();
    for (index, &maximum) in row.maxima().iter().enumerate() {
        let score_max = scores.score(maximum);
        if maximum == f32::NEG_INFINITY || leader.is_out_of_reach(score_max) {
            continue;
        }
        let limit = word_limit(score_max - leader.value);
        let words = noise.lanes((index * LANES) as u32);
        if smallest(&words) > limit {
            continue;
        }
        let chunk = row.chunk(index);
        for (offset, &logit) in chunk.iter().enumerate() {
            let word = words[offset % 4][offset / 4];
            if word <= limit {
                leader.meet(
                    (index * CHUNK + offset) as TokenId,
                    scores.score(logit) + gumbel(word),
                );
            }
        }
    }
}

/// The largest word that may still win when the score lies `deficit` above the leader's value.
/// It wins only if E <= e^deficit; E > v always, and the slack covers every rounding on the way.
fn word_limit(deficit: f32) -> u32 {
    const SLACK: f32 = 1.0 + 1e-4;
    if deficit >= 0.0 {
        return u32::MAX;
    }
    (exp(deficit) * (SLACK * 4_294_967_296.0)) as u32
}

fn smallest(words: &[[u32; LANES]; 4]) -> u32 {
    let mut least = [u32::MAX; LANES];
    for group in words {
        for (least, &word) in least.iter_mut().zip(group) {
            *least = word.min(*least);
        }
    }
    least.into_iter().fold(u32::MAX, u32::min)
}
