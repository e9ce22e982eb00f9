//! Registers and activations of a plan: which matrix reads which register in which form, and who makes it ready.

use tokenmill_model::Reg;

use super::lower::{Lowering, index};
use super::{ActId, ActSpec, MatrixId, Phase, RegSpec, RowOp};
use crate::pack::ROWS;

/// Most outputs of the gated product that need be made ready together: all rows of them must fit a chunk.
pub(super) const UNIT_MAX: usize = 64;

impl Lowering<'_> {
    /// The activations of a register for a matrix, made ready if they are not.
    pub(super) fn ready(&mut self, input: Reg, matrix: MatrixId) -> ActId {
        let act = self.act(input, matrix, false);
        let is_ready = std::mem::replace(&mut self.is_ready[act.0], true);
        if !is_ready && !self.made_by_last(index(input), act, matrix) {
            self.rows.push(RowOp::Prepare {
                from: index(input),
                act,
            });
        }
        act
    }

    /// Lets the phase that has just written `reg` make it ready for `matrix` as well, if it can.
    fn made_by_last(&mut self, reg: usize, act: ActId, matrix: MatrixId) -> bool {
        let group = self.matrices.act_group(matrix);
        match self.phases.last_mut().filter(|_| self.rows.is_empty()) {
            Some(Phase::Attend(attend)) if attend.out == reg && attend.ready.is_none() => {
                let rule = self.classes[attend.class].rule;
                let is_whole = (rule.group * rule.head_dim).is_multiple_of(group);
                attend.ready = is_whole.then_some(act);
                is_whole
            }
            Some(Phase::Gate(gate)) if gate.out == reg && gate.ready.is_none() => {
                let is_whole = group == 1 || (group.is_multiple_of(ROWS) && group <= UNIT_MAX);
                if is_whole {
                    (gate.ready, gate.block_unit) = (Some(act), group.div_ceil(ROWS));
                }
                is_whole
            }
            _ => false,
        }
    }

    pub(super) fn act(&mut self, input: Reg, matrix: MatrixId, is_head: bool) -> ActId {
        let key = (index(input), self.matrices.act_key(matrix), is_head);
        if let Some(act) = self.act_ids.get(&key) {
            return *act;
        }
        let act = self.new_act(matrix, 1);
        self.act_ids.insert(key, act);
        act
    }

    pub(super) fn new_act(&mut self, matrix: MatrixId, copies: usize) -> ActId {
        self.acts.push(ActSpec { matrix, copies });
        self.is_ready.push(false);
        ActId(self.acts.len() - 1)
    }

    pub(super) fn scratch_reg(
        &mut self,
        purpose: &'static str,
        width: usize,
        copies: usize,
    ) -> usize {
        *self
            .scratch_regs
            .entry((purpose, width, copies))
            .or_insert_with(|| {
                self.regs.push(RegSpec { width, copies });
                self.regs.len() - 1
            })
    }

    pub(super) fn wrote(&mut self, reg: usize) {
        for ((of, _, _), act) in &self.act_ids {
            if *of == reg {
                self.is_ready[act.0] = false;
            }
        }
    }
}
