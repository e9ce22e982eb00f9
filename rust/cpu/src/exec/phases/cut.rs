//! How a phase is cut into units: a grid of row chunks by runs of outputs. Units are small enough to share out
//! evenly and to lose little when a worker loses its core, and large enough that claiming one costs nothing.
//! No cut changes a result.

use std::ops::Range;

use crate::exec::memory::{CHUNK_LEN, CHUNK_ROWS};
use crate::exec::walk::Step;
use crate::pack::ROWS;
use crate::plan::{Gate, Head, Product, Project};

/// Units per worker that a phase should have.
const UNITS_PER_WORKER: usize = 8;
/// Blocks of the largest unit of the head: 1,024 outputs.
const HEAD_BLOCKS_MAX: usize = 64;
/// Blocks per unit are a multiple of this where there are many rows: kernels use tiles of 2 and 4.
const TILE_BLOCKS: usize = 4;

/// `rows` by `outputs`, cut into chunks of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    rows: usize,
    rows_each: usize,
    outputs: usize,
    outputs_each: usize,
}

impl Cut {
    /// Chunks of at most `rows_max` rows, as equal as possible, by runs of `outputs_each`.
    fn new(rows: usize, rows_max: usize, outputs: usize, outputs_each: usize) -> Self {
        let chunks = rows.div_ceil(rows_max.max(1)).max(1);
        Self {
            rows,
            rows_each: rows.div_ceil(chunks).max(1),
            outputs,
            outputs_each: outputs_each.max(1),
        }
    }

    /// Number of units.
    pub(crate) fn units(&self) -> usize {
        self.rows.div_ceil(self.rows_each) * self.outputs.div_ceil(self.outputs_each)
    }

    /// Rows and outputs of a unit. Chunks of rows follow each other, so that a worker meets the same weights
    /// again while they are in its cache.
    pub(crate) fn ranges(&self, unit: usize) -> (Range<usize>, Range<usize>) {
        let chunks = self.rows.div_ceil(self.rows_each);
        let part =
            |index: usize, each: usize, len: usize| index * each..len.min((index + 1) * each);
        (
            part(unit % chunks, self.rows_each, self.rows),
            part(unit / chunks, self.outputs_each, self.outputs),
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

    /// Rows alone.
    pub(crate) fn row_cut(&self) -> Cut {
        let rows = self.batch.rows();
        Cut::new(
            rows,
            rows.div_ceil(UNITS_PER_WORKER * self.memory.sizes.threads),
            1,
            1,
        )
    }

    /// Blocks of a product.
    pub(crate) fn product_cut(&self, product: &Product) -> Cut {
        let blocks = self.model.matrix(product.matrix).blocks();
        Cut::new(
            self.batch.rows(),
            CHUNK_ROWS,
            blocks,
            self.each(blocks, blocks),
        )
    }

    /// Heads of q, k and v together.
    pub(crate) fn project_cut(&self, project: &Project) -> Cut {
        let heads: usize = project.runs.iter().map(|run| run.heads).sum();
        Cut::new(self.batch.rows(), CHUNK_ROWS, heads, 1)
    }

    /// Blocks of the inner width, gate and up counted once.
    pub(crate) fn gate_cut(&self, gate: &Gate) -> Cut {
        let blocks = gate.inner.div_ceil(ROWS);
        let per_block = if gate.is_gated { 2 * ROWS } else { ROWS };
        let rows = self.batch.rows().min(CHUNK_ROWS);
        Cut::new(
            self.batch.rows(),
            CHUNK_ROWS,
            blocks,
            self.each(blocks, CHUNK_LEN / per_block / rows),
        )
    }

    /// Blocks of the vocabulary, for all rows of logits at once.
    pub(crate) fn head_cut(&self, head: &Head) -> Cut {
        let (rows, blocks) = (
            self.batch.logits_rows.len(),
            self.model.matrix(head.matrix).blocks(),
        );
        Cut::new(rows, rows, blocks, self.each(blocks, HEAD_BLOCKS_MAX))
    }
}
