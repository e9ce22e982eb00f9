//! Options turned into parts: which backend, which budgets.

use tokenmill_core::option::{BackendChoice, EngineOptions, SchedulingPolicyChoice};
use tokenmill_model::Backend;
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
