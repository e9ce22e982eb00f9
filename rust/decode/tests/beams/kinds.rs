//! Beams that are drawn, beams in groups, and what is reported of either.

use std::collections::BTreeSet;

use tokenmill_core::noise::{Noise, Purpose, gumbel};
use tokenmill_core::{Beams, OutputConstraint, SamplingParams, StructuredOutputs, TokenId};
use tokenmill_decode::source::Mixed;
use tokenmill_decode::{EndReason, Error, Scratch};

use crate::literal;
use crate::model::hashed;
use crate::search::{Setting, beams, params};

fn drawn(width: u32) -> SamplingParams {
    SamplingParams {
        temperature: 0.8,
        ..params(beams(width, 1.0))
    }
}

#[test]
fn drawn_candidates_are_the_largest_sums_with_the_noise_of_their_beam() {
    for (seed, vocab_len) in [(1, 7), (2, 64), (3, 500), (4, 3_000)] {
        let model = |prefix: &[TokenId]| hashed(prefix, vocab_len, seed);
        for cut in [0, 5] {
            let mut setting = Setting::new(&model, vocab_len, &[3], 6);
            setting.seed = 42 - seed as i64;
            let asked = SamplingParams {
                top_k: cut,
                ..drawn(3)
            };
            let mut outputs = vec![(Vec::new(), 0.0_f32)];
            setting.watch(&asked, |_, next, candidates| {
                let mut expected = Vec::new();
                for (beam, (output, score)) in outputs.iter().enumerate() {
                    let row = literal::log_probs(&setting, output);
                    let mut order: Vec<usize> = (0..vocab_len).collect();
                    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
                    order.truncate(if cut == 0 { vocab_len } else { 5 });
                    let position = (1 + output.len()) as u32;
                    let noise = Noise::new(setting.seed, position, beam as u32, Purpose::Beam);
                    for token in order {
                        let sum = score + row[token] / 0.8;
                        let token = token as TokenId;
                        expected.push((sum + gumbel(noise.word(token)), beam as u32, token, sum));
                    }
                }
                expected.sort_by(|a, b| b.0.total_cmp(&a.0));
                for (own, (_, beam, token, sum)) in candidates.iter().zip(&expected) {
                    assert_eq!((own.parent, own.token), (*beam, *token), "seed {seed}");
                    assert!((own.score - sum).abs() < 1e-4);
                }
                // Before the first token, beams that count for nothing fill the places of a short list.
                let real = candidates.iter().filter(|one| one.score > -5e8);
                assert_eq!(real.count(), expected.len().min(6));
                let sum_of = |output: &Vec<TokenId>| {
                    let (last, before) = output.split_last().unwrap();
                    let parent = outputs.iter().position(|(output, _)| output == before);
                    let parent = parent.unwrap() as u32;
                    let mut all = candidates.iter();
                    let own = all.find(|own| (own.parent, own.token) == (parent, *last));
                    (output.clone(), own.unwrap().score)
                };
                outputs = next.iter().map(sum_of).collect();
            });
        }
    }
}

#[test]
fn the_same_seed_draws_the_same_and_another_seed_others() {
    let model = |prefix: &[TokenId]| hashed(prefix, 200, 5);
    let run = |seed| {
        let mut setting = Setting::new(&model, 200, &[3], 8);
        setting.seed = seed;
        setting.run(&drawn(4)).tokens()
    };
    assert_eq!(run(1), run(1));
    let all: BTreeSet<_> = (0..8).map(run).collect();
    assert!(all.len() > 6);
}

#[test]
fn a_cut_leaves_a_beam_one_token_more_than_there_are_ends() {
    let model = |_: &[TokenId]| vec![9.0, 1.0, 0.5, 0.25, -2.0, -4.0];
    let asked = SamplingParams {
        temperature: 1.0,
        ..params(beams(2, 1.0))
    };
    let cuts = [
        SamplingParams {
            top_k: 1,
            ..asked.clone()
        },
        SamplingParams {
            top_p: 0.01,
            ..asked.clone()
        },
        SamplingParams {
            min_p: 1.0,
            ..asked.clone()
        },
        SamplingParams {
            epsilon_cutoff: 0.9,
            ..asked.clone()
        },
        SamplingParams {
            typical_p: 0.01,
            ..asked.clone()
        },
        SamplingParams {
            top_n_sigma: 0.01,
            ..asked.clone()
        },
        SamplingParams {
            top_k: 4,
            top_p: 0.01,
            ..asked.clone()
        },
    ];
    for (ends, left) in [(vec![0], 2), (vec![0, 1], 3)] {
        for cut in &cuts {
            let setting = Setting::new(&model, 6, &ends, 3);
            let mut search = setting.search(cut);
            let row = model(&[]);
            let candidates = search.candidates(&[&row], &mut Scratch::new()).unwrap();
            let first: BTreeSet<TokenId> = candidates.iter().map(|one| one.token).collect();
            assert_eq!(first, (0..left).collect(), "{cut:?}");
        }
    }
    let one = Setting::new(&model, 6, &[0], 3).run(&SamplingParams {
        beams: beams(1, 1.0),
        ..cuts[0].clone()
    });
    assert_eq!(one.tokens(), [[0]], "a beam alone is cut as a sample is");
}

fn grouped(width: u32, groups: u32, penalty: f32) -> SamplingParams {
    params(Beams {
        num_beam_groups: groups,
        diversity_penalty: penalty,
        ..beams(width, 1.0)
    })
}

#[test]
fn the_first_group_is_a_search_of_its_own_and_later_ones_avoid_what_it_took() {
    for seed in 0..60 {
        let model = |prefix: &[TokenId]| hashed(prefix, 20, seed);
        let setting = Setting::new(&model, 20, &[3], 7);
        let alone = setting.run(&params(beams(2, 1.0)));
        let found = setting.run(&grouped(6, 3, 100.0));
        assert_eq!(found.hypotheses.len(), 6);
        for output in alone.tokens() {
            assert!(found.tokens().contains(&output), "seed {seed}");
        }
        let scores: Vec<f32> = found.hypotheses.iter().map(|one| one.score).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        let equal = setting.run(&grouped(6, 3, 0.0));
        let distinct: BTreeSet<_> = equal.tokens().into_iter().collect();
        assert_eq!(
            distinct.len(),
            2,
            "without a penalty all groups find the same"
        );
    }
}

#[test]
fn a_token_costs_a_later_group_as_much_as_earlier_groups_took_it() {
    let model = |_: &[TokenId]| vec![4.0, 3.0, 2.0, 1.0, 0.0];
    let setting = Setting::new(&model, 5, &[], 4);
    let row = model(&[]);
    let plain = literal::log_probs(&setting, &[]);
    let mut search = setting.search(&grouped(2, 2, 0.75));
    let mut scratch = Scratch::new();
    let first = search.candidates(&[&row], &mut scratch).unwrap().to_vec();
    assert_eq!(first[0].token, 0);
    assert_eq!(search.select(&vec![false; first.len()]), None);
    let second = search.candidates(&[&row], &mut scratch).unwrap();
    for candidate in second {
        let cost = if candidate.token == 0 { 0.75 } else { 0.0 };
        assert!((candidate.score - plain[candidate.token as usize] + cost).abs() < 1e-6);
    }
    let stopped = vec![false; second.len()];
    let selection = search.select(&stopped).unwrap();
    assert_eq!(selection.children.len(), 2);
    assert!(selection.children.iter().all(|&(parent, _)| parent == 0));
    assert_eq!(search.live(), 2);
}

#[test]
fn what_is_reported_of_an_output_adds_up_to_its_sum() {
    for temperature in [0.0, 0.7] {
        for seed in 0..20 {
            let model = |prefix: &[TokenId]| hashed(prefix, 30, seed);
            let setting = Setting::new(&model, 30, &[3], 9);
            let found = setting.run(&SamplingParams {
                logprobs: Some(2),
                repetition_penalty: 1.2,
                temperature,
                ..params(beams(3, 0.65))
            });
            for output in found.hypotheses {
                assert_eq!(output.logprobs.len(), output.tokens.len());
                let own = output
                    .tokens
                    .iter()
                    .zip(&output.logprobs)
                    .map(|(token, entries)| {
                        assert!((2..=3).contains(&entries.len()));
                        assert!(entries.is_sorted_by(|a, b| a.rank < b.rank));
                        let own = entries.iter().find(|entry| entry.token == *token);
                        f64::from(own.unwrap().logprob)
                    });
                let sum: f64 = own.sum();
                assert!((sum - f64::from(output.cumulative_logprob)).abs() < 1e-4);
                let len = (output.tokens.len() as f64).powf(0.65);
                assert!((sum / len - f64::from(output.score)).abs() < 1e-4);
            }
        }
    }
}

#[test]
fn an_end_is_told_as_what_it_was() {
    let mut seen = BTreeSet::new();
    for seed in 0..20 {
        let model = |prefix: &[TokenId]| hashed(prefix, 8, seed);
        let mut setting = Setting::new(&model, 8, &[7], 5);
        let is_stopped = |output: &[TokenId]| output.ends_with(&[1]);
        setting.is_stopped = &is_stopped;
        let found = setting.run(&SamplingParams {
            stop_token_ids: vec![5],
            ..params(beams(6, 1.0))
        });
        for output in found.hypotheses {
            let reason = match output.tokens.last() {
                Some(7) => EndReason::Eos,
                Some(1 | 5) => EndReason::Stop,
                _ => EndReason::Length,
            };
            assert_eq!(output.reason, reason);
            seen.insert(format!("{reason:?}"));
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn a_row_that_allows_nothing_ends_its_beam_and_the_search_only_when_it_was_the_last() {
    // Behind token 1 nothing may come, so only what does not begin with it goes on.
    let model = |prefix: &[TokenId]| match prefix {
        [_, 1, ..] => vec![f32::NEG_INFINITY; 4],
        _ => vec![0.0, 3.0, 1.0, 0.5],
    };
    let found = Setting::new(&model, 4, &[3], 3).run(&params(beams(2, 1.0)));
    assert!(!found.tokens().is_empty());
    assert!(found.tokens().iter().all(|output| output[0] != 1));
    let nothing = |_: &[TokenId]| vec![f32::NEG_INFINITY; 4];
    let mut search = Setting::new(&nothing, 4, &[3], 3).search(&params(beams(2, 1.0)));
    let row = nothing(&[]);
    let error = search.candidates(&[&row], &mut Scratch::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no token is allowed at position 1: the constraints ban the whole vocabulary"
    );
    let broken = [0.0, f32::NAN, 0.0, 0.0];
    let error = search
        .candidates(&[&broken], &mut Scratch::new())
        .unwrap_err();
    assert!(error.to_string().contains("NaN"), "{error}");
    assert!(
        search
            .candidates(&[&row[..3]], &mut Scratch::new())
            .is_err()
    );
}

#[test]
fn a_group_whose_beams_all_die_is_over_and_the_others_go_on() {
    let model = |prefix: &[TokenId]| hashed(prefix, 8, 5);
    let setting = Setting::new(&model, 8, &[3], 4);
    let mut asked = params(Beams {
        num_beam_groups: 2,
        diversity_penalty: 1.0,
        ..beams(2, 1.0)
    });
    asked.structured_outputs = Some(StructuredOutputs::from(OutputConstraint::JsonObject));
    // Behind the first token the grammar lets the first `dead` groups go no further.
    for dead in [1, 2] {
        let mut search = setting.search(&asked);
        let mut scratch = Scratch::new();
        let ended = loop {
            if search.is_done() {
                break Ok(());
            }
            let row = hashed(&[0], 8, search.output_len() as u64);
            let is_dead = |beam: usize| search.output_len() == 1 && beam < dead;
            let masks: Vec<u32> = (0..search.live())
                .map(|beam| if is_dead(beam) { 0 } else { 0b1111_0111 })
                .collect();
            let rows: Vec<Mixed<'_>> = masks
                .iter()
                .map(|mask| Mixed::plain(&row).within(Some(std::slice::from_ref(mask))))
                .collect();
            let none = match search.candidates_mixed(&rows, &mut scratch) {
                Ok(candidates) => vec![false; candidates.len()],
                Err(error) => break Err(error),
            };
            search.select(&none);
        };
        if dead == 1 {
            assert_eq!(ended, Ok(()));
            assert_eq!(search.finish().len(), 1);
        } else {
            assert!(
                matches!(ended, Err(Error::NoTokenAllowed { position: 2 })),
                "{ended:?}"
            );
        }
    }
}
