//! Mixtures of experts: choosing and sorting, the products of each expert on its own rows, and the sum. The
//! units of a product are chunks of one expert's picks by runs of outputs; how many there are is known only when
//! the rows are sorted, so there are units for the worst case, and those behind the last chunk do nothing.

use crate::exec::memory::{CHUNK_LEN, CHUNK_ROWS};
use crate::exec::routes::chunks_max;
use crate::exec::walk::Step;
use crate::lanes::elementwise::add_scaled;
use crate::linear::copy_row;
use crate::pack::ROWS;
use crate::plan::{ActId, Gate, Product, Routing};

/// Runs of outputs of a chunk at least: units of one expert with many rows are worth sharing.
const RUNS_MIN: usize = 4;

/// Chunks by runs of outputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpertCut {
    chunks: usize,
    outputs: usize,
    outputs_each: usize,
}

impl ExpertCut {
    pub(crate) fn units(&self) -> usize {
        self.chunks * self.outputs.div_ceil(self.outputs_each)
    }

    /// Chunk and outputs of a unit.
    fn ranges(&self, unit: usize) -> (usize, std::ops::Range<usize>) {
        let runs = self.outputs.div_ceil(self.outputs_each);
        let start = unit % runs * self.outputs_each;
        (
            unit / runs,
            start..self.outputs.min(start + self.outputs_each),
        )
    }
}

impl Step<'_> {
    /// Chooses the experts of every row and sorts the picks: one unit.
    pub(crate) fn route(&self, routing: &Routing) {
        let (rows, register) = (self.batch.rows(), &self.memory.regs[routing.logits]);
        // SAFETY: the worker's own row is as wide as the widest register; nobody else has it.
        let is_chosen =
            unsafe { std::slice::from_raw_parts_mut(self.own.row.row(0), routing.experts) };
        for row in 0..rows {
            // SAFETY: the router's product was an earlier phase.
            let logits = unsafe { register.slice(row, routing.experts) };
            self.memory.routes.choose(routing, row, logits, is_chosen);
        }
        self.memory.routes.sort(routing, rows);
    }

    /// Copies a row's activations to the places of its picks.
    pub(crate) fn pick(&self, row: usize, from: ActId, to: ActId, active: usize) {
        let acts = &self.memory.acts;
        for pick in self.memory.routes.picks(row, active) {
            // SAFETY: the row was made ready before; a place belongs to one row alone.
            unsafe { copy_row(&acts[from.0], row, &acts[to.0], pick.place) };
        }
    }

    /// The weighted sum of a row's experts.
    pub(crate) fn combine(&self, row: usize, from: usize, out: usize, active: usize) {
        let width = self.plan.regs[out].width;
        let (from, out) = (&self.memory.regs[from], self.memory.regs[out].row(row));
        // SAFETY: the row is this worker's in this phase; its picks were written in an earlier one.
        unsafe {
            std::slice::from_raw_parts_mut(out, width).fill(0.0);
            for pick in self.memory.routes.picks(row, active) {
                add_scaled(
                    self.level,
                    from.row(pick.place),
                    out,
                    out,
                    width,
                    pick.weight,
                );
            }
        }
    }

    /// Gate and up of one expert on some of its picks.
    pub(crate) fn expert_gate(&self, gates: &[Gate], unit: usize) {
        let (chunk, blocks) = self.expert_gate_cut(gates).ranges(unit);
        if let Some((expert, places)) = self.memory.routes.chunk(chunk) {
            self.gate_part(&gates[expert], places, blocks);
        }
    }

    /// Down of one expert on some of its picks.
    pub(crate) fn expert_down(&self, downs: &[Product], unit: usize) {
        let (chunk, blocks) = self.expert_down_cut(downs).ranges(unit);
        if let Some((expert, places)) = self.memory.routes.chunk(chunk) {
            self.product(&downs[expert], (places, blocks));
        }
    }

    pub(crate) fn expert_gate_cut(&self, gates: &[Gate]) -> ExpertCut {
        let (gate, picks) = (&gates[0], self.picks(gates[0].act));
        let per_block = if gate.is_gated { 2 * ROWS } else { ROWS };
        let unit = gate.block_unit;
        let most = CHUNK_LEN / per_block / picks.min(CHUNK_ROWS) / unit * unit;
        self.expert_cut(gates.len(), picks, gate.inner.div_ceil(ROWS), (unit, most))
    }

    pub(crate) fn expert_down_cut(&self, downs: &[Product]) -> ExpertCut {
        let blocks = self.model.matrix(downs[0].matrix).blocks();
        self.expert_cut(downs.len(), self.picks(downs[0].act), blocks, (1, blocks))
    }

    /// Runs of whole `unit`s and at most `most` blocks, so that all workers have enough of them.
    fn expert_cut(
        &self,
        experts: usize,
        picks: usize,
        outputs: usize,
        (unit, most): (usize, usize),
    ) -> ExpertCut {
        let chunks = chunks_max(picks, experts);
        let wanted = (super::cut::UNITS_PER_WORKER * self.memory.sizes.threads)
            .div_ceil(chunks)
            .max(RUNS_MIN);
        let each = outputs.div_ceil(wanted).next_multiple_of(unit);
        ExpertCut {
            chunks,
            outputs,
            outputs_each: each.min(most),
        }
    }

    /// Picks of this step.
    fn picks(&self, act: ActId) -> usize {
        self.batch.rows() * self.plan.acts[act.0].copies
    }
}
