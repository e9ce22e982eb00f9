//! Mixtures of experts: choosing and sorting, the products of each expert on its own rows, and the sum. The
//! units of a product are chunks of one expert's picks by runs of outputs; how many there are is known only when
//! the rows are sorted, so there are units for the worst case, and those behind the last chunk do nothing.

use crate::exec::memory::{CHUNK_LEN, CHUNK_ROWS};
use crate::exec::routes::chunks_max;
use crate::exec::walk::Step;
use tokenmill_model::Activation;

use crate::lanes::elementwise::{activate, add_scaled};
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
    /// Chooses the experts of a row.
    pub(crate) fn choose(&self, row: usize, routing: &Routing) {
        let register = &self.memory.regs[routing.logits];
        // SAFETY: the worker's own row is as wide as the widest register, and nobody else has it; the router's
        // product was an earlier phase.
        unsafe {
            let scratch = std::slice::from_raw_parts_mut(self.own.row.row(0), routing.experts);
            let logits = register.slice(row, routing.experts);
            self.memory.routes.choose(routing, row, logits, scratch);
        }
    }

    /// Copies a row's activations to the places of its picks.
    pub(crate) fn pick(&self, row: usize, from: ActId, to: ActId, active: usize) {
        let acts = &self.memory.acts;
        for pick in self.memory.routes.picks(row, active) {
            // SAFETY: the row was made ready before; a place belongs to one row alone.
            unsafe { copy_row(&acts[from.0], row, &acts[to.0], pick.place) };
        }
    }

    /// Activates the inner values of a row's picks, from two registers.
    pub(crate) fn activate_picks(
        &self,
        row: usize,
        activation: Activation,
        [gate, up, out]: [usize; 3],
        active: usize,
    ) {
        let (regs, width) = (&self.memory.regs, self.plan.regs[out].width);
        for pick in self.memory.routes.picks(row, active) {
            let [gate, up, out] = [gate, up, out].map(|reg| regs[reg].row(pick.place));
            // SAFETY: a place belongs to one row alone, and the row is this worker's; its products are there.
            unsafe { activate(self.level, activation, gate, up, out, width) };
        }
    }

    /// Makes the values of a row's picks ready for a product.
    pub(crate) fn prepare_picks(&self, row: usize, from: usize, act: ActId, active: usize) {
        for pick in self.memory.routes.picks(row, active) {
            self.prepare(from, pick.place, act, pick.place);
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

    /// A product of one expert on some of its picks.
    pub(crate) fn expert_product(&self, products: &[Product], unit: usize) {
        let (chunk, blocks) = self.expert_product_cut(products).ranges(unit);
        if let Some((expert, places)) = self.memory.routes.chunk(chunk) {
            self.product(&products[expert], (places, blocks));
        }
    }

    pub(crate) fn expert_gate_cut(&self, gates: &[Gate]) -> ExpertCut {
        let (gate, picks) = (&gates[0], self.picks(gates[0].act));
        let per_block = if gate.is_gated { 2 * ROWS } else { ROWS };
        let unit = gate.block_unit;
        let most = CHUNK_LEN / per_block / picks.min(CHUNK_ROWS) / unit * unit;
        self.expert_cut(gates.len(), picks, gate.inner.div_ceil(ROWS), (unit, most))
    }

    pub(crate) fn expert_product_cut(&self, products: &[Product]) -> ExpertCut {
        let blocks = self.model.matrix(products[0].matrix).blocks();
        let picks = self.picks(products[0].act);
        self.expert_cut(products.len(), picks, blocks, (1, blocks))
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
