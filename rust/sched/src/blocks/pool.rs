//! Owners of the blocks: reference counts, the free stack and the list of cached blocks by age. Knows
//! neither tokens nor keys. A block is free (on the stack), cached (count 0, on the list) or used
//! (count >= 1, on neither).

use tokenmill_core::BlockId;

/// `next` of a block that is not on the list.
const OFF: u32 = u32::MAX;

/// The pool. All operations take constant time.
#[derive(Clone)]
pub(crate) struct Pool {
    counts: Vec<u32>,
    free: Vec<u32>,
    /// Ring of cached blocks, oldest first; entry `counts.len()` is the anchor.
    next: Vec<u32>,
    prev: Vec<u32>,
    cached: usize,
    /// Sum of all counts.
    refs: usize,
}

impl Pool {
    pub(crate) fn new(blocks: usize) -> Self {
        let mut next = vec![OFF; blocks + 1];
        let mut prev = vec![OFF; blocks + 1];
        next[blocks] = blocks as u32;
        prev[blocks] = blocks as u32;
        // Reversed, so that block 0 is taken first.
        let free = (0..blocks as u32).rev().collect();
        Self {
            counts: vec![0; blocks],
            free,
            next,
            prev,
            cached: 0,
            refs: 0,
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.counts.len()
    }

    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn cached(&self) -> usize {
        self.cached
    }

    pub(crate) fn used(&self) -> usize {
        self.total() - self.free.len() - self.cached
    }

    pub(crate) fn refs(&self) -> usize {
        self.refs
    }

    pub(crate) fn count(&self, block: BlockId) -> u32 {
        self.counts[block.0 as usize]
    }

    /// A free block, now with count 1.
    pub(crate) fn take_free(&mut self) -> Option<BlockId> {
        let block = self.free.pop()?;
        assert!(
            self.counts[block as usize] == 0,
            "block {block} was free and used"
        );
        self.counts[block as usize] = 1;
        self.refs += 1;
        Some(BlockId(block))
    }

    /// Takes the oldest cached block off its list and makes it free.
    pub(crate) fn evict_oldest(&mut self) -> Option<BlockId> {
        let oldest = self.next[self.anchor()];
        if oldest as usize == self.anchor() {
            return None;
        }
        self.unlink(oldest);
        self.free.push(oldest);
        Some(BlockId(oldest))
    }

    /// One more owner; a cached block becomes used.
    pub(crate) fn share(&mut self, block: BlockId) {
        if self.counts[block.0 as usize] == 0 {
            self.unlink(block.0);
        }
        self.counts[block.0 as usize] += 1;
        self.refs += 1;
    }

    /// One owner less; true if it was the last, and the caller must say free or cached.
    pub(crate) fn release(&mut self, block: BlockId) -> bool {
        let count = &mut self.counts[block.0 as usize];
        assert!(
            *count > 0,
            "block {} was released more often than taken",
            block.0
        );
        *count -= 1;
        self.refs -= 1;
        *count == 0
    }

    /// A block whose last owner left, content of no use.
    pub(crate) fn set_free(&mut self, block: BlockId) {
        assert!(
            self.counts[block.0 as usize] == 0,
            "block {} is used",
            block.0
        );
        self.free.push(block.0);
    }

    /// A block whose last owner left, content of use: the youngest of the list.
    pub(crate) fn set_cached(&mut self, block: BlockId) {
        assert!(
            self.counts[block.0 as usize] == 0,
            "block {} is used",
            block.0
        );
        assert!(
            self.next[block.0 as usize] == OFF,
            "block {} is cached already",
            block.0
        );
        let anchor = self.anchor();
        let youngest = self.prev[anchor];
        self.next[youngest as usize] = block.0;
        self.prev[block.0 as usize] = youngest;
        self.next[block.0 as usize] = anchor as u32;
        self.prev[anchor] = block.0;
        self.cached += 1;
    }

    /// Makes a cached block the youngest; a used one stays as it is.
    pub(crate) fn refresh(&mut self, block: BlockId) {
        if self.counts[block.0 as usize] == 0 {
            self.unlink(block.0);
            self.set_cached(block);
        }
    }

    /// Cached blocks, oldest first.
    pub(crate) fn cached_blocks(&self) -> impl Iterator<Item = BlockId> + '_ {
        let anchor = self.anchor() as u32;
        let next = move |block: u32| Some(self.next[block as usize]).filter(|&b| b != anchor);
        std::iter::successors(next(anchor), move |&block| next(block)).map(BlockId)
    }

    /// Free blocks, the next one last.
    pub(crate) fn free_blocks(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.free.iter().copied().map(BlockId)
    }

    fn anchor(&self) -> usize {
        self.counts.len()
    }

    fn unlink(&mut self, block: u32) {
        let (prev, next) = (self.prev[block as usize], self.next[block as usize]);
        assert!(next != OFF, "block {block} is neither used nor cached");
        self.next[prev as usize] = next;
        self.prev[next as usize] = prev;
        self.next[block as usize] = OFF;
        self.prev[block as usize] = OFF;
        self.cached -= 1;
    }
}
