//! Products: single ones into a register, gate and up with their activation, and the output head.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use tokenmill_model::WeightId;

use crate::exec::walk::Step;
use crate::lanes::elementwise::{
    activate, activate_interleaved, add_bias, all_finite, multiply, soft_cap,
};
use crate::linear::{OutView, matmul, prepare_part};
use crate::memory::Buffer;
use crate::pack::ROWS;
use crate::plan::{ActId, Gate, Head, MatrixId, Product};

/// A product's operands, rows and blocks.
#[derive(Clone)]
pub(super) struct Operands {
    pub(super) matrix: MatrixId,
    pub(super) act: ActId,
    pub(super) rows: Range<usize>,
    pub(super) blocks: Range<usize>,
}

impl Step<'_> {
    /// # Safety
    /// `out` is writable at the rows and outputs of the operands, and nobody else touches them.
    pub(super) unsafe fn multiply(&self, operands: &Operands, out: OutView) {
        let (rows, blocks) = (operands.rows.clone(), operands.blocks.clone());
        let (matrix, act) = (
            self.model.matrix(operands.matrix),
            self.memory.acts[operands.act.0],
        );
        // SAFETY: the plan made the activations ready for this matrix in an earlier phase; the level was detected; the rest is the caller's promise.
        unsafe { matmul(self.level, matrix, &act, (rows, blocks), out) };
    }

    /// Products into this worker's chunk: row `rows.start`, output 0 of the first block comes first.
    pub(super) fn multiply_to_chunk(&self, operands: &Operands, width: usize) -> *mut f32 {
        let chunk = self.own.chunk.row(0);
        assert!(
            operands.rows.len() * width <= self.own.chunk_len,
            "cut by `chunk_of`"
        );
        let before = operands.rows.start * width + operands.blocks.start * ROWS;
        let out = OutView {
            ptr: chunk.wrapping_sub(before),
            ld: width,
        };
        // SAFETY: the chunk is this worker's, and holds all rows of these outputs, by the assert.
        unsafe { self.multiply(operands, out) };
        chunk
    }

    /// One product, of some rows and blocks, into its register.
    pub(crate) fn product(&self, product: &Product, (rows, blocks): (Range<usize>, Range<usize>)) {
        let outputs = outputs(&blocks, self.model.matrix(product.matrix).n());
        let register = &self.memory.regs[product.reg];
        let out = OutView {
            ptr: register.row(0),
            ld: register.stride(),
        };
        let operands = Operands {
            matrix: product.matrix,
            act: product.act,
            rows: rows.clone(),
            blocks,
        };
        // SAFETY: the register has a row per row of the step, or per pick; this unit alone writes these.
        unsafe { self.multiply(&operands, out) };
        if let Some(bias) = product.bias {
            rows.for_each(|row| self.add_bias(bias, &outputs, register.row(row)));
        }
    }

    /// Adds part of a bias to the same part of a row.
    fn add_bias(&self, bias: WeightId, outputs: &Range<usize>, row: *mut f32) {
        // SAFETY: a bias has one value per output; this unit alone writes these outputs of the row.
        unsafe {
            let bias = self.model.vector(bias).add(outputs.start);
            add_bias(self.level, row.add(outputs.start), bias, outputs.len());
        }
    }

    /// Gate and up, then `act(gate) * up` into the register.
    pub(crate) fn gate(&self, gate: &Gate, unit: usize) {
        let (rows, units) = self.gate_cut(gate).ranges(unit);
        self.gate_part(gate, rows, units);
    }

    /// The same on some rows and blocks of outputs.
    pub(super) fn gate_part(&self, gate: &Gate, rows: Range<usize>, units: Range<usize>) {
        let per_unit = if gate.is_gated { 2 } else { 1 };
        let blocks = units.start * per_unit..units.end * per_unit;
        let width = blocks.len() * ROWS;
        let operands = Operands {
            matrix: gate.matrix,
            act: gate.act,
            rows,
            blocks,
        };
        let chunk = self.multiply_to_chunk(&operands, width);
        for (i, row) in operands.rows.enumerate() {
            self.activate(
                gate,
                outputs(&units, gate.inner),
                chunk.wrapping_add(i * width),
                row,
            );
        }
    }

    fn activate(&self, gate: &Gate, outputs: Range<usize>, x: *mut f32, row: usize) {
        // Values that the next product alone reads never leave the chunk: they move down over what was read.
        let out = match gate.ready {
            Some(_) => x,
            None => self.memory.regs[gate.out]
                .row(row)
                .wrapping_add(outputs.start),
        };
        let (start, len) = (outputs.start, outputs.len());
        // SAFETY: `x` holds the products of `outputs` (with gate and up in turns of 16) and is this worker's; this
        // unit alone writes these outputs of the register, or of the activations, in whole groups.
        unsafe {
            if gate.is_gated {
                self.add_interleaved(gate.bias, &outputs, x);
                self.add_interleaved(gate.up_bias, &outputs, x.add(ROWS));
                activate_interleaved(self.level, gate.activation, x, out, len);
            } else {
                if let Some(bias) = gate.up_bias {
                    add_bias(self.level, x, self.model.vector(bias).add(start), len);
                }
                activate(self.level, gate.activation, x, std::ptr::null(), out, len);
            }
            if let Some(act) = gate.ready {
                let values = std::slice::from_raw_parts(out, len);
                prepare_part(self.level, &self.memory.acts[act.0], (row, start), values);
            }
        }
    }

    /// Adds a bias to every second run of 16.
    ///
    /// # Safety
    /// `x` is valid for 32 values per 16 or fewer outputs.
    unsafe fn add_interleaved(&self, bias: Option<WeightId>, outputs: &Range<usize>, x: *mut f32) {
        let Some(bias) = bias else { return };
        let bias = self.model.vector(bias);
        for at in (0..outputs.len()).step_by(ROWS) {
            // SAFETY: passed on from the caller; a bias has one value per output.
            unsafe {
                let bias = bias.add(outputs.start + at);
                add_bias(
                    self.level,
                    x.add(2 * at),
                    bias,
                    ROWS.min(outputs.len() - at),
                );
            }
        }
    }

    /// Logits of the rows that want them.
    pub(crate) fn head(&self, head: &Head, unit: usize) {
        let rows = self.batch.logits_rows.len();
        let out = (&self.memory.logits, &self.memory.is_broken[..]);
        self.head_of(head, rows, out, unit);
    }

    /// The output head over the first rows of its activations, and which of them gave a value that is not finite.
    pub(crate) fn head_of(
        &self,
        head: &Head,
        rows: usize,
        (logits, is_broken): (&Buffer, &[AtomicBool]),
        unit: usize,
    ) {
        let (rows, blocks) = self.head_cut_of(head, rows).ranges(unit);
        let outputs = outputs(&blocks, self.model.matrix(head.matrix).n());
        let operands = Operands {
            matrix: head.matrix,
            act: head.act,
            rows: rows.clone(),
            blocks,
        };
        // SAFETY: a row of logits per row that wants them; this unit alone writes these outputs.
        unsafe {
            self.multiply(
                &operands,
                OutView {
                    ptr: logits.row(0),
                    ld: logits.stride(),
                },
            );
        };
        for row in rows {
            // SAFETY: as above.
            unsafe {
                let x = logits.row(row).add(outputs.start);
                if let Some(bias) = head.bias {
                    add_bias(
                        self.level,
                        x,
                        self.model.vector(bias).add(outputs.start),
                        outputs.len(),
                    );
                }
                if head.scale != 1.0 {
                    multiply(self.level, x, outputs.len(), head.scale);
                }
                if let Some(cap) = head.soft_cap {
                    soft_cap(self.level, x, outputs.len(), cap);
                }
                if !all_finite(self.level, x, outputs.len()) {
                    is_broken[row].store(true, Ordering::Relaxed);
                }
            }
        }
    }
}

/// The outputs of some blocks of a matrix of `n`.
fn outputs(blocks: &Range<usize>, n: usize) -> Range<usize> {
    (blocks.start * ROWS).min(n)..(blocks.end * ROWS).min(n)
}
