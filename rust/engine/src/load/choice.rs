//! Options turned into parts: which backend, which budgets.

use tokenmill_core::option::{BackendChoice, EngineOptions, SchedulingPolicyChoice};
#[cfg(feature = "cpu")]
use tokenmill_formats::Encoding;
use tokenmill_model::{Backend, Caps, MemoryPlan, Weights};
use tokenmill_sched::{Policy, SchedConfig};

use crate::door::random;
#[cfg(not(all(feature = "reference", feature = "cpu")))]
use crate::error::Error;
use crate::error::Result;
use crate::load::ledger::Ledger;

/// The backend that `backend` names; `auto` is the fastest one that was built in.
pub(crate) fn backend(options: &EngineOptions) -> Result<Box<dyn Backend>> {
    match options.backend {
        #[cfg(feature = "cpu")]
        BackendChoice::Auto | BackendChoice::Cpu => Ok(Box::new(tokenmill_cpu::CpuBackend::new()?)),
        #[cfg(feature = "reference")]
        BackendChoice::Reference => Ok(Box::new(tokenmill_reference::ReferenceBackend::default())),
        #[cfg(all(feature = "reference", not(feature = "cpu")))]
        BackendChoice::Auto => Ok(Box::new(tokenmill_reference::ReferenceBackend::default())),
        BackendChoice::Sim => Ok(Box::new(tokenmill_sim::SimBackend::default())),
        #[cfg(not(all(feature = "reference", feature = "cpu")))]
        other => Err(Error::Unsupported {
            what: "backend",
            reason: format!("this build has no backend {}", other.name()),
        }),
    }
}

/// What a backend would make of a model before it has read it.
#[derive(Debug)]
pub(crate) struct Prospect {
    /// What the backend says of itself.
    pub caps: Caps,
    /// Bytes of the weights as it will hold them; 0: as in the file, as far as it can tell.
    pub weight_bytes: u64,
    /// Encodings of matrices, each with its arithmetic in words.
    pub arithmetic: Vec<(&'static str, &'static str)>,
}

/// The prospect of `options` for these weights; refuses what `load` would refuse for its backend.
pub(crate) fn prospect(
    backend: &dyn Backend,
    weights: &Weights<'_>,
    plan: &MemoryPlan,
) -> Result<Prospect> {
    #[cfg(not(feature = "cpu"))]
    let _ = (weights, plan);
    let mut prospect = Prospect {
        caps: backend.caps(),
        weight_bytes: 0,
        arithmetic: Vec::new(),
    };
    match prospect.caps.name {
        #[cfg(feature = "cpu")]
        "cpu" => {
            let cpu = tokenmill_cpu::CpuBackend::new()?;
            let program = weights.program();
            let made = cpu.preview(program, weights, plan.dtype, plan.activations)?;
            prospect.weight_bytes = made.weights_bytes as u64;
            let words = |(encoding, words): (Encoding, _)| (encoding.name(), words);
            prospect.arithmetic = made.arithmetic.into_iter().map(words).collect();
        }
        "reference" => {
            prospect.arithmetic = vec![("all", "float32")];
            let specs = &weights.program().weights;
            let elements = specs
                .iter()
                .map(|spec| spec.shape.iter().product::<usize>());
            prospect.weight_bytes = elements.sum::<usize>() as u64 * 4;
        }
        _ => prospect.arithmetic = vec![("all", "none: tokens are drawn from a hash")],
    }
    Ok(prospect)
}

/// The scheduler's budgets, as the ledger priced them.
pub(crate) fn sched_config(ledger: &Ledger, options: &EngineOptions) -> Result<SchedConfig> {
    let plan = &ledger.plan;
    let policy = match options.scheduling_policy {
        SchedulingPolicyChoice::Fcfs => Policy::Fcfs,
        SchedulingPolicyChoice::Priority => Policy::Priority,
    };
    Ok(SchedConfig {
        tokens_per_step: ledger.tokens_per_step,
        logits_rows_max: plan.logits_rows_max,
        running_max: ledger.sequences_max,
        // The door counts requests; a second bound here could only refuse what it let in.
        queue_len_max: usize::MAX,
        blocks: plan.blocks,
        block_size: plan.block_size,
        context_len: plan.context_len,
        prefix_caching: options.enable_prefix_caching,
        policy,
        secret: random()?,
        ..SchedConfig::default()
    })
}
