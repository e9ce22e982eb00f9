//! The engine behind its public door, over the simulated backend: what it refuses and with which numbers,
//! how it ends, and that a failure stays with the request that caused it.

use std::time::Duration;

use tokenmill_core::event::Finish;
use tokenmill_core::{FinishReason, HasKind, Kind, Limits, Prompt, Request, SamplingParams};
use tokenmill_engine::{
    Door, Engine, Error, Handle, Parts, Planted, Received, Step, assemble, simulated, start,
};
use tokenmill_sched::{Policy, SchedConfig};
use tokenmill_sim::{SimBackend, Triggers, Violations};

const VOCAB: usize = 64;
/// Rows with this token fail.
const ERROR_TOKEN: u32 = 63;
const PANIC_TOKEN: u32 = 62;
const NAN_TOKEN: u32 = 61;

fn sched() -> SchedConfig {
    SchedConfig {
        blocks: 16,
        block_size: 4,
        context_len: 48,
        running_max: 4,
        ..SchedConfig::default()
    }
}

fn parts() -> Parts {
    let triggers = Triggers {
        error_token: Some(ERROR_TOKEN),
        panic_token: Some(PANIC_TOKEN),
        nan_token: Some(NAN_TOKEN),
        ..Triggers::default()
    };
    simulated(
        sched(),
        SimBackend::new(triggers, Violations::default()),
        VOCAB,
        vec![0],
    )
    .expect("parts")
}

fn engine() -> (Engine, Door) {
    assemble(parts()).expect("an engine")
}

fn request(tokens: &[u32], max_tokens: u32) -> Request {
    let params = SamplingParams {
        temperature: 0.0,
        max_tokens: Some(max_tokens),
        ignore_eos: true,
        // Tokens that fail on purpose are only ever given, never generated.
        logit_bias: [ERROR_TOKEN, PANIC_TOKEN, NAN_TOKEN]
            .map(|token| (token, -100.0))
            .to_vec(),
        ..SamplingParams::default()
    };
    Request::new(tokens.to_vec(), params)
}

/// Everything a request of one sample said, stepping the engine until it ended.
fn outcome(engine: &mut Engine, handle: &Handle) -> (Vec<u32>, Finish) {
    let mut tokens = Vec::new();
    for _ in 0..1000 {
        engine.step();
        engine.check();
        while let Received::Event(event) = handle.receive(Some(Duration::ZERO)) {
            tokens.extend(event.tokens);
            if let Some(finish) = event.finish {
                return (tokens, finish);
            }
        }
    }
    panic!("the request did not end");
}

fn figure(door: &Door, name: &str) -> u64 {
    let figures = door.stats().snapshot();
    figures
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a figure")
        .1
}

#[test]
fn a_request_that_cannot_run_is_refused_with_field_and_numbers() {
    let (_engine, door) = engine();
    let with = |change: fn(&mut Request)| {
        let mut request = request(&[1, 2, 3], 4);
        change(&mut request);
        request
    };
    let cases: [(Request, &str, &str); 10] = [
        (
            with(|r| r.cache_salt = Some("s".repeat(257))),
            "cache_salt",
            "at most 256 bytes, got 257",
        ),
        (
            with(|r| r.params.stop_token_ids = vec![1; 1025]),
            "stop_token_ids",
            "at most 1024",
        ),
        (
            with(|r| r.prompt = Prompt::Tokens(vec![])),
            "prompt",
            "empty",
        ),
        (
            with(|r| r.prompt = Prompt::Tokens(vec![1, 64])),
            "prompt",
            "below 64, got 64 at index 1",
        ),
        (
            with(|r| r.prompt = Prompt::Tokens(vec![1; 46])),
            "max_tokens",
            "context of 48 tokens, got 46 + 4",
        ),
        (
            with(|r| r.params.stop_token_ids = vec![64]),
            "stop_token_ids",
            "below 64",
        ),
        (
            with(|r| r.params.logit_bias = vec![(99, 1.0)]),
            "logit_bias",
            "below 64",
        ),
        (
            with(|r| r.params.temperature = f32::NAN),
            "temperature",
            "must be",
        ),
        (with(|r| r.params.top_p = 0.0), "top_p", "must be"),
        (with(|r| r.params.n = 2), "n", "greedy"),
    ];
    for (request, param, text) in cases {
        let error = door.submit(request).expect_err(text);
        assert_eq!(error.kind(), Kind::InvalidRequest, "{error}");
        assert_eq!(error.param(), Some(param), "{error}");
        assert!(
            error.to_string().contains(text),
            "{error} does not say {text}"
        );
    }
    let error = door
        .submit(with(|r| r.prompt = Prompt::Text("text".into())))
        .expect_err("no tokenizer");
    assert_eq!(error.kind(), Kind::Unsupported);
    assert_eq!(figure(&door, "requests_live"), 0);
}

#[test]
fn a_request_over_the_pool_is_refused_with_blocks() {
    let small = SchedConfig {
        blocks: 4,
        context_len: 1000,
        ..sched()
    };
    let parts = simulated(small, SimBackend::default(), VOCAB, vec![0]).expect("parts");
    let (_engine, door) = assemble(parts).expect("an engine");
    // The context is what one sequence finds in the pool, so that is the number named.
    let error = door.submit(request(&[1; 10], 10)).expect_err("too large");
    assert!(
        error.to_string().contains("16 tokens, got 10 + 10"),
        "{error}"
    );
}

#[test]
fn a_full_queue_refuses_and_a_freed_seat_accepts() {
    let (mut engine, door) = assemble(Parts {
        requests_max: 2,
        ..parts()
    })
    .expect("an engine");
    let first = door.submit(request(&[1], 3)).expect("a seat");
    let second = door.submit(request(&[2], 3)).expect("a seat");
    let error = door.submit(request(&[3], 3)).expect_err("full");
    assert!(
        matches!(error, Error::Overloaded { live: 2, limit: 2 }),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Overloaded);
    outcome(&mut engine, &first);
    outcome(&mut engine, &second);
    door.submit(request(&[3], 3)).expect("a seat again");
    assert_eq!(figure(&door, "requests_refused"), 1);
}

#[test]
fn a_dropped_handle_frees_every_block_at_the_next_plan() {
    let (mut engine, door) = engine();
    let handle = door.submit(request(&[1; 20], 20)).expect("it fits");
    engine.step();
    engine.step();
    assert!(figure(&door, "blocks_used") > 0);
    drop(handle);
    engine.step();
    engine.check();
    assert_eq!(figure(&door, "blocks_used"), 0);
    assert_eq!(figure(&door, "requests_live"), 0);
}

#[test]
fn a_failing_request_ends_alone_and_its_neighbours_keep_their_tokens() {
    let expected = {
        let (mut engine, door) = engine();
        let handle = door.submit(request(&[1, 2, 3], 8)).expect("it fits");
        outcome(&mut engine, &handle).0
    };
    for (bad, kind) in [
        (ERROR_TOKEN, Kind::Internal),
        (PANIC_TOKEN, Kind::Internal),
        (NAN_TOKEN, Kind::Corrupt),
    ] {
        let (mut engine, door) = engine();
        let neighbour = door.submit(request(&[1, 2, 3], 8)).expect("it fits");
        engine.step();
        let guilty = door.submit(request(&[5, bad], 8)).expect("it fits");
        let (tokens, finish) = outcome(&mut engine, &guilty);
        assert_eq!((tokens, finish.reason), (Vec::new(), FinishReason::Error));
        assert_eq!(finish.error.expect("a cause").kind, kind);
        let (tokens, finish) = outcome(&mut engine, &neighbour);
        assert_eq!(
            (tokens, finish.reason),
            (expected.clone(), FinishReason::Length)
        );
        assert_eq!(figure(&door, "blocks_used"), 0);
    }
}

#[test]
fn a_slow_reader_gets_every_token_late() {
    let limits = Limits {
        stream_events_max: 8,
        ..Limits::default()
    };
    let (mut engine, door) = assemble(Parts { limits, ..parts() }).expect("an engine");
    let handle = door.submit(request(&[1], 40)).expect("it fits");
    while engine.step() == Step::Ran {}
    let events: Vec<_> = handle.collect();
    assert_eq!(events.len(), 8, "the queue is bounded");
    assert_eq!(
        events.iter().map(|event| event.tokens.len()).sum::<usize>(),
        40
    );
}

#[test]
fn the_same_seed_gives_the_same_tokens_and_an_engine_seed_gives_reproducible_ones() {
    let sample = |seed: Option<i64>, engine_seed: Option<i64>| {
        let (mut engine, door) = assemble(Parts {
            seed: engine_seed,
            ..parts()
        })
        .expect("an engine");
        let mut request = request(&[7], 12);
        request.params.temperature = 1.5;
        request.params.seed = seed;
        let handle = door.submit(request).expect("it fits");
        let seed = handle.seed();
        (outcome(&mut engine, &handle).0, seed)
    };
    assert_eq!(sample(Some(-3), None), sample(Some(-3), None));
    assert_ne!(sample(Some(-3), None).0, sample(Some(4), None).0);
    assert_eq!(sample(None, Some(9)), sample(None, Some(9)));
    assert_ne!(sample(None, None).1, sample(None, None).1);
}

#[test]
fn a_refused_request_does_not_change_the_seeds_of_later_ones() {
    let seeds = |refused: usize| {
        let (mut engine, door) = assemble(Parts {
            seed: Some(9),
            requests_max: 1,
            ..parts()
        })
        .expect("an engine");
        let first = door.submit(request(&[7], 3)).expect("a seat");
        for _ in 0..refused {
            door.submit(request(&[7], 3)).expect_err("full");
        }
        outcome(&mut engine, &first);
        let second = door.submit(request(&[7], 3)).expect("a seat again");
        (first.seed(), second.seed())
    };
    assert_eq!(seeds(0), seeds(3));
}

#[test]
fn a_priority_is_refused_where_nobody_looks_at_it() {
    let urgent = || {
        let mut request = request(&[1], 3);
        request.priority = -1;
        request
    };
    let error = engine().1.submit(urgent()).expect_err("fcfs");
    assert_eq!(
        (error.kind(), error.param()),
        (Kind::Unsupported, Some("priority"))
    );
    let mut parts = parts();
    parts.sched.policy = Policy::Priority;
    let (_engine, door) = assemble(parts).expect("an engine");
    door.submit(urgent()).expect("it is looked at");
}

#[test]
fn log_probs_are_priced_at_the_door_and_given_back() {
    let with = |alternatives: u32, max_tokens: u32| {
        let mut request = request(&[1], max_tokens);
        request.params.logprobs = Some(alternatives);
        request
    };
    // Ten tokens of two entries: 10 x (24 + 2 x 12) bytes.
    let (mut engine, door) = assemble(Parts {
        logprobs_bytes: 700,
        ..parts()
    })
    .expect("an engine");
    let error = door.submit(with(20, 10)).expect_err("never fits");
    assert_eq!(
        (error.kind(), error.param()),
        (Kind::InvalidRequest, Some("logprobs"))
    );
    let first = door.submit(with(1, 10)).expect("it fits");
    assert_eq!(figure(&door, "logprob_bytes"), 480);
    let error = door.submit(with(1, 10)).expect_err("not beside the first");
    assert_eq!(error.kind(), Kind::Overloaded, "{error}");
    assert_eq!(figure(&door, "requests_live"), 1);
    outcome(&mut engine, &first);
    assert_eq!(figure(&door, "logprob_bytes"), 0);
    door.submit(with(1, 10)).expect("it fits again");
}

#[test]
fn soft_bans_that_had_to_go_are_named_and_hard_ones_end_the_request_with_a_code() {
    let banned = |tokens: std::ops::Range<u32>| {
        let mut request = request(&[1], 9);
        request.params.logit_bias = tokens.map(|token| (token, -100.0)).collect();
        request.params.ignore_eos = false;
        request.params.min_tokens = 5;
        request
    };
    let (mut engine, door) = engine();
    let only_the_end = door.submit(banned(1..VOCAB as u32)).expect("it fits");
    let (tokens, finish) = outcome(&mut engine, &only_the_end);
    assert_eq!((tokens, finish.reason), (vec![0], FinishReason::Stop));
    assert_eq!(finish.lifted, ["min_tokens"]);
    let nothing = door.submit(banned(0..VOCAB as u32)).expect("it fits");
    let failure = outcome(&mut engine, &nothing).1.error.expect("a cause");
    assert_eq!(failure.code, Some("no_token_allowed"));
}

#[test]
fn handles_and_resets_never_block_whoever_steps_the_engine() {
    let (mut engine, door) = assemble(Parts {
        requests_max: 1,
        ..parts()
    })
    .expect("an engine");
    let mut ended = Vec::new();
    for _ in 0..300 {
        let handle = door.submit(request(&[1], 1)).expect("a seat");
        outcome(&mut engine, &handle);
        ended.push(handle);
    }
    drop(ended);
    for _ in 0..300 {
        door.reset_prefix_cache().expect("open");
    }
    let handle = door.submit(request(&[1], 1)).expect("a seat");
    assert_eq!(outcome(&mut engine, &handle).0.len(), 1);
}

#[test]
fn draining_finishes_what_runs_and_refuses_what_comes() {
    let (engine, door) = engine();
    let host = start(engine, door.clone()).expect("a thread");
    let running = door.submit(request(&[1], 30)).expect("it fits");
    host.drain();
    assert_eq!(
        door.submit(request(&[2], 3)).expect_err("draining").kind(),
        Kind::Draining
    );
    let events: Vec<_> = running.collect();
    assert_eq!(
        events.iter().map(|event| event.tokens.len()).sum::<usize>(),
        30
    );
}

#[test]
fn closing_ends_every_request_once_with_a_draining_error() {
    let (engine, door) = engine();
    let handles: Vec<_> = (1..20)
        .map(|token| door.submit(request(&[token], 40)).expect("it fits"))
        .collect();
    let host = start(engine, door.clone()).expect("a thread");
    host.close();
    for handle in handles {
        let finishes: Vec<_> = handle.filter_map(|event| event.finish).collect();
        assert_eq!(finishes.len(), 1);
        let is_cut = finishes[0]
            .error
            .as_ref()
            .is_some_and(|failure| failure.kind == Kind::Draining);
        assert!(is_cut || finishes[0].reason == FinishReason::Length);
    }
    assert!(matches!(door.submit(request(&[1], 1)), Err(Error::Closed)));
}

#[test]
fn requests_that_a_dropped_engine_never_saw_end_too() {
    let (engine, door) = engine();
    let handle = door.submit(request(&[1], 4)).expect("it fits");
    drop(engine);
    let finishes: Vec<_> = handle.filter_map(|event| event.finish).collect();
    assert_eq!(finishes.len(), 1);
    assert_eq!(figure(&door, "requests_live"), 0);
}

#[test]
fn broken_books_kill_the_engine_loudly_and_tell_every_caller() {
    let broken = SchedConfig {
        planted: Some(tokenmill_sched::Planted::FreeTwice),
        ..sched()
    };
    let parts = simulated(broken, SimBackend::default(), VOCAB, vec![0]).expect("parts");
    let (engine, door) = assemble(parts).expect("an engine");
    let host = start(engine, door.clone()).expect("a thread");
    let handles: Vec<_> = [3, 40]
        .map(|length| door.submit(request(&[1, 2], length)).expect("it fits"))
        .into();
    let finishes: Vec<Finish> = handles
        .into_iter()
        .map(|handle| {
            handle
                .filter_map(|event| event.finish)
                .last()
                .expect("an end")
        })
        .collect();
    let died = finishes.iter().filter(|finish| {
        finish
            .error
            .as_ref()
            .is_some_and(|f| f.kind == Kind::Internal)
    });
    assert!(died.count() >= 1, "{finishes:?}");
    host.drain();
    let error = door.submit(request(&[1], 1)).expect_err("dead");
    assert_eq!(error.kind(), Kind::Internal, "{error}");
}

#[test]
fn a_lost_wake_up_is_a_bug_that_this_suite_can_see() {
    let (mut engine, door) = engine();
    engine.plant(Planted::LostWakeUp);
    engine.step();
    let handle = door.submit(request(&[1], 2)).expect("it fits");
    engine.step();
    assert_eq!(handle.receive(Some(Duration::ZERO)), Received::TimedOut);
}

#[test]
fn every_kind_has_its_row_in_the_table_of_doors() {
    // A match without a wildcard: a kind that is added must be added here, and so to the table.
    let position = |kind: Kind| match kind {
        Kind::InvalidRequest => 0,
        Kind::NotFound => 1,
        Kind::Unsupported => 2,
        Kind::Corrupt => 3,
        Kind::Overloaded => 4,
        Kind::Draining => 5,
        Kind::Deadline => 6,
        Kind::Cancelled => 7,
        Kind::Io => 8,
        Kind::Internal => 9,
    };
    let mut classes = std::collections::BTreeSet::new();
    for (index, row) in Kind::TABLE.iter().enumerate() {
        assert_eq!(position(row.kind), index);
        assert!(classes.insert(row.python), "{} twice", row.python);
        assert!(row.http_status == 0 || (400..600).contains(&row.http_status));
        assert_ne!(row.exit_code, 0);
    }
}

#[test]
fn token_lists_are_priced_at_the_door_and_given_back() {
    let with = |ids: u32| {
        let mut request = request(&[1], 4);
        request.params.allowed_token_ids = Some((0..ids).map(|id| id % VOCAB as u32).collect());
        request
    };
    let mut parts = parts();
    parts.limits.request_lists_bytes_max = 1_000;
    let (mut engine, door) = assemble(parts).expect("an engine");
    // Four bytes an id, of the request and of its sample; three more are banned in every request here.
    let error = door.submit(with(126)).expect_err("never fits");
    assert_eq!(
        (error.kind(), error.param()),
        (Kind::InvalidRequest, Some("allowed_token_ids")),
        "{error}"
    );
    let first = door.submit(with(120)).expect("it fits");
    assert_eq!(figure(&door, "list_bytes"), 984);
    let error = door.submit(with(6)).expect_err("not beside the first");
    assert_eq!(error.kind(), Kind::Overloaded, "{error}");
    outcome(&mut engine, &first);
    engine.step();
    assert_eq!(figure(&door, "list_bytes"), 0);
    door.submit(with(120)).expect("it fits again");
}
