//! Attention: a unit is an item. The last finisher of a slot merges its splits, in ascending order.

use tokenmill_model::Span;

use crate::attend::{Rows, attend, merge_splits, state_len};
use crate::exec::items::{Item, Part};
use crate::exec::walk::Step;
use crate::linear::prepare_part;
use crate::plan::{ActId, Attend};

impl Step<'_> {
    /// Computes an item, and makes its outputs ready for the next product if it is to.
    pub(crate) fn attend(&self, phase: &Attend, unit: usize) {
        let item = &self.memory.items.of(phase.class)[unit];
        let rows = self.rows_of(phase, item);
        if self.attend_rows(phase, item, &rows)
            && let Some(act) = phase.ready
        {
            self.prepare_heads(item, &rows, act);
        }
    }

    /// Whether the outputs of the item's rows are there now; else other splits of them are under way.
    fn attend_rows(&self, phase: &Attend, item: &Item, rows: &Rows) -> bool {
        let level = self.level;
        let arrays = self.own.scratch.arrays(rows.queries(), rows.rule.head_dim);
        let span: &Span = &self.batch.spans[item.span as usize];
        let (head, table) = (item.head as usize, self.batch.table(span));
        let kv = self.memory.cache.view(phase.layer, head, table);
        // SAFETY: the step was checked: the table covers the rows' positions; K and V up to them were written in
        // an earlier phase or step; this item alone writes its rows and heads, and the state of its split; the
        // last finisher of a slot reads all states after all are written.
        unsafe {
            let Some(part) = item.part else {
                attend(
                    level,
                    &arrays,
                    &kv,
                    rows,
                    rows.splits(),
                    std::ptr::null_mut(),
                );
                return true;
            };
            let states = self.memory.items.states(part.slot);
            let (split, own) = (part.split as usize, own(rows, part, states));
            attend(level, &arrays, &kv, rows, split..split + 1, own);
            let is_last = self.memory.items.finish(phase.class, part.slot);
            if is_last {
                merge_splits(level, &arrays, rows, states);
            }
            is_last
        }
    }

    fn prepare_heads(&self, item: &Item, rows: &Rows, act: ActId) {
        let (view, rule) = (self.memory.acts[act.0], &rows.rule);
        let len = rule.group * rule.head_dim;
        for i in 0..rows.len {
            let place = (item.row as usize + i, item.head as usize * len);
            // SAFETY: the outputs were just written; the plan checked that they are whole groups, which are this
            // item's alone.
            unsafe {
                let out = rows.out.add(i * rows.out_stride);
                let values = std::slice::from_raw_parts(out, len);
                prepare_part(self.level, &view, place, values);
            }
        }
    }

    fn rows_of(&self, phase: &Attend, item: &Item) -> Rows {
        let (regs, rule) = (&self.memory.regs, self.plan.classes[phase.class].rule);
        let first = item.head as usize * rule.group * rule.head_dim;
        let row = item.row as usize;
        Rows {
            rule,
            position: self.batch.positions[row] as usize,
            len: item.rows as usize,
            q: regs[phase.input].row(row).wrapping_add(first),
            q_stride: regs[phase.input].stride(),
            out: regs[phase.out].row(row).wrapping_add(first),
            out_stride: regs[phase.out].stride(),
        }
    }
}

/// Where the states of one split lie among those of its slot.
fn own(rows: &Rows, part: Part, states: *mut f32) -> *mut f32 {
    let len = rows.queries() * state_len(rows.rule.head_dim);
    states.wrapping_add((part.split - part.first) as usize * len)
}
