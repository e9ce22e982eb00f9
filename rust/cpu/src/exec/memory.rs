//! The memory of a step, all of it taken at load: registers, activations, logits, cache, attention states,
//! and what each worker has for itself. Owns sizes; who writes what when is said at each phase.

use std::sync::atomic::AtomicBool;

use tokenmill_model::{KvShape, MemoryPlan, Result, Rope};

use super::hidden::HiddenMemory;
use super::items::Items;
use super::load::Model;
use super::routes::Routes;
use crate::attend::{Scratch, rows_per_item};
use crate::lanes::LANES;
use crate::linear::{ActBuffer, ActForm, ActView};
use crate::memory::{Buffer, KvCache};
use crate::plan::Plan;

/// Rows up to which one worker does the row work of all. Sharing the norms of four rows saves less than it costs.
pub(crate) const SMALL_ROWS: usize = 4;
/// Rows whose products lie in a worker's chunk together.
pub(crate) const CHUNK_ROWS: usize = 128;
/// Values of a worker's chunk: 256 outputs of so many rows, in L2.
pub(crate) const CHUNK_LEN: usize = CHUNK_ROWS * 256;

/// Bounds of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Most rows.
    pub(crate) rows_max: usize,
    /// Most rows with logits.
    pub(crate) logits_rows_max: usize,
    /// Longest sequence.
    pub(crate) context_len: usize,
    /// Workers.
    pub(crate) threads: usize,
    /// Rows of the output head.
    pub(crate) vocab_len: usize,
}

/// Everything a step writes.
pub(crate) struct Memory {
    pub(crate) sizes: Sizes,
    pub(crate) cache: KvCache,
    /// Step of the last write of each slot: two rows of one step must not share one.
    pub(crate) written: Vec<u64>,
    /// Registers, `[rows_max * copies][width]`.
    pub(crate) regs: Vec<Buffer>,
    /// Activations made ready, by `ActId`.
    pub(crate) acts: Vec<ActView>,
    /// Per row and rotary table: cosines, then sines.
    pub(crate) angles: Buffer,
    /// What each worker has for itself.
    pub(crate) workers: Vec<WorkerMemory>,
    /// `[logits_rows_max][vocab_len]`.
    pub(crate) logits: Buffer,
    /// Per row of logits: whether a value is not finite.
    pub(crate) is_broken: Vec<AtomicBool>,
    pub(crate) hidden: HiddenMemory,
    pub(crate) items: Items,
    pub(crate) routes: Routes,
    /// The memory behind `acts`.
    act_buffers: Vec<ActBuffer>,
}

/// One worker's memory.
pub(crate) struct WorkerMemory {
    /// Products on their way to a register or the cache.
    pub(crate) chunk: Buffer,
    pub(crate) chunk_len: usize,
    pub(crate) scratch: Scratch,
    /// A gathered row of a table.
    pub(crate) row: Buffer,
}

impl Memory {
    /// Takes the memory of a plan.
    pub(crate) fn new(
        plan: &Plan,
        model: &Model,
        kv: &[KvShape],
        request: &MemoryPlan,
        sizes: Sizes,
    ) -> Result<Self> {
        let cache = KvCache::new(kv, request.kv_format, request.blocks, request.block_size)?;
        let rows = sizes.rows_max;
        let act_uses = plan
            .acts
            .iter()
            .map(|act| model.matrix(act.matrix))
            .map(|matrix| (matrix.act_form(), matrix.k()));
        let act_uses: Vec<(ActForm, usize)> = act_uses.collect();
        let act_buffers = act_uses
            .iter()
            .zip(&plan.acts)
            .map(|(act, spec)| ActBuffer::new(rows.saturating_mul(spec.copies), [*act]))
            .collect::<Result<Vec<_>>>()?;
        let acts = act_buffers
            .iter()
            .zip(act_uses)
            .map(|(buffer, (form, k))| buffer.view(form, k))
            .collect();
        let angles = model.ropes.iter().map(|rope| 2 * pairs_padded(rope)).sum();
        Ok(Self {
            sizes,
            written: vec![0; cache.slots()],
            cache,
            regs: plan
                .regs
                .iter()
                .map(|reg| Buffer::new(rows.saturating_mul(reg.copies), reg.width))
                .collect::<Result<_>>()?,
            acts,
            act_buffers,
            angles: Buffer::new(rows, angles)?,
            workers: (0..sizes.threads)
                .map(|_| WorkerMemory::new(plan, kv))
                .collect::<Result<_>>()?,
            logits: Buffer::new(sizes.logits_rows_max, sizes.vocab_len)?,
            is_broken: (0..sizes.logits_rows_max)
                .map(|_| AtomicBool::new(false))
                .collect(),
            hidden: HiddenMemory::new(plan, request.exit_rows_max, sizes)?,
            items: Items::new(&plan.classes, sizes)?,
            routes: Routes::new(plan, rows),
        })
    }

    /// Cosines and sines of a row for rotary table `rope`.
    pub(crate) fn angles(&self, model: &Model, row: usize, rope: usize) -> (*mut f32, *mut f32) {
        let before: usize = model.ropes[..rope]
            .iter()
            .map(|rope| 2 * pairs_padded(rope))
            .sum();
        let cos = self.angles.row(row).wrapping_add(before);
        (cos, cos.wrapping_add(pairs_padded(&model.ropes[rope])))
    }

    /// Bytes of the cache, and of everything else.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let buffers = self
            .regs
            .iter()
            .chain([&self.angles, &self.logits])
            .map(Buffer::bytes)
            .sum::<usize>();
        let acts: usize = self.act_buffers.iter().map(ActBuffer::bytes).sum();
        let workers: usize = self.workers.iter().map(WorkerMemory::bytes).sum();
        (
            self.cache.bytes(),
            buffers
                + acts
                + workers
                + self.hidden_bytes()
                + self.items.bytes()
                + self.routes.bytes(),
        )
    }
}

impl WorkerMemory {
    fn new(plan: &Plan, kv: &[KvShape]) -> Result<Self> {
        let head_dim = kv.iter().map(|shape| shape.head_dim).max().unwrap_or(0);
        let chunk_len = CHUNK_LEN.max(CHUNK_ROWS * head_dim);
        let layers = plan
            .classes
            .iter()
            .map(|class| (class.rule.head_dim, class.rule.group));
        Ok(Self {
            chunk: Buffer::new(1, chunk_len)?,
            chunk_len,
            scratch: Scratch::new(layers)?,
            row: Buffer::new(1, plan.regs.iter().map(|reg| reg.width).max().unwrap_or(0))?,
        })
    }

    fn bytes(&self) -> usize {
        self.chunk.bytes() + self.scratch.bytes() + self.row.bytes()
    }
}

fn pairs_padded(rope: &Rope) -> usize {
    rope.inv_freq.len().next_multiple_of(LANES)
}

/// Most queries of an item that is cut into splits.
pub(crate) fn split_queries(group: usize) -> usize {
    SMALL_ROWS.min(rows_per_item(group)) * group
}
