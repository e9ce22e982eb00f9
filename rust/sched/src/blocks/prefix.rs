//! The prefix cache: which block holds which chain of tokens. Owns the map from keys to blocks and, for
//! each published block, what it holds. Knows no count and no age: the pool does.
//!
//! A key that leads to other tokens is a miss and is counted; it is never a hit.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use tokenmill_core::{BlockId, TokenId};

use super::key::{Key, ROOT, Scope};
use crate::planted::{Faults, Planted};

/// Keys are uniform already (a keyed hash nobody outside can aim), so their first bytes index the map.
#[derive(Clone, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(head) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*head);
        }
    }

    /// The length of an array key says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What a block holds, once published.
pub(crate) struct Content<'a> {
    pub(crate) key: &'a Key,
    pub(crate) parent: &'a Key,
    pub(crate) scope: &'a Scope,
    pub(crate) tokens: &'a [TokenId],
}

/// The map and the contents.
#[derive(Clone)]
pub(crate) struct PrefixCache {
    blocks: HashMap<Key, BlockId, BuildHasherDefault<KeyHasher>>,
    block_size: usize,
    is_published: Vec<bool>,
    keys: Vec<Key>,
    parents: Vec<Key>,
    scopes: Vec<Scope>,
    /// Token ids, `block_size` per block.
    tokens: Vec<TokenId>,
    mismatches: u64,
    faults: Faults,
}

impl PrefixCache {
    /// For blocks `0..blocks`, all of which may be published.
    pub(crate) fn new(blocks: usize, block_size: usize, faults: Faults) -> Self {
        Self {
            // Twice the most entries: the map then cleans its tombstones in place and never grows.
            blocks: HashMap::with_capacity_and_hasher(2 * blocks, BuildHasherDefault::default()),
            block_size,
            is_published: vec![false; blocks],
            keys: vec![ROOT; blocks],
            parents: vec![ROOT; blocks],
            scopes: vec![Scope::default(); blocks],
            tokens: vec![0; blocks * block_size],
            mismatches: 0,
            faults,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) fn mismatches(&self) -> u64 {
        self.mismatches
    }

    pub(crate) fn is_published(&self, block: BlockId) -> bool {
        self.is_published[block.0 as usize]
    }

    /// The block published under a key, whatever it holds.
    pub(crate) fn get(&self, key: &Key) -> Option<BlockId> {
        self.blocks.get(key).copied()
    }

    /// The block that holds exactly these tokens, in this scope, behind the chain of the key.
    pub(crate) fn find(&mut self, key: &Key, scope: &Scope, tokens: &[TokenId]) -> Option<BlockId> {
        let block = *self.blocks.get(key)?;
        let held = self.content(block);
        let is_same =
            held.tokens == tokens && (held.scope == scope || self.faults.has(Planted::ForgetSalt));
        if is_same || self.faults.has(Planted::PrefixMatchIds) {
            return Some(block);
        }
        self.mismatches += 1;
        None
    }

    /// Enters a block; false if the key is taken, and the block stays private.
    pub(crate) fn publish(&mut self, block: BlockId, content: &Content<'_>) -> bool {
        let index = block.0 as usize;
        if self.is_published[index] || self.blocks.contains_key(content.key) {
            return false;
        }
        self.blocks.insert(*content.key, block);
        self.is_published[index] = true;
        self.keys[index] = *content.key;
        self.parents[index] = *content.parent;
        self.scopes[index] = *content.scope;
        let start = index * self.block_size;
        self.tokens[start..start + self.block_size].copy_from_slice(content.tokens);
        true
    }

    /// Forgets a block, if it was published.
    pub(crate) fn remove(&mut self, block: BlockId) {
        let index = block.0 as usize;
        if std::mem::take(&mut self.is_published[index]) {
            let removed = self.blocks.remove(&self.keys[index]);
            assert!(
                removed == Some(block),
                "the key of block {} led elsewhere",
                block.0
            );
        }
    }

    /// What a published block holds.
    pub(crate) fn content(&self, block: BlockId) -> Content<'_> {
        let index = block.0 as usize;
        let start = index * self.block_size;
        Content {
            key: &self.keys[index],
            parent: &self.parents[index],
            scope: &self.scopes[index],
            tokens: &self.tokens[start..start + self.block_size],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_leads_to_other_tokens_or_another_scope_is_a_counted_miss() {
        let mut cache = PrefixCache::new(2, 3, Faults::default());
        let (key, scope) = ([5; 32], Scope::from_u64(1));
        let content = |tokens| Content {
            key: &key,
            parent: &ROOT,
            scope: &scope,
            tokens,
        };
        assert!(cache.publish(BlockId(1), &content(&[1, 2, 3])));
        assert_eq!(cache.find(&key, &scope, &[1, 2, 3]), Some(BlockId(1)));
        assert_eq!(cache.find(&key, &scope, &[1, 2, 4]), None);
        assert_eq!(cache.find(&key, &Scope::default(), &[1, 2, 3]), None);
        assert_eq!(cache.mismatches(), 2);
        assert_eq!(cache.find(&[6; 32], &scope, &[1, 2, 3]), None);
        assert_eq!(cache.mismatches(), 2);
        assert!(
            !cache.publish(BlockId(0), &content(&[1, 2, 3])),
            "the second stays private"
        );
        cache.remove(BlockId(1));
        assert_eq!(cache.find(&key, &scope, &[1, 2, 3]), None);
        assert_eq!(cache.len(), 0);
    }
}
