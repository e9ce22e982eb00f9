//! Searches against what is obviously right: all outputs there are, greedy choices, and the rules written down as
//! they are published, with every beam and every candidate there from the start.

use tokenmill_core::EarlyStopping::{False, Never, True};
use tokenmill_core::{Beams, Dry, LengthPenaltyKind, SamplingParams, TokenId};

use crate::literal;
use crate::model::{hashed, mixed};
use crate::search::{Setting, beams, params};

const PENALTIES: [f64; 4] = [-1.0, 0.0, 0.65, 1.0];

/// The best score among all outputs, ends of the model or of the room.
fn optimum(setting: &Setting<'_>, length_penalty: f64) -> (Vec<TokenId>, f64) {
    let mut best = (Vec::new(), f64::NEG_INFINITY);
    let mut open = vec![(Vec::new(), 0.0)];
    while let Some((output, sum)) = open.pop() {
        let prefix: Vec<TokenId> = setting.prompt.iter().chain(&output).copied().collect();
        let row = (setting.model)(&prefix);
        let max = row.iter().copied().fold(f32::MIN, f32::max);
        let exp = |&logit: &f32| f64::from(logit - max).exp();
        let ln_sum = row.iter().map(exp).sum::<f64>().ln();
        for (token, &logit) in (0..).zip(&row) {
            let mut longer = output.clone();
            longer.push(token);
            let sum = sum + f64::from(logit - max) - ln_sum;
            if setting.eos.contains(&token) || longer.len() == setting.output_len_max {
                let score = sum / (longer.len() as f64).powf(length_penalty);
                if score > best.1 {
                    best = (longer, score);
                }
            } else {
                open.push((longer, sum));
            }
        }
    }
    best
}

#[test]
fn as_many_beams_as_there_are_prefixes_find_the_best_output_under_every_rule() {
    let mut found_by_two = [0; 4];
    let mut early_losses = [0; 4];
    for (place, &length_penalty) in PENALTIES.iter().enumerate() {
        for seed in 0..12 {
            let model = |prefix: &[TokenId]| hashed(prefix, 5, seed);
            let setting = Setting::new(&model, 5, &[4], 5);
            let (tokens, score) = optimum(&setting, length_penalty);
            let run = |width, early_stopping| {
                let found = setting.run(&params(Beams {
                    early_stopping,
                    ..beams(width, length_penalty)
                }));
                found.hypotheses[0].clone()
            };
            for early_stopping in [False, True, Never] {
                let all = run(5_u32.pow(4), early_stopping);
                assert_eq!(all.tokens, tokens, "seed {seed}, penalty {length_penalty}");
                assert!((f64::from(all.score) - score).abs() < 1e-5);
            }
            let two = run(2, False);
            found_by_two[place] += usize::from(two.tokens == tokens);
            early_losses[place] += usize::from(run(2, True).score < two.score);
        }
    }
    assert!(
        found_by_two.iter().all(|&found| (3..12).contains(&found)),
        "{found_by_two:?}"
    );
    assert!(
        early_losses[2] > 0 && early_losses[3] > 0,
        "{early_losses:?}"
    );
}

#[test]
fn one_beam_takes_what_a_greedy_request_takes() {
    for seed in 0..100 {
        let model = |prefix: &[TokenId]| hashed(prefix, 7, seed);
        let setting = Setting::new(&model, 7, &[6], 9);
        let found = setting.run(&params(beams(1, 1.0)));
        let mut output: Vec<TokenId> = Vec::new();
        while output.len() < 9 && output.last() != Some(&6) {
            let prefix: Vec<TokenId> = [0].iter().chain(&output).copied().collect();
            let row = model(&prefix);
            let best = (0..7).fold(
                0,
                |best, token| if row[token] > row[best] { token } else { best },
            );
            output.push(best as TokenId);
        }
        assert_eq!(found.tokens(), [output], "seed {seed}");
    }
}

/// One row at the start, and the rest of the beams as places that count for nothing, is the same as all of them.
#[test]
fn a_search_equals_the_published_steps_over_all_beams_and_all_candidates() {
    let mut with_phantoms = 0;
    for seed in 0..2000_u64 {
        let pick = |of: u64, from: u64| mixed(mixed(seed + 1) ^ from) % of;
        let vocab_len = 3 + pick(5, 1) as usize;
        // Far more beams than the first steps can fill, now and then.
        let width = 1 + pick(if pick(8, 9) == 0 { 30 } else { 6 }, 2) as u32;
        let eos: &[TokenId] = if pick(2, 3) == 0 { &[2] } else { &[2, 1] };
        let model = |prefix: &[TokenId]| hashed(prefix, vocab_len, seed);
        let mut setting = Setting::new(&model, vocab_len, eos, 1 + pick(7, 4) as usize);
        let is_stopped = |output: &[TokenId]| output.iter().sum::<TokenId>() % 7 == 6;
        if pick(3, 5) == 0 {
            setting.is_stopped = &is_stopped;
        }
        let kind = if pick(4, 6) == 0 {
            LengthPenaltyKind::Gnmt
        } else {
            LengthPenaltyKind::Power
        };
        let beams = Beams {
            early_stopping: [False, True, Never][pick(3, 7) as usize],
            length_penalty_kind: kind,
            ..beams(
                width,
                [-1.0, -0.3, 0.0, 0.65, 1.0, 2.0][pick(6, 8) as usize],
            )
        };
        with_phantoms += usize::from(width as usize > vocab_len);
        let found = setting.run(&params(beams));
        let added = |output: &[TokenId]| literal::log_probs(&setting, output);
        let expected = literal::search(&setting, &beams, &added);
        let case = format!("seed {seed}: {beams:?}, {vocab_len} tokens, ends {eos:?}");
        assert_eq!(found.steps, expected.steps, "{case}");
        let tokens: Vec<_> = expected
            .outputs
            .iter()
            .map(|(tokens, _)| tokens.clone())
            .collect();
        assert_eq!(found.tokens(), tokens, "{case}");
        for (own, (_, score)) in found.hypotheses.iter().zip(&expected.outputs) {
            assert!(
                (own.score - score).abs() < 1e-5,
                "{case}: {} {score}",
                own.score
            );
        }
    }
    assert!(with_phantoms > 50, "{with_phantoms}");
}

#[test]
fn equal_sums_go_to_the_earlier_beam_then_the_lower_token_and_what_was_found_first_stays_first() {
    for seed in 0..300_u64 {
        let pick = |of: u64, from: u64| mixed(mixed(seed + 1) ^ from) % of;
        let vocab_len = 4 + pick(200, 1) as usize;
        let last = vocab_len as TokenId - 1;
        let model = |_: &[TokenId]| vec![0.5; vocab_len];
        let eos = [[last, 1], [0, 2]][pick(2, 2) as usize];
        let setting = Setting::new(&model, vocab_len, &eos, 1 + pick(4, 3) as usize);
        let beams = Beams {
            early_stopping: [False, True, Never][pick(3, 4) as usize],
            ..beams(1 + pick(6, 5) as u32, [-1.0, 0.0, 1.0][pick(3, 6) as usize])
        };
        let added = |output: &[TokenId]| literal::log_probs(&setting, output);
        let expected = literal::search(&setting, &beams, &added);
        let found = setting.run(&params(beams));
        let tokens = expected.outputs.iter().map(|(tokens, _)| tokens.clone());
        assert_eq!(found.tokens(), tokens.collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(found.steps, expected.steps, "seed {seed}");
    }
}

#[test]
fn what_is_settled_only_grows_and_every_output_begins_with_it() {
    for seed in 0..200 {
        let model = |prefix: &[TokenId]| hashed(prefix, 6, seed);
        let setting = Setting::new(&model, 6, &[5], 12);
        for returned in [1, 3] {
            let mut settled: Vec<Vec<TokenId>> = Vec::new();
            let params = params(Beams {
                num_return_sequences: Some(returned),
                ..beams(3, 0.65)
            });
            let found = setting.watch(&params, |search, _, _| {
                settled.push(search.settled().to_vec());
            });
            assert!(settled.windows(2).all(|pair| pair[1].starts_with(&pair[0])));
            for output in found.tokens() {
                assert!(output.starts_with(&found.settled), "seed {seed}");
            }
            if returned == 1 {
                assert_eq!(found.tokens(), [found.settled]);
            }
        }
    }
}

#[test]
fn the_processors_of_a_beam_are_those_of_a_sampler_behind_its_whole_prefix() {
    for seed in 0..120 {
        let model = |prefix: &[TokenId]| hashed(prefix, 9, seed);
        let mut setting = Setting::new(&model, 9, &[8], 10);
        setting.prompt = vec![3, 1, 3, 2];
        let plain = params(beams(2 + seed as u32 % 4, 0.65));
        let asked = [
            SamplingParams {
                repetition_penalty: 1.3,
                no_repeat_ngram_size: 2,
                ..plain.clone()
            },
            SamplingParams {
                frequency_penalty: 0.4,
                presence_penalty: -0.3,
                min_tokens: 3,
                bad_words_ids: vec![vec![1, 2], vec![3]],
                ..plain.clone()
            },
            SamplingParams {
                sequence_bias: vec![(vec![4, 5], 1.5), (vec![6], -0.5)],
                logit_bias: vec![(2, 0.75), (1, -100.0)],
                dry: Dry {
                    multiplier: 0.8,
                    ..Dry::default()
                },
                forced_eos_token_id: Some(vec![8]),
                ..plain.clone()
            },
            SamplingParams {
                encoder_repetition_penalty: 1.4,
                renormalize_logits: true,
                begin_suppress_tokens: vec![0, 8],
                ..plain
            },
        ];
        let asked = &asked[seed as usize % 4];
        let added = |output: &[TokenId]| literal::processed(&setting, asked, output);
        let found = setting.run(asked);
        let expected = literal::search(&setting, &asked.beams, &added);
        let tokens: Vec<_> = expected
            .outputs
            .iter()
            .map(|(tokens, _)| tokens.clone())
            .collect();
        assert_eq!(found.tokens(), tokens, "seed {seed}");
        for (own, (_, score)) in found.hypotheses.iter().zip(&expected.outputs) {
            assert!((own.score - score).abs() < 1e-5, "seed {seed}");
        }
        assert_eq!(found.steps, expected.steps);
    }
}

#[test]
fn outputs_that_a_penalty_makes_worse_than_nothing_are_outputs() {
    let model = |prefix: &[TokenId]| hashed(prefix, 6, 3);
    let setting = Setting::new(&model, 6, &[5], 60);
    for length_penalty in [-5.0, -3.0] {
        let mut params = params(beams(3, length_penalty));
        params.ignore_eos = true;
        let found = setting.run(&params);
        assert_eq!(found.hypotheses.len(), 3, "{length_penalty}");
        assert!(found.hypotheses.iter().all(|own| own.tokens.len() == 60));
    }
}
