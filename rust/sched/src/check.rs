//! The books. `check` runs after every step, in release builds too, and costs a pass over the running
//! sequences; `check_full` recounts everything and is for tests and simulators. A broken invariant panics:
//! wrong tokens are worse than no tokens.

use crate::blocks::{Key, ROOT};
use crate::scheduler::Scheduler;
use crate::sequence::{Group, GroupIx, Sequence};

impl Scheduler {
    /// Asserts what must hold between any two calls, from counters.
    pub fn check(&self) {
        let pool = &self.blocks.pool;
        let sum = pool.free() + pool.cached() + pool.used();
        assert!(
            sum == pool.total(),
            "free + cached + used is {sum}, not {}",
            pool.total()
        );
        let (mut entries, mut seats) = (0, 0);
        for &ix in &self.running {
            let group = &self.arena[ix];
            assert!(group.is_running, "a sequence runs without a seat");
            Self::check_group(group);
            seats += group.seats();
            for sequence in &group.members {
                entries += sequence.table.len();
                self.check_sequence(sequence);
            }
        }
        assert!(
            seats == self.seats && seats <= self.config.running_max,
            "more sequences run than may, or are counted"
        );
        assert!(
            entries == pool.refs(),
            "tables have {entries} entries, blocks {} owners",
            pool.refs()
        );
        assert!(
            entries == self.entries,
            "tables have {entries} entries, not {}",
            self.entries
        );
        assert!(
            pool.used() <= entries,
            "a block is used that no table names"
        );
        let plan = &self.plan;
        assert!(
            plan.rows() <= self.config.tokens_per_step,
            "more rows than the budget"
        );
        assert!(
            plan.logits_rows.len() + plan.scored_rows.len() <= self.config.logits_rows_max,
            "more logits than the budget"
        );
    }

    /// All members of a group sample, or none; they have equally many output tokens.
    fn check_group(group: &Group) {
        assert!(
            group.members.len() <= group.seats() && group.members.len().is_multiple_of(group.lanes),
            "a group is wider than its seats"
        );
        let is_due = |member: &&Sequence| {
            member.scheduled > 0 && member.computed + member.scheduled == member.known()
        };
        let due = group.members.iter().filter(is_due).count();
        assert!(
            due == 0 || due == group.members.len(),
            "a group samples without all its members"
        );
        let output_len = |member: &Sequence| member.known() - member.prompt_len;
        let first = output_len(group.first());
        assert!(
            group
                .members
                .iter()
                .all(|member| output_len(member) == first),
            "the members of a group are not in step"
        );
    }

    fn check_sequence(&self, sequence: &Sequence) {
        let end = sequence.computed + sequence.scheduled;
        let held = sequence.table.len() * self.blocks.block_size;
        assert!(
            end <= sequence.known(),
            "more tokens are computed than known"
        );
        assert!(
            end <= held,
            "{end} tokens are computed in blocks of {held} slots"
        );
        assert!(
            self.in_flight || sequence.scheduled == 0,
            "rows are scheduled without a step"
        );
        assert!(
            sequence.published * self.blocks.block_size
                <= sequence.computed.max(sequence.read_only),
            "a block was published before its step was done"
        );
    }

    /// Asserts the same by recounting every table, list and content. Takes time in proportion to the pool.
    pub fn check_full(&self) {
        self.check();
        self.check_counts();
        self.check_cache();
        self.check_queue();
        for &ix in &self.running {
            let group = &self.arena[ix];
            for sequence in &group.members {
                self.check_contents(group, sequence);
            }
        }
        self.check_plan();
    }

    /// Count = number of table entries that name the block; free, cached and used exclude each other.
    fn check_counts(&self) {
        let pool = &self.blocks.pool;
        let mut counts = vec![0; pool.total()];
        for &ix in &self.running {
            for block in self.arena[ix]
                .members
                .iter()
                .flat_map(|member| &member.table)
            {
                counts[block.0 as usize] += 1;
            }
        }
        let mut states = vec![0; pool.total()];
        for block in pool.free_blocks().chain(pool.cached_blocks()) {
            states[block.0 as usize] += 1;
            assert!(
                counts[block.0 as usize] == 0,
                "block {} is named but not used",
                block.0
            );
        }
        for (index, (&count, &state)) in counts.iter().zip(&states).enumerate() {
            let block = tokenmill_core::BlockId(index as u32);
            assert!(
                pool.count(block) == count,
                "block {index} has {count} owners"
            );
            let is_used = i32::from(count > 0);
            assert!(
                state + is_used == 1,
                "block {index} is in {} states",
                state + is_used
            );
        }
        assert!(
            pool.cached_blocks().count() == pool.cached(),
            "the list of cached blocks is cut"
        );
    }

    /// Cached blocks can be found, and no parent is older than its child: it would be evicted first.
    fn check_cache(&self) {
        let (pool, prefix) = (&self.blocks.pool, &self.blocks.prefix);
        let mut ages: Vec<Option<usize>> = vec![None; pool.total()];
        for (age, block) in pool.cached_blocks().enumerate() {
            ages[block.0 as usize] = Some(age);
        }
        let mut published = 0;
        for index in 0..pool.total() {
            let block = tokenmill_core::BlockId(index as u32);
            let age = ages[index];
            if !prefix.is_published(block) {
                assert!(age.is_none(), "block {index} is cached without a key");
                continue;
            }
            published += 1;
            assert!(
                age.is_some() || pool.count(block) > 0,
                "block {index} is free and published"
            );
            let content = prefix.content(block);
            assert!(
                prefix.get(content.key) == Some(block),
                "block {index} cannot be found"
            );
            if age.is_some() && *content.parent != ROOT {
                self.check_parent(content.parent, age, &ages);
            }
        }
        assert!(
            published == prefix.len(),
            "the cache names blocks that are not published"
        );
    }

    fn check_parent(&self, parent: &Key, age: Option<usize>, ages: &[Option<usize>]) {
        let parent = self.blocks.prefix.get(parent);
        let parent = parent.expect("a cached block outlived its parent");
        let parent_age = ages[parent.0 as usize];
        assert!(
            parent_age.is_none() || parent_age > age,
            "a parent is older than its child"
        );
    }

    /// Waiters own nothing and stand in order; every sequence is in exactly one list.
    fn check_queue(&self) {
        let mut last = None;
        for ix in self.waiting.iter() {
            let group = &self.arena[ix];
            assert!(!group.is_running, "a waiter has a seat");
            for member in &group.members {
                assert!(member.table.is_empty(), "a waiter holds blocks");
                assert!(member.computed == 0, "a waiter has computed tokens");
            }
            assert!(last < Some(group.place), "the queue is out of order");
            last = Some(group.place);
        }
        let seats = self.waiting.len() + self.running.len();
        assert!(
            seats == self.arena.len(),
            "a sequence is in no list, or in two"
        );
        let is_seated = |ix: &GroupIx| self.running.contains(ix) && self.arena[*ix].is_protected;
        assert!(
            self.protected.iter().all(is_seated),
            "a protected sequence lost its seat"
        );
    }

    /// A published block's tokens and scope equal those of every table that names it.
    fn check_contents(&self, group: &Group, sequence: &Sequence) {
        let full = sequence
            .known()
            .min(sequence.table.len() * self.blocks.block_size);
        for (index, &block) in sequence.table.iter().enumerate() {
            if !self.blocks.prefix.is_published(block) {
                continue;
            }
            let content = self.blocks.prefix.content(block);
            let is_whole = (index + 1) * self.blocks.block_size <= full;
            assert!(is_whole, "a published block is not full");
            let tokens = self.blocks.tokens_of(&sequence.tokens, index);
            assert!(
                content.tokens == tokens,
                "a published block holds other tokens"
            );
            assert!(
                *content.scope == group.scope,
                "a published block is of another scope"
            );
        }
    }

    /// Spans cover the rows; rows write only blocks that their sequence owns alone.
    fn check_plan(&self) {
        if !self.in_flight {
            return;
        }
        let plan = &self.plan;
        let mut row = 0;
        for (span, &(ix, at)) in plan.spans.iter().zip(&self.order) {
            assert!(
                span.row == row && span.rows > 0,
                "spans do not cover the rows"
            );
            row += span.rows;
            assert!(
                self.arena[ix].id() == span.id && at == span.member as usize,
                "a span is of another sequence"
            );
            for row in span.row..span.row + span.rows {
                self.check_row(row as usize, plan.table(span));
            }
        }
        assert!(row as usize == plan.rows(), "spans do not cover the rows");
    }

    fn check_row(&self, row: usize, table: &[tokenmill_core::BlockId]) {
        let slot = self.plan.slots[row];
        if slot == crate::NO_SLOT {
            return;
        }
        let block_size = self.blocks.block_size as u32;
        let block = table[self.plan.positions[row] as usize / self.blocks.block_size];
        assert!(
            slot / block_size == block.0,
            "a row writes outside its block"
        );
        assert!(
            self.blocks.pool.count(block) == 1,
            "a row writes into a shared block"
        );
        assert!(
            !self.blocks.prefix.is_published(block),
            "a row writes into a published block"
        );
    }
}
