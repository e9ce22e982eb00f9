//! Mirostat and adaptive p: known answers, the mean surprise, and a state that moves whole and is rebuilt from rows.

use proptest::prelude::*;
use tokenmill_core::{Adaptive, LogprobsMode, Mirostat, MirostatVariant, SamplingParams};
use tokenmill_decode::{Sampler, Scratch};

use super::{kept, processed, values};
use crate::rows::{P7, Prefix, normal_row, p7};
use MirostatVariant::{Authors, Llamacpp};

fn mirostat(version: u32, variant: MirostatVariant, tau: f32, eta: f32) -> SamplingParams {
    SamplingParams {
        mirostat: Mirostat {
            version,
            tau,
            eta,
            variant,
        },
        ..SamplingParams::default()
    }
}

fn adaptive(target: f32) -> SamplingParams {
    SamplingParams {
        adaptive: Adaptive {
            target: Some(target),
            ..Adaptive::default()
        },
        ..SamplingParams::default()
    }
}

#[test]
fn the_first_cut_is_at_twice_the_wanted_surprise() {
    // mu = 3.
    let keeps = |params: &SamplingParams| kept(params, &Prefix::default(), &p7());
    for variant in [Authors, Llamacpp] {
        assert_eq!(keeps(&mirostat(2, variant, 1.5, 0.1)), [0, 1, 2]);
        assert_eq!(keeps(&mirostat(2, variant, 0.0, 0.1)), [0], "at least one");
    }
    assert_eq!(
        keeps(&mirostat(1, Llamacpp, 1.5, 0.1)),
        [0, 1, 2],
        "N = 7: k = 3"
    );
    assert_eq!(
        keeps(&mirostat(1, Authors, 1.5, 0.1)),
        [0, 1],
        "N = 50,000: k = 2"
    );
    let flat = |version| {
        kept(
            &mirostat(version, Llamacpp, 1.0, 0.1),
            &Prefix::default(),
            &[2.0; 70],
        )
    };
    assert_eq!(flat(1).len(), 70, "a flat row keeps all");
    assert_eq!(flat(2), [0], "of equal ones the first");
}

/// The kept set after the tokens of `output` came behind the same row each time.
fn kept_after(params: &SamplingParams, output: &[u32], row: &[f32]) -> Vec<f64> {
    let params = SamplingParams {
        logprobs: Some(u32::MAX),
        logprobs_mode: LogprobsMode::ProcessedLogprobs,
        ..params.clone()
    };
    let mut scratch = Scratch::new();
    let mut sampler = Prefix::default().sampler(&params, row.len()).unwrap();
    for &token in output {
        sampler.replay(row, token, &mut scratch).unwrap();
    }
    let mut left = vec![f64::NAN; row.len()];
    for entry in sampler.sample(row, &mut scratch).unwrap().logprobs.unwrap() {
        left[entry.token as usize] = f64::from(entry.logprob);
    }
    left
}

#[test]
fn each_variant_measures_the_surprise_in_its_own_distribution() {
    // tau 3, mu 6: all of P7 but what surprises more than 6 bits; token 1 surprises by 2 bits of all. After it the
    // authors' mu is 6 - (2 - 3) = 7.
    let bits = |p: f64| -p.log2();
    let mut row: Vec<f32> = p7();
    // One more token that surprises by 6.5 bits: out at mu 6, in at mu 7.
    let rare = 2.0_f64.powf(-6.5);
    row.push((rare / (1.0 - rare)).ln() as f32);
    let keeps_rare = |variant, eta, output: &[u32]| {
        let left = kept_after(&mirostat(2, variant, 3.0, eta), output, &row);
        left[7].is_finite()
    };
    assert!(bits(rare) > 6.0);
    assert!(!keeps_rare(Authors, 1.0, &[]));
    assert!(keeps_rare(Authors, 1.0, &[1]), "a likely token lifts mu");
    assert!(
        !keeps_rare(Authors, 1.0, &[1, 6, 6, 6]),
        "unlikely ones lower it"
    );
    assert!(!keeps_rare(Llamacpp, 0.1, &[1]));
}

#[test]
fn a_slow_cut_moves_by_the_surprise_after_truncation() {
    // mu = 2 tau = 3, {0, 1, 2} stay, token 1 surprises by -log2(.25 / .8); mu' = 3 - 1 (1.678 - 1.5) = 2.822 keeps
    // only what surprises less: token 2 with 2.737 bits. By the whole distribution mu' is 2.5, and token 2 goes.
    let left = |variant| {
        let left = kept_after(&mirostat(2, variant, 1.5, 1.0), &[1], &p7());
        (0..7)
            .filter(|&id: &usize| left[id].is_finite())
            .collect::<Vec<_>>()
    };
    assert_eq!(left(Llamacpp), [0, 1, 2]);
    assert_eq!(left(Authors), [0, 1]);
}

#[test]
fn the_mean_surprise_meets_its_target() {
    for version in [1, 2] {
        let params = SamplingParams {
            logprobs: Some(0),
            ..mirostat(version, Authors, 3.0, 1.0)
        };
        let mut scratch = Scratch::new();
        let mut sampler = Prefix::seeded(7, 1).sampler(&params, 3000).unwrap();
        let mut sum = 0.0;
        const STEPS: usize = 500;
        for step in 0..STEPS {
            let row = normal_row(step as i64, 3000, 3.5);
            let choice = sampler.sample(&row, &mut scratch).unwrap();
            let entries = choice.logprobs.as_ref().unwrap();
            sum -= f64::from(entries[0].logprob) / std::f64::consts::LN_2;
            sampler.commit(&choice);
        }
        let mean = sum / STEPS as f64;
        assert!(
            (mean / 3.0 - 1.0).abs() < 0.05,
            "version {version}: {mean} bits"
        );
    }
}

#[test]
fn adaptive_p_prefers_the_probability_it_aims_at() {
    let expected = [0.2876, 0.5215, 0.1250, 0.0297, 0.0150, 0.0118, 0.0093];
    let left = processed(&adaptive(0.3), &Prefix::default(), &p7());
    for (got, expected) in left.iter().zip(expected) {
        assert!((got.exp() - expected).abs() < 6e-5, "{left:?}");
    }
    // After token 1 the aim is .305.
    let left = kept_after(&adaptive(0.3), &[1], &p7());
    let score = |p: f64| {
        let x = (p - 0.305_f64).abs() / 0.3;
        5.0 - 10.0 * x * x / (1.0 + x)
    };
    let sum: f64 = P7.iter().map(|&p| score(p).exp()).sum();
    for (got, p) in left.iter().zip(P7) {
        assert!((got.exp() - score(p).exp() / sum).abs() < 1e-5, "{left:?}");
    }
    let logits = values(
        &adaptive(0.3),
        LogprobsMode::ProcessedLogits,
        &Prefix::default(),
        &p7(),
    );
    let x = 0.1_f64 / 0.3;
    assert!(
        (logits[0] - (5.0 - 10.0 * x * x / (1.0 + x))).abs() < 1e-4,
        "{logits:?}"
    );
}

#[test]
fn min_p_before_adaptive_p_takes_the_tail_and_the_aim_is_among_what_is_left() {
    let cut = SamplingParams {
        min_p: 0.15,
        ..adaptive(0.3)
    };
    // Of P7 min_p .15 leaves four tokens of mass .88.
    let left = processed(&cut, &Prefix::default(), &p7());
    let score = |p: f64| {
        let x = (p / 0.88 - 0.3_f64).abs() / 0.3;
        5.0 - 10.0 * x * x / (1.0 + x)
    };
    let sum: f64 = P7[..4].iter().map(|&p| score(p).exp()).sum();
    for (got, p) in left[..4].iter().zip(P7) {
        assert!((got.exp() - score(p).exp() / sum).abs() < 1e-5, "{left:?}");
    }
    assert!(
        left[4..].iter().all(|&gone| gone == f64::NEG_INFINITY),
        "{left:?}"
    );
}

fn moving() -> impl Strategy<Value = SamplingParams> {
    let variant = prop_oneof![Just(Authors), Just(Llamacpp)];
    (0_u32..3, variant, 0.5_f32..6.0, 0.05_f32..1.5).prop_map(|(which, variant, tau, eta)| {
        match which {
            0 => SamplingParams {
                temperature: 0.8,
                min_p: if eta > 0.5 { 0.05 } else { 0.0 },
                ..adaptive(tau / 6.0)
            },
            version => SamplingParams {
                temperature: 1.3,
                repetition_penalty: 1.2,
                ..mirostat(version, variant, tau, eta)
            },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_state_is_rebuilt_from_the_same_tokens_and_rows_at_every_position(
        params in moving(),
        seed in any::<i64>(),
        key in 0_i64..1000,
    ) {
        let rows: Vec<Vec<f32>> = (0..12).map(|at| normal_row(100 * key + at, 300, 2.0)).collect();
        let start = |_: usize| -> Sampler { Prefix::seeded(seed, 2).sampler(&params, 300).unwrap() };
        let mut scratch = Scratch::new();
        let mut grown = start(0);
        let mut tokens = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let choice = grown.sample(row, &mut scratch).unwrap();
            prop_assert!(choice.observed.is_some());
            grown.commit(&choice);
            tokens.push(choice.token);
            let mut rebuilt = start(at);
            for (row, &token) in rows.iter().zip(&tokens) {
                rebuilt.replay(row, token, &mut scratch).unwrap();
            }
            prop_assert_eq!(&rebuilt, &grown);
        }
    }

    #[test]
    fn another_token_than_ones_own_is_learned_as_it_was_seen(params in moving(), token in 0_u32..300) {
        let row = normal_row(5, 300, 1.0);
        let mut scratch = Scratch::new();
        let start = Prefix::seeded(1, 2).sampler(&params, 300).unwrap();
        let own = start.sample(&row, &mut scratch).unwrap();
        let (mut own_way, mut other_way) = (start.clone(), start);
        own_way.commit(&own);
        other_way.replay(&row, token, &mut scratch).unwrap();
        let same = own.token == token;
        let is_equal = own_way == other_way;
        prop_assert!(is_equal || !same);
        prop_assert!(same || !is_equal);
    }
}
