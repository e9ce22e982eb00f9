//! The mask of a grammar: what it does not allow never comes, whatever the other steps want.

use std::sync::Arc;

use tokenmill_core::{
    HasKind, Kind, NamedPipeline, OutputConstraint, PipelineChoice, SamplingParams,
    StructuredOutputs,
};
use tokenmill_decode::source::Mixed;
use tokenmill_decode::{Choice, Error, Result, Sampler, Scratch, Step, Vocabulary};

const VOCAB_LEN: usize = 200;
const EOS: u32 = 9;

/// Parameters of a request with a grammar; which one is not this crate's business.
fn with_grammar(params: SamplingParams) -> SamplingParams {
    SamplingParams {
        structured_outputs: Some(StructuredOutputs::from(OutputConstraint::JsonObject)),
        ..params
    }
}

fn bits(tokens: &[u32]) -> Vec<u32> {
    let mut mask = vec![0; VOCAB_LEN.div_ceil(32)];
    for &token in tokens {
        mask[token as usize / 32] |= 1 << (token % 32);
    }
    mask
}

fn row(seed: u32) -> Vec<f32> {
    let value = |token: u32| ((token * 7919 + seed * 104_729) % 1000) as f32 / 100.0 - 5.0;
    (0..VOCAB_LEN as u32).map(value).collect()
}

fn sampler(params: &SamplingParams) -> Sampler {
    let vocabulary = Vocabulary::new(VOCAB_LEN, vec![EOS]).unwrap();
    Sampler::new(&Arc::new(params.clone()), 42, 0, &vocabulary, &[1, 2, 3]).unwrap()
}

fn choose(params: &SamplingParams, row: &[f32], mask: &[u32]) -> Result<Choice> {
    sampler(params).sample_mixed(Mixed::plain(row).within(Some(mask)), &mut Scratch::new())
}

#[test]
fn a_mask_does_what_the_same_allowed_ids_do() {
    let allowed = [3, 64, 65, 127, 128, 199];
    for temperature in [0.0, 0.7, 1.3] {
        for seed in 0..50 {
            let params = SamplingParams {
                temperature,
                top_p: 0.9,
                repetition_penalty: 1.2,
                logprobs: Some(5),
                ..SamplingParams::default()
            };
            let listed = SamplingParams {
                allowed_token_ids: Some(allowed.to_vec()),
                ..params.clone()
            };
            let by_list = sampler(&listed).sample(&row(seed), &mut Scratch::new());
            let by_mask = choose(&with_grammar(params), &row(seed), &bits(&allowed));
            assert_eq!(by_mask, by_list, "seed {seed}");
        }
    }
}

#[test]
fn every_pipeline_with_the_step_obeys_it_against_bias_and_penalties() {
    for named in [
        NamedPipeline::Tokenmill,
        NamedPipeline::Vllm,
        NamedPipeline::Sglang,
        NamedPipeline::Llamacpp,
    ] {
        let params = with_grammar(SamplingParams {
            pipeline: PipelineChoice::Named(named),
            logit_bias: vec![(0, 100.0), (7, 5.0)],
            frequency_penalty: -2.0,
            ..SamplingParams::default()
        });
        for seed in 0..100 {
            let token = choose(&params, &row(seed), &bits(&[7, 70, 170]))
                .unwrap()
                .token;
            assert!([7, 70, 170].contains(&token), "{} {token}", named.name());
        }
    }
}

#[test]
fn mask_and_allowed_ids_intersect_and_nothing_left_is_the_requests_error() {
    let params = with_grammar(SamplingParams {
        allowed_token_ids: Some(vec![5, 6]),
        ..SamplingParams::default()
    });
    let chosen = choose(&params, &row(1), &bits(&[6, 7])).unwrap();
    assert_eq!(chosen.token, 6);
    let error = choose(&params, &row(1), &bits(&[7, 8])).unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (Kind::InvalidRequest, Some("no_token_allowed"))
    );
}

#[test]
fn min_tokens_gives_way_where_the_grammar_allows_only_the_end() {
    let params = with_grammar(SamplingParams {
        min_tokens: 5,
        ..SamplingParams::default()
    });
    let chosen = choose(&params, &row(1), &bits(&[EOS])).unwrap();
    assert_eq!((chosen.token, chosen.lifted[0]), (EOS, Step::MinTokens));
    let chosen = choose(&params, &row(1), &bits(&[EOS, 12])).unwrap();
    assert_eq!((chosen.token, chosen.lifted.len()), (12, 0));
}

#[test]
fn forcing_never_brings_what_the_grammar_does_not_allow() {
    let params = with_grammar(SamplingParams {
        max_tokens: Some(1),
        forced_eos_token_id: Some(vec![EOS]),
        ..SamplingParams::default()
    });
    let chosen = choose(&params, &row(1), &bits(&[12])).unwrap();
    assert_eq!((chosen.token, chosen.lifted[0]), (12, Step::ForcedEos));
    let chosen = choose(&params, &row(1), &bits(&[12, EOS])).unwrap();
    assert_eq!(chosen.token, EOS);
}

#[test]
fn a_mask_and_its_step_come_together_or_not_at_all() {
    let with = with_grammar(SamplingParams::default());
    let mut scratch = Scratch::new();
    assert_eq!(
        sampler(&with).sample(&row(1), &mut scratch),
        Err(Error::MaskMissing)
    );
    let without = sampler(&SamplingParams::default());
    let mask = bits(&[1]);
    let given = without.sample_mixed(Mixed::plain(&row(1)).within(Some(&mask)), &mut scratch);
    assert_eq!(given, Err(Error::MaskMissing));
}

#[test]
fn a_moving_cut_is_rebuilt_from_rows_and_masks() {
    let params = with_grammar(SamplingParams {
        mirostat: tokenmill_core::Mirostat {
            version: 2,
            ..Default::default()
        },
        ..SamplingParams::default()
    });
    let (mut lived, mut rebuilt) = (sampler(&params), sampler(&params));
    let mut scratch = Scratch::new();
    for seed in 0..20 {
        let mask = bits(&[seed, seed + 64, seed + 100, 150]);
        let choice = lived
            .sample_mixed(Mixed::plain(&row(seed)).within(Some(&mask)), &mut scratch)
            .unwrap();
        lived.commit(&choice);
        rebuilt
            .replay_within(&row(seed), Some(&mask), choice.token, &mut scratch)
            .unwrap();
    }
    assert_eq!(lived, rebuilt);
}
