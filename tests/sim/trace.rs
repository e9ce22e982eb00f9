//! A trace from a seed: the pool, the budgets, who arrives when with what, who leaves early, what fails.

use std::collections::BTreeSet;

use tokenmill_core::{
    NamedPipeline, OutputKind, PipelineChoice, RepetitionDetection, SamplingParams,
};
use tokenmill_sched::{Policy, SchedConfig};
use tokenmill_sim::Triggers;

use crate::random::Random;
use crate::steering::steer;
use crate::strategy::strategy;

/// Ids 0..VOCAB; 0 ends a text; the last three make their own row fail, where a trace uses them.
pub const VOCAB: u32 = 61;
pub const EOS: u32 = 0;
const NAN_TOKEN: u32 = VOCAB - 1;
const ERROR_TOKEN: u32 = VOCAB - 2;
const PANIC_TOKEN: u32 = VOCAB - 3;
/// Distance of failing runs: more than any step has spans, so that a repeated run succeeds.
const FAULT_SPACING: usize = 64;

pub struct Arrival {
    pub step: usize,
    pub prompt: Vec<u32>,
    pub params: SamplingParams,
    pub priority: i32,
    pub salt: Option<String>,
    /// Step at which the caller drops its handle.
    pub leaves: Option<usize>,
    /// Steps between reads: a slow reader.
    pub reads_every: usize,
}

pub struct Trace {
    pub sched: SchedConfig,
    pub triggers: Triggers,
    /// Those of the amateur.
    pub amateur: Triggers,
    pub arrivals: Vec<Arrival>,
    pub requests_max: usize,
    pub resets: BTreeSet<usize>,
    pub drains_at: Option<usize>,
}

pub fn trace(seed: u64, steps: usize) -> Trace {
    let mut random = Random::new(seed);
    let sched = sched(&mut random);
    let mut triggers = triggers(&mut random, steps);
    let mut amateur = triggers.clone();
    // Runs that fail are the model's or the amateur's: both could meet in a repeated one.
    let spared = if random.chance(30) {
        &mut triggers
    } else {
        &mut amateur
    };
    spared.error_runs.clear();
    spared.panic_runs.clear();
    let stems: Vec<Vec<u32>> = (0..4).map(|_| tokens(&mut random, 40)).collect();
    let arrivals = arrivals(&mut random, steps, |random, step| {
        arrival(random, step, &sched, &stems, &triggers)
    });
    let resets = (0..random.range(0, 3))
        .map(|_| random.range(0, steps))
        .collect();
    let drains_at = random.chance(20).then(|| random.range(steps / 2, steps));
    Trace {
        sched,
        triggers,
        amateur,
        arrivals,
        requests_max: random.range(8, 96),
        resets,
        drains_at,
    }
}

/// Arrivals until the last step: a trickle, or bursts with pauses, in which everything ends and starts anew.
fn arrivals(
    random: &mut Random,
    steps: usize,
    mut arrival: impl FnMut(&mut Random, usize) -> Arrival,
) -> Vec<Arrival> {
    let is_burst = random.chance(40);
    let (pause, batch) = if is_burst { (300, 40) } else { (24, 1) };
    let mut arrivals = Vec::new();
    let mut step = 0;
    while step < steps {
        for _ in 0..random.range(1, batch) {
            arrivals.push(arrival(random, step));
        }
        step += random.range(1, pause);
    }
    // Someone comes at the very end.
    arrivals.push(arrival(random, steps - 1));
    arrivals
}

fn sched(random: &mut Random) -> SchedConfig {
    let block_size = random.range(1, 16);
    let blocks = random.range(4, 64);
    SchedConfig {
        tokens_per_step: *random.pick(&[1, 2, 3, 5, 8, 13, 32, 64]),
        logits_rows_max: random.range(1, 16),
        running_max: random.range(1, 16),
        queue_len_max: usize::MAX,
        blocks,
        block_size,
        block_reserve: if blocks > 8 { random.range(0, 2) } else { 0 },
        context_len: random.range(block_size.max(8), blocks * block_size + 8),
        prefix_caching: random.chance(75),
        policy: if random.chance(30) {
            Policy::Priority
        } else {
            Policy::Fcfs
        },
        chunk_max: random.chance(50).then(|| random.range(1, block_size + 1)),
        age_steps: *random.pick(&[0, 8, 64]),
        secret: [random.range(0, 255) as u8; 32],
        ..SchedConfig::default()
    }
}

fn triggers(random: &mut Random, steps: usize) -> Triggers {
    let mut triggers = Triggers::default();
    if random.chance(30) {
        triggers.nan_token = Some(NAN_TOKEN);
    }
    if random.chance(15) {
        triggers.error_token = Some(ERROR_TOKEN);
    }
    if random.chance(15) {
        triggers.panic_token = Some(PANIC_TOKEN);
    }
    // Not together with tokens that fail: a run that is scheduled to fail could meet a repeated one.
    if triggers.error_token.is_none() && triggers.panic_token.is_none() && random.chance(40) {
        for run in (FAULT_SPACING..steps).step_by(FAULT_SPACING) {
            let faults = if random.chance(50) {
                &mut triggers.error_runs
            } else {
                &mut triggers.panic_runs
            };
            faults.insert((run + random.range(0, 8)) as u64);
        }
    }
    triggers
}

fn tokens(random: &mut Random, len: usize) -> Vec<u32> {
    (0..len)
        .map(|_| random.range(1, PANIC_TOKEN as usize - 1) as u32)
        .collect()
}

fn arrival(
    random: &mut Random,
    step: usize,
    sched: &SchedConfig,
    stems: &[Vec<u32>],
    triggers: &Triggers,
) -> Arrival {
    let mut prompt = Vec::new();
    if random.chance(60) {
        let stem = random.pick(stems);
        prompt.extend_from_slice(&stem[..random.range(0, stem.len())]);
    }
    // Short, around a block border, or long.
    let own = match random.range(0, 3) {
        0 => random.range(1, 4),
        1 => (sched.block_size * random.range(1, 2) + random.range(0, 2))
            .saturating_sub(1)
            .max(1),
        2 => random.range(1, 24),
        _ => random.range(1, 4 + sched.blocks * sched.block_size / 2),
    };
    prompt.extend(tokens(random, own));
    let bad = [
        triggers.nan_token,
        triggers.error_token,
        triggers.panic_token,
    ];
    if let Some(token) = bad
        .into_iter()
        .flatten()
        .next()
        .filter(|_| random.chance(10))
    {
        let at = random.range(0, prompt.len() - 1);
        prompt[at] = token;
    }
    let plain = params(random);
    let params = strategy(random, sched, &prompt, plain);
    let lifetime = random.chance(25).then(|| step + random.range(0, 60));
    Arrival {
        step,
        prompt,
        params,
        // Refused where the policy does not look at it.
        priority: if sched.policy == Policy::Priority {
            random.range(0, 3) as i32
        } else {
            0
        },
        salt: random
            .chance(30)
            .then(|| format!("tenant {}", random.range(0, 2))),
        leaves: lifetime,
        reads_every: *random.pick(&[1, 1, 1, 3, 50]),
    }
}

fn params(random: &mut Random) -> SamplingParams {
    let is_greedy = random.chance(40);
    let max_tokens = random.range(1, 40) as u32;
    let params = SamplingParams {
        n: if is_greedy || random.chance(70) {
            1
        } else {
            random.range(2, 5) as u32
        },
        temperature: if is_greedy {
            0.0
        } else {
            *random.pick(&[0.5, 1.0, 1.7])
        },
        seed: Some(random.range(0, 9) as i64),
        top_k: *random.pick(&[0, 0, 5]),
        top_p: *random.pick(&[1.0, 1.0, 0.9]),
        repetition_penalty: *random.pick(&[1.0, 1.0, 1.2]),
        presence_penalty: *random.pick(&[0.0, 0.0, 0.5]),
        no_repeat_ngram_size: *random.pick(&[0, 0, 0, 2, 3]),
        max_tokens: if random.chance(95) {
            Some(max_tokens)
        } else {
            None
        },
        min_tokens: if random.chance(20) {
            random.range(0, max_tokens as usize) as u32
        } else {
            0
        },
        ignore_eos: random.chance(30),
        stop_token_ids: if random.chance(20) {
            vec![random.range(1, 20) as u32]
        } else {
            Vec::new()
        },
        logprobs: random.chance(20).then_some(2),
        ..SamplingParams::default()
    };
    constrain(random, params)
}

/// Masks, other engines' orders, other ways to end and to be told, on some requests.
fn constrain(random: &mut Random, params: SamplingParams) -> SamplingParams {
    let mut own = |percent: usize, count: usize| {
        let is_on = random.chance(percent);
        (if is_on { count } else { 0 }, random.range(1, 20) as u32)
    };
    let ids = |(count, first): (usize, u32)| (0..count as u32).map(move |at| first + 3 * at);
    let suppress_tokens = ids(own(15, 4)).collect();
    let begin_suppress_tokens = ids(own(15, 6)).collect();
    let allowed: Vec<u32> = ids(own(15, 8)).collect();
    let words = own(20, 3);
    let bad_word_tokens = ids(words).map(|last| vec![words.1, last]).collect();
    let reported: Vec<u32> = ids(own(10, 3)).collect();
    let is_looped = random.chance(25);
    let mut params = SamplingParams {
        logprobs: params.logprobs.filter(|_| reported.is_empty()),
        logprob_token_ids: (!reported.is_empty()).then_some(reported),
        prompt_logprobs: random.chance(20).then(|| random.range(0, 2) as u32),
        allowed_token_ids: (!allowed.is_empty()).then_some(allowed),
        suppress_tokens,
        begin_suppress_tokens,
        bad_word_tokens,
        min_length: if random.chance(15) {
            random.range(0, 30) as u32
        } else {
            0
        },
        penalty_last_n: random.chance(15).then(|| random.range(0, 9) as i32),
        repetition_detection: is_looped.then(|| RepetitionDetection {
            max_pattern_size: random.range(1, 4) as u32,
            min_pattern_size: 1,
            min_count: random.range(2, 3) as u32,
        }),
        stream_interval: random.chance(15).then(|| random.range(1, 7) as u32),
        ..params
    };
    if params.stream_interval.is_none() && random.chance(10) {
        params.output_kind = OutputKind::FinalOnly;
    }
    params = steer(random, params);
    let named = *random.pick(&[
        NamedPipeline::Hf,
        NamedPipeline::Vllm,
        NamedPipeline::Sglang,
        NamedPipeline::Llamacpp,
    ]);
    params.pipeline = PipelineChoice::Named(named);
    // An order that lacks a step the request asks for would be refused.
    if random.chance(60) || params.pipeline.fault(&params).is_some() {
        params.pipeline = PipelineChoice::default();
    }
    params
}
