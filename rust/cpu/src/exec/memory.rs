//! The memory of a step, all of it taken at load: registers, activations, logits, cache, attention states,
//! and what each worker has for itself. Owns sizes; who writes what when is said at each phase.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use tokenmill_model::{KvShape, MemoryPlan, Result};

use super::items::Items;
use super::load::Model;
use crate::attend::{Scratch, rows_per_item};
use crate::lanes::LANES;
use crate::linear::{ActBuffer, ActView};
use crate::memory::{Buffer, KvCache};
use crate::plan::{Phase, Plan};

/// Rows up to which every worker does the row work of all rows by itself. Two workers that share the norm of
/// four rows save less than the meeting after it costs.
pub(crate) const SMALL_ROWS: usize = 4;
/// Rows whose products lie in a worker's chunk together.
pub(crate) const CHUNK_ROWS: usize = 256;
/// Values of a worker's chunk: 128 outputs of so many rows, in L2.
const CHUNK_LEN: usize = CHUNK_ROWS * 128;

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
    /// What all workers share.
    pub(crate) shared: Bank,
    /// What each worker has for itself.
    pub(crate) workers: Vec<WorkerMemory>,
    /// `[logits_rows_max][vocab_len]`.
    pub(crate) logits: Buffer,
    /// Per row of logits: whether a value is not finite.
    pub(crate) is_broken: Vec<AtomicBool>,
    pub(crate) items: Items,
    /// Per attention operation: the next item.
    pub(crate) counters: Vec<AtomicUsize>,
}

/// Registers, activations and angles for some rows.
pub(crate) struct Bank {
    pub(crate) regs: Vec<Buffer>,
    pub(crate) acts: Vec<ActView>,
    /// Per row and rotary table: cosines, then sines.
    pub(crate) angles: Buffer,
    /// The memory behind `acts`.
    act_buffers: Vec<ActBuffer>,
}

/// One worker's memory.
pub(crate) struct WorkerMemory {
    pub(crate) bank: Bank,
    /// Products on their way to a register or the cache.
    pub(crate) chunk: Buffer,
    pub(crate) chunk_len: usize,
    pub(crate) scratch: Scratch,
    /// A gathered row of a table.
    pub(crate) row: Buffer,
}

impl Memory {
    /// Takes the memory of a plan.
    pub(crate) fn new(plan: &Plan, model: &Model, kv: &[KvShape], request: &MemoryPlan, sizes: Sizes) -> Result<Self> {
        let cache = KvCache::new(kv, request.kv_format, request.blocks, request.block_size)?;
        let attends = plan.phases.iter().filter(|phase| matches!(phase, Phase::Attend(_))).count();
        Ok(Self {
            sizes,
            written: vec![0; cache.slots()],
            cache,
            shared: Bank::new(plan, model, sizes.rows_max)?,
            workers: (0..sizes.threads).map(|_| WorkerMemory::new(plan, model, kv)).collect::<Result<_>>()?,
            logits: Buffer::new(sizes.logits_rows_max, sizes.vocab_len)?,
            is_broken: (0..sizes.logits_rows_max).map(|_| AtomicBool::new(false)).collect(),
            items: Items::new(&plan.classes, sizes)?,
            counters: (0..attends).map(|_| AtomicUsize::new(0)).collect(),
        })
    }

    /// Bytes of the cache, and of everything else.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let workers: usize = self.workers.iter().map(WorkerMemory::bytes).sum();
        (self.cache.bytes(), self.shared.bytes() + workers + self.logits.bytes() + self.items.bytes())
    }
}

impl Bank {
    fn new(plan: &Plan, model: &Model, rows: usize) -> Result<Self> {
        let regs = plan.regs.iter().map(|width| Buffer::new(rows, *width)).collect::<Result<_>>()?;
        let mut acts = Vec::with_capacity(plan.acts.len());
        let mut act_buffers = Vec::with_capacity(plan.acts.len());
        for matrix in &plan.acts {
            let matrix = model.matrix(*matrix);
            let (form, k) = (matrix.act_form(), matrix.k());
            let buffer = ActBuffer::new(rows, [(form, k)])?;
            acts.push(buffer.view(form, k));
            act_buffers.push(buffer);
        }
        let angles = model.ropes.iter().map(|rope| 2 * pairs_padded(rope.inv_freq.len())).sum();
        Ok(Self { regs, acts, angles: Buffer::new(rows, angles)?, act_buffers })
    }

    /// Cosines and sines of a row for rotary table `rope`.
    pub(crate) fn angles(&self, model: &Model, row: usize, rope: usize) -> (*mut f32, *mut f32) {
        let before: usize = model.ropes[..rope].iter().map(|rope| 2 * pairs_padded(rope.inv_freq.len())).sum();
        let cos = self.angles.row(row).wrapping_add(before);
        (cos, cos.wrapping_add(pairs_padded(model.ropes[rope].inv_freq.len())))
    }

    fn bytes(&self) -> usize {
        let acts: usize = self.act_buffers.iter().map(ActBuffer::bytes).sum();
        self.regs.iter().map(Buffer::bytes).sum::<usize>() + acts + self.angles.bytes()
    }
}

impl WorkerMemory {
    fn new(plan: &Plan, model: &Model, kv: &[KvShape]) -> Result<Self> {
        let head_dim = kv.iter().map(|shape| shape.head_dim).max().unwrap_or(0);
        let chunk_len = CHUNK_LEN.max(16 * head_dim);
        let layers = plan.classes.iter().map(|class| (class.rule.head_dim, class.rule.group));
        Ok(Self {
            bank: Bank::new(plan, model, SMALL_ROWS)?,
            chunk: Buffer::new(1, chunk_len)?,
            chunk_len,
            scratch: Scratch::new(layers)?,
            row: Buffer::new(1, plan.regs.iter().copied().max().unwrap_or(0))?,
        })
    }

    fn bytes(&self) -> usize {
        self.bank.bytes() + self.chunk.bytes() + self.scratch.bytes() + self.row.bytes()
    }

    /// Rows and units of `unit_len` outputs that fit the chunk together: as many of `rows` as `CHUNK_ROWS`.
    pub(crate) fn chunk_of(&self, rows: usize, unit_len: usize) -> (usize, usize) {
        let rows = rows.clamp(1, CHUNK_ROWS).min(self.chunk_len / unit_len);
        (rows, self.chunk_len / unit_len / rows)
    }
}

fn pairs_padded(pairs: usize) -> usize {
    pairs.next_multiple_of(LANES)
}

/// Most queries of an item that is cut into splits.
pub(crate) fn split_queries(group: usize) -> usize {
    SMALL_ROWS.min(rows_per_item(group)) * group
}
