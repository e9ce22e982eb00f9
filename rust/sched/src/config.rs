//! The frozen configuration of one scheduler: budgets, pool, policy and guards. Read once, by
//! `Scheduler::new`, which refuses what contradicts itself. Knows nothing of option names or doors.

use std::fmt;

use crate::error::{Error, Result};
#[cfg(feature = "planted")]
use crate::planted::Planted;

/// Who is admitted first, and who gives way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// First come, first served; the last admitted gives way.
    #[default]
    Fcfs,
    /// Smaller priority number first, then arrival; only a larger number gives way.
    Priority,
}

/// Everything a scheduler is told at its start. Build it with `..SchedConfig::default()`: a test
/// feature adds a field.
#[derive(Clone)]
pub struct SchedConfig {
    /// Most rows of a step, >= 1.
    pub tokens_per_step: usize,
    /// Most rows with logits of a step, >= 1.
    pub logits_rows_max: usize,
    /// Most running sequences, >= 1.
    pub running_max: usize,
    /// Most sequences that `add` lets wait (the preempted and the forked come on top), >= 1.
    pub queue_len_max: usize,
    /// Blocks of the pool, >= 1.
    pub blocks: usize,
    /// Tokens of a block, >= 1.
    pub block_size: usize,
    /// Blocks that admission leaves free for the growth of the running, < `blocks`.
    pub block_reserve: usize,
    /// Most tokens of a sequence; lowered to what one sequence finds in the pool.
    pub context_len: usize,
    /// Whether full blocks are shared between sequences with the same prefix.
    pub prefix_caching: bool,
    /// Order of admission and of preemption.
    pub policy: Policy,
    /// Most rows of one chunk, >= 1; absent: the budget alone bounds it.
    pub chunk_max: Option<usize>,
    /// Share of a step that one prompt may take while another could use the rest, (0, 1].
    pub long_prefill_share: f32,
    /// How many later and smaller sequences may be admitted ahead of a waiter.
    pub bypass_max: u32,
    /// Preemptions after which a sequence is protected, >= 1.
    pub preempt_max: u32,
    /// Under `Policy::Priority`: steps of waiting that raise a waiter by one level, <= 2^24; 0: never.
    pub age_steps: u32,
    /// Key of the prefix cache's hashes: random, one per engine, because one pool holds the KV of one
    /// model in one format.
    pub secret: [u8; 32],
    /// The bug to plant.
    #[cfg(feature = "planted")]
    pub planted: Option<Planted>,
}

impl Default for SchedConfig {
    fn default() -> Self {
        Self {
            tokens_per_step: 512,
            logits_rows_max: 64,
            running_max: 64,
            queue_len_max: 256,
            blocks: 1024,
            block_size: 16,
            block_reserve: 0,
            context_len: usize::MAX,
            prefix_caching: true,
            policy: Policy::Fcfs,
            chunk_max: None,
            long_prefill_share: 0.5,
            bypass_max: 4,
            preempt_max: 3,
            age_steps: 256,
            secret: [0; 32],
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}

/// Everything but the secret.
impl fmt::Debug for SchedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedConfig")
            .field("tokens_per_step", &self.tokens_per_step)
            .field("logits_rows_max", &self.logits_rows_max)
            .field("running_max", &self.running_max)
            .field("queue_len_max", &self.queue_len_max)
            .field("blocks", &self.blocks)
            .field("block_size", &self.block_size)
            .field("block_reserve", &self.block_reserve)
            .field("context_len", &self.context_len)
            .field("prefix_caching", &self.prefix_caching)
            .field("policy", &self.policy)
            .field("chunk_max", &self.chunk_max)
            .field("long_prefill_share", &self.long_prefill_share)
            .field("bypass_max", &self.bypass_max)
            .field("preempt_max", &self.preempt_max)
            .field("age_steps", &self.age_steps)
            .finish_non_exhaustive()
    }
}

impl SchedConfig {
    /// Largest `age_steps`: keeps `priority * age_steps` far inside 64 bits.
    const AGE_STEPS_MAX: u32 = 1 << 24;
    /// Slots are numbered in 32 bits, and the last number means "no slot".
    const SLOTS_MAX: usize = u32::MAX as usize;

    pub(crate) fn validate(&self) -> Result<()> {
        let counts = [
            ("tokens_per_step", self.tokens_per_step),
            ("logits_rows_max", self.logits_rows_max),
            ("running_max", self.running_max),
            ("queue_len_max", self.queue_len_max),
            ("blocks", self.blocks),
            ("block_size", self.block_size),
            ("context_len", self.context_len),
            ("chunk_max", self.chunk_max.unwrap_or(1)),
            ("preempt_max", self.preempt_max as usize),
        ];
        for (name, value) in counts {
            ensure(value >= 1, name, || {
                ("at least 1".into(), value.to_string())
            })?;
        }
        let slots = self.blocks.checked_mul(self.block_size);
        ensure(
            slots.is_some_and(|slots| slots < Self::SLOTS_MAX),
            "blocks",
            || {
                (
                    "less than 2^32 slots in all".into(),
                    self.blocks.to_string(),
                )
            },
        )?;
        ensure(self.block_reserve < self.blocks, "block_reserve", || {
            (
                format!("less than the {} blocks", self.blocks),
                self.block_reserve.to_string(),
            )
        })?;
        let share = self.long_prefill_share;
        ensure(share > 0.0 && share <= 1.0, "long_prefill_share", || {
            ("in (0, 1]".into(), share.to_string())
        })?;
        ensure(self.age_steps <= Self::AGE_STEPS_MAX, "age_steps", || {
            (
                format!("at most {}", Self::AGE_STEPS_MAX),
                self.age_steps.to_string(),
            )
        })
    }

    /// Most rows of one prompt in a step while another prompt could use the rest.
    pub(crate) fn share_rows(&self) -> usize {
        ((self.tokens_per_step as f64 * f64::from(self.long_prefill_share)) as usize).max(1)
    }

    /// Most blocks one sequence can ever hold.
    pub(crate) fn blocks_admissible(&self) -> usize {
        self.blocks - self.block_reserve
    }
}

/// `words` gives the bound and the value of a refused field.
fn ensure(ok: bool, name: &'static str, words: impl FnOnce() -> (String, String)) -> Result<()> {
    if ok {
        return Ok(());
    }
    let (expected, got) = words();
    Err(Error::BadConfig {
        name,
        expected,
        got,
    })
}
