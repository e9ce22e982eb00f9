//! Where an output ends and how it is handed out: loops, deadlines, bundles of tokens, chosen log-probs, masks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokenmill_core::{
    FinishReason, HasKind, Kind, OutputKind, RepetitionDetection, Request, SamplingParams,
};
use tokenmill_engine::{Door, Engine, Parts, Step, assemble};

use crate::{VOCAB, end, engine, events, figure, listen, parts, request, sched, tokens};

fn with(change: impl FnOnce(&mut SamplingParams)) -> Request {
    let mut request = request(&[1, 2, 3], 12);
    change(&mut request.params);
    request
}

#[test]
fn an_output_that_falls_into_a_loop_ends_with_the_reason_repetition() {
    let looping = |min_tokens| {
        with(|params| {
            params.allowed_token_ids = Some(vec![5]);
            params.min_tokens = min_tokens;
            params.repetition_detection = Some(RepetitionDetection {
                max_pattern_size: 3,
                min_pattern_size: 1,
                min_count: 4,
            });
        })
    };
    let (mut engine, door) = engine();
    let heard = events(&mut engine, &door, looping(0));
    assert_eq!(tokens(&heard, 0), [5; 4]);
    assert_eq!(end(&heard).reason, FinishReason::Repetition);
    assert_eq!(end(&heard).reason.as_str(), "repetition");
    // It is not looked for below the minimum, and the length comes first.
    let heard = events(&mut engine, &door, looping(7));
    assert_eq!(tokens(&heard, 0), [5; 7]);
    let heard = events(&mut engine, &door, looping(12));
    assert_eq!(end(&heard).reason, FinishReason::Length);
    assert_eq!(figure(&door, "blocks_used"), 0);
}

#[test]
fn masks_hold_at_every_step_and_in_every_sample() {
    let (mut engine, door) = engine();
    let heard = events(
        &mut engine,
        &door,
        with(|params| {
            params.n = 3;
            params.allowed_token_ids = Some(vec![4, 9, 30, 31, 50]);
            params.suppress_tokens = vec![30];
            params.begin_suppress_tokens = vec![9, 31];
        }),
    );
    for sample in 0..3 {
        let tokens = tokens(&heard, sample);
        assert_eq!(tokens.len(), 12);
        assert!(
            tokens.iter().all(|token| [4, 9, 31, 50].contains(token)),
            "{tokens:?}"
        );
        assert!([4, 50].contains(&tokens[0]), "{tokens:?}");
        assert!(
            tokens[1..].iter().any(|token| [9, 31].contains(token)),
            "{tokens:?}"
        );
    }
    let nothing = with(|params| {
        params.allowed_token_ids = Some(vec![7]);
        params.suppress_tokens = vec![7];
    });
    let heard = events(&mut engine, &door, nothing);
    let failure = end(&heard).error.clone().expect("a cause");
    assert_eq!(failure.code, Some("no_token_allowed"));
}

#[test]
fn events_come_in_bundles_and_lose_nothing() {
    let plain = {
        let (mut engine, door) = engine();
        events(&mut engine, &door, with(|params| params.n = 2))
    };
    let (mut engine, door) = engine();
    let lengths = |heard: &[tokenmill_core::Event], sample| -> Vec<usize> {
        let own = heard.iter().filter(|event| event.index == sample);
        own.map(|event| event.tokens.len()).collect()
    };
    let bundled = events(
        &mut engine,
        &door,
        with(|params| {
            params.n = 2;
            params.stream_interval = Some(4);
        }),
    );
    let last = events(
        &mut engine,
        &door,
        with(|params| {
            params.n = 2;
            params.output_kind = OutputKind::FinalOnly;
        }),
    );
    for sample in 0..2 {
        assert_eq!(lengths(&bundled, sample), [1, 4, 4, 3]);
        assert_eq!(lengths(&last, sample), [12]);
        assert_eq!(tokens(&bundled, sample), tokens(&plain, sample));
        assert_eq!(tokens(&last, sample), tokens(&plain, sample));
    }
}

#[test]
fn chosen_ids_are_reported_with_their_ranks_beside_the_sampled_one() {
    let (mut engine, door) = engine();
    let all = events(
        &mut engine,
        &door,
        with(|params| params.logprobs = Some(20)),
    );
    let ids = [3, 40, 8];
    let chosen = events(
        &mut engine,
        &door,
        with(|params| params.logprob_token_ids = Some(ids.to_vec())),
    );
    for (all, chosen) in all.iter().zip(&chosen) {
        assert_eq!(all.tokens, chosen.tokens);
        let entries = &chosen.logprobs[0];
        let mut expected = ids.to_vec();
        if !ids.contains(&chosen.tokens[0]) {
            expected.push(chosen.tokens[0]);
        }
        assert_eq!(entries.len(), expected.len());
        assert!(
            expected
                .iter()
                .all(|id| entries.iter().any(|entry| entry.token == *id))
        );
        assert!(entries.windows(2).all(|pair| pair[0].rank < pair[1].rank));
        for entry in entries {
            let same = all.logprobs[0]
                .iter()
                .find(|other| other.token == entry.token);
            assert!(same.is_none_or(|same| same == entry), "{entry:?} {same:?}");
        }
    }
}

/// An engine whose time a test moves, in milliseconds.
fn timed() -> (Engine, Door, Arc<AtomicU64>) {
    let now_ms = Arc::new(AtomicU64::new(1_000));
    let clock = now_ms.clone();
    let (engine, door) = assemble(Parts {
        clock: Arc::new(move || clock.load(Ordering::Relaxed) * 1_000_000),
        ..parts(sched())
    })
    .expect("an engine");
    (engine, door, now_ms)
}

#[test]
fn a_deadline_ends_a_request_within_a_step_and_leaves_what_it_said() {
    let (mut engine, door, now_ms) = timed();
    let whole = {
        let (mut engine, door) = super::engine();
        events(&mut engine, &door, with(|_| {}))
    };
    let handle = door
        .submit(with(|params| params.deadline_ms = Some(50)))
        .expect("it fits");
    let neighbour = door.submit(with(|_| {})).expect("it fits");
    for _ in 0..4 {
        now_ms.fetch_add(10, Ordering::Relaxed);
        assert_eq!(engine.step(), Step::Ran);
    }
    assert_eq!(figure(&door, "requests_live"), 2);
    now_ms.fetch_add(10, Ordering::Relaxed);
    engine.step();
    assert_eq!(figure(&door, "requests_live"), 1, "freed within a step");
    let heard = listen(&mut engine, &[handle, neighbour]);
    let late = tokens(&heard[0], 0);
    assert!(!late.is_empty() && tokens(&whole, 0).starts_with(&late));
    let failure = end(&heard[0]).error.clone().expect("a cause");
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Deadline, Some("deadline_exceeded"))
    );
    assert!(failure.message.contains("50 ms"), "{}", failure.message);
    assert_eq!(
        tokens(&heard[1], 0),
        tokens(&whole, 0),
        "the neighbour lost nothing"
    );
    assert_eq!(figure(&door, "blocks_used"), 0);
}

#[test]
fn f16_a_deadline_counts_from_submit_on_the_engines_own_clock_also_in_the_queue_and_behind_held_events()
 {
    let (mut engine, door, now_ms) = timed();
    let running: Vec<_> = (0..4)
        .map(|_| door.submit(with(|_| {})).expect("it fits"))
        .collect();
    engine.step();
    let waiting = door
        .submit(with(|params| {
            params.deadline_ms = Some(1);
            params.output_kind = OutputKind::FinalOnly;
        }))
        .expect("it fits");
    now_ms.fetch_add(1, Ordering::Relaxed);
    engine.step();
    let heard = listen(&mut engine, &[waiting]).remove(0);
    assert_eq!(heard.len(), 1);
    assert!(heard[0].tokens.is_empty());
    assert_eq!(
        end(&heard).error.as_ref().map(|failure| failure.kind),
        Some(Kind::Deadline)
    );
    listen(&mut engine, &running);
    // What was held for the end comes with it.
    let held = door
        .submit(with(|params| {
            params.deadline_ms = Some(5);
            params.output_kind = OutputKind::FinalOnly;
        }))
        .expect("it fits");
    (0..3).for_each(|_| _ = engine.step());
    now_ms.fetch_add(5, Ordering::Relaxed);
    let heard = listen(&mut engine, &[held]).remove(0);
    assert_eq!((heard.len(), heard[0].tokens.len()), (1, 3));
}

#[test]
fn ids_outside_the_vocabulary_are_refused_by_the_name_of_their_option() {
    let (_engine, door) = engine();
    let bad = VOCAB as u32;
    for (request, name) in [
        (
            with(|p| p.allowed_token_ids = Some(vec![1, bad])),
            "allowed_token_ids",
        ),
        (with(|p| p.suppress_tokens = vec![bad]), "suppress_tokens"),
        (
            with(|p| p.begin_suppress_tokens = vec![bad]),
            "begin_suppress_tokens",
        ),
        (
            with(|p| p.logprob_token_ids = Some(vec![bad])),
            "logprob_token_ids",
        ),
        (
            with(|p| p.bad_word_tokens = vec![vec![1, bad]]),
            "bad_words",
        ),
    ] {
        let error = door.submit(request).expect_err(name);
        assert_eq!(
            (error.kind(), error.param()),
            (Kind::InvalidRequest, Some(name))
        );
        assert!(error.to_string().contains("below 64"), "{error}");
    }
    let error = door
        .submit(with(|p| p.bad_words = vec!["word".into()]))
        .expect_err("no tokenizer");
    assert_eq!(
        (error.kind(), error.param()),
        (Kind::Unsupported, Some("bad_words"))
    );
    assert_eq!(figure(&door, "requests_live"), 0);
}
