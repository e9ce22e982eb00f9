//! The `Rows` phase: everything that belongs to a single row, one row after another while it is in the first
//! cache. A row's work depends on the row alone, so it does not matter who does it, nor with which others.

use std::ops::Range;

use tokenmill_model::{Embed, Norm, NormKind, Reg, WeightId};

use super::walk::Step;
use crate::lanes::elementwise::{activate, add_scaled, multiply};
use crate::lanes::norm::{NormRow, norm_row};
use crate::linear::prepare_row;
use crate::pack::gather_row;
use crate::plan::{ActId, RowOp};

impl Step<'_> {
    /// Runs the operations on some rows.
    pub(super) fn rows(&self, ops: &[RowOp], rows: Range<usize>) {
        for row in rows {
            for op in ops {
                self.row_op(op, row);
            }
        }
    }

    // SAFETY (every block below): a register's rows have its width; this worker alone has the row during the
    // phase; what the row's work reads was written in earlier phases or before it here; the level was detected.

    fn row_op(&self, op: &RowOp, row: usize) {
        match op {
            RowOp::Angles => self.angles(row),
            RowOp::Embed(embed) => self.embed(embed, row),
            RowOp::Norm(norm) => self.norm(norm, row),
            RowOp::Add(add) => {
                let (from, to) = (self.reg(add.from, row), self.reg(add.to, row));
                // SAFETY: see above.
                unsafe { add_scaled(self.level, from, to, to, self.width(add.to), add.scale) };
            }
            RowOp::Activate {
                gate,
                up,
                activation,
                out,
            } => {
                let regs = &self.memory.regs;
                let (gate, up, width) = (
                    regs[*gate].row(row),
                    regs[*up].row(row),
                    self.plan.regs[*out].width,
                );
                // SAFETY: see above.
                unsafe {
                    activate(
                        self.level,
                        *activation,
                        gate,
                        up,
                        regs[*out].row(row),
                        width,
                    );
                };
            }
            RowOp::Choose(routing) => self.choose(row, routing),
            RowOp::ActivatePicks {
                gate,
                up,
                activation,
                out,
                active,
            } => self.activate_picks(row, *activation, [*gate, *up, *out], *active),
            RowOp::PreparePicks { from, act, active } => {
                self.prepare_picks(row, *from, *act, *active);
            }
            RowOp::Pick { from, to, active } => self.pick(row, *from, *to, *active),
            RowOp::Combine { from, out, active } => self.combine(row, *from, *out, *active),
            RowOp::Leave { layer, from } => self.leave(*layer, *from, row),
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
            let (cos, sin) = self.memory.angles(self.model, row, i);
            let factor = f64::from(rope.attention_factor);
            for (pair, inv_freq) in rope.inv_freq.iter().enumerate() {
                // The product is rounded to f32, as in transformers, whose angles these must equal; what
                // follows is exact enough not to matter.
                let (sine, cosine) = f64::from(position * inv_freq).sin_cos();
                // SAFETY: see above; the tables have room for all pairs.
                unsafe {
                    *cos.add(pair) = (cosine * factor) as f32;
                    *sin.add(pair) = (sine * factor) as f32;
                }
            }
        }
    }

    fn embed(&self, embed: &Embed, row: usize) {
        let (out, width) = (self.reg(embed.out, row), self.width(embed.out));
        self.gather(embed.table, self.batch.tokens[row] as usize, out, width);
        if embed.scale != 1.0 {
            // SAFETY: see above.
            unsafe { multiply(self.level, out, width, embed.scale) };
        }
        if let Some(positions) = embed.positions {
            let learned = self.own.row.row(0);
            self.gather(
                positions,
                self.batch.positions[row] as usize + embed.position_offset,
                learned,
                width,
            );
            // SAFETY: see above; the worker's own row is as wide as the widest register.
            unsafe { add_scaled(self.level, learned, out, out, width, 1.0) };
        }
    }

    fn gather(&self, table: WeightId, index: usize, out: *mut f32, width: usize) {
        // SAFETY: see above.
        let out = unsafe { std::slice::from_raw_parts_mut(out, width) };
        gather_row(self.model.table(table), index, out);
    }

    fn norm(&self, norm: &Norm, row: usize) {
        let row = NormRow {
            input: self.reg(norm.input, row),
            out: self.reg(norm.out, row),
            len: self.width(norm.out),
            weight: self.model.vector(norm.weight),
            bias: norm
                .bias
                .map_or(std::ptr::null(), |bias| self.model.vector(bias)),
            eps: norm.eps,
            is_centred: norm.kind == NormKind::Layer,
        };
        // SAFETY: see above.
        unsafe { norm_row(self.level, &row) };
    }

    pub(super) fn prepare(&self, from: usize, row: usize, act: ActId, to: usize) {
        let from_row = self.memory.regs[from].row(row).cast_const();
        // SAFETY: see above.
        unsafe {
            let values = std::slice::from_raw_parts(from_row, self.plan.regs[from].width);
            self.prepare_values(values, act, to);
        }
    }

    /// Makes row `to` of activations ready out of values.
    ///
    /// # Safety
    /// They are as wide as the activations, and nobody else has this row of them.
    pub(super) unsafe fn prepare_values(&self, values: &[f32], act: ActId, to: usize) {
        let view = self.memory.acts[act.0];
        // SAFETY: passed on; the level was detected.
        unsafe { prepare_row(self.level, &view, to, values) };
    }

    fn reg(&self, Reg(reg): Reg, row: usize) -> *mut f32 {
        self.memory.regs[usize::from(reg)].row(row)
    }

    fn width(&self, Reg(reg): Reg) -> usize {
        self.plan.regs[usize::from(reg)].width
    }
}
