//! Blocks for the rows of a running sequence: the ones it lacks, and a copy of a shared last block before
//! the first write into it (copy-on-write). Preempts when the pool has none.

use tokenmill_core::BlockId;

use super::{Budget, Copy};
use crate::scheduler::Scheduler;
use crate::sequence::{SeqIx, Sequence};

impl Scheduler {
    /// Makes room for `rows` more rows of a sequence; false if it was preempted itself.
    pub(crate) fn grow(&mut self, ix: SeqIx, rows: usize, left: &mut Budget) -> bool {
        loop {
            let sequence = &self.arena[ix];
            let fresh = self
                .blocks
                .needed(sequence.computed + rows)
                .saturating_sub(sequence.table.len());
            let is_shared = self.writes_shared(sequence);
            if fresh + usize::from(is_shared) <= self.headroom(ix) {
                if is_shared {
                    self.unshare(ix);
                }
                self.extend_table(ix, fresh);
                return true;
            }
            assert!(
                !sequence.is_protected,
                "a protected sequence lost the blocks promised to it"
            );
            let victim = self
                .victim()
                .expect("an open sequence is in the list of the running");
            self.preempt(victim, left);
            if victim == ix {
                return false;
            }
        }
    }

    pub(crate) fn extend_table(&mut self, ix: SeqIx, fresh: usize) {
        let table = &mut self.arena[ix].table;
        for _ in 0..fresh {
            table.push(self.blocks.take());
        }
        self.entries += fresh;
    }

    /// Whether the next write of a sequence meets a block that others name too.
    fn writes_shared(&self, sequence: &Sequence) -> bool {
        shared_tail(sequence, self.blocks.block_size)
            .is_some_and(|(_, block)| self.blocks.pool.count(block) > 1)
    }

    /// Replaces the shared last block by a copy of its filled slots.
    fn unshare(&mut self, ix: SeqIx) {
        let sequence = &mut self.arena[ix];
        let Some((index, from)) = shared_tail(sequence, self.blocks.block_size) else {
            return;
        };
        let to = self.blocks.take();
        let len = (sequence.computed % self.blocks.block_size) as u32;
        sequence.table[index] = to;
        sequence.is_copied = true;
        self.blocks.release(from);
        self.plan.copies.push(Copy {
            from,
            to,
            from_slot: 0,
            to_slot: 0,
            len,
        });
    }

    /// Blocks a sequence may take: what is available less what is promised to the protected.
    pub(crate) fn headroom(&self, ix: SeqIx) -> usize {
        let mut promised = 0;
        for &other in self.protected.iter().filter(|&&other| other != ix) {
            let sequence = &self.arena[other];
            let lacking = self
                .full_need(sequence)
                .saturating_sub(sequence.table.len());
            promised += lacking + usize::from(self.writes_shared(sequence));
        }
        self.blocks.available().saturating_sub(promised)
    }

    /// Blocks of a sequence at its longest.
    pub(crate) fn full_need(&self, sequence: &Sequence) -> usize {
        self.blocks.needed(sequence.limit_len.min(self.context_len))
    }
}

/// Index and id of the block that the next write of a sequence appends to, if one is begun.
fn shared_tail(sequence: &Sequence, block_size: usize) -> Option<(usize, BlockId)> {
    let index = sequence.computed / block_size;
    let is_begun =
        !sequence.computed.is_multiple_of(block_size) && sequence.computed >= sequence.read_only;
    sequence
        .table
        .get(index)
        .filter(|_| is_begun)
        .map(|&block| (index, block))
}
