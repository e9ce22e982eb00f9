//! How sequences multiply: samples that go their own ways (`fork`: a new group) and beams or candidates that stay
//! together (`branch`: more members). Both share blocks; the first to write into a shared last block copies it.

use tokenmill_core::{SequenceId, TokenId};

use crate::error::{Error, Result};
use crate::scheduler::Scheduler;
use crate::sequence::{GroupIx, Place, Sequence};

/// Where a forked sequence went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// It has a seat and shares its parent's blocks.
    Running,
    /// No seat or no block was free: it waits at the front and comes back through the prefix cache.
    Waiting,
}

impl Scheduler {
    /// Starts `child` from the computed tokens of `parent` and a first token of its own. They share every
    /// block. Valid after the commit of a step that sampled the parent, before or after its own `append`, and
    /// before its `finish`; not for a group that has branched.
    pub fn fork(
        &mut self,
        parent: SequenceId,
        child: SequenceId,
        first_token: TokenId,
    ) -> Result<Forked> {
        let forkable = self.arena.get(parent).filter(|&ix| {
            let group = &self.arena[ix];
            let is_computed = group.members.iter().all(|member| member.missing() <= 1);
            let is_one = group.members.len() == group.lanes;
            group.is_running && !group.is_cancelled && is_computed && is_one && !self.in_flight
        });
        let parent_ix = forkable.ok_or(Error::NotForkable { id: parent })?;
        if self.arena.get(child).is_some() {
            return Err(Error::DuplicateId { id: child });
        }
        let ix = self.arena.insert(child);
        let (from, to) = self.arena.pair(parent_ix, ix);
        from.forks += 1;
        to.members
            .resize_with(from.members.len(), Sequence::default);
        for (from, to) in from.members.iter().zip(&mut to.members) {
            assert!(
                from.computed < from.limit_len,
                "a sequence was forked at its priced length"
            );
            to.tokens.extend_from_slice(&from.tokens[..from.computed]);
            to.tokens.push(first_token);
            to.keys.extend_from_slice(&from.keys[..from.published]);
            to.prompt_len = from.prompt_len;
            to.limit_len = from.limit_len;
            to.created = from.created;
            to.created_blocks = from.created_blocks;
            to.reserve(self.blocks.block_size);
        }
        to.width = from.width;
        to.lanes = from.lanes;
        to.cached = from.cached;
        to.scope = from.scope;
        to.read_cache = from.read_cache;
        to.priority = from.priority;
        to.place = Place {
            fork: from.forks,
            ..from.place
        };
        to.was_resident = true;
        let seats = to.seats();
        // A protected parent was promised its blocks; the copy that a fork will cost must not eat them.
        let is_promised = !self.protected.is_empty() && self.headroom(ix) < self.arena[ix].lanes;
        if is_promised || self.seats + seats > self.config.running_max {
            self.enqueue(ix);
            return Ok(Forked::Waiting);
        }
        self.share_tables(parent_ix, ix);
        self.seats += seats;
        self.running.push(ix);
        Ok(Forked::Running)
    }

    fn share_tables(&mut self, parent: GroupIx, child: GroupIx) {
        let (from, to) = self.arena.pair(parent, child);
        for (from, to) in from.members.iter().zip(&mut to.members) {
            let shared = &from.table[..self.blocks.needed(from.computed)];
            for &block in shared {
                self.blocks.pool.share(block);
            }
            to.table.extend_from_slice(shared);
            to.computed = from.computed;
            to.read_only = from.read_only;
            to.published = from.published;
            to.has_duplicates = from.has_duplicates;
            self.entries += shared.len();
        }
        to.is_running = true;
        to.looked_up = to.members.len();
    }

    /// The branches of a group that sampled are replaced by `children`: of each, the branch it comes from and the
    /// token it goes on with. A branch without children frees its blocks; one of several children inherits the
    /// table and the others share it. At least one child, and no more than the group's width.
    pub fn branch(&mut self, id: SequenceId, children: &[(u32, TokenId)]) {
        let ix = self.appendable(id);
        let (lanes, width) = (self.arena[ix].lanes, self.arena[ix].width);
        assert!(
            (1..=width).contains(&children.len()),
            "a group branched into {} of at most {width}",
            children.len()
        );
        let members = std::mem::take(&mut self.arena[ix].members);
        let mut due = vec![0_u32; members.len() / lanes];
        for &(parent, _) in children {
            due[parent as usize] += 1;
        }
        let mut parents: Vec<Option<Sequence>> = members.into_iter().map(Some).collect();
        let mut born = Vec::with_capacity(children.len() * lanes);
        for &(parent, token) in children {
            due[parent as usize] -= 1;
            let is_last = due[parent as usize] == 0;
            let first = parent as usize * lanes;
            for place in &mut parents[first..first + lanes] {
                let heir = if is_last {
                    place.take()
                } else {
                    place.as_ref().map(|sequence| self.twin(sequence))
                };
                let mut child = heir.expect("the last child alone takes its parent's place");
                child.tokens.push(token);
                born.push(child);
            }
        }
        for mut childless in parents.into_iter().flatten() {
            self.release_table(&mut childless);
        }
        let group = &mut self.arena[ix];
        group.looked_up = born.len();
        group.members = born;
    }

    /// A copy of a sequence that shares its blocks.
    fn twin(&mut self, sequence: &Sequence) -> Sequence {
        for &block in &sequence.table {
            self.blocks.pool.share(block);
        }
        self.entries += sequence.table.len();
        let mut twin = sequence.clone();
        twin.reserve(self.blocks.block_size);
        twin
    }

    /// Gives a sequence's blocks back.
    pub(crate) fn release_table(&mut self, sequence: &mut Sequence) {
        self.entries -= sequence.table.len();
        let (keys, has_duplicates) = (&sequence.keys[..], sequence.has_duplicates);
        self.blocks
            .release_table(&mut sequence.table, keys, has_duplicates);
    }
}
