//! From one input to rotated queries, and to K and V in the cache. Where heads are whole blocks, a worker
//! takes a head from the product to its place while it is in the cache; elsewhere the products go to registers
//! first.

use std::ops::Range;

use tokenmill_model::NO_SLOT;

use super::products::Operands;
use crate::exec::walk::Step;
use crate::lanes::elementwise::{add_bias, clamp, rotate};
use crate::lanes::norm::{NormRow, inverse_rms, norm_row, scale_row, sum_of_squares};
use crate::pack::ROWS;
use crate::plan::{Finish, HeadRun, Heads, Part, Project};

impl Step<'_> {
    /// A head of some rows.
    pub(crate) fn project(&self, project: &Project, unit: usize) {
        let (rows, unit_heads) = self.project_cut(project).ranges(unit);
        let mut head = unit_heads.start;
        for run in &project.runs {
            if head < run.heads {
                return self.project_head(&project.heads, run, head, rows);
            }
            head -= run.heads;
        }
    }

    fn project_head(&self, heads: &Heads, run: &HeadRun, head: usize, rows: Range<usize>) {
        let width = heads.dim;
        let first = run.first_block + head * width / ROWS;
        let blocks = first..first + width / ROWS;
        let operands = Operands {
            matrix: run.matrix,
            act: run.act,
            rows,
            blocks,
        };
        let chunk = self.multiply_to_chunk(&operands, width);
        for (i, row) in operands.rows.enumerate() {
            let x = chunk.wrapping_add(i * width);
            // SAFETY: the chunk holds this head of this row, and is this worker's.
            unsafe {
                self.add_head_bias(heads, run.part, head, x);
                self.finish_head(heads, (run.part, head), row, (x, None));
            }
        }
    }

    /// The second half of a projection whose products are in registers (biases included).
    pub(crate) fn finish(&self, finish: &Finish, unit: usize) {
        let heads = &finish.heads;
        for row in self.row_cut().ranges(unit).0 {
            let parts = [
                (Part::Query, heads.q_count),
                (Part::Key, heads.kv_count),
                (Part::Value, heads.kv_count),
            ];
            for ((part, count), reg) in parts.into_iter().zip(finish.regs) {
                let x = self.memory.regs[reg].row(row);
                let len = count * heads.dim;
                // SAFETY: the register holds all heads of this row, which is this unit's.
                unsafe {
                    let whole = norm_of(heads, part).filter(|norm| norm.is_whole);
                    let factor = whole
                        .map(|norm| inverse_rms(sum_of_squares(self.level, x, len), len, norm.eps));
                    for head in 0..count {
                        self.finish_head(
                            heads,
                            (part, head),
                            row,
                            (x.add(head * heads.dim), factor),
                        );
                    }
                }
            }
        }
    }

    /// # Safety
    /// `x` holds one head of this worker's.
    unsafe fn add_head_bias(&self, heads: &Heads, part: Part, head: usize, x: *mut f32) {
        if let Some(bias) = heads.biases[part as usize] {
            // SAFETY: a bias has one value per output; the rest is passed on.
            unsafe {
                add_bias(
                    self.level,
                    x,
                    self.model.vector(bias).add(head * heads.dim),
                    heads.dim,
                );
            };
        }
    }

    /// # Safety
    /// `x` holds `len` values of this worker's.
    unsafe fn clip(&self, heads: &Heads, x: *mut f32, len: usize) {
        if let Some(limit) = heads.clip {
            // SAFETY: passed on.
            unsafe { clamp(self.level, x, len, limit) };
        }
    }

    /// Norm, clamp, rotation and the way to the register or the cache. `factor`: the inverse root mean square
    /// of all heads, for a whole norm.
    ///
    /// # Safety
    /// `x` holds one head of this worker's.
    unsafe fn finish_head(
        &self,
        heads: &Heads,
        (part, head): (Part, usize),
        row: usize,
        (x, factor): (*mut f32, Option<f32>),
    ) {
        let (dim, slot) = (heads.dim, self.batch.slots[row]);
        // SAFETY: passed on; tables and weights are as long as the plan says; the slot is this row's alone
        // (checked), and this worker alone has this head of it.
        unsafe {
            self.norm_head(heads, (part, head), x, factor);
            self.clip(heads, x, dim);
            if let (Some(rope), true) = (heads.rope, part != Part::Value) {
                let (cos, sin) = self.memory.angles(self.model, row, rope);
                rotate(
                    self.level,
                    x,
                    cos,
                    sin,
                    self.model.ropes[rope].inv_freq.len(),
                );
            }
            let cache = &self.memory.cache;
            match part {
                Part::Query => {
                    let out = self.memory.regs[heads.out].row(row).add(head * dim);
                    std::ptr::copy_nonoverlapping(x, out, dim);
                }
                _ if slot == NO_SLOT => {}
                Part::Key => cache.write_k(heads.layer, head, slot as usize, x),
                Part::Value => cache.write_v(heads.layer, head, slot as usize, x),
            }
        }
    }

    /// # Safety
    /// `x` holds one head of this worker's.
    unsafe fn norm_head(
        &self,
        heads: &Heads,
        (part, head): (Part, usize),
        x: *mut f32,
        factor: Option<f32>,
    ) {
        let Some(norm) = norm_of(heads, part) else {
            return;
        };
        let weight = self.model.vector(norm.weight);
        let len = heads.dim;
        // SAFETY: passed on; a whole norm has a weight per head and element.
        unsafe {
            if let Some(factor) = factor {
                scale_row(self.level, x, x, len, weight.add(head * len), factor);
                return;
            }
            let bias = std::ptr::null();
            let row = NormRow {
                input: x,
                out: x,
                len,
                weight,
                bias,
                eps: norm.eps,
                is_centred: false,
            };
            norm_row(self.level, &row);
        }
    }
}

fn norm_of(heads: &Heads, part: Part) -> Option<&tokenmill_model::HeadNorm> {
    match part {
        Part::Query => heads.norms[0].as_ref(),
        Part::Key => heads.norms[1].as_ref(),
        Part::Value => None,
    }
}
