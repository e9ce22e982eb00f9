//! A sampler that starts from mixed scores, and one that is asked for candidates.

use std::sync::Arc;

use tokenmill_core::{Guidance, LogprobsMode, SamplingParams};
use tokenmill_decode::source::{Candidate, MixBuffers, Mixed, Past, choose, mix};
use tokenmill_decode::{Sampler, Scratch, Vocabulary};

fn sampler(params: SamplingParams, vocab_len: usize) -> Sampler {
    let vocabulary = Vocabulary::new(vocab_len, vec![0]).unwrap();
    Sampler::new(&Arc::new(params), 5, 0, &vocabulary, &[1]).unwrap()
}

fn guided(logprobs_mode: LogprobsMode) -> SamplingParams {
    SamplingParams {
        guidance: Guidance {
            scale: 2.0,
            ..Guidance::default()
        },
        temperature: 0.0,
        logprobs: Some(3),
        logprobs_mode,
        ..SamplingParams::default()
    }
}

#[test]
fn raw_log_probs_are_the_models_and_processed_ones_those_of_the_mixed_row() {
    let (own, other) = ([2.0, 1.0, 0.0], [3.0, 1.0, -3.0]);
    for (mode, expected) in [
        (LogprobsMode::RawLogits, own),
        (LogprobsMode::ProcessedLogits, [1.0; 3]),
    ] {
        let params = guided(mode);
        let (mut buffers, mut scratch) = (MixBuffers::new(), Scratch::new());
        let mixed = mix(&params, (&own, &other), 1, &mut buffers).unwrap();
        let scores = mixed.scores.to_vec();
        let choice = sampler(params, 3).sample_mixed(mixed, &mut scratch);
        let choice = choice.unwrap();
        assert_eq!(choice.token, 2, "the other row likes it least");
        for entry in choice.logprobs.unwrap() {
            let token = entry.token as usize;
            let shown = match mode {
                LogprobsMode::RawLogits => expected[token],
                _ => scores[token],
            };
            assert_eq!(entry.logprob, shown, "{mode:?}");
        }
    }
}

#[test]
fn a_mixed_row_is_bound_by_the_processors() {
    let params = SamplingParams {
        suppress_tokens: vec![2],
        ..guided(LogprobsMode::RawLogprobs)
    };
    let rows: (&[f32], &[f32]) = (&[2.0, 1.0, 0.0], &[3.0, 1.0, -3.0]);
    let mut buffers = MixBuffers::new();
    let mixed = mix(&params, rows, 1, &mut buffers).unwrap();
    let choice = sampler(params, 3).sample_mixed(mixed, &mut Scratch::new());
    assert_ne!(choice.unwrap().token, 2);
}

#[test]
fn candidates_are_the_best_after_the_processors_with_their_probabilities() {
    let logits: Vec<f32> = [0.4_f32, 0.3, 0.2, 0.1].iter().map(|p| p.ln()).collect();
    let params = SamplingParams {
        temperature: 0.0,
        top_k: 2,
        penalty_alpha: 0.6,
        suppress_tokens: vec![0],
        ..SamplingParams::default()
    };
    let sampler = sampler(params, 4);
    let mut scratch = Scratch::new();
    let (candidates, _) = sampler
        .candidates(Mixed::plain(&logits), 2, &mut scratch)
        .unwrap();
    let tokens: Vec<u32> = candidates.iter().map(|one| one.token).collect();
    assert_eq!(tokens, [1, 2]);
    assert!((candidates[0].probability - 0.5).abs() < 1e-6);
    let (all, _) = sampler
        .candidates(Mixed::plain(&logits), 64, &mut scratch)
        .unwrap();
    assert_eq!(all.len(), 3, "a ban is no candidate");
    let choice = sampler
        .chosen(Mixed::plain(&logits), 2, &mut scratch)
        .unwrap();
    assert_eq!((choice.token, choice.logprobs), (2, None));
}

#[test]
fn a_search_without_a_weight_or_with_one_candidate_is_greedy() {
    let mut past = Past::new(2);
    past.push(&[1.0, 0.0]).unwrap();
    for round in 0..50_u32 {
        let value = |i: u32| (round.wrapping_mul(97) + i).wrapping_mul(2_654_435_761) >> 12;
        let logits: Vec<f32> = (0..300).map(|i| value(i) as f32 / 1e5).collect();
        let params = SamplingParams {
            temperature: 0.0,
            ..SamplingParams::default()
        };
        let sampler = sampler(params, 300);
        let mut scratch = Scratch::new();
        let greedy = sampler.sample(&logits, &mut scratch).unwrap().token;
        for (count, alpha) in [(8, 0.0), (1, 0.6)] {
            let (found, _) = sampler
                .candidates(Mixed::plain(&logits), count, &mut scratch)
                .unwrap();
            let state = |one: &Candidate| [(one.token as f32).sin(), (one.token as f32).cos()];
            let resemblance = |one| past.resemblance(&state(one)).unwrap();
            let resemblances: Vec<f32> = found.iter().map(resemblance).collect();
            let chosen = choose(&found, &resemblances, alpha).unwrap();
            assert_eq!(found[chosen].token, greedy);
        }
    }
}
