//! Scores that come from a second row: of an early layer, of an amateur. Over the simulated backend, whose rows anyone
//! can compute from a prefix, so that every token has a right answer; and what of it a request may not ask.

use tokenmill_core::{
    Contrastive, ContrastiveMode, Divergence, Dola, DolaLayers, Event, FinishReason, HasKind, Kind,
    LogprobsMode, Request, SamplingParams,
};
use tokenmill_decode::source::{DolaMixer, MixBuffers, mix};
use tokenmill_decode::{Sampler, Scratch, Vocabulary};
use tokenmill_engine::{AmateurParts, Door, Engine, Parts, assemble, simulated};
use tokenmill_sched::{SchedConfig, Scope};
use tokenmill_sim::{Chain, EXITS, SimBackend, Triggers, Violations, exit_row, logits_row};

use crate::{VOCAB, end, events, figure, listen, parts, request, sched, tokens};

const AMATEUR_SEED: u64 = 9;

fn with_amateur(sched: SchedConfig, triggers: Triggers, seed: u64) -> Parts {
    let backend = SimBackend::new(triggers, Violations::default()).with_seed(seed);
    let other = simulated(sched.clone(), backend, VOCAB, vec![0]).expect("parts");
    Parts {
        amateur: Some(AmateurParts {
            backend: other.backend,
            name: "amateur".into(),
            context_len: 40,
        }),
        ..parts(sched)
    }
}

fn engine_of(parts: Parts) -> (Engine, Door) {
    assemble(parts).expect("an engine")
}

fn engine() -> (Engine, Door) {
    engine_of(with_amateur(sched(), Triggers::default(), AMATEUR_SEED))
}

fn with(prompt: &[u32], change: impl FnOnce(&mut SamplingParams)) -> Request {
    let mut request = request(prompt, 12);
    change(&mut request.params);
    request
}

fn contrastive(mode: ContrastiveMode) -> Contrastive {
    Contrastive {
        mode,
        alpha: 0.02,
        ..Contrastive::default()
    }
}

fn layers(layers: DolaLayers, divergence: Divergence) -> Dola {
    Dola {
        layers: Some(layers),
        divergence,
    }
}

/// The tokens of a request, from the rows of its prefixes alone.
fn expected(request: &Request, scope: u64, early: &[u32]) -> Vec<u32> {
    let params = std::sync::Arc::new(request.params.clone());
    let tokenmill_core::Prompt::Tokens(prompt) = &request.prompt else {
        panic!("a prompt of tokens");
    };
    let vocabulary = Vocabulary::new(VOCAB, vec![0]).unwrap();
    let mut sampler = Sampler::new(&params, 11, 0, &vocabulary, prompt).unwrap();
    let start = Chain::empty(scope);
    let mut chain = prompt.iter().fold(start, |chain, &token| chain.push(token));
    let (mut buffers, mut scratch) = (MixBuffers::new(), Scratch::new());
    let (mut own, mut other) = (vec![0.0; VOCAB], vec![0.0; VOCAB]);
    let mut tokens = Vec::new();
    for _ in 0..params.max_tokens.unwrap() {
        logits_row(chain, &mut own);
        let position = sampler.prefix_len() as u32;
        let mixed = if params.contrastive.is_some() {
            logits_row(chain.seen_by(AMATEUR_SEED), &mut other);
            mix(&params, (&own, &other), position, &mut buffers).unwrap()
        } else {
            let mut mixer = DolaMixer::begin(&params, &own, position, &mut buffers).unwrap();
            for &layer in early {
                exit_row(chain, layer, &mut other);
                mixer.meet(&other).unwrap();
            }
            mixer.finish().unwrap()
        };
        let choice = sampler.sample_mixed(mixed, &mut scratch).unwrap();
        sampler.commit(&choice);
        chain = chain.push(choice.token);
        tokens.push(choice.token);
    }
    tokens
}

/// The scope of requests with an amateur and without a salt: under another key than salts have.
fn amateur_scope() -> u64 {
    let key = sched().secret.map(|byte| !byte);
    Scope::of_salt(&key, b"").as_u64()
}

#[test]
fn dola_draws_from_the_row_of_the_layer_that_differs_most() {
    let all: Vec<u32> = (0..EXITS).collect();
    for (asked, early) in [
        (DolaLayers::Low, vec![0, 2]),
        (DolaLayers::High, vec![3, 5]),
        (DolaLayers::Listed(vec![4]), vec![4]),
        (DolaLayers::Listed(all.clone()), all),
    ] {
        for (divergence, temperature) in [(Divergence::Jsd, 0.0), (Divergence::Reference, 0.8)] {
            let request = with(&[1, 2, 3], |params| {
                params.dola = layers(asked.clone(), divergence);
                params.temperature = temperature;
            });
            let (mut engine, door) = engine();
            let heard = events(&mut engine, &door, request.clone());
            assert_eq!(
                tokens(&heard, 0),
                expected(&request, 0, &early),
                "{asked:?}"
            );
        }
    }
}

#[test]
fn the_last_layer_as_candidate_leaves_equal_scores() {
    let (mut engine, door) = engine();
    let request = with(&[1, 2, 3], |params| {
        params.dola = layers(DolaLayers::Listed(vec![EXITS]), Divergence::Jsd);
        params.temperature = 0.0;
        params.logprobs = Some(20);
        params.logprobs_mode = LogprobsMode::ProcessedLogits;
    });
    let heard = events(&mut engine, &door, request);
    for event in &heard {
        let entries = event.logprobs.iter().flatten();
        let finite: Vec<f32> = entries
            .map(|entry| entry.logprob)
            .filter(|score| score.is_finite())
            .collect();
        assert!(!finite.is_empty() && finite.iter().all(|&score| score == 0.0));
    }
}

#[test]
fn contrastive_decoding_draws_from_both_models() {
    for mode in [ContrastiveMode::Difference, ContrastiveMode::Scaled] {
        for temperature in [0.0, 0.9] {
            let request = with(&[1, 2, 3, 4, 5], |params| {
                params.contrastive = Some(contrastive(mode));
                params.temperature = temperature;
            });
            let (mut engine, door) = engine();
            let heard = events(&mut engine, &door, request.clone());
            let own = expected(&request, amateur_scope(), &[]);
            assert_eq!(tokens(&heard, 0), own, "{mode:?}");
        }
    }
}

#[test]
fn equal_models_leave_equal_scores() {
    let (mut engine, door) = engine_of(with_amateur(sched(), Triggers::default(), 0));
    let request = with(&[1, 2, 3], |params| {
        params.contrastive = Some(contrastive(ContrastiveMode::Difference));
        params.temperature = 0.0;
        params.logprobs = Some(20);
        params.logprobs_mode = LogprobsMode::ProcessedLogits;
    });
    let heard = events(&mut engine, &door, request);
    for event in heard {
        let entries: Vec<_> = event.logprobs.into_iter().flatten().collect();
        let is_even = |score: f32| score == 0.0 || score == f32::NEG_INFINITY;
        assert!(entries.iter().all(|entry| is_even(entry.logprob)));
        let kept = entries.iter().filter(|entry| entry.logprob == 0.0);
        assert_eq!(kept.map(|entry| entry.token).min(), Some(event.tokens[0]));
    }
}

/// Requests of every kind over prompts that share a beginning.
fn mixture() -> Vec<Request> {
    let stem: Vec<u32> = (1..14).collect();
    (0..9_u32)
        .map(|index| {
            let prompt = [&stem[..], &[20 + index]].concat();
            with(&prompt, |params| {
                params.seed = Some(100 + i64::from(index));
                match index % 3 {
                    0 => params.contrastive = Some(contrastive(ContrastiveMode::Difference)),
                    1 => params.dola = layers(DolaLayers::Low, Divergence::Jsd),
                    _ => {}
                }
                params.n = if index > 5 { 3 } else { 1 };
            })
        })
        .collect()
}

fn outputs(heard: &[Vec<Event>], requests: &[Request]) -> Vec<Vec<Vec<u32>>> {
    let all = heard.iter().zip(requests);
    let samples = |(heard, request): (&Vec<Event>, &Request)| {
        (0..request.params.n).map(|n| tokens(heard, n)).collect()
    };
    all.map(samples).collect()
}

#[test]
fn neither_company_nor_preemption_nor_the_cache_changes_a_token() {
    let requests = mixture();
    let alone: Vec<Vec<Event>> = requests
        .iter()
        .map(|request| {
            let (mut engine, door) = engine();
            events(&mut engine, &door, request.clone())
        })
        .collect();
    let alone = outputs(&alone, &requests);
    for (blocks, tokens_per_step) in [(16, 512), (16, 3), (64, 16)] {
        let config = SchedConfig {
            blocks,
            tokens_per_step,
            ..sched()
        };
        let parts = with_amateur(config, Triggers::default(), AMATEUR_SEED);
        let (mut engine, door) = engine_of(parts);
        for _ in 0..2 {
            let submit = |request: &Request| door.submit(request.clone()).expect("it fits");
            let handles: Vec<_> = requests.iter().map(submit).collect();
            let heard = listen(&mut engine, &handles);
            assert_eq!(
                outputs(&heard, &requests),
                alone,
                "{blocks} {tokens_per_step}"
            );
        }
        assert_eq!(figure(&door, "blocks_used"), 0);
        assert!(figure(&door, "cached_tokens") > 0);
        assert!(blocks > 16 || figure(&door, "preemptions") > 0, "{blocks}");
    }
}

#[test]
fn blocks_without_the_amateurs_cache_are_not_taken_for_its_own() {
    let (mut engine, door) = engine();
    let prompt: Vec<u32> = (1..20).collect();
    let plain = with(&prompt, |params| params.temperature = 0.0);
    let against = with(&prompt, |params| {
        params.contrastive = Some(contrastive(ContrastiveMode::Difference));
        params.temperature = 0.0;
    });
    // The simulator panics on a slot that was never written.
    for request in [&plain, &against] {
        let heard = events(&mut engine, &door, request.clone());
        assert_eq!(end(&heard).reason, FinishReason::Length);
        assert_eq!(end(&heard).cached_tokens, 0);
    }
    let heard = events(&mut engine, &door, against);
    assert!(end(&heard).cached_tokens > 0, "of its own scope it reads");
}

#[test]
fn a_failing_amateur_ends_its_own_requests_alone() {
    const BAD: u32 = 40;
    let plain = with(&[1, 2, BAD], |params| params.logit_bias.clear());
    let sound = with(&[1, 2, 3], |params| {
        params.contrastive = Some(contrastive(ContrastiveMode::Difference));
        params.allowed_token_ids = Some((1..30).collect());
    });
    let hit = with(&[1, 2, BAD], |params| {
        params.contrastive = Some(contrastive(ContrastiveMode::Difference));
    });
    let requests = [plain, sound, hit];
    let triggers = [
        Triggers {
            error_token: Some(BAD),
            ..Triggers::default()
        },
        Triggers {
            panic_token: Some(BAD),
            ..Triggers::default()
        },
        Triggers {
            nan_token: Some(BAD),
            ..Triggers::default()
        },
    ];
    let alone: Vec<Vec<u32>> = requests[..2]
        .iter()
        .map(|request| {
            let (mut engine, door) = engine();
            tokens(&events(&mut engine, &door, request.clone()), 0)
        })
        .collect();
    for triggers in triggers {
        let is_nan = triggers.nan_token.is_some();
        let (mut engine, door) = engine_of(with_amateur(sched(), triggers, AMATEUR_SEED));
        let submit = |request: &Request| door.submit(request.clone()).expect("it fits");
        let handles: Vec<_> = requests.iter().map(submit).collect();
        let heard = listen(&mut engine, &handles);
        for (heard, alone) in heard.iter().zip(&alone) {
            assert_eq!(&tokens(heard, 0), alone);
        }
        let failure = end(&heard[2]).error.clone().expect("a cause");
        let kind = if is_nan {
            Kind::Corrupt
        } else {
            Kind::Internal
        };
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert_eq!(figure(&door, "requests_failed"), 1);
    }
}

#[test]
fn raw_log_probs_and_prompts_are_those_of_the_model_alone() {
    let (mut engine, door) = engine();
    let request = with(&[5, 6, 7], |params| {
        params.contrastive = Some(contrastive(ContrastiveMode::Difference));
        params.logprobs = Some(2);
        params.prompt_logprobs = Some(2);
        params.logprobs_mode = LogprobsMode::RawLogits;
    });
    let heard = events(&mut engine, &door, request);
    let mut chain = Chain::empty(amateur_scope());
    let mut row = vec![0.0; VOCAB];
    for token in [5, 6, 7] {
        chain = chain.push(token);
    }
    for event in &heard {
        for (token, entries) in event.tokens.iter().zip(&event.logprobs) {
            logits_row(chain, &mut row);
            for entry in entries {
                assert_eq!(entry.logprob, row[entry.token as usize]);
            }
            chain = chain.push(*token);
        }
    }
    assert_eq!(heard[0].prompt_logprobs.len(), 2);
}

#[test]
fn what_an_engine_cannot_give_is_refused_by_name() {
    let (_, plain) = engine_of(parts(sched()));
    let (_engine, door) = engine();
    let refused = |door: &Door, change: fn(&mut SamplingParams)| {
        let error = door.submit(with(&[1], change)).expect_err("refused");
        (
            error.kind(),
            error.param().unwrap_or("").to_owned(),
            error.to_string(),
        )
    };
    let (kind, param, text) = refused(&plain, |params| {
        params.contrastive = Some(Contrastive::default());
    });
    assert_eq!((kind, param.as_str()), (Kind::Unsupported, "contrastive"));
    assert!(text.contains("amateur_model"), "{text}");
    let (kind, param, _) = refused(&door, |params| {
        params.contrastive = Some(Contrastive {
            amateur: Some("another".into()),
            ..Contrastive::default()
        });
    });
    assert_eq!(
        (kind, param.as_str()),
        (Kind::InvalidRequest, "contrastive")
    );
    let (kind, param, text) = refused(&door, |params| {
        params.dola.layers = Some(DolaLayers::Listed(vec![2, EXITS + 1]));
    });
    assert_eq!(
        (kind, param.as_str()),
        (Kind::InvalidRequest, "dola_layers")
    );
    assert!(text.contains(&format!("0 to {EXITS}")), "{text}");
    // 40 tokens are the amateur's context, 48 the model's.
    let (kind, param, text) = refused(&door, |params| {
        params.contrastive = Some(Contrastive::default());
        params.max_tokens = Some(40);
    });
    assert_eq!((kind, param.as_str()), (Kind::InvalidRequest, "max_tokens"));
    assert!(text.contains("context of 40"), "{text}");
    assert!(
        door.submit(with(&[1], |params| params.max_tokens = Some(40)))
            .is_ok()
    );
}
