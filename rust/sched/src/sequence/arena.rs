//! Where sequences live: a vector of places, reused with their memory, and the map from ids to places.
//! The hot path goes by place; ids are looked up once per event of the engine.

use std::ops::{Index, IndexMut};

use rustc_hash::FxHashMap;
use tokenmill_core::SequenceId;

use super::Sequence;

/// A place in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeqIx(u32);

/// All live sequences.
#[derive(Clone, Default)]
pub(crate) struct Arena {
    places: Vec<Sequence>,
    vacant: Vec<SeqIx>,
    index: FxHashMap<SequenceId, SeqIx>,
}

impl Arena {
    pub(crate) fn get(&self, id: SequenceId) -> Option<SeqIx> {
        self.index.get(&id).copied()
    }

    /// A place with cleared state and whatever memory its last tenant left.
    pub(crate) fn insert(&mut self, id: SequenceId) -> SeqIx {
        let ix = self.vacant.pop().unwrap_or_else(|| {
            self.places.push(Sequence::default());
            SeqIx(self.places.len() as u32 - 1)
        });
        let place = &mut self.places[ix.0 as usize];
        let (mut tokens, mut table, mut keys) = (
            std::mem::take(&mut place.tokens),
            std::mem::take(&mut place.table),
            std::mem::take(&mut place.keys),
        );
        tokens.clear();
        table.clear();
        keys.clear();
        *place = Sequence {
            id: Some(id),
            tokens,
            table,
            keys,
            ..Sequence::default()
        };
        let replaced = self.index.insert(id, ix);
        assert!(replaced.is_none(), "sequence {} was inserted twice", id.0);
        ix
    }

    pub(crate) fn remove(&mut self, ix: SeqIx) {
        let place = &mut self[ix];
        assert!(
            place.table.is_empty(),
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

    /// The two sequences of a fork.
    pub(crate) fn pair(&mut self, parent: SeqIx, child: SeqIx) -> (&mut Sequence, &mut Sequence) {
        let (parent, child) = (parent.0 as usize, child.0 as usize);
        let [parent, child] = self
            .places
            .get_disjoint_mut([parent, child])
            .expect("a sequence cannot be its own child");
        (parent, child)
    }
}

impl Index<SeqIx> for Arena {
    type Output = Sequence;

    fn index(&self, ix: SeqIx) -> &Sequence {
        &self.places[ix.0 as usize]
    }
}

impl IndexMut<SeqIx> for Arena {
    fn index_mut(&mut self, ix: SeqIx) -> &mut Sequence {
        &mut self.places[ix.0 as usize]
    }
}
