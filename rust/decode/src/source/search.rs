//! Contrastive search: of the best candidates the one that is likely and does not resemble what came before. Owns the
//! hidden states of a sequence so far; who computes those of the candidates is not known here.

use tokenmill_core::TokenId;

use crate::error::{Error, Result};

/// A token that may come next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The token.
    pub token: TokenId,
    /// Its probability after the processors.
    pub probability: f32,
}

/// The hidden states of every token of a sequence, prompt included, in order; a function of the prefix.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    width: usize,
    states: Vec<f32>,
    inverse_norms: Vec<f64>,
}

impl Past {
    /// Nothing yet, of states that are `width` wide.
    pub const fn new(width: usize) -> Self {
        Self {
            width,
            states: Vec::new(),
            inverse_norms: Vec::new(),
        }
    }

    /// Tokens so far.
    pub fn len(&self) -> usize {
        self.inverse_norms.len()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.inverse_norms.is_empty()
    }

    /// Forgets the states from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.states.truncate(len * self.width);
        self.inverse_norms.truncate(len);
    }

    /// The next token's state.
    pub fn push(&mut self, state: &[f32]) -> Result<()> {
        self.check(state)?;
        self.states.extend_from_slice(state);
        self.inverse_norms.push(inverse_norm(state));
        Ok(())
    }

    /// The largest cosine of a state with those so far; 0 with none.
    pub fn resemblance(&self, state: &[f32]) -> Result<f32> {
        self.check(state)?;
        let own = inverse_norm(state);
        let earlier = self.states.chunks_exact(self.width.max(1));
        let cosines = earlier
            .zip(&self.inverse_norms)
            .map(|(earlier, norm)| dot(earlier, state) * norm * own);
        Ok(cosines.reduce(f64::max).unwrap_or(0.0) as f32)
    }

    fn check(&self, state: &[f32]) -> Result<()> {
        if state.len() == self.width {
            return Ok(());
        }
        Err(Error::RowLength {
            got: state.len(),
            expected: self.width,
        })
    }
}

/// What a candidate is chosen by: (1 - alpha) p - alpha max cos.
pub fn weigh(candidate: &Candidate, cosine: f32, alpha: f32) -> f64 {
    let alpha = f64::from(alpha);
    (1.0 - alpha) * f64::from(candidate.probability) - alpha * f64::from(cosine)
}

/// Which candidate comes next: the best of (1 - alpha) p - alpha max cos, of equal ones the lower token. `None` for
/// no candidates.
pub fn choose(candidates: &[Candidate], resemblances: &[f32], alpha: f32) -> Option<usize> {
    let score = |(candidate, &cosine): (&Candidate, &f32)| weigh(candidate, cosine, alpha);
    let scored = candidates.iter().zip(resemblances);
    let scored = scored.map(|pair| (score(pair), pair.0.token)).enumerate();
    let is_better = |a: (f64, TokenId), b: (f64, TokenId)| a.0 > b.0 || (a.0 == b.0 && a.1 < b.1);
    scored
        .reduce(|best, other| {
            if is_better(other.1, best.1) {
                other
            } else {
                best
            }
        })
        .map(|(index, _)| index)
}

/// In a fixed order: ascending elements.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.fold(0.0, |sum, product| sum + product)
}

/// 0 for a state without direction, which resembles nothing.
fn inverse_norm(state: &[f32]) -> f64 {
    let square = dot(state, state);
    if square > 0.0 {
        square.sqrt().recip()
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(p: &[f32]) -> Vec<Candidate> {
        let each = (0..).zip(p);
        each.map(|(token, &probability)| Candidate { token, probability })
            .collect()
    }

    #[test]
    fn the_choices_are_those_of_the_fixture() {
        let candidates = candidates(&[0.5, 0.3, 0.2]);
        for (alpha, chosen) in [(0.0, 0), (0.1, 0), (0.3, 1), (0.6, 1)] {
            let index = choose(&candidates, &[0.9, 0.2, 0.4], alpha);
            assert_eq!(index, Some(chosen), "{alpha}");
        }
        assert_eq!(choose(&[], &[], 0.5), None);
    }

    #[test]
    fn without_a_weight_the_likeliest_wins_and_one_candidate_always_does() {
        let many = candidates(&[0.1, 0.4, 0.4, 0.1]);
        assert_eq!(choose(&many, &[0.0, 1.0, -1.0, 0.0], 0.0), Some(1));
        assert_eq!(choose(&many[3..], &[1.0], 1.0), Some(0));
    }

    #[test]
    fn equal_scores_go_to_the_lower_token_in_any_order() {
        let mut both = candidates(&[0.3, 0.3]);
        assert_eq!(choose(&both, &[0.5, 0.5], 0.5), Some(0));
        both.reverse();
        assert_eq!(choose(&both, &[0.5, 0.5], 0.5), Some(1));
    }

    #[test]
    fn resemblance_is_the_largest_cosine() {
        let mut past = Past::new(3);
        assert_eq!(past.resemblance(&[1.0, 0.0, 0.0]), Ok(0.0));
        past.push(&[0.0, 2.0, 0.0]).unwrap();
        past.push(&[-3.0, 0.0, 0.0]).unwrap();
        assert_eq!(past.resemblance(&[5.0, 0.0, 0.0]), Ok(0.0));
        past.push(&[0.0, 0.0, 0.0]).unwrap();
        let half = past.resemblance(&[0.0, 1.0, 1.0]).unwrap();
        assert!((half - 0.5_f32.sqrt()).abs() < 1e-7);
        past.truncate(0);
        past.push(&[-3.0, 0.0, 0.0]).unwrap();
        assert_eq!(past.resemblance(&[2.0, 0.0, 0.0]), Ok(-1.0));
        assert_eq!(past.len(), 1);
        assert!(past.push(&[1.0]).is_err() && past.resemblance(&[1.0; 4]).is_err());
    }
}
