//! Guidance: a request that is two sequences, its own and the same output behind another prompt. Over the simulated
//! backend, with the scores mixed by hand from the rows of both prefixes.

use tokenmill_core::{
    Event, FinishReason, Guidance, HasKind, Kind, LogprobsMode, Request, SamplingParams,
};
use tokenmill_decode::source::Mixed;
use tokenmill_decode::{Sampler, Scratch, Vocabulary};
use tokenmill_engine::assemble;
use tokenmill_sched::SchedConfig;
use tokenmill_sim::{Chain, logits_row};

use crate::{NAN_TOKEN, VOCAB, end, engine, events, figure, listen, parts, request, sched, tokens};

/// A request that moves away from `negative`, or from its own last token.
fn guided(prompt: &[u32], scale: f32, negative: Option<&[u32]>) -> Request {
    let mut request = request(prompt, 12);
    request.params.guidance = Guidance {
        scale,
        negative_prompt: None,
        negative_prompt_token_ids: negative.map(<[u32]>::to_vec),
    };
    request
}

fn chain(tokens: &[u32]) -> Chain {
    let start = Chain::empty(0);
    tokens.iter().fold(start, |chain, &token| chain.push(token))
}

/// ln of the probabilities of the row behind a prefix.
fn ln_p(chain: Chain) -> Vec<f64> {
    let mut row = vec![0.0; VOCAB];
    logits_row(chain, &mut row);
    let best = row.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = row.iter().map(|&z| f64::from(z - best).exp()).sum();
    let normal = f64::from(best) + sum.ln();
    row.iter().map(|&z| f64::from(z) - normal).collect()
}

/// The tokens of sample `index`, mixed by the formula and drawn one by one.
fn by_hand(request: &Request, negative: &[u32], index: u32) -> Vec<u32> {
    let tokenmill_core::Prompt::Tokens(prompt) = &request.prompt else {
        panic!("a prompt of tokens");
    };
    let params = std::sync::Arc::new(request.params.clone());
    let vocabulary = Vocabulary::new(VOCAB, vec![0]).unwrap();
    let mut sampler = Sampler::new(&params, 11, index, &vocabulary, prompt).unwrap();
    let (mut with, mut without) = (chain(prompt), chain(negative));
    let mut own = vec![0.0; VOCAB];
    let mut output = Vec::new();
    for _ in 0..params.max_tokens.unwrap() {
        let scale = f64::from(params.guidance.scale);
        let pairs = ln_p(with).into_iter().zip(ln_p(without));
        let scores: Vec<f32> = pairs.map(|(c, u)| (u + scale * (c - u)) as f32).collect();
        logits_row(with, &mut own);
        let mixed = Mixed {
            model: &own,
            scores: &scores,
            mask: None,
            other: None,
        };
        let choice = sampler.sample_mixed(mixed, &mut Scratch::new()).unwrap();
        sampler.commit(&choice);
        (with, without) = (with.push(choice.token), without.push(choice.token));
        output.push(choice.token);
    }
    output
}

fn is_refused(door: &tokenmill_engine::Door, request: Request) -> (Kind, String, String) {
    let error = door.submit(request).expect_err("refused");
    let param = error.param().unwrap_or("").to_owned();
    (error.kind(), param, error.to_string())
}

#[test]
fn guidance_draws_from_both_prompts() {
    let prompts: [(&[u32], Option<&[u32]>); 4] = [
        (&[1, 2, 3], None),
        (&[1, 2, 3], Some(&[9])),
        (&[5], Some(&[7, 8, 9, 10, 11, 12, 13, 14, 15])),
        (&[1, 2, 3, 4, 5, 6, 7], Some(&[1, 2, 3, 4, 5, 6, 8])),
    ];
    for (prompt, negative) in prompts {
        for (scale, temperature) in [(1.5, 0.0), (3.0, 0.8), (0.0, 0.0), (0.5, 1.0)] {
            let mut request = guided(prompt, scale, negative);
            request.params.temperature = temperature;
            let (mut engine, door) = engine();
            let heard = events(&mut engine, &door, request.clone());
            let last = &prompt[prompt.len() - 1..];
            let expected = by_hand(&request, negative.unwrap_or(last), 0);
            assert_eq!(tokens(&heard, 0), expected, "{scale} {negative:?}");
            assert_eq!(figure(&door, "blocks_used"), 0);
        }
    }
}

#[test]
fn every_sample_is_guided_by_its_own_pair() {
    let mut request = guided(&[1, 2, 3, 4, 5], 2.0, Some(&[30, 31]));
    (request.params.n, request.params.temperature) = (3, 1.0);
    let config = SchedConfig {
        blocks: 64,
        running_max: 8,
        ..sched()
    };
    for tokens_per_step in [2, 5, 512] {
        let config = SchedConfig {
            tokens_per_step,
            ..config.clone()
        };
        let (mut engine, door) = assemble(parts(config)).expect("an engine");
        let heard = events(&mut engine, &door, request.clone());
        for index in 0..3 {
            let expected = by_hand(&request, &[30, 31], index);
            assert_eq!(tokens(&heard, index), expected, "sample {index}");
        }
    }
}

#[test]
fn a_scale_of_one_changes_nothing_and_is_no_second_sequence() {
    // One sequence at a time: a pair would be refused.
    let narrow = SchedConfig {
        running_max: 1,
        ..sched()
    };
    let (mut engine, door) = assemble(parts(narrow)).expect("an engine");
    let plain = events(&mut engine, &door, request(&[1, 2, 3], 12));
    let guided_once = events(&mut engine, &door, guided(&[1, 2, 3], 1.0, None));
    assert_eq!(tokens(&plain, 0), tokens(&guided_once, 0));
    assert_ne!(tokens(&plain, 0)[0], NAN_TOKEN);
    let (kind, param, text) = is_refused(&door, guided(&[1, 2, 3], 2.0, None));
    assert_eq!(
        (kind, param.as_str()),
        (Kind::InvalidRequest, "guidance_scale")
    );
    assert!(text.contains("2 sequences at once"), "{text}");
}

#[test]
fn a_negative_prompt_without_a_scale_is_refused_naming_both() {
    let (_engine, door) = engine();
    let (kind, _, text) = is_refused(&door, guided(&[1], 1.0, Some(&[2])));
    assert_eq!(kind, Kind::InvalidRequest);
    assert!(text.contains("negative_prompt_token_ids") && text.contains("guidance_scale"));
    let mut by_text = guided(&[1], 1.0, None);
    by_text.params.guidance.negative_prompt = Some("no".into());
    let (kind, _, text) = is_refused(&door, by_text);
    assert_eq!(kind, Kind::InvalidRequest);
    assert!(
        text.contains("negative_prompt and guidance_scale"),
        "{text}"
    );
}

#[test]
fn negative_prompts_are_checked_as_prompts_are() {
    let (_engine, door) = engine();
    for (negative, needle) in [(vec![VOCAB as u32], "below 64"), (Vec::new(), "1 to ")] {
        let (kind, param, text) = is_refused(&door, guided(&[1], 2.0, Some(&negative)));
        assert_eq!(
            (kind, param.as_str()),
            (Kind::InvalidRequest, "negative_prompt_token_ids")
        );
        assert!(text.contains(needle), "{text}");
    }
    let mut by_text = guided(&[1], 2.0, None);
    by_text.params.guidance.negative_prompt = Some("no".into());
    let (kind, param, _) = is_refused(&door, by_text);
    assert_eq!(
        (kind, param.as_str()),
        (Kind::Unsupported, "negative_prompt")
    );
}

#[test]
fn the_context_and_the_pool_have_room_for_both_prompts_or_refuse() {
    // A context of 48 tokens, 16 blocks of 4.
    let (mut engine, door) = engine();
    let long: Vec<u32> = (1..38).collect();
    let (kind, param, text) = is_refused(&door, guided(&[1], 2.0, Some(&long)));
    assert_eq!((kind, param.as_str()), (Kind::InvalidRequest, "max_tokens"));
    assert!(text.contains("37"), "the longer prompt is told: {text}");
    let both: Vec<u32> = (1..30).collect();
    let (kind, _, text) = is_refused(&door, guided(&both, 2.0, Some(&both)));
    assert_eq!(kind, Kind::InvalidRequest);
    assert!(text.contains("22") && text.contains("16"), "{text}");
    let fits = guided(&[1], 2.0, Some(&long[..36]));
    let heard = events(&mut engine, &door, fits);
    assert_eq!(end(&heard).reason, FinishReason::Length);
    // What is left to the output is what the longer prompt leaves.
    let mut open = guided(&[1], 2.0, Some(&long[..36]));
    open.params.max_tokens = None;
    let heard = events(&mut engine, &door, open);
    assert_eq!(tokens(&heard, 0).len(), 48 - 36);
}

#[test]
fn raw_log_probs_and_those_of_the_prompt_are_of_the_own_row() {
    let (mut engine, door) = engine();
    let mut request = guided(&[5, 6, 7, 8, 9], 2.0, Some(&[20, 21]));
    request.params.logprobs = Some(2);
    request.params.prompt_logprobs = Some(1);
    request.params.logprobs_mode = LogprobsMode::RawLogits;
    let heard = events(&mut engine, &door, request.clone());
    assert_eq!(tokens(&heard, 0), by_hand(&request, &[20, 21], 0));
    let mut row = vec![0.0; VOCAB];
    let prompt = [5, 6, 7, 8, 9];
    let scored = &heard[0].prompt_logprobs;
    assert_eq!(scored.len(), prompt.len() - 1);
    for (at, entries) in scored.iter().enumerate() {
        logits_row(chain(&prompt[..=at]), &mut row);
        assert!(entries.iter().any(|entry| entry.token == prompt[at + 1]));
        for entry in entries {
            assert_eq!(entry.logprob, row[entry.token as usize]);
        }
    }
    let mut prefix = chain(&prompt);
    for event in &heard {
        for (token, entries) in event.tokens.iter().zip(&event.logprobs) {
            logits_row(prefix, &mut row);
            for entry in entries {
                assert_eq!(entry.logprob, row[entry.token as usize]);
            }
            prefix = prefix.push(*token);
        }
    }
}

#[test]
fn ends_come_as_they_do_without_guidance() {
    let free = guided(&[1, 2, 3], 2.0, Some(&[9, 9]));
    let output = by_hand(&free, &[9, 9], 0);
    let run = |change: &dyn Fn(&mut SamplingParams)| {
        let mut request = free.clone();
        change(&mut request.params);
        let (mut engine, door) = engine();
        events(&mut engine, &door, request)
    };
    let heard = run(&|params| params.max_tokens = Some(5));
    assert_eq!(tokens(&heard, 0), output[..5]);
    let place = output
        .iter()
        .position(|token| *token == output[4])
        .expect("it is there");
    let heard = run(&|params| params.stop_token_ids = vec![output[4]]);
    assert_eq!(tokens(&heard, 0), output[..=place]);
    assert_eq!(end(&heard).reason, FinishReason::Stop);
}

#[test]
fn a_token_that_breaks_the_other_row_alone_ends_its_request_alone() {
    let (mut engine, door) = engine();
    let hit = guided(&[1, 2], 2.0, Some(&[3, NAN_TOKEN]));
    let sound = guided(&[1, 2], 2.0, Some(&[3, 4]));
    let handles: Vec<_> = [&hit, &sound]
        .map(|request| door.submit(request.clone()).expect("it fits"))
        .into();
    let heard: Vec<Vec<Event>> = listen(&mut engine, &handles);
    let failure = end(&heard[0]).error.clone().expect("a cause");
    assert_eq!(failure.kind, Kind::Corrupt, "{failure:?}");
    assert_eq!(tokens(&heard[1], 0), by_hand(&sound, &[3, 4], 0));
    assert_eq!(figure(&door, "blocks_used"), 0);
}

#[test]
fn pairs_in_a_tight_pool_say_what_each_says_alone() {
    let requests: Vec<Request> = (0..6_u32)
        .map(|at| guided(&[1, 2, 3, 4, at + 5], 2.0, Some(&[40, at + 1])))
        .collect();
    let config = SchedConfig {
        tokens_per_step: 7,
        ..sched()
    };
    let (mut engine, door) = assemble(parts(config)).expect("an engine");
    let handles: Vec<_> = requests
        .iter()
        .map(|request| door.submit(request.clone()).expect("it fits"))
        .collect();
    let heard = listen(&mut engine, &handles);
    for (at, (request, heard)) in (0..).zip(requests.iter().zip(&heard)) {
        assert_eq!(tokens(heard, 0), by_hand(request, &[40, at + 1], 0));
    }
    assert_eq!(figure(&door, "blocks_used"), 0);
}

#[test]
fn a_pair_that_lacks_its_last_rows_alone_runs_at_once() {
    // A plan without rows would put the engine to sleep until the next command.
    let (mut engine, door) = engine();
    let long: Vec<u32> = (1..18).collect();
    for request in [
        guided(&[5], 2.0, Some(&[6])),
        guided(&[5], 2.0, Some(&long)),
        guided(&long, 2.0, Some(&[6])),
        // Wholly in the cache by now.
        guided(&long, 2.0, Some(&long)),
        guided(&long, 2.0, Some(&long)),
    ] {
        let handle = door.submit(request).expect("it fits");
        while handle.is_open() {
            assert_eq!(engine.step(), tokenmill_engine::Step::Ran);
            while let tokenmill_engine::Received::Event(_) =
                handle.receive(Some(std::time::Duration::ZERO))
            {}
        }
    }
}
