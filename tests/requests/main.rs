//! What a request may ask, through the engine's door over the simulated backend: bad values by the number of
//! their case, log-probs of prompts, the pace of events, loops, deadlines.

mod cases;
mod explained;
mod outputs;
mod pairs;
mod prompts;
mod search;
mod sources;
mod structured;

use std::time::Duration;

use tokenmill_core::event::Finish;
use tokenmill_core::{Event, Prompt, Request, SamplingParams};
use tokenmill_engine::{Door, Engine, Handle, Parts, Received, assemble, simulated};
use tokenmill_sched::SchedConfig;
use tokenmill_sim::{SimBackend, Triggers, Violations};

const VOCAB: usize = 64;
/// Rows with this token are NaN.
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

fn parts(sched: SchedConfig) -> Parts {
    let triggers = Triggers {
        nan_token: Some(NAN_TOKEN),
        ..Triggers::default()
    };
    let backend = SimBackend::new(triggers, Violations::default());
    simulated(sched, backend, VOCAB, vec![0]).expect("parts")
}

fn engine() -> (Engine, Door) {
    assemble(parts(sched())).expect("an engine")
}

/// A request of plain sampling that never draws the token whose rows are broken.
fn request(tokens: &[u32], max_tokens: u32) -> Request {
    let params = SamplingParams {
        seed: Some(11),
        max_tokens: Some(max_tokens),
        ignore_eos: true,
        logit_bias: vec![(NAN_TOKEN, -100.0)],
        ..SamplingParams::default()
    };
    Request::new(Prompt::Tokens(tokens.to_vec()), params)
}

/// Every event of these requests, stepping the engine until all have ended.
fn listen(engine: &mut Engine, handles: &[Handle]) -> Vec<Vec<Event>> {
    let mut heard: Vec<Vec<Event>> = handles.iter().map(|_| Vec::new()).collect();
    for _ in 0..10_000 {
        engine.step();
        engine.check();
        let mut open = 0;
        for (handle, heard) in handles.iter().zip(&mut heard) {
            loop {
                match handle.receive(Some(Duration::ZERO)) {
                    Received::Event(event) => heard.push(event),
                    Received::TimedOut => {
                        open += 1;
                        break;
                    }
                    Received::Ended => break,
                }
            }
        }
        if open == 0 {
            return heard;
        }
    }
    panic!("a request did not end");
}

/// The events of one request.
fn events(engine: &mut Engine, door: &Door, request: Request) -> Vec<Event> {
    let handle = door.submit(request).expect("it fits");
    listen(engine, &[handle]).remove(0)
}

fn tokens(events: &[Event], sample: u32) -> Vec<u32> {
    let of_sample = events.iter().filter(|event| event.index == sample);
    of_sample.flat_map(|event| event.tokens.clone()).collect()
}

fn end(events: &[Event]) -> &Finish {
    events
        .iter()
        .rev()
        .find_map(|event| event.finish.as_ref())
        .expect("an end")
}

fn figure(door: &Door, name: &str) -> u64 {
    let figures = door.stats().snapshot();
    let found = figures.iter().find(|(known, _)| *known == name);
    found.expect("a figure").1
}
