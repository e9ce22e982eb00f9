//! From a path to a running engine: open, build the program, price the memory, then pack the weights and
//! build the tokenizer side by side. It is the only place that knows every part.

pub(crate) mod amateur;
mod choice;
mod generation;
mod host_memory;
pub(crate) mod info;
pub(crate) mod ledger;
#[cfg(feature = "cpu")]
pub(crate) mod machine;
pub(crate) mod simulated;
#[cfg(feature = "text")]
mod spoken;
pub(crate) mod voice;

use std::path::Path;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use rustc_hash::FxHashMap;
use tokenmill_core::Limits;
use tokenmill_core::option::EngineOptions;
use tokenmill_decode::{Scratch, Vocabulary};
use tokenmill_formats::Checkpoint;
use tokenmill_model::cost::WeightBytes;
use tokenmill_model::{Backend, Caps, KvFormat, OpTimes, Program, StepBatch, Weights};
use tokenmill_sched::{SchedConfig, Scheduler};

use crate::constraint::Compiler;
use crate::door::{AmateurCapacity, Capacity, Door, Shared};
use crate::error::{Error, Result};
use crate::host::{Host, start};
use crate::load::amateur::{Amateur, AmateurParts};
use crate::load::choice::{Prospect, backend, prospect, sched_config};
use crate::load::info::Info;
use crate::load::ledger::{Ledger, context_asked};
use crate::load::voice::Voice;
use crate::primitives::{AtomicBool, AtomicU8, AtomicU64, sync_channel};
use crate::stats::Stats;
use crate::step::engine::Engine;
use crate::step::meter::{Clock, Meter, monotonic};
use crate::step::planted::Faults;
use crate::step::source::Sources;

/// Loads a model and starts its engine.
///
/// `path` is a GGUF file, a safetensors file or a folder.
pub fn load(path: &Path, options: &EngineOptions) -> Result<(Host, Info)> {
    let checkpoint = Checkpoint::open(path)?;
    let mut program = tokenmill_model::build(&checkpoint)?;
    let context_len = context_asked(&program, options)?;
    program.serve_context(context_len);
    let amateur = Amateur::open(options, context_len)?;
    let weights = Weights::new(&program, &checkpoint)?;
    let mut backend = backend(options)?;
    let beside = amateur.as_ref();
    let (mut ledger, prospect) = priced(&*backend, &checkpoint, &weights, beside, options)?;
    let read = || Voice::read(&checkpoint, options);
    let (packed, voice) = std::thread::scope(|scope| {
        let beside = std::thread::Builder::new().spawn_scoped(scope, read);
        let packed = backend.load(&program, &weights, &ledger.plan);
        // Where there is no room for another thread, one after the other.
        (
            packed,
            beside.map_or_else(|_| Ok(read()), ScopedJoinHandle::join),
        )
    });
    packed?;
    let mut voice = voice.map_err(|_| Error::Internal {
        what: "reading the tokenizer panicked".into(),
    })??;
    voice.check(program.shape.vocab_len)?;
    let amateur = amateur
        .map(|amateur| {
            amateur.check(&program, &voice, options)?;
            amateur.load(&mut ledger, options)
        })
        .transpose()?;
    let mut info = Info::new(&checkpoint, &program)?;
    ledger.settle_weights(backend.caps().weight_bytes);
    info.add_plan(&ledger, &prospect);
    info.add_loaded(&voice);
    let (engine, door) = assemble(Parts {
        weight_bytes: WeightBytes::of(&weights)?,
        kv_format: ledger.plan.kv_format,
        sched: sched_config(&ledger, options)?,
        requests_max: ledger.requests_max,
        logprobs_bytes: ledger.logprobs_bytes,
        seed: options.seed,
        limits: options.limits(),
        clock: monotonic(),
        op_times: ledger.plan.op_times,
        program,
        backend,
        amateur,
        voice,
    })?;
    Ok((start(engine, door)?, info))
}

/// What an engine under `options` will hold, or why this machine or this backend cannot.
pub(crate) fn priced(
    backend: &dyn Backend,
    checkpoint: &Checkpoint,
    weights: &Weights<'_>,
    amateur: Option<&Amateur>,
    options: &EngineOptions,
) -> Result<(Ledger, Prospect)> {
    let beside = amateur.map(Amateur::price);
    let bytes = checkpoint.weight_bytes();
    let mut ledger = Ledger::with_amateur(weights.program(), bytes, beside, options)?;
    let prospect = prospect(backend, weights, &ledger.plan)?;
    check_block_size(&ledger, &prospect.caps)?;
    ledger.settle_weights(prospect.weight_bytes);
    ledger.check_machine()?;
    Ok((ledger, prospect))
}

fn check_block_size(ledger: &Ledger, caps: &Caps) -> Result<()> {
    let (size, multiple) = (ledger.plan.block_size, caps.block_multiple);
    if size.is_multiple_of(multiple) {
        return Ok(());
    }
    Err(Error::Option(tokenmill_core::Error::BadValue {
        name: "block_size".into(),
        expected: format!("a multiple of {multiple} on the backend {}", caps.name),
        got: size.to_string(),
    }))
}

/// Reads a model's tokenizer and chat template, and no weights. Files of strangers are best read so in a
/// process of its own, under limits of memory and time, before `load`: neither parser bounds both.
pub fn check_text(path: &Path, options: &EngineOptions) -> Result<()> {
    let checkpoint = Checkpoint::open(path)?;
    let mut voice = Voice::read(&checkpoint, options)?;
    let program = tokenmill_model::build(&checkpoint)?;
    voice.check(program.shape.vocab_len)?;
    match Amateur::open(options, program.shape.context_len)? {
        Some(amateur) => amateur.check(&program, &voice, options),
        None => Ok(()),
    }
}

/// What an engine is made of. Tests bring their own backend, secret and clock.
pub struct Parts {
    /// The model.
    pub program: Program,
    /// Bytes of its weights, for the figures.
    pub weight_bytes: WeightBytes,
    /// KV storage, for the figures.
    pub kv_format: KvFormat,
    /// A loaded backend.
    pub backend: Box<dyn Backend>,
    /// The weaker model of contrastive requests.
    pub amateur: Option<AmateurParts>,
    /// Budgets and pool, as the backend was loaded; its secret also keys the cache scopes.
    pub sched: SchedConfig,
    /// Requests running or waiting.
    pub requests_max: usize,
    /// Bytes of log-probs that live requests may come to hold together.
    pub logprobs_bytes: u64,
    /// Key of the seeds of requests that give none; `None`: the system's randomness.
    pub seed: Option<i64>,
    /// Tokenizer, template, end tokens, defaults.
    pub voice: Voice,
    /// Bounds for requests.
    pub limits: Limits,
    /// Time for the figures.
    pub clock: Clock,
    /// Where the backend counts the time of operations, if it was asked to.
    pub op_times: Option<Arc<OpTimes>>,
}

/// Layers that rows may leave from on a backend.
fn exits_of(program: &Program, backend: &dyn Backend) -> usize {
    if backend.caps().gives_hidden {
        program.exits()
    } else {
        0
    }
}

/// Width of the hidden states that a backend gives.
fn hidden_of(program: &Program, backend: &dyn Backend) -> usize {
    if backend.caps().gives_hidden {
        program.shape.hidden
    } else {
        0
    }
}

fn capacity_of(parts: &Parts) -> Capacity {
    let (program, backend) = (&parts.program, &*parts.backend);
    Capacity {
        requests_max: parts.requests_max,
        logprobs_bytes: parts.logprobs_bytes,
        lists_bytes: parts.limits.request_lists_bytes_max,
        vocab_len: program.shape.vocab_len,
        hidden: hidden_of(program, backend),
        exits: exits_of(program, backend),
        amateur: parts.amateur.as_ref().map(AmateurCapacity::of),
        ..Capacity::of_pool(&parts.sched)
    }
}

/// Joins the parts: an engine to be stepped by hand or by a `Host`, and its door.
pub fn assemble(parts: Parts) -> Result<(Engine, Door)> {
    let capacity = capacity_of(&parts);
    let Parts {
        program,
        weight_bytes,
        kv_format,
        backend,
        sched,
        voice,
        limits,
        clock,
        ..
    } = parts;
    let secret = sched.secret;
    let scheduler = Scheduler::new(sched)?;
    // Room for every seat and the one wake-up: a send never waits for a step.
    let room = parts.requests_max + 1;
    let (sender, commands) = sync_channel(room);
    let Voice {
        lexicon,
        eos,
        defaults,
        ..
    } = voice;
    let vocabulary = Vocabulary::new(program.shape.vocab_len, eos)?;
    let shared = Arc::new(Shared {
        commands: sender,
        stats: Arc::new(Stats {
            op_times: parts.op_times,
            ..Stats::default()
        }),
        compiler: Compiler::new(&lexicon, vocabulary.len(), vocabulary.eos(), &limits),
        lexicon: Arc::new(lexicon),
        capacity,
        limits,
        clock: clock.clone(),
        seed: parts.seed,
        defaults,
        phase: AtomicU8::new(0),
        owner: std::process::id(),
        next_id: AtomicU64::new(1),
        is_waking: AtomicBool::new(false),
        is_reset_due: AtomicBool::new(false),
    });
    let engine = Engine {
        shared: shared.clone(),
        commands,
        scheduler,
        backend,
        lives: FxHashMap::default(),
        sequences: FxHashMap::default(),
        vocabulary,
        next_sequence: 0,
        batch: StepBatch::default(),
        scratch: Scratch::default(),
        sources: Sources::new(&program, parts.amateur.map(|amateur| amateur.backend)),
        outcomes: Vec::new(),
        group_rows: Vec::new(),
        meter: Meter::new(program, weight_bytes, kv_format, clock),
        secret,
        faults: Faults::default(),
        was_idle: false,
    };
    Ok((engine, Door { shared }))
}
