//! Contrastive decoding: among the tokens that the model itself finds plausible, those that a weaker model likes less.

use tokenmill_core::{Contrastive, ContrastiveMode};

use super::normal::Normal;
use crate::row::NotAScore;

/// The scores of each token, from the rows of expert and amateur.
pub(super) fn contrast(
    (expert, amateur): (&[f32], &[f32]),
    rule: &Contrastive,
    out: &mut Vec<f32>,
) -> Result<(), NotAScore> {
    let own = Normal::of(expert, 1.0)?;
    let other = Normal::of(amateur, rule.temperature)?;
    let ln_share = f64::from(rule.alpha).ln();
    let (lambda, beta) = (f64::from(rule.lambda), f64::from(rule.beta));
    let score = |(&expert, &amateur): (&f32, &f32)| {
        if amateur == f32::NEG_INFINITY || !own.is_plausible(expert, ln_share) {
            return f32::NEG_INFINITY;
        }
        let score = match rule.mode {
            ContrastiveMode::Difference => own.ln_p(expert) - lambda * other.ln_p(amateur),
            ContrastiveMode::Scaled => {
                let amateur = f64::from(amateur) / f64::from(rule.temperature);
                (1.0 + beta) * f64::from(expert) - beta * amateur
            }
        };
        score as f32
    };
    out.clear();
    out.extend(expert.iter().zip(amateur).map(score));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAN: f32 = f32::NEG_INFINITY;

    fn contrasted(expert: &[f32], amateur: &[f32], rule: &Contrastive) -> Vec<f32> {
        let mut out = Vec::new();
        contrast((expert, amateur), rule, &mut out).unwrap();
        out
    }

    fn rule(mode: ContrastiveMode) -> Contrastive {
        Contrastive {
            mode,
            ..Contrastive::default()
        }
    }

    /// A vocabulary of Hubei, Ming, and the rest in many unlikely tokens.
    fn course(of: [f64; 2]) -> Vec<f32> {
        let rest = (1.0 - of[0] - of[1]) / 75.0;
        let all = of.into_iter().chain(std::iter::repeat_n(rest, 75));
        all.map(|p| p.ln() as f32).collect()
    }

    fn best(scores: &[f32]) -> usize {
        let larger = |best: usize, i: usize| if scores[i] > scores[best] { i } else { best };
        (0..scores.len()).fold(0, larger)
    }

    #[test]
    fn the_difference_is_that_of_the_course_text() {
        let (expert, amateur) = (course([0.15, 0.10]), course([0.10, 0.001]));
        let scores = contrasted(&expert, &amateur, &rule(ContrastiveMode::Difference));
        assert!((scores[0] - 0.405_465).abs() < 2e-6, "{}", scores[0]);
        assert!((scores[1] - 4.605_17).abs() < 2e-6, "{}", scores[1]);
        assert!(scores[2..].iter().all(|&score| score == BAN));
        let sum = scores[0].exp() + scores[1].exp();
        assert!((scores[0].exp() / sum - 0.014_78).abs() < 1e-5);
        assert!((scores[1].exp() / sum - 0.985_22).abs() < 1e-5);
    }

    #[test]
    fn scaled_scores_are_those_of_the_course_text() {
        let (expert, amateur) = (course([0.15, 0.10]), course([0.10, 0.001]));
        let scores = contrasted(&expert, &amateur, &rule(ContrastiveMode::Scaled));
        assert!((scores[0] + 1.694_387).abs() < 2e-6, "{}", scores[0]);
        assert!(scores[1].abs() < 2e-6, "{}", scores[1]);
        for (beta, winner) in [(0.0965, 0), (0.0966, 1)] {
            let rule = Contrastive {
                beta,
                ..rule(ContrastiveMode::Scaled)
            };
            assert_eq!(
                best(&contrasted(&expert, &amateur, &rule)),
                winner,
                "{beta}"
            );
        }
    }

    #[test]
    fn a_full_share_leaves_the_experts_best_token() {
        let expert = [0.5, 2.0, 1.9, -3.0];
        for mode in [ContrastiveMode::Difference, ContrastiveMode::Scaled] {
            let rule = Contrastive {
                alpha: 1.0,
                ..rule(mode)
            };
            let scores = contrasted(&expert, &[5.0, 9.0, -9.0, 0.0], &rule);
            assert!(scores[1].is_finite());
            assert_eq!([scores[0], scores[2], scores[3]], [BAN; 3]);
        }
    }

    #[test]
    fn a_share_of_zero_keeps_every_token_that_is_allowed() {
        let rule = Contrastive {
            alpha: 0.0,
            ..Contrastive::default()
        };
        let scores = contrasted(&[0.0, -90.0, BAN, 1.0], &[0.0, 0.0, 0.0, BAN], &rule);
        assert!(scores[0].is_finite() && scores[1].is_finite());
        assert_eq!(scores[2..], [BAN; 2]);
    }

    #[test]
    fn equal_models_with_a_weight_of_one_are_uniform_on_the_set() {
        let row: Vec<f32> = (0..1000)
            .map(|i| ((i * 7919) % 1000) as f32 / 50.0)
            .collect();
        let scores = contrasted(&row, &row, &Contrastive::default());
        let kept: Vec<f32> = scores.into_iter().filter(|&score| score > BAN).collect();
        assert!(
            kept.len() > 10 && kept.iter().all(|&score| score == 0.0),
            "{kept:?}"
        );
    }

    #[test]
    fn a_uniform_amateur_keeps_the_experts_ranking() {
        let expert: Vec<f32> = (0..200).map(|i| ((i * 77) % 200) as f32 / 64.0).collect();
        for mode in [ContrastiveMode::Difference, ContrastiveMode::Scaled] {
            let scores = contrasted(&expert, &[1.5; 200], &rule(mode));
            for a in 0..200 {
                for b in 0..200 {
                    if scores[a] > BAN && scores[b] > BAN {
                        assert_eq!(scores[a] > scores[b], expert[a] > expert[b]);
                    }
                }
            }
        }
    }

    #[test]
    fn the_amateurs_temperature_divides_its_logits() {
        let (expert, amateur) = ([1.0, 0.5, 0.7], [2.0, -1.0, 0.25]);
        let halved = amateur.map(|logit| logit / 0.5);
        for mode in [ContrastiveMode::Difference, ContrastiveMode::Scaled] {
            let cold = Contrastive {
                temperature: 0.5,
                ..rule(mode)
            };
            assert_eq!(
                contrasted(&expert, &amateur, &cold),
                contrasted(&expert, &halved, &rule(mode))
            );
        }
    }

    #[test]
    fn nan_in_either_row_is_told() {
        let mut out = Vec::new();
        let (good, bad) = ([0.0, 1.0], [0.0, f32::NAN]);
        for rows in [(&good, &bad), (&bad, &good)] {
            assert!(contrast((rows.0, rows.1), &Contrastive::default(), &mut out).is_err());
        }
    }
}
