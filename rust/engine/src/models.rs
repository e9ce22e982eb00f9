//! Models for loom (`make loom`): two or three threads around the real engine, mailbox and handles, in
//! every order of their operations with at most three preemptions. A lost wake-up shows as a deadlock.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::thread;
use tokenmill_core::event::Finish;
use tokenmill_core::{Event, FinishReason, Kind, Prompt, Request, SamplingParams};
use tokenmill_sched::SchedConfig;
use tokenmill_sim::SimBackend;

use crate::door::mailbox::Mailbox;
use crate::host::serve;
use crate::primitives::{Bug, plant};
use crate::{Door, Engine, Received, assemble, simulated};

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 100_000;
    builder.check(run);
}

fn event(token: u32, is_last: bool) -> Event {
    let mut event = Event::new(0);
    event.tokens.push(token);
    event.finish = is_last.then_some(Finish::new(FinishReason::Length));
    event
}

fn engine(requests_max: usize) -> (Engine, Door) {
    let sched = SchedConfig {
        blocks: 4,
        block_size: 4,
        ..SchedConfig::default()
    };
    let mut parts =
        simulated(sched, SimBackend::default(), 16, Vec::new()).expect("a simulated engine");
    parts.requests_max = requests_max;
    parts.seed = Some(1);
    assemble(parts).expect("an engine")
}

fn request(max_tokens: u32) -> Request {
    let params = SamplingParams {
        max_tokens: Some(max_tokens),
        ..SamplingParams::default()
    };
    Request::new(Prompt::Tokens(vec![1, 2]), params)
}

fn everything_was_given_back(door: &Door) {
    let stats = door.stats();
    for (name, figure) in stats.snapshot() {
        if [
            "requests_live",
            "logprob_bytes",
            "list_bytes",
            "handles_open",
            "blocks_used",
        ]
        .contains(&name)
        {
            assert_eq!(figure, 0, "{name}");
        }
    }
    let of = |figure: &crate::primitives::AtomicU64| figure.load(Ordering::Relaxed);
    assert_eq!(of(&stats.requests_accepted), of(&stats.requests_ended));
}

/// Two events and the last, through room for two.
fn reads_every_event() {
    model(|| {
        let mailbox = Mailbox::new(1, 2);
        let sender = mailbox.clone();
        let writer = thread::spawn(move || {
            for token in 0..3 {
                sender.send(event(token, token == 2));
            }
        });
        let mut tokens = Vec::new();
        while let Received::Event(event) = mailbox.receive(None) {
            tokens.extend(event.tokens);
        }
        assert_eq!(tokens, [0, 1, 2]);
        writer.join().unwrap();
    });
}

#[test]
fn a_blocking_reader_gets_every_event_in_order() {
    reads_every_event();
}

/// Plants a bug in a process of its own, since a deadlock unwinds through locks that cannot be had, and
/// expects the model to end in it.
fn is_found(planted: &str) {
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(program)
        .args(["--ignored", "--exact", planted])
        .output()
        .expect("a child");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{planted} passed: {said}");
    assert!(said.contains("deadlock"), "{said}");
}

#[test]
fn planted_bugs_are_found() {
    is_found("models::planted_sleep_without_looking");
    is_found("models::planted_wake_up_before_the_news");
}

#[test]
#[ignore = "fails: run by planted_bugs_are_found"]
fn planted_sleep_without_looking() {
    plant(Bug::SleepWithoutLooking);
    reads_every_event();
}

#[test]
#[ignore = "fails: run by planted_bugs_are_found"]
fn planted_wake_up_before_the_news() {
    plant(Bug::WakeBeforeTheNews);
    wakes_a_sleeping_engine();
}

#[test]
fn an_awaiting_reader_gets_every_event_in_order() {
    model(|| {
        let mailbox = Mailbox::new(1, 2);
        let sender = mailbox.clone();
        let writer = thread::spawn(move || {
            for token in 0..3 {
                sender.send(event(token, token == 2));
            }
        });
        let mut tokens = Vec::new();
        loom::future::block_on(async {
            while let Some(event) = std::future::poll_fn(|context| mailbox.poll(context)).await {
                tokens.extend(event.tokens);
            }
        });
        assert_eq!(tokens, [0, 1, 2]);
        writer.join().unwrap();
    });
}

#[test]
fn leaving_wakes_a_reader_whatever_is_sent_meanwhile() {
    model(|| {
        let mailbox = Mailbox::new(1, 2);
        let (sender, leaver) = (mailbox.clone(), mailbox.clone());
        let threads = [
            thread::spawn(move || sender.send(event(0, false))),
            thread::spawn(move || leaver.leave()),
        ];
        while let Received::Event(event) = mailbox.receive(None) {
            assert_eq!(event.tokens, [0]);
        }
        assert!(mailbox.is_reader_gone() && !mailbox.is_open());
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// A caller drops its handle while the engine runs, sleeps or publishes; then it drains.
fn drops_and_drains() {
    model(|| {
        let (engine, door) = engine(2);
        let handle = door.submit(request(9)).expect("room");
        let server = thread::spawn(move || serve(engine));
        drop(handle);
        door.drain();
        server.join().unwrap();
        everything_was_given_back(&door);
    });
}

#[test]
fn a_dropped_handle_frees_everything_and_a_drain_ends() {
    drops_and_drains();
}

/// An engine that sleeps is told to forget its cache, and to drain, at once.
fn wakes_a_sleeping_engine() {
    model(|| {
        let (engine, door) = engine(1);
        let server = thread::spawn(move || serve(engine));
        let other = door.clone();
        let resetter = thread::spawn(move || {
            let _ = other.reset_prefix_cache();
        });
        door.drain();
        resetter.join().unwrap();
        server.join().unwrap();
        everything_was_given_back(&door);
    });
}

#[test]
fn a_sleeping_engine_hears_every_wake_up() {
    wakes_a_sleeping_engine();
}

#[test]
fn two_callers_never_hold_more_seats_than_there_are() {
    model(|| {
        let (engine, door) = engine(1);
        let live = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let callers = [door.clone(), door.clone()].map(|door| {
            let live = live.clone();
            thread::spawn(move || match door.submit(request(1)) {
                Ok(handle) => {
                    assert_eq!(live.fetch_add(1, Ordering::SeqCst), 0, "two seats");
                    // Counted out before the seat can be given back: nobody runs the engine here.
                    live.fetch_sub(1, Ordering::SeqCst);
                    std::mem::forget(handle);
                    1
                }
                Err(error) => {
                    assert_eq!(tokenmill_core::HasKind::kind(&error), Kind::Overloaded);
                    0
                }
            })
        });
        let accepted: u32 = callers.map(|caller| caller.join().unwrap()).iter().sum();
        assert_eq!(accepted, 1);
        drop(engine);
    });
}
