//! One run of the same requests under one schedule: order of arrival, budgets, blocks, cache, threads. The
//! engine is stepped by hand, so that the schedule is exactly what it says.

use std::sync::Arc;
use std::time::Duration;

use tokenmill_core::{Limits, Request};
use tokenmill_engine::{
    AmateurParts, Door, Engine, Handle, Parts, Received, Step, Voice, assemble,
};
use tokenmill_formats::Checkpoint;
use tokenmill_model::cost::WeightBytes;
use tokenmill_model::{MemoryPlan, Weights, build};
use tokenmill_sched::SchedConfig;

use crate::subject::{Form, amateur};

/// Far more than any schedule here takes.
const STEPS_MAX: usize = 1_000_000;

#[derive(Clone, Debug)]
pub struct Schedule {
    /// Requests in order of arrival.
    pub order: Vec<usize>,
    /// Steps between arrivals; `None`: the next arrives when the last has ended.
    pub gap: Option<usize>,
    pub tokens_per_step: usize,
    pub block_size: usize,
    /// Tokens of the pool.
    pub pool: usize,
    pub prefix_caching: bool,
    pub threads: usize,
}

impl Schedule {
    /// Everything at once, with room.
    pub fn plain(requests: usize) -> Self {
        Self {
            order: (0..requests).collect(),
            gap: Some(0),
            tokens_per_step: 512,
            block_size: 16,
            pool: 16384,
            prefix_caching: true,
            threads: 2,
        }
    }
}

/// Tokens of every sample of every request, and how often a sequence was preempted.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub tokens: Vec<Vec<Vec<u32>>>,
    /// Tokens, ranks and bits of the log-probs of every prompt.
    pub scores: Vec<Vec<(u32, u32, u32)>>,
    pub preemptions: u64,
    pub cached_tokens: u64,
}

pub fn run(
    checkpoint: &Checkpoint,
    form: Form,
    requests: &[Request],
    schedule: &Schedule,
) -> Outcome {
    let (mut engine, door) = engine(checkpoint, form, schedule);
    let mut tokens: Vec<Vec<Vec<u32>>> = requests
        .iter()
        .map(|request| vec![Vec::new(); request.params.outputs() as usize])
        .collect();
    let mut scores = vec![Vec::new(); requests.len()];
    let mut open: Vec<(usize, Handle)> = Vec::new();
    let mut arrivals = schedule.order.iter().copied();
    let mut wait = 0;
    for _ in 0..STEPS_MAX {
        while wait == 0 && (schedule.gap.is_some() || open.is_empty()) {
            let Some(index) = arrivals.next() else { break };
            open.push((
                index,
                door.submit(requests[index].clone()).expect("it fits"),
            ));
            wait = schedule.gap.unwrap_or(0);
        }
        wait = wait.saturating_sub(1);
        let step = engine.step();
        open.retain(|(index, handle)| !listen(handle, &mut tokens[*index], &mut scores[*index]));
        if open.is_empty() && arrivals.len() == 0 {
            break;
        }
        assert!(
            step == Step::Ran || open.is_empty(),
            "idle with open requests"
        );
    }
    assert!(open.is_empty() && arrivals.len() == 0, "still running");
    engine.check();
    let figures = door.stats().snapshot();
    let figure = |name: &str| {
        figures
            .iter()
            .find(|(known, _)| *known == name)
            .expect("a figure")
            .1
    };
    assert_eq!(figure("requests_failed"), 0);
    Outcome {
        tokens,
        scores,
        preemptions: figure("preemptions"),
        cached_tokens: figure("cached_tokens"),
    }
}

/// Takes what has arrived; true at the end.
fn listen(handle: &Handle, tokens: &mut [Vec<u32>], scores: &mut Vec<(u32, u32, u32)>) -> bool {
    loop {
        match handle.receive(Some(Duration::ZERO)) {
            Received::Event(event) => {
                let failure = event.finish.as_ref().and_then(|end| end.error.as_ref());
                assert!(failure.is_none(), "{failure:?}");
                tokens[event.index as usize].extend(event.tokens);
                let entries = event.prompt_logprobs.iter().flatten();
                scores.extend(
                    entries.map(|entry| (entry.token, entry.rank, entry.logprob.to_bits())),
                );
            }
            Received::TimedOut => return false,
            Received::Ended => return true,
        }
    }
}

/// The raw logits behind a prompt, of all tokens.
pub fn first_row(checkpoint: &Checkpoint, form: Form, request: &Request) -> Vec<f32> {
    let (mut engine, door) = engine(checkpoint, form, &Schedule::plain(1));
    let mut row = vec![f32::NAN; door.capacity().vocab_len];
    let ids: Vec<u32> = (0..row.len() as u32).collect();
    for ids in ids.chunks(100) {
        let mut request = request.clone();
        request.params.logprob_token_ids = Some(ids.to_vec());
        let handle = door.submit(request).expect("it fits");
        while engine.step() == Step::Ran {}
        while let Received::Event(event) = handle.receive(Some(Duration::ZERO)) {
            for entry in event.logprobs.iter().flatten() {
                row[entry.token as usize] = entry.logprob;
            }
        }
    }
    assert!(row.iter().all(|value| value.is_finite()));
    row
}

/// A weaker model over the same tokens: a tiny one, or for a model of another vocabulary itself.
fn amateur_of(checkpoint: &Checkpoint, form: Form, plan: &MemoryPlan) -> AmateurParts {
    let vocab_len = |checkpoint| build(checkpoint).expect("known").shape.vocab_len;
    let tiny = amateur(form);
    let weaker = if vocab_len(&tiny) == vocab_len(checkpoint) {
        &tiny
    } else {
        checkpoint
    };
    let program = build(weaker).expect("a known architecture");
    let weights = Weights::new(&program, weaker).expect("complete");
    let mut backend = form.backend();
    backend.load(&program, &weights, plan).expect("loads");
    AmateurParts {
        backend,
        name: "amateur".into(),
        context_len: plan.context_len,
    }
}

fn engine(checkpoint: &Checkpoint, form: Form, schedule: &Schedule) -> (Engine, Door) {
    let program = build(checkpoint).expect("a known architecture");
    let weights = Weights::new(&program, checkpoint).expect("complete");
    let (dtype, activations, kv_format) = form.arithmetic();
    let plan = MemoryPlan {
        blocks: schedule.pool / schedule.block_size,
        block_size: schedule.block_size,
        rows_max: schedule.tokens_per_step.max(64),
        logits_rows_max: 64,
        exit_rows_max: 256,
        context_len: 1024,
        kv_format,
        dtype,
        activations,
        threads: schedule.threads,
        op_times: None,
    };
    let mut backend = form.backend();
    backend.load(&program, &weights, &plan).expect("loads");
    let amateur = amateur_of(checkpoint, form, &plan);
    let sched = SchedConfig {
        tokens_per_step: schedule.tokens_per_step,
        queue_len_max: usize::MAX,
        blocks: plan.blocks,
        block_size: plan.block_size,
        context_len: plan.context_len,
        prefix_caching: schedule.prefix_caching,
        secret: [5; 32],
        ..SchedConfig::default()
    };
    assemble(Parts {
        weight_bytes: WeightBytes::of(&weights).expect("known encodings"),
        program,
        kv_format,
        backend,
        amateur: Some(amateur),
        sched,
        requests_max: 1024,
        logprobs_bytes: 1 << 30,
        seed: None,
        voice: Voice {
            eos: vec![0],
            ..Voice::default()
        },
        limits: Limits::default(),
        clock: Arc::new(|| 0),
        op_times: None,
    })
    .expect("assembles")
}
