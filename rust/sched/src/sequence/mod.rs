//! One sequence as the scheduler sees it: its tokens, how many of them are computed, and its block table.
//! Knows no sampler, no text, no seat: those of its `Group`. known = `tokens.len()`, missing = known - computed.

mod arena;
mod branch;
mod group;
mod queue;

use tokenmill_core::{BlockId, TokenId};

pub(crate) use arena::{Arena, GroupIx};
pub use branch::Forked;
pub(crate) use group::Group;
pub use group::NewSequence;
pub(crate) use queue::{Place, Queue};

use crate::blocks::{Blocks, Content, Key, KeyMaker, ROOT, Scope};
use crate::step::Ask;

/// The state of a sequence.
#[derive(Clone, Default)]
pub(crate) struct Sequence {
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) prompt_len: usize,
    /// Most tokens it may ever have, so most blocks too.
    pub(crate) limit_len: usize,
    /// Tokens whose KV is written, from position 0.
    pub(crate) computed: usize,
    /// Rows in the plan under way.
    pub(crate) scheduled: usize,
    /// Tokens before this were found in the cache: their rows read and do not write.
    pub(crate) read_only: usize,
    pub(crate) table: Vec<BlockId>,
    /// Keys of its leading full blocks, as far as they were asked for.
    pub(crate) keys: Vec<Key>,
    /// Leading blocks that were offered to the cache, or came from it.
    pub(crate) published: usize,
    /// An equal block was published first, so a block of this table stayed private.
    pub(crate) has_duplicates: bool,
    /// Its last block was copied for the plan under way.
    pub(crate) is_copied: bool,
    /// Positions from `scored` to this one (which is not one of them) want logits: 0, or all of the prompt but
    /// its last token, whose row samples.
    pub(crate) score_end: usize,
    /// Leading positions whose logits were given; a preempted prompt does not give them again.
    pub(crate) scored: usize,
    /// Prompt tokens whose blocks it was the first to publish.
    pub(crate) created: usize,
    /// Leading blocks looked at for that; a block that is computed again counts once.
    pub(crate) created_blocks: usize,
}

/// Tokens of output for which memory is reserved at the start; longer outputs grow theirs.
const OUTPUT_RESERVE: usize = 512;

impl Sequence {
    /// A new sequence in the memory of this one.
    pub(crate) fn cleared(mut self) -> Self {
        self.tokens.clear();
        self.table.clear();
        self.keys.clear();
        Self {
            tokens: self.tokens,
            table: self.table,
            keys: self.keys,
            ..Self::default()
        }
    }

    pub(crate) fn known(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn missing(&self) -> usize {
        self.known() - self.computed
    }

    /// Whether rows of its prompt still owe logits, which no block holds.
    pub(crate) fn owes_scores(&self) -> bool {
        self.scored < self.score_end
    }

    /// What its next rows cost.
    pub(crate) fn ask(&self) -> Ask {
        let from = self.scored.saturating_sub(self.computed);
        let end = self.score_end.saturating_sub(self.computed);
        Ask {
            missing: self.missing(),
            scored_from: from.min(end),
            scored_end: end,
        }
    }

    /// Rows it could run now. A token at the end of the context is known but never computed.
    pub(crate) fn runnable(&self, context_len: usize) -> usize {
        self.known().min(context_len).saturating_sub(self.computed)
    }

    /// Makes room for the next tokens, so that a decoding sequence rarely allocates.
    pub(crate) fn reserve(&mut self, block_size: usize) {
        let more = (self.limit_len - self.known()).min(OUTPUT_RESERVE);
        let blocks = (self.known() + more).div_ceil(block_size);
        self.tokens.reserve(more);
        self.table.reserve(blocks.saturating_sub(self.table.len()));
        self.keys.reserve(blocks.saturating_sub(self.keys.len()));
    }

    /// Forgets residence: the table must be empty already.
    pub(crate) fn leave(&mut self) {
        assert!(
            self.table.is_empty(),
            "a sequence left its seat with blocks"
        );
        self.computed = 0;
        self.scheduled = 0;
        self.read_only = 0;
        self.published = 0;
        self.has_duplicates = false;
        self.is_copied = false;
    }

    /// Key of full block `index`; blocks are asked for in order.
    pub(crate) fn key(
        &mut self,
        index: usize,
        scope: &Scope,
        maker: &mut KeyMaker,
        blocks: &Blocks,
    ) -> Key {
        if index == self.keys.len() {
            let parent = index
                .checked_sub(1)
                .map_or(ROOT, |parent| self.keys[parent]);
            let tokens = blocks.tokens_of(&self.tokens, index);
            self.keys.push(maker.key(&parent, scope, tokens));
        }
        self.keys[index]
    }

    /// Collects the longest chain of cached blocks from token 0.
    pub(crate) fn find_prefix(
        &mut self,
        scope: &Scope,
        maker: &mut KeyMaker,
        blocks: &mut Blocks,
        found: &mut Vec<BlockId>,
    ) {
        for index in 0..self.known() / blocks.block_size {
            let key = self.key(index, scope, maker, blocks);
            let tokens = blocks.tokens_of(&self.tokens, index);
            match blocks.prefix.find(&key, scope, tokens) {
                Some(block) => found.push(block),
                None => break,
            }
        }
    }

    /// Offers every block that `filled` tokens fill to the cache.
    pub(crate) fn publish(
        &mut self,
        filled: usize,
        scope: &Scope,
        maker: &mut KeyMaker,
        blocks: &mut Blocks,
    ) {
        while (self.published + 1) * blocks.block_size <= filled {
            let index = self.published;
            let key = self.key(index, scope, maker, blocks);
            let parent = index
                .checked_sub(1)
                .map_or(ROOT, |parent| self.keys[parent]);
            let tokens = blocks.tokens_of(&self.tokens, index);
            let content = Content {
                key: &key,
                parent: &parent,
                scope,
                tokens,
            };
            let is_first = blocks.prefix.publish(self.table[index], &content);
            self.has_duplicates |= !is_first;
            self.published += 1;
            if self.published > self.created_blocks {
                self.created_blocks = self.published;
                let is_prompt = self.published * blocks.block_size <= self.prompt_len;
                self.created += usize::from(is_first && is_prompt) * blocks.block_size;
            }
        }
    }
}
