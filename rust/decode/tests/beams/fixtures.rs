//! Searches whose results are known: a model that sees the last token only, and the smallest vocabularies.

use tokenmill_core::EarlyStopping::{self, False, Never, True};
use tokenmill_core::{Beams, SamplingParams, TokenId};
use tokenmill_decode::EndReason;

use crate::search::{Setting, beams, params};

const EOS: TokenId = 4;

/// No two sums of this model are equal.
fn bigram(prefix: &[TokenId]) -> Vec<f32> {
    let rows: [[f32; 5]; 4] = [
        [1.25, 2.5, 4.5, 1.625, 3.75],
        [4.25, 2.625, 1.125, 4.0, 2.0],
        [0.75, 4.0, 4.125, 0.5, 4.625],
        [3.75, 0.75, 4.5, 3.625, 4.75],
    ];
    let last = *prefix.last().unwrap() as usize;
    rows.get(last).copied().unwrap_or([0.0; 5]).to_vec()
}

/// Length penalty, width, rules with their steps, hypotheses with their scores.
type Row = (
    f64,
    u32,
    &'static [(EarlyStopping, usize)],
    &'static [(&'static [TokenId], f64)],
);

const ROWS: [Row; 9] = [
    (
        -1.0,
        2,
        &[(False, 2), (True, 2), (Never, 2)],
        &[(&[4], -1.28233), (&[2, 4], -2.62212)],
    ),
    (
        0.0,
        2,
        &[(False, 2), (True, 2), (Never, 2)],
        &[(&[4], -1.28233), (&[2, 4], -1.31106)],
    ),
    (
        0.0,
        3,
        &[(False, 3), (True, 3), (Never, 3)],
        &[
            (&[4], -1.28233),
            (&[2, 4], -1.31106),
            (&[2, 2, 4], -2.58979),
        ],
    ),
    (
        0.65,
        2,
        &[(False, 3), (Never, 5)],
        &[(&[2, 4], -0.83551), (&[2, 2, 4], -1.26805)],
    ),
    (
        0.65,
        2,
        &[(True, 2)],
        &[(&[2, 4], -0.83551), (&[4], -1.28233)],
    ),
    (
        1.0,
        2,
        &[(False, 3)],
        &[(&[2, 4], -0.65553), (&[2, 2, 4], -0.86326)],
    ),
    (
        1.0,
        2,
        &[(True, 2)],
        &[(&[2, 4], -0.65553), (&[4], -1.28233)],
    ),
    (
        1.0,
        2,
        &[(Never, 6)],
        &[(&[2, 4], -0.65553), (&[2, 1, 0, 2, 4], -0.80018)],
    ),
    (
        1.0,
        3,
        &[(False, 5), (Never, 6)],
        &[
            (&[2, 4], -0.65553),
            (&[2, 1, 0, 2, 4], -0.80018),
            (&[2, 2, 4], -0.86326),
        ],
    ),
];

#[test]
fn the_known_searches_find_what_is_known_in_as_many_steps() {
    let setting = Setting::new(&bigram, 5, &[EOS], 6);
    for (length_penalty, width, rules, expected) in ROWS {
        for &(early_stopping, steps) in rules {
            let found = setting.run(&params(Beams {
                early_stopping,
                ..beams(width, length_penalty)
            }));
            let case = format!("penalty {length_penalty}, {width} beams, {early_stopping:?}");
            assert_eq!(found.steps, steps, "{case}");
            let tokens: Vec<_> = expected.iter().map(|(tokens, _)| tokens.to_vec()).collect();
            assert_eq!(found.tokens(), tokens, "{case}");
            for (hypothesis, (tokens, score)) in found.hypotheses.iter().zip(expected) {
                assert!((f64::from(hypothesis.score) - score).abs() < 1e-5, "{case}");
                let len = tokens.len() as f64;
                let sum = score * len.powf(length_penalty);
                let own = f64::from(hypothesis.cumulative_logprob);
                assert!((own - sum).abs() < 2e-5 * len, "{case}");
                assert_eq!(hypothesis.reason, EndReason::Eos);
            }
        }
    }
}

#[test]
fn a_repetition_penalty_acts_on_log_probs_and_not_on_logits() {
    let model = |_: &[TokenId]| vec![2.0, 1.0, -1.0];
    let mut setting = Setting::new(&model, 3, &[], 1);
    setting.prompt = vec![0, 2];
    let found = setting.run(&SamplingParams {
        repetition_penalty: 1.5,
        ..params(beams(3, 1.0))
    });
    assert_eq!(found.tokens(), [[0], [1], [2]]);
    for (hypothesis, score) in found
        .hypotheses
        .iter()
        .zip([-0.523518, -1.349012, -5.023518])
    {
        assert!(
            (f64::from(hypothesis.score) - score).abs() < 1e-6,
            "{hypothesis:?}"
        );
    }
}

#[test]
fn fewer_outputs_than_beams_come_without_what_fills_their_places() {
    let model = |_: &[TokenId]| vec![0.5, 0.0, 1.0];
    let found = Setting::new(&model, 3, &[], 1).run(&params(beams(5, 1.0)));
    assert_eq!(found.tokens(), [[2], [0], [1]]);
    assert!(
        found
            .hypotheses
            .iter()
            .all(|found| found.reason == EndReason::Length)
    );
}
