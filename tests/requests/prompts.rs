//! Log-probs of the prompt: every token but the first once, from the model's own row before it, however the
//! prompt is cut, preempted or shared.

use tokenmill_core::{Event, FinishReason, HasKind, Kind, LogprobsMode, Request, TokenLogprobs};
use tokenmill_engine::{Engine, Parts, assemble};
use tokenmill_sched::SchedConfig;
use tokenmill_sim::{Chain, logits_row};

use crate::{NAN_TOKEN, VOCAB, end, engine, events, figure, listen, parts, request, sched, tokens};

fn prompt(seed: u32, len: u32) -> Vec<u32> {
    (0..len).map(|at| 1 + (seed * 7 + at * 5) % 59).collect()
}

fn scored(prompt: &[u32], alternatives: u32, max_tokens: u32) -> Request {
    let mut request = request(prompt, max_tokens);
    request.params.prompt_logprobs = Some(alternatives);
    request
}

/// The rows of a prompt, in float64.
fn rows(config: &SchedConfig, prompt: &[u32]) -> Vec<Vec<f64>> {
    let scope = Engine::scope_of(&config.secret, None).as_u64();
    let mut chain = Chain::empty(scope);
    let mut row = vec![0f32; VOCAB];
    let mut rows = Vec::new();
    for &token in prompt {
        chain = chain.push(token);
        logits_row(chain, &mut row);
        rows.push(row.iter().map(|&logit| f64::from(logit)).collect());
    }
    rows
}

/// Compares with a log-softmax and a full sort in float64.
fn check(config: &SchedConfig, prompt: &[u32], alternatives: usize, got: &[TokenLogprobs]) {
    assert_eq!(got.len(), prompt.len() - 1);
    for (at, (entries, row)) in got.iter().zip(rows(config, prompt)).enumerate() {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|logit| (logit - max).exp()).sum();
        let mut order: Vec<usize> = (0..VOCAB).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        let own = prompt[at + 1] as usize;
        let mut expected = order[..alternatives].to_vec();
        if !expected.contains(&own) {
            expected.push(own);
        }
        let ids: Vec<usize> = entries.iter().map(|entry| entry.token as usize).collect();
        assert_eq!(ids, expected, "token {}", at + 1);
        for entry in entries {
            let id = entry.token as usize;
            let logprob = row[id] - max - sum.ln();
            assert!(
                (f64::from(entry.logprob) - logprob).abs() < 1e-5,
                "token {}",
                at + 1
            );
            let rank = 1 + order.iter().position(|&other| other == id).expect("listed");
            assert_eq!(entry.rank as usize, rank);
        }
    }
}

fn of_prompt(events: &[Event]) -> Vec<TokenLogprobs> {
    let first = events.iter().find(|event| event.index == 0);
    let all = first.expect("sample 0 spoke").prompt_logprobs.clone();
    let count: usize = events.iter().map(|event| event.prompt_logprobs.len()).sum();
    assert_eq!(count, all.len(), "they come whole and once");
    all
}

#[test]
fn prompt_log_probs_do_not_depend_on_chunks_or_on_how_many_rows_may_have_logits() {
    let prompt = prompt(3, 23);
    let plain = {
        let (mut engine, door) = engine();
        let mut request = request(&prompt, 5);
        request.params.n = 3;
        events(&mut engine, &door, request)
    };
    for tokens_per_step in [1, 2, 5, 64] {
        for logits_rows_max in [1, 2, 7, 64] {
            let config = SchedConfig {
                tokens_per_step,
                logits_rows_max,
                ..sched()
            };
            let (mut engine, door) = assemble(parts(config.clone())).expect("an engine");
            let mut request = scored(&prompt, 3, 5);
            request.params.n = 3;
            let heard = events(&mut engine, &door, request);
            check(&config, &prompt, 3, &of_prompt(&heard));
            for sample in 0..3 {
                assert_eq!(tokens(&heard, sample), tokens(&plain, sample));
            }
        }
    }
}

#[test]
fn preempted_prompts_are_scored_once_beside_others() {
    let config = SchedConfig {
        blocks: 12,
        tokens_per_step: 6,
        logits_rows_max: 4,
        ..sched()
    };
    let mut preemptions = 0;
    for seed in 0..12 {
        let (mut engine, door) = assemble(parts(config.clone())).expect("an engine");
        let prompts: Vec<Vec<u32>> = (0..5).map(|at| prompt(seed * 5 + at, 4 + 3 * at)).collect();
        let handles: Vec<_> = prompts
            .iter()
            .enumerate()
            .map(|(at, prompt)| {
                let mut request = scored(prompt, 2, 14);
                if at % 3 == 1 {
                    request.params.prompt_logprobs = None;
                }
                door.submit(request).expect("it fits")
            })
            .collect();
        let heard = listen(&mut engine, &handles);
        for (at, (heard, prompt)) in heard.iter().zip(&prompts).enumerate() {
            assert_eq!(end(heard).reason, FinishReason::Length);
            let got = of_prompt(heard);
            if at % 3 == 1 {
                assert!(got.is_empty());
            } else {
                check(&config, prompt, 2, &got);
            }
        }
        preemptions += figure(&door, "preemptions");
    }
    assert!(
        preemptions > 20,
        "{preemptions}: the pool is not tight enough"
    );
}

#[test]
fn a_scored_prompt_leaves_the_cache_unread_and_fills_it() {
    let (mut engine, door) = engine();
    let prompt = prompt(1, 18);
    let first = events(&mut engine, &door, scored(&prompt, 0, 2));
    assert_eq!(
        (end(&first).cached_tokens, end(&first).created_tokens),
        (0, 16)
    );
    let again = events(&mut engine, &door, scored(&prompt, 0, 2));
    assert_eq!(
        (end(&again).cached_tokens, end(&again).created_tokens),
        (0, 0)
    );
    check(&sched(), &prompt, 0, &of_prompt(&again));
    let reading = events(&mut engine, &door, request(&prompt, 2));
    assert_eq!(
        (end(&reading).cached_tokens, end(&reading).created_tokens),
        (16, 0)
    );
    assert!(of_prompt(&reading).is_empty());
}

#[test]
fn rows_of_a_prompt_have_logits_only_where_they_were_asked_for() {
    for (is_asked, expected) in [(false, 1), (true, 20)] {
        let (mut engine, door) = engine();
        let mut request = scored(&prompt(2, 20), 1, 4);
        if !is_asked {
            request.params.prompt_logprobs = None;
        }
        let _handle = door.submit(request).expect("it fits");
        engine.step();
        assert_eq!(figure(&door, "step_logits_rows"), expected);
        engine.step();
        assert_eq!(figure(&door, "step_logits_rows"), 1);
    }
}

#[test]
fn the_mode_says_logits_or_log_probs_and_nothing_processes_a_prompt() {
    let prompt = prompt(5, 9);
    let with = |mode| {
        let (mut engine, door) = engine();
        let mut request = scored(&prompt, 2, 2);
        request.params.logprobs_mode = mode;
        request.params.temperature = 0.5;
        request.params.repetition_penalty = 1.5;
        of_prompt(&events(&mut engine, &door, request))
    };
    let raw = with(LogprobsMode::RawLogprobs);
    check(&sched(), &prompt, 2, &raw);
    assert_eq!(with(LogprobsMode::ProcessedLogprobs), raw);
    let logits = with(LogprobsMode::RawLogits);
    assert_eq!(with(LogprobsMode::ProcessedLogits), logits);
    for (entries, row) in logits.iter().zip(rows(&sched(), &prompt)) {
        for entry in entries {
            assert_eq!(f64::from(entry.logprob), row[entry.token as usize]);
        }
    }
}

#[test]
fn a_prompt_of_one_token_and_one_with_a_broken_row() {
    let (mut engine, door) = engine();
    assert!(of_prompt(&events(&mut engine, &door, scored(&[7], 2, 2))).is_empty());
    let unasked = events(&mut engine, &door, request(&[7, NAN_TOKEN, 8], 2));
    assert_eq!(end(&unasked).reason, FinishReason::Length);
    let neighbour = door.submit(scored(&prompt(4, 8), 1, 6)).expect("it fits");
    let broken = door
        .submit(scored(&[7, NAN_TOKEN, 8], 2, 2))
        .expect("it fits");
    let heard = listen(&mut engine, &[neighbour, broken]);
    check(&sched(), &prompt(4, 8), 1, &of_prompt(&heard[0]));
    let failure = end(&heard[1]).error.clone().expect("a cause");
    assert_eq!(failure.kind, Kind::Corrupt);
    assert!(
        failure.message.contains("position 2"),
        "{}",
        failure.message
    );
    assert_eq!(figure(&door, "blocks_used"), 0);
}

#[test]
fn prompt_log_probs_are_priced_with_those_of_the_output() {
    // Nine prompt tokens of three entries: 9 x (24 + 3 x 12) bytes; five output tokens of two: 5 x (24 + 24).
    let (mut engine, door) = assemble(Parts {
        logprobs_bytes: 800,
        ..parts(sched())
    })
    .expect("an engine");
    let mut both = scored(&prompt(1, 10), 2, 5);
    both.params.logprobs = Some(1);
    let handle = door.submit(both).expect("it fits");
    assert_eq!(figure(&door, "logprob_bytes"), 540 + 240);
    let error = door
        .submit(scored(&prompt(1, 3), 2, 5))
        .expect_err("not beside it");
    assert_eq!(error.kind(), Kind::Overloaded, "{error}");
    listen(&mut engine, &[handle]);
    assert_eq!(figure(&door, "logprob_bytes"), 0);
    let error = door
        .submit(scored(&prompt(1, 40), 20, 5))
        .expect_err("never fits");
    assert_eq!(
        (error.kind(), error.param()),
        (Kind::InvalidRequest, Some("prompt_logprobs"))
    );
    let mut by_id = request(&prompt(1, 3), 30);
    by_id.params.logprob_token_ids = Some((0..20).collect());
    let error = door.submit(by_id).expect_err("never fits");
    assert_eq!(error.param(), Some("logprob_token_ids"));
}
