//! How a step ends. Only here do tokens become computed and full blocks enter the cache: a block is
//! published after the step that wrote its last slot, never before.

use crate::scheduler::Scheduler;

impl Scheduler {
    /// The step ran: its rows are computed. Follows a plan that was not empty.
    pub fn commit(&mut self) {
        assert!(self.in_flight, "a step was committed that was not planned");
        self.in_flight = false;
        for &(ix, at) in &self.order {
            let group = &mut self.arena[ix];
            let sequence = &mut group.members[at];
            let scheduled = std::mem::take(&mut sequence.scheduled);
            if group.is_cancelled {
                // Ended while its step was in flight, perhaps because its rows failed: they do not count.
                continue;
            }
            sequence.computed += scheduled;
            sequence.scored = sequence
                .scored
                .max(sequence.computed.min(sequence.score_end));
            sequence.is_copied = false;
            if self.config.prefix_caching {
                let filled = sequence.computed;
                let scope = &group.scope;
                sequence.publish(filled, scope, &mut self.key_maker, &mut self.blocks);
            }
        }
        self.order.clear();
    }

    /// The step failed: none of its rows count. Its admissions and preemptions stand. A block copied for
    /// it may hold anything, so it is dropped and its tokens are computed again.
    pub fn abort_step(&mut self) {
        assert!(self.in_flight, "a step was aborted that was not planned");
        self.in_flight = false;
        for at in 0..self.order.len() {
            let (ix, member) = self.order[at];
            let block_size = self.blocks.block_size;
            let sequence = &mut self.arena[ix].members[member];
            sequence.scheduled = 0;
            if std::mem::take(&mut sequence.is_copied) {
                let kept = sequence.computed / block_size;
                sequence.computed = kept * block_size;
                for block in sequence.table.drain(kept..) {
                    self.blocks.release(block);
                    self.entries -= 1;
                }
            }
        }
        self.order.clear();
    }
}
