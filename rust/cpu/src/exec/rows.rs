//! The `Rows` phase: everything that belongs to a single row. In a large step the workers share the rows and
//! write the shared bank; in a small one each does all rows in its own. A row's work is the same in both.

use tokenmill_model::{Embed, Norm, NormKind, Reg, WeightId};

use super::walk::Step;
use crate::lanes::elementwise::{activate, add_scaled, multiply};
use crate::lanes::norm::{NormRow, norm_row};
use crate::linear::prepare_row;
use crate::pack::gather_row;
use crate::plan::{ActId, Place, RowOp};

impl Step<'_> {
    /// Runs the operations on this worker's rows.
    pub(crate) fn rows(&self, ops: &[RowOp]) {
        let rows = if self.is_small() { 0..self.batch.rows() } else { self.worker.share(self.batch.rows(), 1) };
        for row in rows {
            ops.iter().for_each(|op| self.row_op(op, row));
        }
    }

    // SAFETY (every block below): a register's rows have its width; in a small step the destination is this
    // worker's own, in a large one this worker alone has the row; sources are finished, by the meetings that
    // the plan sets; the level was detected.

    fn row_op(&self, op: &RowOp, row: usize) {
        match op {
            RowOp::Angles => self.angles(row),
            RowOp::Embed(embed) => self.embed(embed, row),
            RowOp::Norm { norm, input } => self.norm(norm, *input, row),
            RowOp::Add { from, to, scale } => {
                let width = self.width(to.reg).min(self.width(from.reg));
                let (from, out) = (self.source(*from, row), self.target(to.reg, row));
                // SAFETY: see above.
                unsafe { add_scaled(self.level, from, self.source(*to, row), out, width, *scale) };
            }
            RowOp::Activate { gate, up, activation, out } => {
                let (gate, up) = (self.source(*gate, row), self.source(*up, row));
                // SAFETY: see above.
                unsafe { activate(self.level, *activation, gate, up, self.target(*out, row), self.width(*out)) };
            }
            RowOp::Prepare { from, act } => self.prepare(*from, row, *act, row),
            RowOp::PrepareHead { from, act } => {
                if let Ok(index) = self.batch.logits_rows.binary_search(&(row as u32)) {
                    self.prepare(*from, row, *act, index);
                }
            }
        }
    }

    fn angles(&self, row: usize) {
        let position = self.batch.positions[row] as f32;
        for (i, rope) in self.model.ropes.iter().enumerate() {
            let (cos, sin) = self.bank().angles(self.model, row, i);
            for (pair, inv_freq) in rope.inv_freq.iter().enumerate() {
                // The product is rounded to f32, as in transformers, whose angles these must equal; what
                // follows is exact enough not to matter.
                let (sine, cosine) = f64::from(position * inv_freq).sin_cos();
                let factor = f64::from(rope.attention_factor);
                // SAFETY: see above; the tables have room for all pairs.
                unsafe {
                    *cos.add(pair) = (cosine * factor) as f32;
                    *sin.add(pair) = (sine * factor) as f32;
                }
            }
        }
    }

    fn embed(&self, embed: &Embed, row: usize) {
        let Reg(reg) = embed.out;
        let (out, width) = (self.target(usize::from(reg), row), self.width(usize::from(reg)));
        self.gather(embed.table, self.batch.tokens[row] as usize, out, width);
        if embed.scale != 1.0 {
            // SAFETY: see above.
            unsafe { multiply(self.level, out, width, embed.scale) };
        }
        if let Some(positions) = embed.positions {
            let learned = self.own.row.row(0);
            self.gather(positions, self.batch.positions[row] as usize + embed.position_offset, learned, width);
            // SAFETY: see above; `row` is as wide as the widest register.
            unsafe { add_scaled(self.level, learned, out, out, width, 1.0) };
        }
    }

    fn gather(&self, table: WeightId, index: usize, out: *mut f32, width: usize) {
        // SAFETY: see above.
        let out = unsafe { std::slice::from_raw_parts_mut(out, width) };
        gather_row(self.model.table(table), index, out);
    }

    fn norm(&self, norm: &Norm, input: Place, row: usize) {
        let Reg(reg) = norm.out;
        let row = NormRow {
            input: self.source(input, row),
            out: self.target(usize::from(reg), row),
            len: self.width(usize::from(reg)),
            weight: self.model.vector(norm.weight),
            bias: norm.bias.map_or(std::ptr::null(), |bias| self.model.vector(bias)),
            eps: norm.eps,
            is_centred: norm.kind == NormKind::Layer,
        };
        // SAFETY: see above.
        unsafe { norm_row(self.level, &row) };
    }

    fn prepare(&self, from: Place, row: usize, act: ActId, to: usize) {
        let view = self.bank().acts[act.0];
        // SAFETY: see above; the row was written by a product or by an operation before this one.
        unsafe {
            let values = std::slice::from_raw_parts(self.source(from, row), self.width(from.reg));
            prepare_row(self.level, &view, to, values);
        }
    }

    fn source(&self, place: Place, row: usize) -> *const f32 {
        let bank = if place.is_own { self.bank() } else { &self.memory.shared };
        bank.regs[place.reg].row(row)
    }

    fn target(&self, reg: usize, row: usize) -> *mut f32 {
        self.bank().regs[reg].row(row)
    }
}
