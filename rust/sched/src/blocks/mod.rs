//! KV memory as the scheduler sees it: the pool and the prefix cache as one thing, because a block that
//! nobody uses goes to one of the two, and taking a cached block makes the cache forget it.
//!
//! Order of eviction: least recently used, children before parents. A released table is walked from its
//! end, so children are older; `Blocks::release_table` keeps that true when a chain runs through blocks
//! of other sequences.

mod key;
mod pool;
mod prefix;

use tokenmill_core::{BlockId, TokenId};

pub use key::Scope;
pub(crate) use key::{Key, KeyMaker, ROOT};
pub(crate) use pool::Pool;
pub(crate) use prefix::{Content, PrefixCache};

use crate::config::SchedConfig;
use crate::planted::{Faults, Planted};

/// Pool and cache.
#[derive(Clone)]
pub(crate) struct Blocks {
    pub(crate) pool: Pool,
    pub(crate) prefix: PrefixCache,
    pub(crate) block_size: usize,
    evictions: u64,
    faults: Faults,
}

impl Blocks {
    pub(crate) fn new(config: &SchedConfig) -> Self {
        let faults = Faults::of(config);
        Self {
            pool: Pool::new(config.blocks),
            prefix: PrefixCache::new(config.blocks, config.block_size, faults),
            block_size: config.block_size,
            evictions: 0,
            faults,
        }
    }

    /// Blocks that hold this many tokens.
    pub(crate) fn needed(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_size)
    }

    /// Blocks that can be taken now.
    pub(crate) fn available(&self) -> usize {
        self.pool.free() + self.pool.cached()
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions
    }

    /// A block with one owner, its content of no use. The caller has seen that one is available.
    pub(crate) fn take(&mut self) -> BlockId {
        if self.pool.free() == 0 {
            let evicted = self
                .pool
                .evict_oldest()
                .expect("a block was taken from an empty pool");
            self.prefix.remove(evicted);
            self.evictions += 1;
        }
        self.pool.take_free().expect("an evicted block is free")
    }

    /// Makes every block that nobody uses free; the content of used ones can still be found.
    pub(crate) fn forget_unused(&mut self) {
        while let Some(evicted) = self.pool.evict_oldest() {
            self.prefix.remove(evicted);
            self.evictions += 1;
        }
    }

    /// One owner less of a block that was never published.
    pub(crate) fn release(&mut self, block: BlockId) {
        if self.pool.release(block) {
            assert!(
                !self.prefix.is_published(block),
                "block {} is in the cache",
                block.0
            );
            self.pool.set_free(block);
        }
    }

    /// Gives a whole table back and empties it. `keys` are those of its leading full blocks;
    /// `has_duplicates` says that some chain of it runs through blocks of other sequences, because an
    /// equal block was published first and the table's own stayed private.
    pub(crate) fn release_table(
        &mut self,
        table: &mut Vec<BlockId>,
        keys: &[Key],
        has_duplicates: bool,
    ) {
        // Behind a gap (a foreign parent was evicted under this table) nothing can be found any more.
        let reachable = if has_duplicates {
            keys.iter()
                .take_while(|key| self.prefix.get(key).is_some())
                .count()
        } else {
            table.len()
        };
        let kept = usize::from(self.faults.has(Planted::SkipFree));
        for (index, &block) in table.iter().enumerate().skip(kept).rev() {
            if self.pool.release(block) {
                self.retire(block, index < reachable);
            }
        }
        if self.faults.has(Planted::FreeTwice)
            && let Some(&block) = table.last()
            && self.pool.release(block)
        {
            self.pool.set_free(block);
        }
        if has_duplicates {
            // The foreign parents become younger than the children that this table kept alive.
            let chain = keys[..reachable].iter().rev();
            for block in chain.filter_map(|key| self.prefix.get(key)) {
                self.pool.refresh(block);
            }
        }
        table.clear();
    }

    /// Where a block without owners goes.
    fn retire(&mut self, block: BlockId, is_reachable: bool) {
        if is_reachable && self.prefix.is_published(block) {
            self.pool.set_cached(block);
        } else {
            self.prefix.remove(block);
            self.pool.set_free(block);
        }
    }

    /// Tokens of block `index` of a sequence.
    pub(crate) fn tokens_of<'a>(&self, tokens: &'a [TokenId], index: usize) -> &'a [TokenId] {
        &tokens[index * self.block_size..(index + 1) * self.block_size]
    }
}
