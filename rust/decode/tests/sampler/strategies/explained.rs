//! Explanations against the sampler that they explain: the same token, and behind every step what a sampler with only
//! the steps up to there would report.

use proptest::prelude::*;
use tokenmill_core::explain::{Explanation, Pick};
use tokenmill_core::{LogprobsMode, SamplingParams, Xtc};
use tokenmill_decode::source::Mixed;
use tokenmill_decode::{Choice, Scratch};

use crate::rows::{Prefix, normal_row, tied_row};

const TOP: u32 = 7;

fn explain(prefix: &Prefix, params: &SamplingParams, row: &[f32]) -> (Choice, Explanation) {
    let sampler = prefix.sampler(params, row.len()).unwrap();
    let scratch = &mut Scratch::new();
    sampler.explain(Mixed::plain(row), TOP, scratch).unwrap()
}

fn picked(explanation: &Explanation) -> u32 {
    match &explanation.pick {
        Pick::Greedy { token, .. } | Pick::Race { token, .. } => *token,
        other => panic!("{other:?}"),
    }
}

/// Asks for one more step.
type Ask = fn(&mut SamplingParams);

/// Each asks for the step of its name, in the order of the pipeline.
const ASKS: [(&str, Ask); 14] = [
    ("logit_bias", |params| {
        params.logit_bias = vec![(3, 2.5), (4, -100.0)];
    }),
    ("repetition_penalty", |params| {
        params.repetition_penalty = 1.3;
    }),
    ("frequency_penalty", |params| params.frequency_penalty = 0.4),
    ("presence_penalty", |params| params.presence_penalty = 0.3),
    ("no_repeat_ngram", |params| params.no_repeat_ngram_size = 2),
    ("suppress", |params| params.suppress_tokens = vec![6]),
    ("temperature", |params| params.temperature = 0.8),
    ("top_n_sigma", |params| params.top_n_sigma = 3.0),
    ("top_k", |params| params.top_k = 40),
    ("top_p", |params| params.top_p = 0.95),
    ("min_p", |params| params.min_p = 0.02),
    ("typical_p", |params| params.typical_p = 0.9),
    ("epsilon_cutoff", |params| params.epsilon_cutoff = 0.01),
    ("xtc", |params| {
        params.xtc = Xtc {
            probability: 0.9,
            threshold: 0.1,
        };
    }),
];

fn prefixes() -> impl Strategy<Value = Prefix> {
    let tokens = || prop::collection::vec(0_u32..19, 1..12);
    let parts = (any::<i64>(), 0_u32..4, tokens(), tokens());
    parts.prop_map(|(seed, sample_index, prompt, output)| Prefix {
        seed,
        sample_index,
        eos: vec![1],
        prompt,
        output,
    })
}

fn rows() -> impl Strategy<Value = Vec<f32>> {
    (any::<i64>(), 20_usize..400, any::<bool>()).prop_map(|(key, len, is_tied)| {
        if is_tied {
            tied_row(key, len, 40)
        } else {
            normal_row(key, len, 3.0)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_explained_choice_is_the_sampled_one(
        prefix in prefixes(), row in rows(), asked in prop::array::uniform14(any::<bool>()),
        is_greedy in any::<bool>(),
    ) {
        let mut params = SamplingParams::default();
        for ((_, ask), _) in ASKS.iter().zip(asked).filter(|(_, is_asked)| *is_asked) {
            ask(&mut params);
        }
        if is_greedy {
            params.temperature = 0.0;
            params.typical_p = 1.0;
            params.xtc.probability = 0.0;
        }
        let (choice, explanation) = explain(&prefix, &params, &row);
        prop_assert_eq!(&choice, &prefix.choose(&params, &row).unwrap());
        prop_assert_eq!(picked(&explanation), choice.token);
        if let Pick::Race { racers, runner_up, .. } = &explanation.pick {
            // The times tell the same: nobody who is shown is faster than the winner, and the second one stands there.
            let time = |token| racers.iter().find(|racer| racer.token == token).unwrap().time;
            let fastest = racers.iter().map(|racer| racer.time).fold(f64::INFINITY, f64::min);
            prop_assert!(time(choice.token) <= fastest * (1.0 + 1e-4));
            prop_assert!(runner_up.is_none_or(|token| time(token) >= time(choice.token) * (1.0 - 1e-4)));
        }
    }

    #[test]
    fn each_stage_is_what_a_sampler_with_only_the_steps_up_to_it_reports(prefix in prefixes(), row in rows()) {
        let mut all = SamplingParams::default();
        for (_, ask) in &ASKS {
            ask(&mut all);
        }
        let (choice, explanation) = explain(&prefix, &all, &row);
        prop_assert!(choice.lifted.is_empty());
        let names: Vec<&str> = explanation.stages.iter().map(|stage| stage.name).collect();
        let expected: Vec<&str> = ["logits"].into_iter().chain(ASKS.map(|(name, _)| name)).collect();
        prop_assert_eq!(names, expected);
        let mut params = SamplingParams {
            logprobs: Some(TOP),
            logprobs_mode: LogprobsMode::ProcessedLogprobs,
            ..SamplingParams::default()
        };
        for (index, stage) in explanation.stages.iter().enumerate() {
            if index > 0 {
                ASKS[index - 1].1(&mut params);
            }
            let partial = prefix.choose(&params, &row).unwrap();
            let entries = partial.logprobs.unwrap();
            let entries = entries.iter().filter(|entry| entry.logprob > f32::NEG_INFINITY);
            for (shown, entry) in stage.best.iter().zip(entries) {
                prop_assert_eq!(shown.token, entry.token, "{}", stage.name);
                let difference = shown.probability.ln() - f64::from(entry.logprob);
                prop_assert!(difference.abs() < 1e-4, "{}: {difference}", stage.name);
            }
            prop_assert_eq!(stage.best.len(), stage.left.min(TOP as usize));
        }
        for pair in explanation.stages.windows(2) {
            prop_assert!(pair[1].left <= pair[0].left);
            let kept = pair[0].best.iter().filter(|shown| !pair[1].dropped.contains(&shown.token));
            if pair[1].left == pair[0].left {
                prop_assert_eq!(kept.count(), pair[0].best.len());
            }
        }
    }
}

/// Coffee, water, tea and two more, as the course text's figure 9.2 has them.
fn figure_9_2() -> Vec<f32> {
    [0.681_f64, 0.119, 0.057, 0.083, 0.060]
        .map(|p| p.ln() as f32)
        .to_vec()
}

#[test]
fn the_distributions_are_those_of_the_course_text() {
    // The rest is spread, so that the three are the first.
    let mut row = figure_9_2()[..3].to_vec();
    row.extend([(0.143_f64 / 10.0).ln() as f32; 10]);
    for (temperature, expected) in [
        (1.0, [0.7946, 0.1389, 0.0665]),
        (0.7, [0.8996, 0.0744, 0.0260]),
        (1.3, [0.7094, 0.1854, 0.1052]),
    ] {
        let params = SamplingParams {
            temperature,
            top_k: 3,
            ..SamplingParams::default()
        };
        let (_, explanation) = explain(&Prefix::seeded(1, 2), &params, &row);
        let last = explanation.stages.last().unwrap();
        assert_eq!((last.name, last.left), ("top_k", 3));
        assert_eq!(last.option, Some(("top_k", "3".into())));
        // Of the seven that were shown before, four are gone.
        assert_eq!(last.dropped, [3, 4, 5, 6]);
        for (shown, expected) in last.best.iter().zip(expected) {
            assert!((shown.probability - expected).abs() < 6e-5, "{shown:?}");
        }
    }
}

#[test]
fn a_frequency_penalty_shows_what_it_took_from_a_repeated_token() {
    let row = [4.0, 3.0, 2.0, 1.0];
    let mut prefix = Prefix::seeded(1, 1);
    prefix.output = vec![0, 0, 0];
    let params = SamplingParams {
        temperature: 0.0,
        frequency_penalty: 0.5,
        ..SamplingParams::default()
    };
    let (choice, explanation) = explain(&prefix, &params, &row);
    assert_eq!(choice.token, 1);
    let scores = |index: usize| -> Vec<(u32, f32)> {
        let best = explanation.stages[index].best.iter();
        best.map(|shown| (shown.token, shown.score)).collect()
    };
    assert_eq!(scores(0), [(0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0)]);
    assert_eq!(scores(1), [(1, 3.0), (0, 2.5), (2, 2.0), (3, 1.0)]);
    let (token, runner_up) = (1, Some(0));
    assert_eq!(explanation.pick, Pick::Greedy { token, runner_up });
}

#[test]
fn a_lifted_ban_leaves_no_stage_and_is_named() {
    let mut prefix = Prefix::seeded(1, 1);
    prefix.output = vec![0, 1, 0];
    let params = SamplingParams {
        temperature: 0.0,
        no_repeat_ngram_size: 2,
        allowed_token_ids: Some(vec![1]),
        ..SamplingParams::default()
    };
    let (_, explanation) = explain(&prefix, &params, &[1.0, 2.0, 3.0]);
    let names: Vec<&str> = explanation.stages.iter().map(|stage| stage.name).collect();
    assert_eq!(names, ["logits", "allowed_token_ids"]);
    assert_eq!(explanation.lifted, ["no_repeat_ngram"]);
}

#[test]
fn a_second_row_and_what_was_made_of_it_are_shown() {
    use tokenmill_core::Contrastive;
    use tokenmill_decode::source::{MixBuffers, mix};
    // Hubei, Ming, and the rest in many unlikely tokens: the course text's example of contrastive decoding.
    let of = |pair: [f64; 2]| -> Vec<f32> {
        let rest = (1.0 - pair[0] - pair[1]) / 75.0;
        let all = pair.into_iter().chain(std::iter::repeat_n(rest, 75));
        all.map(|p| p.ln() as f32).collect()
    };
    let params = SamplingParams {
        temperature: 0.0,
        contrastive: Some(Contrastive::default()),
        ..SamplingParams::default()
    };
    let (expert, amateur) = (of([0.15, 0.10]), of([0.10, 0.001]));
    let mut buffers = MixBuffers::new();
    let mixed = mix(&params, (&expert, &amateur), 2, &mut buffers).unwrap();
    let sampler = Prefix::seeded(1, 2).sampler(&params, 77).unwrap();
    let (choice, explanation) = sampler.explain(mixed, 3, &mut Scratch::new()).unwrap();
    let names: Vec<&str> = explanation.stages.iter().map(|stage| stage.name).collect();
    assert_eq!(names, ["second_row", "logits", "contrastive"]);
    let [_, own, contrasted] = &explanation.stages[..] else {
        panic!("three stages");
    };
    assert!((own.best[0].probability - 0.15).abs() < 1e-6);
    assert_eq!((choice.token, contrasted.left), (1, 2));
    assert!((contrasted.best[0].probability - 0.985_22).abs() < 1e-5);
    assert!((contrasted.best[0].score - 4.605_17).abs() < 1e-5);
}
