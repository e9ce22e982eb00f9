//! Cuts by surprise, entropy and spread: the known sets of P7, then random rows against float64.

use proptest::prelude::*;
use tokenmill_core::{LogprobsMode, NamedPipeline, PipelineChoice, SamplingParams, Xtc};
use tokenmill_decode::Scratch;

use super::{kept, processed, values};
use crate::rows::{P7, Prefix, normal_row, p7, tied_row};

fn p7_keeps(params: &SamplingParams) -> Vec<usize> {
    kept(params, &Prefix::default(), &p7())
}

fn sampled() -> SamplingParams {
    SamplingParams::default()
}

#[test]
fn each_cut_keeps_the_known_sets_of_p7() {
    type Cut = fn(f32) -> SamplingParams;
    let typical: Cut = |typical_p| SamplingParams {
        typical_p,
        ..sampled()
    };
    let epsilon: Cut = |epsilon_cutoff| SamplingParams {
        epsilon_cutoff,
        ..sampled()
    };
    let eta: Cut = |eta_cutoff| SamplingParams {
        eta_cutoff,
        ..sampled()
    };
    let top_h: Cut = |share| SamplingParams {
        top_h: Some(share),
        ..sampled()
    };
    let sigma: Cut = |top_n_sigma| SamplingParams {
        top_n_sigma,
        ..sampled()
    };
    let cases: [(Cut, f32, &[usize]); 14] = [
        (typical, 0.3, &[1, 2]),
        (typical, 0.7, &[0, 1, 2]),
        (typical, 0.9, &[0, 1, 2, 3, 4]),
        (epsilon, 0.06, &[0, 1, 2, 3]),
        (epsilon, 0.2, &[0, 1]),
        (epsilon, 0.999, &[0]),
        (eta, 0.1, &[0, 1, 2, 3]),
        (eta, 0.3, &[0, 1, 2]),
        (top_h, 0.4, &[0]),
        (top_h, 0.5, &[0, 1]),
        (top_h, 0.8, &[0, 1, 2, 3]),
        (top_h, 1.0, &[0, 1, 2, 3, 4, 5, 6]),
        (sigma, 1.0, &[0, 1]),
        (sigma, 2.0, &[0, 1, 2, 3]),
    ];
    for (index, (cut, size, expected)) in cases.into_iter().enumerate() {
        assert_eq!(p7_keeps(&cut(size)), expected, "case {index}: {size}");
    }
}

#[test]
fn cuts_at_their_defaults_do_nothing_and_equal_values_go_by_id() {
    assert_eq!(p7_keeps(&sampled()).len(), 7);
    let even = |params: &SamplingParams| kept(params, &Prefix::default(), &[1.5; 8]);
    assert_eq!(
        even(&SamplingParams {
            typical_p: 0.5,
            ..sampled()
        }),
        [0, 1, 2, 3]
    );
    assert_eq!(
        even(&SamplingParams {
            top_h: Some(0.5),
            ..sampled()
        }),
        [0, 1, 2, 3]
    );
    let llamacpp = SamplingParams {
        typical_p: 0.5,
        pipeline: PipelineChoice::Named(NamedPipeline::Llamacpp),
        ..sampled()
    };
    assert_eq!(even(&llamacpp), [0, 1, 2, 3, 4], "more than the share");
    let params = SamplingParams {
        epsilon_cutoff: 0.9,
        ..sampled()
    };
    assert_eq!(even(&params), [0], "the first in any case, and no other");
    let params = SamplingParams {
        top_n_sigma: 0.5,
        ..sampled()
    };
    assert_eq!(even(&params).len(), 8, "no deviation at all");
}

#[test]
fn the_temperature_of_p7_follows_its_entropy() {
    let params = SamplingParams {
        dynatemp_range: 0.5,
        ..sampled()
    };
    let logits = values(
        &params,
        LogprobsMode::ProcessedLogits,
        &Prefix::default(),
        &p7(),
    );
    for (logit, p) in logits.iter().zip(P7) {
        assert!((p.ln() / logit - 1.313_735).abs() < 2e-6, "{logit}");
    }
    // Exponent 0 is the upper end, whatever the entropy.
    let params = SamplingParams {
        dynatemp_exponent: 0.0,
        ..params
    };
    let logits = values(
        &params,
        LogprobsMode::ProcessedLogits,
        &Prefix::default(),
        &p7(),
    );
    assert!((P7[3].ln() / logits[3] - 1.5).abs() < 1e-5);
    // One candidate stays as it is; a temperature of nothing keeps the best.
    let one = [1.0, f32::NEG_INFINITY];
    let left = values(
        &params,
        LogprobsMode::ProcessedLogits,
        &Prefix::default(),
        &one,
    );
    assert_eq!(left, [1.0, f64::NEG_INFINITY]);
    let cold = SamplingParams {
        dynatemp_range: 1.0,
        ..sampled()
    };
    assert_eq!(kept(&cold, &Prefix::default(), &[90.0, 0.0, 0.0]), [0]);
}

fn xtc(probability: f32, threshold: f32) -> SamplingParams {
    SamplingParams {
        xtc: Xtc {
            probability,
            threshold,
        },
        ..sampled()
    }
}

#[test]
fn xtc_leaves_the_last_of_the_likely_tokens_and_all_below_them() {
    let cases: [(f32, &[usize]); 6] = [
        (0.1, &[2, 3, 4, 5, 6]),
        (0.2, &[1, 2, 3, 4, 5, 6]),
        (0.3, &[0, 1, 2, 3, 4, 5, 6]),
        (0.51, &[0, 1, 2, 3, 4, 5, 6]),
        (0.0, &[6]),
        (0.0399, &[5, 6]),
    ];
    for (threshold, expected) in cases {
        assert_eq!(p7_keeps(&xtc(1.0, threshold)), expected, "{threshold}");
    }
    assert_eq!(
        kept(&xtc(1.0, 0.2), &Prefix::default(), &[0.0; 4]),
        [3],
        "of ties the last id"
    );
}

#[test]
fn the_coins_of_seed_42_say_when_xtc_acts() {
    for (position, coin) in [(0, 0.126_032), (1, 0.272_126), (2, 0.127_036)] {
        let prefix = Prefix::seeded(42, position);
        let count = |probability| kept(&xtc(probability, 0.1), &prefix, &p7()).len();
        assert_eq!((count(coin - 1e-5), count(coin + 1e-5)), (7, 5));
    }
}

#[test]
fn what_is_drawn_after_the_best_was_dropped_is_one_of_what_is_left() {
    for seed in 0..200 {
        let params = SamplingParams {
            typical_p: 0.3,
            temperature: 0.7,
            ..sampled()
        };
        let token = Prefix::seeded(seed, 3)
            .choose(&params, &p7())
            .unwrap()
            .token;
        let left = kept(&params, &Prefix::seeded(seed, 3), &p7());
        assert!(left.contains(&(token as usize)), "{token} {left:?}");
        let token = Prefix::seeded(seed, 3)
            .choose(&xtc(1.0, 0.1), &p7())
            .unwrap()
            .token;
        assert!(token >= 2, "{token}");
    }
}

#[test]
fn renormalised_logits_are_log_probs_also_of_a_greedy_request() {
    for temperature in [0.0, 0.7] {
        let plain = SamplingParams {
            temperature,
            logit_bias: vec![(3, 4.0)],
            ..sampled()
        };
        let params = SamplingParams {
            renormalize_logits: true,
            ..plain.clone()
        };
        let shown = values(
            &params,
            LogprobsMode::ProcessedLogits,
            &Prefix::default(),
            &p7(),
        );
        assert_eq!(shown, processed(&plain, &Prefix::default(), &p7()));
        assert!((shown.iter().map(|value| value.exp()).sum::<f64>() - 1.0).abs() < 1e-5);
    }
}

/// Kept ids in float64, and whether every threshold was cleared by a margin.
fn in_float64(params: &SamplingParams, row: &[f32]) -> (Vec<usize>, bool) {
    const MARGIN: f64 = 3e-6;
    let mut clear = true;
    let mut left: Vec<usize> = (0..row.len()).filter(|&id| row[id].is_finite()).collect();
    let z = |id: usize| f64::from(row[id]) / f64::from(params.temperature);
    let max = left.iter().map(|&id| z(id)).fold(f64::MIN, f64::max);
    let sum = left.iter().map(|&id| (z(id) - max).exp()).sum::<f64>();
    let p = |id: usize| (z(id) - max).exp() / sum;
    let entropy = -left
        .iter()
        .map(|&id| p(id) * p(id).ln().max(-800.0))
        .sum::<f64>();
    let mut best_first = left.clone();
    best_first.sort_by(|&a, &b| z(b).total_cmp(&z(a)).then(a.cmp(&b)));
    let best = best_first[0];
    let mut keep_above = |bound: f64, left: &mut Vec<usize>| {
        clear &= left
            .iter()
            .all(|&id| (z(id) - max - bound).abs() > MARGIN * (1.0 + bound.abs()));
        left.retain(|&id| id == best || z(id) - max >= bound);
    };
    if params.top_n_sigma > 0.0 {
        let count = left.len() as f64;
        let mean = left.iter().map(|&id| z(id)).sum::<f64>() / count;
        let spread = left.iter().map(|&id| (z(id) - mean).powi(2)).sum::<f64>() / count;
        keep_above(-f64::from(params.top_n_sigma) * spread.sqrt(), &mut left);
    }
    let epsilon = f64::from(params.epsilon_cutoff);
    if epsilon > 0.0 {
        keep_above(epsilon.ln() + sum.ln(), &mut left);
    }
    let eta = f64::from(params.eta_cutoff);
    if eta > 0.0 {
        keep_above(
            eta.min(eta.sqrt() * (-entropy).exp()).ln() + sum.ln(),
            &mut left,
        );
    }
    if params.typical_p < 1.0 {
        let distance = |id: usize| (-p(id).ln() - entropy).abs();
        left.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)).then(a.cmp(&b)));
        let (mut mass, mut count) = (0.0, 0);
        let share = f64::from(params.typical_p);
        while count < left.len() && mass < share {
            mass += p(left[count]);
            count += 1;
            clear &= (mass - share).abs() > MARGIN;
        }
        for next in count..left.len().min(count + 1) {
            // Equal logits are equal in f32 too and go by id.
            let is_tied = row[left[next]] == row[left[count - 1]];
            let gap = distance(left[next]) - distance(left[count - 1]);
            clear &= is_tied || gap > MARGIN;
        }
        left.truncate(count);
        left.sort_unstable();
    }
    if let Some(share) = params.top_h {
        let first = &best_first[..best_first.len().min(100)];
        let total: f64 = first.iter().map(|&id| p(id)).sum();
        let term = |id: usize| -(p(id) / total) * (p(id) / total).ln();
        let whole: f64 = first.iter().map(|&id| term(id)).sum();
        let mut reached = 0.0;
        let mut count = 0;
        for &id in first {
            reached += term(id);
            clear &= (reached - f64::from(share) * whole).abs() > MARGIN * (1.0 + whole);
            count += usize::from(reached <= f64::from(share) * whole);
        }
        left.retain(|id| first[..count.max(1)].contains(id));
    }
    (left, clear)
}

fn rows() -> impl Strategy<Value = Vec<f32>> {
    let len = prop_oneof![1_usize..20, 50_usize..200, 900_usize..3000];
    (any::<i64>(), len, 0_u32..4, 0.3_f64..6.0).prop_map(|(key, len, shape, spread)| {
        let mut row = match shape {
            0 => tied_row(key, len, 12),
            _ => normal_row(key, len, spread),
        };
        if shape == 3 {
            row.iter_mut()
                .skip(1)
                .step_by(3)
                .for_each(|value| *value = f32::NEG_INFINITY);
        }
        row
    })
}

fn cuts() -> impl Strategy<Value = SamplingParams> {
    (0_u32..5, 0.001_f32..0.999, 0.2_f32..2.5).prop_map(|(which, size, temperature)| {
        let mut params = SamplingParams {
            temperature,
            ..sampled()
        };
        match which {
            0 => params.typical_p = size,
            1 => params.epsilon_cutoff = size * size * size,
            2 => params.eta_cutoff = size * size * size,
            3 => params.top_h = Some(size),
            _ => params.top_n_sigma = size * 5.0,
        }
        params
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn kept_sets_are_those_of_float64(row in rows(), params in cuts()) {
        let (expected, is_clear) = in_float64(&params, &row);
        prop_assume!(is_clear);
        prop_assert_eq!(kept(&params, &Prefix::default(), &row), expected);
    }

    #[test]
    fn a_draw_is_the_best_of_score_and_noise_among_what_is_left(
        row in rows(),
        params in cuts(),
        leaves_out in any::<bool>(),
        seed in any::<i64>(),
    ) {
        let mut params = params;
        params.xtc.probability = if leaves_out { 1.0 } else { 0.0 };
        let prefix = Prefix::seeded(seed, 4.min(row.len()));
        let left = values(&params, LogprobsMode::ProcessedLogits, &prefix, &row);
        let left: Vec<f32> = left.iter().map(|&value| value as f32).collect();
        let token = prefix.choose(&params, &row).unwrap().token;
        // The shift by the best score may round two values into a tie, so the drawn one is compared by its value.
        let noise = tokenmill_core::noise::Noise::new(
            seed, prefix.position(), 0, tokenmill_core::noise::Purpose::Draw);
        let value = |id: usize| left[id] + tokenmill_core::noise::gumbel(noise.word(id as u32));
        let finite = (0..row.len()).filter(|&id| left[id].is_finite());
        let most = finite.map(value).fold(f32::NEG_INFINITY, f32::max);
        prop_assert!(value(token as usize) >= most - 1e-4, "{} {}", value(token as usize), most);
    }

    #[test]
    fn a_cut_keeps_a_token_and_a_cut_that_never_drops_the_best_keeps_it(row in rows(), params in cuts()) {
        let left = kept(&params, &Prefix::default(), &row);
        prop_assert!(!left.is_empty());
        let greedy = SamplingParams { temperature: 0.0, typical_p: 1.0, ..params.clone() };
        let best = Prefix::default().choose(&greedy, &row).unwrap().token;
        prop_assert!(params.typical_p < 1.0 || left.contains(&(best as usize)));
    }
}

#[test]
fn cuts_of_a_real_vocabulary_size_equal_float64() {
    let mut compared = 0;
    let mut scratch = Scratch::new();
    for key in 0..30 {
        let row = normal_row(key, 49_152, 1.0 + key as f64 / 8.0);
        let mut params = sampled();
        match key % 5 {
            0 => params.typical_p = 0.3 + key as f32 / 100.0,
            1 => params.epsilon_cutoff = 3e-4,
            2 => params.eta_cutoff = 6e-4,
            3 => params.top_h = Some(0.4),
            _ => params.top_n_sigma = 2.5,
        }
        let (expected, is_clear) = in_float64(&params, &row);
        if !is_clear {
            continue;
        }
        compared += 1;
        assert_eq!(kept(&params, &Prefix::default(), &row), expected, "{key}");
        let sampler = Prefix::default().sampler(&params, row.len()).unwrap();
        let token = sampler.sample(&row, &mut scratch).unwrap().token;
        assert!(expected.contains(&(token as usize)));
    }
    assert!(compared > 10, "{compared} rows had clear thresholds");
}
