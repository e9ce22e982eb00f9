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

/// Survivors of one chunk share a call of the noise, unless they are so few that single words cost less.
fn meet_list(kept: &[Candidate], noise: &Noise, leader: &mut Leader) {
    const WORDS_MAX: usize = 3;
    let chunk_of = |candidate: &Candidate| candidate.token as usize / CHUNK;
    for group in kept.chunk_by(|a, b| chunk_of(a) == chunk_of(b)) {
        let score_max = group
            .iter()
            .map(|candidate| candidate.score)
            .fold(f32::NEG_INFINITY, f32::max);
        if leader.is_out_of_reach(score_max) {
            continue;
        }
        let meet = |candidate: &Candidate, word: u32, leader: &mut Leader| {
            leader.meet(candidate.token, candidate.score + gumbel(word));
        };
        if group.len() <= WORDS_MAX {
            for candidate in group {
                meet(candidate, noise.word(candidate.token), leader);
            }
            continue;
        }
        let limit = word_limit(score_max - leader.value);
        let words = noise.lanes((chunk_of(&group[0]) * LANES) as u32);
        for candidate in group {
            let offset = candidate.token as usize % CHUNK;
            let word = words[offset % 4][offset / 4];
            if word <= limit {
                meet(candidate, word, leader);
            }
        }
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
pub(crate) fn word_limit(deficit: f32) -> u32 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_go_to_the_lower_id_in_either_order() {
        let mut leader = Leader {
            token: 5,
            value: 1.0,
        };
        leader.meet(7, 1.0);
        assert_eq!(leader.token, 5);
        leader.meet(3, 1.0);
        assert_eq!(leader.token, 3);
        assert!(
            !leader.is_out_of_reach(1.0 - GUMBEL_MAX),
            "a tie is within reach"
        );
    }

    #[test]
    fn no_word_above_the_limit_can_win() {
        for step in 0..3_000_u32 {
            let deficit = step as f32 * -0.0101;
            let limit = word_limit(deficit);
            for word in [
                limit.saturating_add(1),
                limit.saturating_add(1_000),
                u32::MAX,
            ] {
                assert!(
                    word <= limit || gumbel(word) + deficit < 0.0,
                    "{deficit} {word}"
                );
            }
        }
        assert_eq!(word_limit(0.0), u32::MAX);
    }
}
