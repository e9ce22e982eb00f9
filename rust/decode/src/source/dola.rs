//! `DoLa`: the last layer's row against the early layer's that differs most from it. Rows of candidates come one after
//! another and only the best so far is kept, so that a model's many layers need no memory here.

use tokenmill_core::Divergence;

use super::normal::Normal;
use super::stretch::sum;
use crate::row::NotAScore;

/// Tokens with less than this share of the best probability of the last layer are banned.
const SHARE: f64 = 0.1;

/// A comparison under way.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    last: Vec<f32>,
    last_normal: Option<Normal>,
    early: Vec<f32>,
    early_normal: Option<Normal>,
    distance: f64,
}

impl Comparison {
    /// Begins with the last layer's row.
    pub(super) fn begin(&mut self, last: &[f32]) -> Result<(), NotAScore> {
        self.last.clear();
        self.last.extend_from_slice(last);
        self.early_normal = None;
        self.last_normal = Some(Normal::of(last, 1.0)?);
        Ok(())
    }

    /// The last layer's row.
    pub(super) fn last(&self) -> &[f32] {
        &self.last
    }

    /// The row of the candidate that stayed.
    pub(super) fn early(&self) -> &[f32] {
        &self.early
    }

    /// Meets the row of a candidate; of equally distant ones the first stays.
    pub(super) fn meet(&mut self, early: &[f32], by: Divergence) -> Result<(), NotAScore> {
        let own = self.last_normal.ok_or(NotAScore)?;
        let normal = Normal::of(early, 1.0)?;
        let distance = distance((&self.last, own), (early, normal), by);
        if self.early_normal.is_some() && distance <= self.distance {
            return Ok(());
        }
        self.early.clear();
        self.early.extend_from_slice(early);
        (self.early_normal, self.distance) = (Some(normal), distance);
        Ok(())
    }

    /// The scores of each token against the candidate that stayed.
    pub(super) fn finish(&self, out: &mut Vec<f32>) -> Result<(), NotAScore> {
        let own = self.last_normal.ok_or(NotAScore)?;
        let other = self.early_normal.ok_or(NotAScore)?;
        let ln_share = SHARE.ln();
        let score = |(&last, &early): (&f32, &f32)| {
            if early == f32::NEG_INFINITY || !own.is_plausible(last, ln_share) {
                return f32::NEG_INFINITY;
            }
            (own.ln_p(last) - other.ln_p(early)) as f32
        };
        out.clear();
        out.extend(self.last.iter().zip(&self.early).map(score));
        Ok(())
    }
}

/// Probabilities below this add nothing to a divergence that anyone could see.
const SMALL: f64 = 1e-26;

fn distance(
    (last, own): (&[f32], Normal),
    (early, other): (&[f32], Normal),
    by: Divergence,
) -> f64 {
    match by {
        Divergence::Jsd => sum(last, early, |last, early| {
            let (p, q) = (own.p(last), other.p(early));
            if p < SMALL && q < SMALL {
                return 0.0;
            }
            let (ln_p, ln_q) = (own.ln_p(last), other.ln_p(early));
            let ln_m = (0.5 * (p + q)).ln();
            let part = |p: f64, ln_p: f64| if p > 0.0 { p * (ln_p - ln_m) } else { 0.0 };
            0.5 * (part(p, ln_p) + part(q, ln_q))
        }),
        // Their loss takes the logarithms as inputs and the midpoint as target, and averages over the vocabulary.
        Divergence::Reference => {
            let total = sum(last, early, |last, early| {
                let (ln_p, ln_q) = (own.ln_p(last), other.ln_p(early));
                let is_banned = ln_p == f64::NEG_INFINITY || ln_q == f64::NEG_INFINITY;
                let m = 0.5 * (own.p(last) + other.p(early));
                if is_banned || m < SMALL {
                    return 0.0;
                }
                0.5 * m * (2.0 * m.ln() - ln_p - ln_q)
            });
            total / last.len() as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits<const N: usize>(p: [f64; N]) -> [f32; N] {
        p.map(|p| p.ln() as f32)
    }

    const LAST: [f64; 4] = [0.70, 0.20, 0.08, 0.02];
    const A: [f64; 4] = [0.01, 0.40, 0.20, 0.39];
    const B: [f64; 4] = [0.05, 0.01, 0.90, 0.04];

    fn compared(candidates: &[[f64; 4]], by: Divergence) -> (Comparison, Vec<f32>) {
        let mut comparison = Comparison::default();
        comparison.begin(&logits(LAST)).unwrap();
        for candidate in candidates {
            comparison.meet(&logits(*candidate), by).unwrap();
        }
        let mut out = Vec::new();
        comparison.finish(&mut out).unwrap();
        (comparison, out)
    }

    #[test]
    fn the_two_divergences_are_those_of_the_fixture_and_disagree() {
        for (by, row, expected) in [
            (Divergence::Jsd, A, 0.352_201),
            (Divergence::Jsd, B, 0.423_559),
            (Divergence::Reference, A, 0.179_393),
            (Divergence::Reference, B, 0.161_806),
        ] {
            let (comparison, _) = compared(&[row], by);
            let error = (comparison.distance - expected).abs();
            assert!(error < 2e-6, "{by:?} {}", comparison.distance);
        }
        for order in [[A, B], [B, A]] {
            assert_eq!(
                compared(&order, Divergence::Jsd).1,
                compared(&[B], Divergence::Jsd).1
            );
            let by = Divergence::Reference;
            assert_eq!(compared(&order, by).1, compared(&[A], by).1);
        }
    }

    #[test]
    fn scores_are_the_difference_on_the_plausible_set() {
        let (_, scores) = compared(&[A], Divergence::Jsd);
        assert!((scores[0] - (0.70_f32 / 0.01).ln()).abs() < 1e-5);
        assert!((scores[1] - (0.20_f32 / 0.40).ln()).abs() < 1e-5);
        assert!((scores[2] - (0.08_f32 / 0.20).ln()).abs() < 1e-5);
        assert_eq!(
            scores[3],
            f32::NEG_INFINITY,
            "0.02 is less than a tenth of 0.70"
        );
    }

    #[test]
    fn the_last_layer_as_candidate_gives_constant_scores() {
        for by in [Divergence::Jsd, Divergence::Reference] {
            let (_, scores) = compared(&[LAST], by);
            assert_eq!(scores, [0.0, 0.0, 0.0, f32::NEG_INFINITY]);
        }
    }

    #[test]
    fn of_equally_distant_candidates_the_first_stays() {
        let mirrored = [0.01, 0.20, 0.40, 0.39];
        let mut comparison = Comparison::default();
        comparison.begin(&logits([0.4, 0.2, 0.2, 0.2])).unwrap();
        comparison.meet(&logits(A), Divergence::Jsd).unwrap();
        let first = comparison.distance;
        comparison.meet(&logits(mirrored), Divergence::Jsd).unwrap();
        assert!((comparison.distance - first).abs() < 1e-12);
        assert_eq!(comparison.early, logits(A));
    }

    #[test]
    fn bans_stay_and_do_not_decide() {
        const BAN: f32 = f32::NEG_INFINITY;
        for by in [Divergence::Jsd, Divergence::Reference] {
            let mut comparison = Comparison::default();
            comparison.begin(&[1.0, 0.5, BAN, 0.9]).unwrap();
            comparison.meet(&[0.0, 0.5, 0.0, BAN], by).unwrap();
            assert!(comparison.distance.is_finite(), "{by:?}");
            let mut out = Vec::new();
            comparison.finish(&mut out).unwrap();
            assert!(out[0].is_finite() && out[1].is_finite());
            assert_eq!(out[2..], [BAN; 2]);
        }
    }
}
