//! Where groups live: a vector of places, reused with their memory, and the map from ids to places.
//! The hot path goes by place; ids are looked up once per event of the engine.

use std::ops::{Index, IndexMut};

use rustc_hash::FxHashMap;
use tokenmill_core::SequenceId;

use super::{Group, Sequence};

/// A place in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupIx(u32);

/// All live groups.
#[derive(Clone, Default)]
pub(crate) struct Arena {
    places: Vec<Group>,
    vacant: Vec<GroupIx>,
    index: FxHashMap<SequenceId, GroupIx>,
}

impl Arena {
    pub(crate) fn get(&self, id: SequenceId) -> Option<GroupIx> {
        self.index.get(&id).copied()
    }

    /// A place with one sequence, its state cleared, and whatever memory its last tenant left.
    pub(crate) fn insert(&mut self, id: SequenceId) -> GroupIx {
        let ix = self.vacant.pop().unwrap_or_else(|| {
            self.places.push(Group::default());
            GroupIx(self.places.len() as u32 - 1)
        });
        let place = &mut self.places[ix.0 as usize];
        let mut members = std::mem::take(&mut place.members);
        members.truncate(1);
        match members.first_mut() {
            Some(first) => *first = std::mem::take(first).cleared(),
            None => members.push(Sequence::default()),
        }
        *place = Group {
            id: Some(id),
            members,
            ..Group::default()
        };
        let replaced = self.index.insert(id, ix);
        assert!(replaced.is_none(), "sequence {} was inserted twice", id.0);
        ix
    }

    pub(crate) fn remove(&mut self, ix: GroupIx) {
        let place = &mut self[ix];
        assert!(
            place.members.iter().all(|member| member.table.is_empty()),
            "a sequence was dropped with its blocks"
        );
        let id = place.id();
        place.id = None;
        self.index.remove(&id);
        self.vacant.push(ix);
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The two groups of a fork.
    pub(crate) fn pair(&mut self, parent: GroupIx, child: GroupIx) -> (&mut Group, &mut Group) {
        let (parent, child) = (parent.0 as usize, child.0 as usize);
        let [parent, child] = self
            .places
            .get_disjoint_mut([parent, child])
            .expect("a sequence cannot be its own child");
        (parent, child)
    }
}

impl Index<GroupIx> for Arena {
    type Output = Group;

    fn index(&self, ix: GroupIx) -> &Group {
        &self.places[ix.0 as usize]
    }
}

impl IndexMut<GroupIx> for Arena {
    fn index_mut(&mut self, ix: GroupIx) -> &mut Group {
        &mut self.places[ix.0 as usize]
    }
}
