//! The memory ledger: what the engine will hold, by line, priced from the program before anything is
//! allocated; weights at their size in the file, until the backend has packed them. It turns the memory
//! options into the plan for the backend and the scheduler.

use std::sync::Arc;

use tokenmill_core::option::{ActivationsChoice, DtypeChoice, EngineOptions, KvCacheDtypeChoice};
use tokenmill_model::{Activations, ComputeDtype, KvFormat, KvShape, MemoryPlan, Mlp, Op, Program};

use crate::error::{Error, Result};
use crate::load::host_memory::{kv_auto_bytes, total_bytes};

/// Tokens of one step where the option is not set (spec: a decode never waits longer than one such step).
const TOKENS_PER_STEP: usize = 512;
/// Sequences running at once where the option is not set.
const SEQUENCES_MAX: usize = 64;
/// Requests that may wait beyond those running, where the option is not set.
const WAITING_MAX: usize = 256;

/// Early layers that a request may ask for at a step (`Limits::dola_layers_len_max`).
pub(crate) const EXITS_MAX: usize = 16;

/// The line whose price is known only once they are packed.
const WEIGHTS: &str = "weights";
const AMATEUR_WEIGHTS: &str = "amateur weights";

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What is held.
    pub what: &'static str,
    /// How many bytes.
    pub bytes: u64,
}

/// The whole plan of an engine's memory.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// What the backend may use.
    pub plan: MemoryPlan,
    /// Sequences running at once.
    pub sequences_max: usize,
    /// Requests running or waiting.
    pub requests_max: usize,
    /// Tokens of one step.
    pub tokens_per_step: usize,
    /// Bytes of log-probs that live requests may come to hold together.
    pub logprobs_bytes: u64,
    /// Bytes of one token's K and V over all layers.
    pub kv_token_bytes: u64,
    /// The lines, largest uses first.
    pub lines: Vec<Line>,
    /// What the reader should know (a lowered context).
    pub notes: Vec<String>,
}

impl Ledger {
    /// Prices `program` under `options`; `weight_bytes` is the size of its weights in the file.
    pub fn new(program: &Program, weight_bytes: u64, options: &EngineOptions) -> Result<Self> {
        Self::with_amateur(program, weight_bytes, None, options)
    }

    /// The same with a second model beside it, whose cache has as many blocks.
    pub fn with_amateur(
        program: &Program,
        weight_bytes: u64,
        amateur: Option<(&Program, u64)>,
        options: &EngineOptions,
    ) -> Result<Self> {
        let kv_format = kv_format(options);
        let block_size = options.block_size as usize;
        let own_token_bytes = kv_token_bytes(program, kv_format);
        let beside = amateur.map_or(0, |(other, _)| kv_token_bytes(other, kv_format));
        let kv_token_bytes = own_token_bytes + beside;
        let block_bytes = kv_token_bytes * block_size as u64;
        let sequences_max = options
            .max_num_seqs
            .map_or(SEQUENCES_MAX, |count| count as usize);
        let tokens_per_step = options
            .max_num_batched_tokens
            .map_or(TOKENS_PER_STEP, |count| count as usize);
        let blocks = pool_blocks(program, options, (sequences_max, block_bytes))?;
        let context_asked = context_asked(program, options)?;
        let pool_tokens = blocks * block_size;
        let context_len = context_asked.min(pool_tokens);
        let notes = notes(program, context_asked, pool_tokens);
        let plan = MemoryPlan {
            blocks,
            block_size,
            rows_max: tokens_per_step,
            logits_rows_max: sequences_max.min(tokens_per_step),
            exit_rows_max: sequences_max.min(tokens_per_step) * EXITS_MAX.min(program.exits()),
            context_len,
            kv_format,
            dtype: dtype(options),
            activations: activations(options),
            threads: threads(options),
            op_times: options.profile.then(Arc::default),
        };
        let pool_slots = (blocks * block_size) as u64;
        let mut lines = lines(program, &plan, weight_bytes, pool_slots * own_token_bytes);
        if let Some((other, weight_bytes)) = amateur {
            lines.extend(amateur_lines(
                other,
                &plan,
                weight_bytes,
                pool_slots * beside,
            ));
        }
        let logprobs_bytes = options.logprobs_memory_bytes;
        lines.push(Line {
            what: "log-probs",
            bytes: logprobs_bytes,
        });
        lines.push(Line {
            what: "token lists",
            bytes: options.limits().request_lists_bytes_max,
        });
        let requests_max = options
            .max_num_queued_reqs
            .map_or(sequences_max + WAITING_MAX, |count| count as usize);
        Ok(Self {
            plan,
            sequences_max,
            requests_max,
            tokens_per_step,
            logprobs_bytes,
            kv_token_bytes,
            lines,
            notes,
        })
    }

    /// Refuses what no request pattern could make fit.
    pub(crate) fn check_machine(&self) -> Result<()> {
        self.check_against(total_bytes().unwrap_or(u64::MAX))
    }

    fn check_against(&self, available: u64) -> Result<()> {
        let needed = self.total_bytes();
        if needed > available {
            return Err(Error::MachineMemory { needed, available });
        }
        Ok(())
    }

    /// Corrects the price of the weights by what the backend holds, where it says.
    pub(crate) fn settle_weights(&mut self, bytes: u64) {
        self.settle(WEIGHTS, bytes);
    }

    /// The same of the amateur's.
    pub(crate) fn settle_amateur(&mut self, bytes: u64) {
        self.settle(AMATEUR_WEIGHTS, bytes);
    }

    fn settle(&mut self, what: &str, bytes: u64) {
        for line in self.lines.iter_mut().filter(|line| line.what == what) {
            line.bytes = if bytes == 0 { line.bytes } else { bytes };
        }
    }

    /// All lines together.
    pub fn total_bytes(&self) -> u64 {
        self.lines.iter().map(|line| line.bytes).sum()
    }
}

/// Blocks of the pool: what the option's bytes hold, or as many as the free memory and the sequences make sense of.
fn pool_blocks(
    program: &Program,
    options: &EngineOptions,
    (sequences_max, block_bytes): (usize, u64),
) -> Result<usize> {
    let block_size = options.block_size as usize;
    let pool_bytes = options.kv_cache_memory_bytes.unwrap_or_else(|| {
        // More than every sequence at its longest is of no use.
        let context_len = options
            .max_model_len
            .map_or(program.shape.context_len, |len| len as usize);
        let blocks_max = context_len.div_ceil(block_size) * sequences_max;
        kv_auto_bytes().min((block_bytes * blocks_max as u64).max(2 * block_bytes))
    });
    let blocks = usize::try_from(pool_bytes / block_bytes)
        .unwrap_or(usize::MAX)
        .min(MAX_BLOCKS);
    if blocks < 2 {
        let smallest = block_bytes * 2;
        return Err(Error::Memory {
            param: "kv_cache_memory_bytes",
            smallest,
            got: pool_bytes,
        });
    }
    Ok(blocks)
}

/// Block ids are 32 bits and `slots` addresses every token of the pool in 32 bits too.
const MAX_BLOCKS: usize = 1 << 24;

/// K and V of one token in every layer.
fn kv_token_bytes(program: &Program, format: KvFormat) -> u64 {
    let width = |kv: &KvShape| 2 * (kv.heads * kv.head_dim) as u64;
    let elements: u64 = program.shape.kv.iter().map(width).sum();
    (elements * format.element_bytes() as u64).max(1)
}

fn lines(program: &Program, plan: &MemoryPlan, weight_bytes: u64, kv_bytes: u64) -> Vec<Line> {
    let line = |what, bytes| Line { what, bytes };
    let width = (program.regs.iter().sum::<usize>() + scratch_width(program)) as u64;
    vec![
        line(WEIGHTS, weight_bytes),
        line("kv cache", kv_bytes),
        line("activations", width * plan.rows_max as u64 * 4),
        line(
            "logits",
            program.shape.vocab_len as u64 * plan.logits_rows_max as u64 * 4,
        ),
        line("early layers", early_bytes(program, plan)),
    ]
}

/// What the amateur holds beside the model.
fn amateur_lines(
    program: &Program,
    plan: &MemoryPlan,
    weight_bytes: u64,
    kv_bytes: u64,
) -> [Line; 3] {
    let line = |what, bytes| Line { what, bytes };
    let plan = amateur_plan(program, plan);
    let steps = lines(program, &plan, 0, 0);
    [
        line(AMATEUR_WEIGHTS, weight_bytes),
        line("amateur kv cache", kv_bytes),
        line("amateur steps", steps.iter().map(|line| line.bytes).sum()),
    ]
}

/// What the amateur's backend may use: the same blocks, no early layers, and no longer context than its own.
pub(crate) fn amateur_plan(program: &Program, plan: &MemoryPlan) -> MemoryPlan {
    MemoryPlan {
        context_len: plan.context_len.min(program.shape.context_len),
        exit_rows_max: 0,
        op_times: None,
        ..plan.clone()
    }
}

/// The streams of rows that leave early, and a few rows of their logits at a time.
fn early_bytes(program: &Program, plan: &MemoryPlan) -> u64 {
    let streams = plan.exit_rows_max * program.shape.hidden;
    let logits = plan.exit_rows_max.min(EXITS_MAX) * program.shape.vocab_len;
    (streams + logits) as u64 * 4
}

/// Values per row beside the registers: the widest MLP's inner ones, or for a mixture the inputs, inner values
/// and outputs of all experts that a row goes through.
fn scratch_width(program: &Program) -> usize {
    let width = |op: &Op| match op {
        Op::Mlp(mlp) => inner(program, mlp),
        Op::Moe(moe) => {
            let inner = moe.experts.first().map_or(0, |mlp| inner(program, mlp));
            moe.active * (inner + 2 * program.shape.hidden)
        }
        _ => 0,
    };
    program.ops.iter().map(width).max().unwrap_or(0)
}

fn inner(program: &Program, mlp: &Mlp) -> usize {
    let up = &program.weights[mlp.up.weight.0 as usize];
    up.shape.first().copied().unwrap_or(0)
}

fn dtype(options: &EngineOptions) -> ComputeDtype {
    match options.dtype {
        DtypeChoice::Auto => ComputeDtype::Auto,
        DtypeChoice::Float32 => ComputeDtype::Float32,
        DtypeChoice::Bfloat16 => ComputeDtype::Bfloat16,
    }
}

fn activations(options: &EngineOptions) -> Activations {
    match options.activations {
        ActivationsChoice::Auto => Activations::Auto,
        ActivationsChoice::Exact => Activations::Exact,
        ActivationsChoice::Int8 => Activations::Int8,
    }
}

fn kv_format(options: &EngineOptions) -> KvFormat {
    match options.kv_cache_dtype {
        KvCacheDtypeChoice::Float32 => KvFormat::F32,
        // Asking for float32 everywhere else means it here too.
        KvCacheDtypeChoice::Auto if dtype(options) == ComputeDtype::Float32 => KvFormat::F32,
        KvCacheDtypeChoice::Auto | KvCacheDtypeChoice::Bfloat16 => KvFormat::Bf16,
    }
}

fn threads(options: &EngineOptions) -> usize {
    options.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        |threads| threads as usize,
    )
}

/// The context: the model's, or the option's, before the pool lowers it. A LongRoPE goes by it, so that the
/// memory that happens to be free changes no token.
pub(crate) fn context_asked(program: &Program, options: &EngineOptions) -> Result<usize> {
    let model = program.shape.context_len;
    match options.max_model_len {
        Some(len) if len as usize > model => Err(Error::Option(tokenmill_core::Error::BadValue {
            name: "max_model_len".into(),
            expected: format!("at most the model's context of {model} tokens"),
            got: len.to_string(),
        })),
        Some(len) => Ok(len as usize),
        None => Ok(model),
    }
}

/// What was decided that nobody said.
fn notes(program: &Program, context_asked: usize, pool_tokens: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if context_asked > pool_tokens {
        notes.push(format!(
            "max_model_len is lowered from {context_asked} to {pool_tokens} tokens: that is the whole KV pool"
        ));
    }
    if let Some(long) = program.ropes.iter().find_map(|rope| rope.long.as_ref()) {
        let original = long.original_context;
        let which = if context_asked > original {
            "long"
        } else {
            "short"
        };
        notes.push(format!(
            "the {which} rotary factors serve a context of {context_asked}; max_model_len up to {original} means the \
             short ones"
        ));
    }
    notes
}
