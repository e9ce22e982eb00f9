//! The waiting line. One total order, fixed when a sequence enters it: the protected, then (under `fcfs`)
//! those that were running before, then newcomers by level and arrival.
//!
//! Ageing needs no clock: raising a waiter by one level per `age_steps` steps orders any two waiters as
//! `priority * age_steps + step of arrival` does, which never changes.

use std::collections::VecDeque;

use super::{Arena, GroupIx};

/// What orders sequences, in this order of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// 0 protected, 1 running before, 2 newcomer.
    pub(crate) class: u8,
    /// Priority with its ageing; 0 under `fcfs`.
    pub(crate) level: i64,
    /// Serial number of the request.
    pub(crate) arrival: u64,
    /// 0, or which fork of it.
    pub(crate) fork: u32,
}

/// The line.
#[derive(Clone, Default)]
pub(crate) struct Queue {
    line: VecDeque<GroupIx>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.line.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<GroupIx> {
        self.line.get(index).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = GroupIx> + '_ {
        self.line.iter().copied()
    }

    /// Enters a sequence at its place.
    pub(crate) fn insert(&mut self, ix: GroupIx, arena: &Arena) {
        let place = arena[ix].place;
        let index = self
            .line
            .partition_point(|&other| arena[other].place < place);
        self.line.insert(index, ix);
    }

    pub(crate) fn remove_at(&mut self, index: usize) {
        self.line.remove(index);
    }

    pub(crate) fn remove(&mut self, ix: GroupIx) {
        self.line.retain(|&other| other != ix);
    }
}
