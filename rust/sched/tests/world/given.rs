//! What the written tests start from: small configurations, prompts that share nothing, and short names
//! for what they look at.

use tokenmill_core::SequenceId;
use tokenmill_sched::{NewSequence, SchedConfig, Scope};

use super::World;

/// A pool, everything else by default.
pub fn config(block_size: usize, blocks: usize) -> SchedConfig {
    SchedConfig {
        block_size,
        blocks,
        secret: [9; 32],
        ..SchedConfig::default()
    }
}

/// A prompt of `len` tokens that shares nothing with another seed's.
pub fn prompt(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32)
        .map(|position| seed * 1000 + position)
        .collect()
}

/// A sequence in the default scope.
pub fn sequence(id: u64, tokens: Vec<u32>, max_new: usize) -> NewSequence {
    NewSequence {
        id: SequenceId(id),
        tokens,
        max_new: Some(max_new),
        width: 1,
        second: None,
        priority: 0,
        scope: Scope::default(),
        read_cache: true,
        scores_prompt: false,
    }
}

/// Rows of each sequence in the next plan, in row order.
pub fn rows(world: &World) -> Vec<(u64, u32)> {
    world
        .scheduler
        .planned()
        .spans
        .iter()
        .map(|span| (span.id.0, span.rows))
        .collect()
}

/// free, cached, used.
pub fn pool(world: &World) -> (usize, usize, usize) {
    let stats = world.scheduler.stats();
    (stats.blocks_free, stats.blocks_cached, stats.blocks_used)
}
