//! Drives the real engine and scheduler through a trace, one step at a time, on one thread, and compares
//! every output with the oracle. A failure is a sentence; the seed reproduces it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokenmill_core::{Event, FinishReason, Limits, Request, TokenLogprobs};
use tokenmill_engine::{
    AmateurParts, Door, Engine, Handle, Parts, Received, Step, assemble, simulated,
};
use tokenmill_sched::Scope;
use tokenmill_sim::{SimBackend, Triggers, Violations};

use crate::oracle::{Question, answers, prompt_scores};
use crate::rows::AMATEUR_SEED;
use crate::strategy::negative;
use crate::trace::{Arrival, EOS, Trace, VOCAB};

/// What a sample has said so far.
#[derive(Default)]
struct Heard {
    tokens: Vec<u32>,
    logprobs: usize,
    prompt_logprobs: Vec<TokenLogprobs>,
    reason: Option<FinishReason>,
    error: String,
}

struct Caller<'a> {
    arrival: &'a Arrival,
    handle: Option<Handle>,
    heard: Vec<Heard>,
    left: bool,
    output_len_max: usize,
}

/// Figures of a run.
#[derive(Debug, Default)]
pub struct Report {
    pub steps: usize,
    pub requests: usize,
    pub refused: usize,
    pub tokens: usize,
    /// Outputs of beam searches.
    pub beams: usize,
    /// Requests that ended by themselves: contrastive searches, and those with a second row.
    pub searches: usize,
    pub second_rows: [usize; 3],
    pub preemptions: u64,
    pub cached_tokens: u64,
    pub isolated: u64,
}

/// Runs a trace; the error says what broke.
pub fn drive(trace: &Trace, steps: usize, plant: impl Fn(&mut Engine)) -> Result<Report, String> {
    let violations = Violations::default();
    let run = catch_unwind(AssertUnwindSafe(|| {
        let (mut engine, door) = engine(trace, &violations);
        plant(&mut engine);
        play(trace, steps, &mut engine, &door)
    }));
    if let Some(violation) = violations.lock().expect("no panic while held").first() {
        return Err(format!("the backend saw: {violation}"));
    }
    match run {
        Ok(report) => report,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("a panic: {}", text.unwrap_or_default()))
        }
    }
}

fn engine(trace: &Trace, violations: &Violations) -> (Engine, Door) {
    let parts_of = |triggers: &Triggers, seed| {
        let backend = SimBackend::new(triggers.clone(), Arc::clone(violations)).with_seed(seed);
        let parts = simulated(trace.sched.clone(), backend, VOCAB as usize, vec![EOS]);
        parts.expect("a simulated engine")
    };
    let parts = Parts {
        amateur: Some(AmateurParts {
            backend: parts_of(&trace.amateur, AMATEUR_SEED).backend,
            name: "amateur".into(),
            context_len: trace.sched.context_len,
        }),
        requests_max: trace.requests_max,
        // A short queue of events, so that coalescing is part of every trace.
        limits: Limits {
            stream_events_max: 4,
            ..Limits::default()
        },
        ..parts_of(&trace.triggers, 0)
    };
    assemble(parts).expect("assembles")
}

fn play(trace: &Trace, steps: usize, engine: &mut Engine, door: &Door) -> Result<Report, String> {
    let mut callers: Vec<Caller<'_>> = Vec::new();
    let mut report = Report::default();
    let mut arrivals = trace.arrivals.iter().peekable();
    // Long enough for everything to end; more is a livelock.
    let bound = steps + 400 * trace.arrivals.len() * 50;
    for now in 0..bound {
        while let Some(arrival) = arrivals.next_if(|arrival| arrival.step <= now) {
            submit(
                door,
                arrival,
                &mut callers,
                &mut report,
                trace.drains_at.is_some_and(|at| at < now),
            )?;
        }
        if trace.resets.contains(&now) {
            // Refused only while draining.
            let _ = door.reset_prefix_cache();
        }
        if trace.drains_at == Some(now) {
            door.drain();
        }
        let step = engine.step();
        engine.check();
        // Whose handle is gone is gone from the engine after one step.
        let open = callers.iter().filter(|caller| caller.handle.is_some());
        let live = door.stats().figure("requests_live").expect("a figure") as usize;
        if live > open.count() {
            return Err(format!("step {now} left {live} requests alive"));
        }
        if step != Step::Ran && (!engine.is_idle() || callers.iter().any(Caller::is_waiting)) {
            return Err(format!("step {now} was idle while a request was open"));
        }
        listen(&mut callers, now, &mut report)?;
        report.steps = now + 1;
        let is_over =
            arrivals.peek().is_none() && callers.iter().all(|caller| caller.handle.is_none());
        if is_over {
            // One more plan frees what the last callers left.
            engine.step();
            engine.check();
            return finish(trace, engine, door, &callers, report);
        }
    }
    Err(format!("requests were still open after {bound} steps"))
}

impl Caller<'_> {
    /// Whether the engine owes it something it has not sent.
    fn is_waiting(&self) -> bool {
        self.handle.as_ref().is_some_and(Handle::is_open)
    }
}

fn submit<'a>(
    door: &Door,
    arrival: &'a Arrival,
    callers: &mut Vec<Caller<'a>>,
    report: &mut Report,
    is_draining: bool,
) -> Result<(), String> {
    report.requests += 1;
    let capacity = door.capacity();
    let asked = arrival
        .params
        .max_tokens
        .map_or(1, |tokens| tokens as usize);
    let second = negative(&arrival.prompt, &arrival.params);
    let longest = arrival.prompt.len().max(second.map_or(0, <[u32]>::len));
    let fits = longest + asked <= capacity.context_len;
    let mut request = Request::new(arrival.prompt.clone(), arrival.params.clone());
    request.priority = arrival.priority;
    request.cache_salt.clone_from(&arrival.salt);
    match door.submit(request) {
        Ok(handle) if fits && !is_draining => {
            let room = capacity.context_len - longest;
            let output_len_max = arrival
                .params
                .max_tokens
                .map_or(room, |tokens| tokens as usize);
            let heard = (0..arrival.params.outputs())
                .map(|_| Heard::default())
                .collect();
            callers.push(Caller {
                arrival,
                handle: Some(handle),
                heard,
                left: false,
                output_len_max,
            });
            Ok(())
        }
        Ok(_) => Err("a request that cannot run was accepted".into()),
        Err(_) if !fits || is_draining => {
            report.refused += 1;
            Ok(())
        }
        Err(tokenmill_engine::Error::Overloaded { .. }) => {
            report.refused += 1;
            Ok(())
        }
        Err(error) => Err(format!("a request that fits was refused: {error}")),
    }
}

fn listen(callers: &mut [Caller<'_>], now: usize, report: &mut Report) -> Result<(), String> {
    for caller in callers {
        let Some(handle) = &caller.handle else {
            continue;
        };
        if now.is_multiple_of(caller.arrival.reads_every) {
            loop {
                match handle.receive(Some(Duration::ZERO)) {
                    Received::Event(event) => hear(&mut caller.heard, event, report)?,
                    Received::TimedOut => break,
                    Received::Ended => {
                        caller.handle = None;
                        break;
                    }
                }
            }
        }
        if caller.arrival.leaves.is_some_and(|leaves| leaves <= now)
            && caller.handle.take().is_some()
        {
            caller.left = true;
        }
    }
    Ok(())
}

fn hear(heard: &mut [Heard], event: Event, report: &mut Report) -> Result<(), String> {
    let sample = heard
        .get_mut(event.index as usize)
        .ok_or("an event of a sample that was not asked for")?;
    if sample.reason.is_some() {
        return Err(format!("sample {} spoke after its end", event.index));
    }
    report.tokens += event.tokens.len();
    report.beams += usize::from(event.finish.as_ref().is_some_and(|end| end.score.is_some()));
    sample.logprobs += event.logprobs.len();
    sample.prompt_logprobs.extend(event.prompt_logprobs);
    sample.tokens.extend(event.tokens);
    if let Some(finish) = event.finish {
        sample.reason = Some(finish.reason);
        sample.error = finish
            .error
            .map(|failure| failure.message)
            .unwrap_or_default();
    }
    Ok(())
}

fn finish(
    trace: &Trace,
    engine: &Engine,
    door: &Door,
    callers: &[Caller<'_>],
    mut report: Report,
) -> Result<Report, String> {
    for (number, caller) in callers.iter().enumerate() {
        verify(trace, caller).map_err(|what| format!("request {number}: {what}"))?;
        let reason = caller.heard[0].reason;
        if !caller.left && reason != Some(FinishReason::Error) {
            let params = &caller.arrival.params;
            report.searches += usize::from(params.is_contrastive_search());
            let source = params.source();
            let place = tokenmill_core::Step::SOURCES
                .iter()
                .position(|step| source == Some(*step));
            if let Some(place) = place {
                report.second_rows[place] += 1;
            }
        }
    }
    let figures: BTreeMap<_, _> = door.stats().snapshot().into_iter().collect();
    if !engine.is_idle() || figures["requests_live"] != 0 || figures["handles_open"] != 0 {
        return Err(format!("the engine still holds requests: {figures:?}"));
    }
    if figures["requests_accepted"] != figures["requests_ended"] {
        return Err(format!("accepted and ended differ: {figures:?}"));
    }
    if figures["blocks_used"] != 0 {
        return Err(format!(
            "{} blocks are in use by nobody",
            figures["blocks_used"]
        ));
    }
    report.preemptions = figures["preemptions"];
    report.cached_tokens = figures["cached_tokens"];
    report.isolated = figures["steps_isolated"];
    Ok(report)
}

fn verify(trace: &Trace, caller: &Caller<'_>) -> Result<(), String> {
    let arrival = caller.arrival;
    let salt = arrival.salt.as_deref();
    let scope = if arrival.params.contrastive.is_some() {
        // Of their own, under another key.
        let key = trace.sched.secret.map(|byte| !byte);
        Scope::of_salt(&key, salt.unwrap_or_default().as_bytes())
    } else {
        Engine::scope_of(&trace.sched.secret, salt)
    };
    let question = Question {
        prompt: &arrival.prompt,
        params: &arrival.params,
        scope: scope.as_u64(),
        output_len_max: caller.output_len_max,
        triggers: &trace.triggers,
    };
    let answers = answers(&question);
    let fails = answers
        .iter()
        .any(|answer| answer.reason == FinishReason::Error);
    for (index, (heard, answer)) in caller.heard.iter().zip(&answers).enumerate() {
        let is_absent = [Some(answer.reason), heard.reason] == [Some(FinishReason::Absent); 2];
        let is_cut =
            caller.left || is_absent || (fails && heard.reason == Some(FinishReason::Error));
        let is_right = if is_cut {
            answer.tokens.starts_with(&heard.tokens)
        } else {
            heard.tokens == answer.tokens && heard.reason == Some(answer.reason)
        };
        if !is_right {
            return Err(format!(
                "sample {index} said {:?} ({:?} {}), the oracle {:?} ({:?})",
                heard.tokens, heard.reason, heard.error, answer.tokens, answer.reason
            ));
        }
        if arrival.params.wants_logprobs() && heard.logprobs != heard.tokens.len() {
            return Err(format!(
                "sample {index} has {} log-probs for {} tokens",
                heard.logprobs,
                heard.tokens.len()
            ));
        }
    }
    verify_prompt(&question, &caller.heard[0])
}

/// The prompt's log-probs come with the first token, one for each token but the first, as float64 has them.
fn verify_prompt(question: &Question<'_>, heard: &Heard) -> Result<(), String> {
    let is_due = question.params.prompt_logprobs.is_some() && !heard.tokens.is_empty();
    let expected = if is_due {
        prompt_scores(question)
    } else {
        Vec::new()
    };
    let got = &heard.prompt_logprobs;
    if got.len() != expected.len() {
        let (got, expected) = (got.len(), expected.len());
        return Err(format!("{got} log-probs of the prompt, not {expected}"));
    }
    for (at, (entries, expected)) in got.iter().zip(&expected).enumerate() {
        let token = question.prompt[at + 1];
        let own = entries.iter().find(|entry| entry.token == token);
        let is_right = own.is_some_and(|own| (f64::from(own.logprob) - expected).abs() < 1e-4);
        if !is_right {
            return Err(format!(
                "prompt token {} has {own:?}, not {expected}",
                at + 1
            ));
        }
    }
    Ok(())
}
