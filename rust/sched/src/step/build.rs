//! Writes the decisions of a plan as flat rows. Decides nothing.

use tokenmill_core::BlockId;

use super::{NO_SLOT, PlanSpan};
use crate::planted::{Faults, Planted};
use crate::scheduler::Scheduler;
use crate::sequence::Sequence;

impl Scheduler {
    pub(crate) fn build_plan(&mut self) {
        let block_size = self.blocks.block_size;
        let plan = &mut self.plan;
        for &(ix, at) in &self.order {
            let group = &mut self.arena[ix];
            let (id, scope) = (group.id(), &group.scope);
            let sequence = &mut group.members[at];
            let (start, end) = (sequence.computed, sequence.computed + sequence.scheduled);
            if self.faults.has(Planted::PublishEarly) {
                let known = sequence.known() / block_size * block_size;
                let held = sequence.table.len() * block_size;
                let filled = known.min(held);
                sequence.publish(filled, scope, &mut self.key_maker, &mut self.blocks);
            }
            plan.spans.push(PlanSpan {
                id,
                member: at as u32,
                row: plan.tokens.len() as u32,
                rows: sequence.scheduled as u32,
                table: plan.tables.len() as u32,
                table_len: sequence.table.len() as u32,
                scope: scope.as_u64(),
            });
            plan.tables.extend_from_slice(&sequence.table);
            plan.tokens.extend_from_slice(&sequence.tokens[start..end]);
            plan.positions.extend(start as u32..end as u32);
            plan.slots.extend(
                (start..end).map(|position| slot(sequence, position, block_size, self.faults)),
            );
            let ask = sequence.ask();
            if ask.is_scoring() {
                let first = plan.tokens.len() - sequence.scheduled;
                let rows = ask.scored_from..sequence.scheduled.min(ask.scored_end);
                plan.scored_rows
                    .extend(rows.map(|row| (first + row) as u32));
            }
            if end == sequence.known() {
                plan.logits_rows.push(plan.tokens.len() as u32 - 1);
                plan.sampled.push(id);
            }
        }
        if self.faults.has(Planted::SwapRows) && plan.sampled.len() > 1 {
            plan.sampled.swap(0, 1);
        }
    }
}

/// Where the row of a position writes.
fn slot(sequence: &Sequence, position: usize, block_size: usize, faults: Faults) -> u32 {
    if position < sequence.read_only {
        return NO_SLOT;
    }
    let (mut index, offset) = (position / block_size, position % block_size);
    if faults.has(Planted::OffByOneBlock) && offset == 0 {
        index = index.saturating_sub(1);
    }
    let BlockId(block) = sequence.table[index];
    block * block_size as u32 + offset as u32
}
