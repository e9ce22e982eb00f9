//! Contrastive search over the simulated backend, whose hidden states anyone can compute from a prefix: every token
//! by the published formula from whole prefixes, and what a search may not ask.

use tokenmill_core::{FinishReason, HasKind, Kind, Request, SamplingParams};
use tokenmill_engine::{Door, Engine, Parts, assemble};
use tokenmill_sched::SchedConfig;
use tokenmill_sim::{Chain, logits_row, program, state_row};

use crate::{NAN_TOKEN, VOCAB, end, engine, events, figure, listen, parts, request, sched, tokens};

fn search(prompt: &[u32], alpha: f32, top_k: u32) -> Request {
    let mut request = request(prompt, 12);
    (request.params.penalty_alpha, request.params.top_k) = (alpha, top_k);
    request.params.temperature = 0.0;
    request
}

/// An engine with room for many candidates.
fn wide(blocks: usize, tokens_per_step: usize) -> (Engine, Door) {
    let config = SchedConfig {
        blocks,
        tokens_per_step,
        running_max: 16,
        ..sched()
    };
    assemble(parts(config)).expect("an engine")
}

fn state(prefix: &[u32]) -> Vec<f64> {
    let start = Chain::empty(0);
    let chain = prefix.iter().fold(start, |chain, &token| chain.push(token));
    let mut state = vec![0.0; program(VOCAB, 8).shape.hidden];
    state_row(chain, &mut state);
    state.into_iter().map(f64::from).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// (1 - alpha) p(v) - alpha max cos(h_v, h_j) over the k likeliest tokens, from whole prefixes.
fn by_hand(prompt: &[u32], alpha: f64, top_k: usize, len: usize) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    for _ in 0..len {
        let start = Chain::empty(0);
        let chain = tokens.iter().fold(start, |chain, &token| chain.push(token));
        let mut row = vec![0.0; VOCAB];
        logits_row(chain, &mut row);
        row[NAN_TOKEN as usize] -= 100.0;
        let sum: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
        let mut order: Vec<usize> = (0..VOCAB).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        let past: Vec<Vec<f64>> = (1..=tokens.len())
            .map(|len| state(&tokens[..len]))
            .collect();
        let score = |token: usize| {
            let own = state(&[&tokens[..], &[token as u32]].concat());
            let nearest = past.iter().map(|earlier| cosine(earlier, &own));
            let nearest = nearest.fold(f64::MIN, f64::max);
            (1.0 - alpha) * f64::from(row[token]).exp() / sum - alpha * nearest
        };
        let best = order[..top_k]
            .iter()
            .copied()
            .max_by(|&a, &b| score(a).total_cmp(&score(b)))
            .expect("candidates");
        tokens.push(best as u32);
    }
    tokens[prompt.len()..].to_vec()
}

#[test]
fn a_search_says_what_the_formula_says() {
    for prompt in [&[1_u32][..], &[1, 2, 3], &(1..20).collect::<Vec<_>>()] {
        for (alpha, top_k) in [(0.6, 4), (0.1, 2), (1.0, 3)] {
            let (mut engine, door) = wide(96, 512);
            let heard = events(&mut engine, &door, search(prompt, alpha, top_k));
            let expected = by_hand(prompt, f64::from(alpha), top_k as usize, 12);
            assert_eq!(tokens(&heard, 0), expected, "{alpha} {top_k}");
            assert_eq!(end(&heard).reason, FinishReason::Length);
            assert_eq!(figure(&door, "blocks_used"), 0);
        }
    }
}

#[test]
fn one_candidate_and_no_weight_are_greedy() {
    let mut greedy = request(&[1, 2, 3], 12);
    greedy.params.temperature = 0.0;
    greedy.params.repetition_penalty = 1.3;
    let (mut engine, door) = engine();
    let expected = tokens(&events(&mut engine, &door, greedy), 0);
    // 0 is the option's default and no search; the smallest weight there is compares and finds the likeliest.
    for (alpha, top_k) in [(0.6, 1), (1.0, 1), (f32::MIN_POSITIVE, 4), (0.0, 4)] {
        let mut one = search(&[1, 2, 3], alpha, top_k);
        one.params.repetition_penalty = 1.3;
        let heard = events(&mut engine, &door, one);
        assert_eq!(tokens(&heard, 0), expected, "{alpha} {top_k}");
    }
}

#[test]
fn neither_company_nor_chunks_nor_preemption_change_a_search() {
    let requests: Vec<Request> = (0..7_u32)
        .map(|at| {
            let mut request = search(&[at + 8, 2, 3, 4, 5, 6, 7, 1], 0.6, 2 + at % 3);
            request.params.max_tokens = Some(30);
            request
        })
        .collect();
    for (blocks, tokens_per_step) in [(40, 512), (40, 12), (160, 4)] {
        let (mut engine, door) = wide(blocks, tokens_per_step);
        let handles: Vec<_> = requests
            .iter()
            .map(|request| door.submit(request.clone()).expect("it fits"))
            .collect();
        let heard = listen(&mut engine, &handles);
        for (at, heard) in (0..).zip(&heard) {
            let prompt = [at + 8, 2, 3, 4, 5, 6, 7, 1];
            let top_k = 2 + at as usize % 3;
            assert_eq!(
                tokens(heard, 0),
                by_hand(&prompt, f64::from(0.6_f32), top_k, 30)
            );
            assert_eq!(end(heard).cached_tokens, 0, "a search reads no cache");
        }
        assert!(blocks > 40 || figure(&door, "preemptions") > 0, "{blocks}");
        assert_eq!(figure(&door, "blocks_used"), 0);
    }
}

#[test]
fn each_token_of_a_search_is_reported_once_and_by_its_own_row() {
    let (mut engine, door) = engine();
    let mut request = search(&[5, 6, 7], 0.6, 4);
    request.params.logprobs = Some(5);
    request.params.prompt_logprobs = Some(1);
    let heard = events(&mut engine, &door, request);
    let output = tokens(&heard, 0);
    assert_eq!(output, by_hand(&[5, 6, 7], f64::from(0.6_f32), 4, 12));
    assert_eq!(heard[0].prompt_logprobs.len(), 2);
    let entries: Vec<_> = heard.iter().flat_map(|event| &event.logprobs).collect();
    assert_eq!(entries.len(), output.len());
    let mut prefix = vec![5, 6, 7];
    for (token, entries) in output.iter().zip(entries) {
        let start = Chain::empty(0);
        let chain = prefix.iter().fold(start, |chain, &token| chain.push(token));
        let mut row = vec![0.0; VOCAB];
        logits_row(chain, &mut row);
        let sum: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
        let own = entries.iter().find(|entry| entry.token == *token);
        let expected = f64::from(row[*token as usize]) - sum.ln();
        let own = own.expect("the chosen token is among them");
        assert!((f64::from(own.logprob) - expected).abs() < 1e-5);
        prefix.push(*token);
    }
}

#[test]
fn ends_among_the_candidates_count_only_where_they_are_chosen() {
    let run = |change: &dyn Fn(&mut SamplingParams)| {
        let mut request = search(&[1, 2, 3], 0.6, 6);
        request.params.max_tokens = Some(30);
        change(&mut request.params);
        let (mut engine, door) = wide(96, 512);
        events(&mut engine, &door, request)
    };
    let output = by_hand(&[1, 2, 3], f64::from(0.6_f32), 6, 30);
    assert_eq!(tokens(&run(&|_| {}), 0), output);
    let distinct: Vec<u32> = (1..VOCAB as u32)
        .filter(|id| !output.contains(id))
        .collect();
    // Ids that are never chosen stop nothing, however often they are compared.
    let heard = run(&|params| params.stop_token_ids.clone_from(&distinct));
    assert_eq!(end(&heard).reason, FinishReason::Length);
    for place in [0, 3, 9] {
        let first = output.iter().position(|token| *token == output[place]);
        let heard = run(&|params| params.stop_token_ids = vec![output[place]]);
        assert_eq!(tokens(&heard, 0), output[..=first.expect("it is there")]);
        assert_eq!(end(&heard).reason, FinishReason::Stop);
        let heard = run(&|params| params.max_tokens = Some(place as u32 + 1));
        assert_eq!(tokens(&heard, 0), output[..=place]);
        assert_eq!(end(&heard).reason, FinishReason::Length);
    }
}

#[test]
fn a_broken_candidate_ends_a_search_only_where_it_is_chosen() {
    // All tokens are candidates, the one whose row is broken among them.
    let mut request = search(&[1, 2, 3], 0.1, 4);
    request.params.logit_bias = vec![(NAN_TOKEN, 100.0)];
    let (mut engine, door) = engine();
    let heard = events(&mut engine, &door, request.clone());
    assert_eq!(tokens(&heard, 0), [NAN_TOKEN]);
    assert_eq!(
        end(&heard).error.as_ref().map(|e| e.kind),
        Some(Kind::Corrupt)
    );
    assert_eq!(figure(&door, "blocks_used"), 0);
    request.params.max_tokens = Some(1);
    let heard = events(&mut engine, &door, request);
    assert_eq!(end(&heard).reason, FinishReason::Length);
}

fn refused(door: &Door, request: Request) -> (Kind, String, String) {
    let error = door.submit(request).expect_err("refused");
    let param = error.param().unwrap_or("").to_owned();
    (error.kind(), param, error.to_string())
}

#[test]
fn a_search_wider_than_a_step_or_the_pool_is_refused_by_name() {
    let (_engine, door) = engine();
    let (kind, param, text) = refused(&door, search(&[1], 0.6, 5));
    assert_eq!((kind, param.as_str()), (Kind::InvalidRequest, "top_k"));
    assert!(
        text.contains("5 sequences") && text.contains("at most 4"),
        "{text}"
    );
    let (kind, _, text) = refused(&door, search(&[1; 10], 0.6, 4));
    assert_eq!(kind, Kind::InvalidRequest);
    assert!(text.contains("24") && text.contains("16"), "{text}");
    for (top_k, needle) in [(0, "1 to 64"), (65, "1 to 64")] {
        let (_, param, text) = refused(&door, search(&[1], 0.6, top_k));
        assert_eq!(param, "penalty_alpha");
        assert!(text.contains(needle) && text.contains("top_k"), "{text}");
    }
}

#[test]
fn the_hidden_states_of_a_search_are_priced_and_given_back() {
    let hidden = program(VOCAB, 8).shape.hidden as u64;
    // 3 + 12 tokens with a norm each, and two candidates.
    let bytes = 15 * (4 * hidden + 8) + 2 * 4 * hidden;
    let with = |logprobs_bytes| Parts {
        logprobs_bytes,
        ..parts(sched())
    };
    let (mut engine, door) = assemble(with(bytes)).expect("an engine");
    let handle = door.submit(search(&[1, 2, 3], 0.6, 2)).expect("it fits");
    assert_eq!(figure(&door, "logprob_bytes"), bytes);
    let (kind, ..) = refused(&door, search(&[1, 2, 3], 0.6, 2));
    assert_eq!(kind, Kind::Overloaded);
    listen(&mut engine, &[handle]);
    assert_eq!(figure(&door, "logprob_bytes"), 0);
    let (_engine, door) = assemble(with(bytes - 1)).expect("an engine");
    let (kind, param, text) = refused(&door, search(&[1, 2, 3], 0.6, 2));
    assert_eq!(
        (kind, param.as_str()),
        (Kind::InvalidRequest, "penalty_alpha")
    );
    assert!(text.contains(&bytes.to_string()), "{text}");
    assert!(
        door.submit(request(&[1, 2, 3], 12)).is_ok(),
        "no search, no states"
    );
}
