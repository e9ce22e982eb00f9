//! Blocks for the rows of a running sequence: the ones it lacks, and a copy of a shared last block before
//! the first write into it (copy-on-write). Preempts when the pool has none.

use tokenmill_core::BlockId;

use super::{Budget, Copy};
use crate::scheduler::Scheduler;
use crate::sequence::{Group, GroupIx, Sequence};

impl Scheduler {
    /// Makes room for `rows` more rows of a member; false if its group was preempted itself.
    pub(crate) fn grow(&mut self, ix: GroupIx, at: usize, rows: usize, left: &mut Budget) -> bool {
        loop {
            let group = &self.arena[ix];
            let sequence = &group.members[at];
            let fresh = self
                .blocks
                .needed(sequence.computed + rows)
                .saturating_sub(sequence.table.len());
            let is_shared = self.writes_shared(sequence);
            if fresh + usize::from(is_shared) <= self.headroom(ix) {
                if is_shared {
                    self.unshare(ix, at);
                }
                self.extend_table(ix, at, fresh);
                return true;
            }
            assert!(
                !group.is_protected,
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

    pub(crate) fn extend_table(&mut self, ix: GroupIx, at: usize, fresh: usize) {
        let table = &mut self.arena[ix].members[at].table;
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
    fn unshare(&mut self, ix: GroupIx, at: usize) {
        let sequence = &mut self.arena[ix].members[at];
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

    /// Blocks a group may take: what is available less what is promised to the protected.
    pub(crate) fn headroom(&self, ix: GroupIx) -> usize {
        let others = self.protected.iter().filter(|&&other| other != ix);
        let promised: usize = others.map(|&other| self.promise(&self.arena[other])).sum();
        self.blocks.available().saturating_sub(promised)
    }

    /// Blocks that a protected group may still ask for: what its members lack of their full length, the copies of
    /// begun last blocks, and for each branch to come all but the full blocks of the branch that it comes from.
    fn promise(&self, group: &Group) -> usize {
        let lack = |member: &Sequence| {
            let need = self.length_need(member);
            need.saturating_sub(member.table.len())
        };
        let lacking: usize = group.members.iter().map(lack).sum();
        let to_come = group.width - group.members.len() / group.lanes;
        let fresh = |member: &Sequence| {
            let full = member.known() / self.blocks.block_size;
            self.length_need(member).saturating_sub(full)
        };
        let branch: usize = group.members[..group.lanes].iter().map(fresh).sum();
        lacking + to_come * branch + self.tail_copies(group)
    }

    /// Copies that the next writes of a group cost: one for each member that shares its begun last block, less one
    /// of those that share it among themselves alone.
    fn tail_copies(&self, group: &Group) -> usize {
        let is_copied = |&at: &usize| {
            let tail = shared_tail(&group.members[at], self.blocks.block_size);
            let Some((_, block)) = tail else {
                return false;
            };
            let names = |members: &[Sequence]| {
                let owners = members
                    .iter()
                    .filter(|member| member.table.contains(&block));
                owners.count()
            };
            let is_shared_outside = self.blocks.pool.count(block) as usize > names(&group.members);
            is_shared_outside || names(&group.members[..at]) > 0
        };
        (0..group.members.len()).filter(is_copied).count()
    }

    fn length_need(&self, member: &Sequence) -> usize {
        self.blocks.needed(member.limit_len.min(self.context_len))
    }

    /// Blocks of a group at its widest and longest.
    pub(crate) fn full_need(&self, group: &Group) -> usize {
        let lanes = group.members[..group.lanes].iter();
        let branch: usize = lanes.map(|member| self.length_need(member)).sum();
        branch * group.width
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
