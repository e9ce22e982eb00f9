//! Attention: a unit is an item. The last finisher of a slot merges its splits, in ascending order.

use crate::attend::{Rows, Rule, attend, merge_splits, state_len};
use crate::exec::items::{Item, Part};
use crate::exec::walk::Step;
use crate::plan::Attend;

impl Step<'_> {
    /// Computes an item.
    pub(crate) fn attend(&self, phase: &Attend, unit: usize) {
        let item = &self.memory.items.of(phase.class)[unit];
        let rule = &self.plan.classes[phase.class].rule;
        let rows = self.rows_of(phase, rule, item);
        let arrays = self
            .own
            .scratch
            .arrays(rows.len * rule.group, rule.head_dim);
        let table = self.batch.table(&self.batch.spans[item.span as usize]);
        let kv = self
            .memory
            .cache
            .view(phase.layer, item.head as usize, table);
        // SAFETY: the step was checked: the table covers the rows' positions; K and V up to them were written
        // in an earlier phase or step; this item alone writes its rows and heads, and
        // the state of its split; the last finisher of a slot reads all states after all are written.
        unsafe {
            let Some(part) = item.part else {
                let splits = rule.splits(rows.position, rows.len);
                attend(
                    self.level,
                    &arrays,
                    rule,
                    &kv,
                    &rows,
                    splits,
                    std::ptr::null_mut(),
                );
                return;
            };
            let states = self.memory.items.states(part.slot);
            let split = part.split as usize..part.split as usize + 1;
            attend(
                self.level,
                &arrays,
                rule,
                &kv,
                &rows,
                split,
                own(rule, &rows, part, states),
            );
            if self.memory.items.finish(phase.class, part.slot) {
                merge_splits(self.level, &arrays, rule, &rows, states);
            }
        }
    }

    fn rows_of(&self, phase: &Attend, rule: &Rule, item: &Item) -> Rows {
        let regs = &self.memory.regs;
        let first = item.head as usize * rule.group * rule.head_dim;
        let row = item.row as usize;
        Rows {
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
fn own(rule: &Rule, rows: &Rows, part: Part, states: *mut f32) -> *mut f32 {
    let len = rows.len * rule.group * state_len(rule.head_dim);
    states.wrapping_add((part.split - part.first) as usize * len)
}
