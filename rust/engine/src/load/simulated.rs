//! An engine over the simulated backend, ready to be stepped: what simulators, tests and schedulers' benches
//! start from. No file, no tokenizer, a clock that stands still.

use std::sync::Arc;

use tokenmill_core::{Limits, TokenId};
use tokenmill_formats::{Checkpoint, Config};
use tokenmill_model::cost::WeightBytes;
use tokenmill_model::{Activations, Backend, ComputeDtype, KvFormat, MemoryPlan, Weights};
use tokenmill_sched::SchedConfig;
use tokenmill_sim::{SimBackend, program};

use crate::error::Result;
use crate::load::Parts;
use crate::load::ledger::EXITS_MAX;
use crate::load::voice::Voice;

/// Parts of an engine over `backend`, with a vocabulary of `vocab_len` tokens of which `eos` end a text, and
/// the pool and budgets of `sched`. At most 1,024 requests are running or waiting.
pub fn simulated(
    sched: SchedConfig,
    mut backend: SimBackend,
    vocab_len: usize,
    eos: Vec<TokenId>,
) -> Result<Parts> {
    let program = program(vocab_len, sched.context_len);
    let config = Config::Json {
        config: serde_json::Map::new(),
        generation: None,
    };
    let checkpoint = Checkpoint::from_memory(config, Vec::new())?;
    let weights = Weights::new(&program, &checkpoint)?;
    let plan = MemoryPlan {
        blocks: sched.blocks,
        block_size: sched.block_size,
        rows_max: sched.tokens_per_step,
        logits_rows_max: sched.logits_rows_max,
        exit_rows_max: sched.logits_rows_max * EXITS_MAX,
        context_len: sched.context_len,
        kv_format: KvFormat::F32,
        dtype: ComputeDtype::Float32,
        activations: Activations::Exact,
        threads: 1,
        op_times: None,
    };
    backend.load(&program, &weights, &plan)?;
    Ok(Parts {
        weight_bytes: WeightBytes::of(&weights)?,
        program,
        kv_format: KvFormat::F32,
        backend: Box::new(backend),
        amateur: None,
        sched,
        requests_max: 1024,
        logprobs_bytes: 1 << 30,
        seed: None,
        voice: Voice {
            eos,
            ..Voice::default()
        },
        limits: Limits::default(),
        clock: Arc::new(|| 0),
        op_times: None,
    })
}
