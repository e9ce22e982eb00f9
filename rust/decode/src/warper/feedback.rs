//! What earlier draws leave behind besides their tokens: the cut of mirostat and the weights of adaptive p. It
//! reads the model's rows, so it is no function of the prefix alone: it moves with its sequence, and is rebuilt
//! only from the same rows.

use std::f64::consts::LN_2;

use tokenmill_core::SamplingParams;

use crate::pipeline::Step;

/// The state of a step that moves by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Feedback {
    /// No such step.
    #[default]
    None,
    /// Most bits a token may surprise by, and how that moves.
    Surprise { mu: f64, tau: f64, eta: f64 },
    /// Sums of the drawn probabilities and of their weights, each older one counting less.
    Aim { sum: f64, weight: f64, decay: f64 },
}

impl Feedback {
    /// Before the first token.
    pub(crate) fn new(params: &SamplingParams) -> Self {
        if Step::Mirostat.is_active(params) {
            let (tau, eta) = (params.mirostat.tau, params.mirostat.eta);
            let (tau, eta) = (f64::from(tau), f64::from(eta));
            let mu = 2.0 * tau;
            return Self::Surprise { mu, tau, eta };
        }
        match params.adaptive.target {
            Some(target) if Step::AdaptiveP.is_active(params) => {
                let decay = f64::from(params.adaptive.decay);
                let weight = 1.0 / (1.0 - decay);
                let sum = f64::from(target) * weight;
                Self::Aim { sum, weight, decay }
            }
            _ => Self::None,
        }
    }

    /// Whether it reads rows at all.
    pub(crate) fn is_moving(&self) -> bool {
        *self != Self::None
    }

    /// Most bits a token may surprise by.
    pub(crate) fn surprise_max(&self) -> f64 {
        match self {
            Self::Surprise { mu, .. } => *mu,
            _ => f64::INFINITY,
        }
    }

    /// The probability to prefer so that the drawn ones come to `target`.
    pub(crate) fn aim(&self, target: f64) -> f64 {
        match self {
            Self::Aim { sum, weight, .. } => (2.0 * target - sum / weight).clamp(0.0, 1.0),
            _ => target,
        }
    }

    /// Learns the natural logarithm of the drawn token's probability.
    pub(crate) fn learn(&mut self, ln_p: f64) {
        match self {
            Self::None => {}
            Self::Surprise { mu, tau, eta } => *mu -= *eta * (-ln_p / LN_2 - *tau),
            Self::Aim { sum, weight, decay } => {
                *sum = ln_p.exp() + *decay * *sum;
                *weight = 1.0 + *decay * *weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenmill_core::{Adaptive, Mirostat};

    fn after(params: &SamplingParams, p: f64) -> Feedback {
        let mut feedback = Feedback::new(params);
        feedback.learn(p.ln());
        feedback
    }

    #[test]
    fn mu_starts_at_twice_the_target_and_moves_by_the_error() {
        let params = SamplingParams {
            mirostat: Mirostat {
                version: 2,
                tau: 3.0,
                eta: 1.0,
                ..Mirostat::default()
            },
            ..SamplingParams::default()
        };
        assert_eq!(Feedback::new(&params).surprise_max(), 6.0);
        assert!((after(&params, 0.25).surprise_max() - 7.0).abs() < 1e-12);
        assert!((after(&params, 1.0 / 32.0).surprise_max() - 4.0).abs() < 1e-12);
    }

    #[test]
    fn the_aim_of_the_fixture_moves_to_what_balances_the_draw() {
        let adaptive = Adaptive {
            target: Some(0.3),
            decay: 0.9,
        };
        let params = SamplingParams {
            adaptive,
            ..SamplingParams::default()
        };
        let target = f64::from(0.3_f32);
        assert!((Feedback::new(&params).aim(target) - 0.3).abs() < 1e-6);
        assert!((after(&params, 0.25).aim(target) - 0.305).abs() < 1e-6);
    }

    #[test]
    fn a_greedy_request_has_none() {
        let params = SamplingParams {
            mirostat: Mirostat {
                version: 1,
                ..Mirostat::default()
            },
            temperature: 0.0,
            ..SamplingParams::default()
        };
        assert!(!Feedback::new(&params).is_moving());
    }
}
