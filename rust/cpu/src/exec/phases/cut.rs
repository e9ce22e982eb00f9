//! How a phase is cut into units: a grid of row chunks by runs of outputs. Units are small enough to share out
//! evenly and to lose little when a worker loses its core, and large enough that claiming one costs nothing.
//! No cut changes a result.

use std::ops::Range;

use crate::exec::memory::{CHUNK_LEN, CHUNK_ROWS};
use crate::exec::walk::Step;
use crate::pack::ROWS;
use crate::plan::{Gate, Head, Product, Project};

/// Units per worker that a phase should have.
pub(super) const UNITS_PER_WORKER: usize = 8;
/// Blocks of the largest unit of the head: 1,024 outputs.
const HEAD_BLOCKS_MAX: usize = 64;
/// Blocks per unit are a multiple of this where there are many rows: kernels use tiles of 2 and 4.
const TILE_BLOCKS: usize = 4;

/// Rows per worker from which workers have rows of their own in every phase. Each then reads all weights, which
/// costs less than reading half of every activation out of another core's cache.
const OWN_ROWS_MIN: usize = 32;

/// `rows` by `outputs`, cut into chunks of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    rows: usize,
    rows_each: usize,
    outputs: usize,
    outputs_each: usize,
    /// Whether the units of a chunk of rows follow each other; else those of a run of outputs do.
    is_by_rows: bool,
}

impl Cut {
    /// Number of units.
    pub(crate) fn units(&self) -> usize {
        self.rows.div_ceil(self.rows_each) * self.outputs.div_ceil(self.outputs_each)
    }

    /// Rows and outputs of a unit.
    pub(crate) fn ranges(&self, unit: usize) -> (Range<usize>, Range<usize>) {
        let chunks = self.rows.div_ceil(self.rows_each);
        let runs = self.outputs.div_ceil(self.outputs_each);
        let (chunk, run) = if self.is_by_rows {
            (unit / runs, unit % runs)
        } else {
            (unit % chunks, unit / chunks)
        };
        let part =
            |index: usize, each: usize, len: usize| index * each..len.min((index + 1) * each);
        (
            part(chunk, self.rows_each, self.rows),
            part(run, self.outputs_each, self.outputs),
        )
    }
}

impl Step<'_> {
    /// Outputs per unit so that all workers have enough units, at most `max`.
    fn each(&self, outputs: usize, max: usize) -> usize {
        let wanted = outputs.div_ceil(UNITS_PER_WORKER * self.memory.sizes.threads);
        let rounded = if self.batch.rows() > TILE_BLOCKS {
            wanted.next_multiple_of(TILE_BLOCKS)
        } else {
            wanted
        };
        rounded.clamp(1, max.max(1))
    }

    /// All rows by runs of `outputs_each`.
    fn cut(&self, outputs: usize, outputs_each: usize) -> Cut {
        let (rows, threads) = (self.batch.rows(), self.memory.sizes.threads);
        let is_by_rows = rows >= OWN_ROWS_MIN * threads && threads > 1;
        let chunks = rows.div_ceil(CHUNK_ROWS);
        let chunks = if is_by_rows {
            chunks.next_multiple_of(threads)
        } else {
            chunks
        };
        Cut {
            rows,
            rows_each: rows.div_ceil(chunks),
            outputs,
            outputs_each,
            is_by_rows,
        }
    }

    /// Rows alone.
    pub(crate) fn row_cut(&self) -> Cut {
        let rows = self.batch.rows();
        Cut {
            rows,
            rows_each: rows.div_ceil(UNITS_PER_WORKER * self.memory.sizes.threads),
            outputs: 1,
            outputs_each: 1,
            is_by_rows: true,
        }
    }

    /// Blocks of a product.
    pub(crate) fn product_cut(&self, product: &Product) -> Cut {
        let blocks = self.model.matrix(product.matrix).blocks();
        self.cut(blocks, self.each(blocks, blocks))
    }

    /// Heads of q, k and v together.
    pub(crate) fn project_cut(&self, project: &Project) -> Cut {
        self.cut(project.runs.iter().map(|run| run.heads).sum(), 1)
    }

    /// Blocks of the inner width, gate and up counted once.
    pub(crate) fn gate_cut(&self, gate: &Gate) -> Cut {
        let blocks = gate.inner.div_ceil(ROWS);
        let per_block = if gate.is_gated { 2 * ROWS } else { ROWS };
        let rows = self.batch.rows().min(CHUNK_ROWS);
        let unit = gate.block_unit;
        let most = CHUNK_LEN / per_block / rows / unit * unit;
        let each = self.each(blocks, most).next_multiple_of(unit);
        self.cut(blocks, each.min(most))
    }

    /// Blocks of the vocabulary, for all rows of logits at once.
    pub(crate) fn head_cut(&self, head: &Head) -> Cut {
        self.head_cut_of(head, self.batch.logits_rows.len())
    }

    /// The same for so many rows.
    pub(crate) fn head_cut_of(&self, head: &Head, rows: usize) -> Cut {
        let blocks = self.model.matrix(head.matrix).blocks();
        Cut {
            rows,
            rows_each: rows.max(1),
            outputs: blocks,
            outputs_each: self.each(blocks, HEAD_BLOCKS_MAX),
            is_by_rows: false,
        }
    }
}
