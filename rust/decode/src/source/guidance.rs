//! Guidance without a classifier: s = u + g (c - u) on ln of the probabilities with and without the prompt.

use super::normal::Normal;
use crate::row::NotAScore;

/// The scores of each token, from the rows with and without the prompt.
pub(super) fn guide(
    (conditional, unconditional): (&[f32], &[f32]),
    scale: f32,
    out: &mut Vec<f32>,
) -> Result<(), NotAScore> {
    let with = Normal::of(conditional, 1.0)?;
    let without = Normal::of(unconditional, 1.0)?;
    let scale = f64::from(scale);
    let score = |(&with_logit, &without_logit): (&f32, &f32)| {
        let (c, u) = (with.ln_p(with_logit), without.ln_p(without_logit));
        if c == f64::NEG_INFINITY || u == f64::NEG_INFINITY {
            return f32::NEG_INFINITY;
        }
        (u + scale * (c - u)) as f32
    };
    out.clear();
    out.extend(conditional.iter().zip(unconditional).map(score));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guided(c: &[f32], u: &[f32], scale: f32) -> Vec<f32> {
        let mut out = Vec::new();
        guide((c, u), scale, &mut out).unwrap();
        out
    }

    #[test]
    fn the_scores_are_those_of_the_fixture() {
        let scores = guided(&[2.0, 1.0, 0.0], &[1.0; 3], 2.0);
        for (score, expected) in scores.iter().zip([0.2834, -1.7166, -3.7166]) {
            assert!((score - expected).abs() < 1e-4, "{scores:?}");
        }
        let sum: f32 = scores.iter().map(|score| score.exp()).sum();
        for (score, expected) in scores.iter().zip([0.8668, 0.1173, 0.0159]) {
            assert!((score.exp() / sum - expected).abs() < 1e-4, "{scores:?}");
        }
    }

    #[test]
    fn a_scale_of_zero_takes_the_other_row_and_one_the_models() {
        let (c, u) = ([0.3, -1.0, 4.0], [2.0, 0.5, -3.0]);
        let ln_p = |row: &[f32]| -> Vec<f32> {
            let normal = Normal::of(row, 1.0).unwrap();
            row.iter().map(|&z| normal.ln_p(z) as f32).collect()
        };
        assert_eq!(guided(&c, &u, 0.0), ln_p(&u));
        assert_eq!(guided(&c, &u, 1.0), ln_p(&c));
    }

    #[test]
    fn a_ban_in_either_row_stays() {
        const BAN: f32 = f32::NEG_INFINITY;
        for scale in [0.0, 1.0, 3.0] {
            let scores = guided(&[0.0, BAN, 0.0, BAN], &[0.0, 0.0, BAN, BAN], scale);
            assert!(scores[0].is_finite());
            assert_eq!(scores[1..], [BAN; 3]);
        }
    }
}
