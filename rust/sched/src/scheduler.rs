//! The scheduler: its state, and the events of a sequence's life. The turns of a step are in `step`.
//!
//! Time is a step number. One step is in flight at most. Every method leaves the books balanced (`check`);
//! nobody else owns a block.

use tokenmill_core::{BlockId, SequenceId, TokenId};

use crate::blocks::{Blocks, KeyMaker};
use crate::config::{Policy, SchedConfig};
use crate::error::{Error, Result};
use crate::planted::{Faults, Planted};
use crate::sequence::{Arena, NewSequence, Place, Queue, SeqIx};
use crate::stats::Stats;
use crate::step::Plan;

/// Decides which sequences run, how many rows of each, and in which blocks.
#[derive(Clone)]
pub struct Scheduler {
    pub(crate) config: SchedConfig,
    /// Most tokens of a sequence: the configured context, or what one sequence finds in the pool.
    pub(crate) context_len: usize,
    pub(crate) faults: Faults,
    pub(crate) arena: Arena,
    pub(crate) blocks: Blocks,
    pub(crate) key_maker: KeyMaker,
    /// Sequences with a seat, in order of admission.
    pub(crate) running: Vec<SeqIx>,
    /// Those of them that are protected.
    pub(crate) protected: Vec<SeqIx>,
    pub(crate) waiting: Queue,
    pub(crate) plan: Plan,
    /// Sequences of the plan, in row order.
    pub(crate) order: Vec<SeqIx>,
    /// Blocks of the last prefix lookup.
    pub(crate) found: Vec<BlockId>,
    /// Entries of all tables.
    pub(crate) entries: usize,
    pub(crate) in_flight: bool,
    pub(crate) steps: u64,
    pub(crate) stats: Stats,
    arrivals: u64,
    cancels: usize,
}

/// What a sequence would need at its longest, against what the pool can ever give one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Blocks of prompt and output.
    pub blocks_needed: usize,
    /// Blocks of the pool less its reserve.
    pub blocks_total: usize,
}

/// Where a forked sequence went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// It has a seat and shares its parent's blocks.
    Running,
    /// No seat or no block was free: it waits at the front and comes back through the prefix cache.
    Waiting,
}

impl Scheduler {
    /// A scheduler with an empty pool.
    pub fn new(config: SchedConfig) -> Result<Self> {
        config.validate()?;
        let faults = Faults::of(&config);
        let found_in_pool = config.blocks_admissible() * config.block_size;
        Ok(Self {
            context_len: config.context_len.min(found_in_pool),
            faults,
            arena: Arena::default(),
            blocks: Blocks::new(&config),
            key_maker: KeyMaker::new(config.secret, config.block_size, faults),
            running: Vec::with_capacity(config.running_max.min(1 << 16)),
            protected: Vec::new(),
            waiting: Queue::default(),
            plan: Plan::default(),
            order: Vec::new(),
            found: Vec::new(),
            entries: 0,
            in_flight: false,
            steps: 0,
            stats: Stats {
                blocks_total: config.blocks,
                ..Stats::default()
            },
            arrivals: 0,
            cancels: 0,
            config,
        })
    }

    /// The configuration, as given.
    pub fn config(&self) -> &SchedConfig {
        &self.config
    }

    /// Most tokens of a sequence: the configured context, lowered to what one sequence finds in the pool.
    pub fn context_len(&self) -> usize {
        self.context_len
    }

    /// What a prompt and its output cost. With no `max_new` the rest of the context is the price, so that
    /// a plain request always fits.
    pub fn price(&self, prompt_len: usize, max_new: Option<usize>) -> Price {
        let tokens = max_new.map_or(self.context_len, |new| prompt_len.saturating_add(new));
        Price {
            blocks_needed: self.blocks.needed(tokens),
            blocks_total: self.config.blocks_admissible(),
        }
    }

    /// Lets a sequence wait for a seat; refuses, with the numbers, what could never run.
    pub fn add(&mut self, new: NewSequence) -> Result<()> {
        let prompt_len = new.tokens.len();
        let context_len = self.context_len;
        if prompt_len == 0 {
            return Err(Error::EmptyPrompt);
        }
        if prompt_len > context_len {
            return Err(Error::PromptTooLong {
                prompt_len,
                context_len,
            });
        }
        let Price {
            blocks_needed,
            blocks_total,
        } = self.price(prompt_len, new.max_new);
        if blocks_needed > blocks_total {
            let max_new = new.max_new.unwrap_or(0);
            let block_size = self.config.block_size;
            return Err(Error::TooLarge {
                prompt_len,
                max_new,
                blocks_needed,
                blocks_total,
                block_size,
            });
        }
        if self.arena.get(new.id).is_some() {
            return Err(Error::DuplicateId { id: new.id });
        }
        let queue_len_max = self.config.queue_len_max;
        if self.waiting.len() >= queue_len_max {
            return Err(Error::QueueFull { queue_len_max });
        }
        let ix = self.arena.insert(new.id);
        let place = Place {
            class: 2,
            level: self.level(new.priority),
            arrival: self.arrivals,
            fork: 0,
        };
        self.arrivals += 1;
        let sequence = &mut self.arena[ix];
        sequence.tokens = new.tokens;
        sequence.prompt_len = prompt_len;
        // The token sampled at the end of the context is known, though never computed.
        let limit_len = new
            .max_new
            .map_or(usize::MAX, |most| prompt_len.saturating_add(most));
        sequence.limit_len = limit_len.min(context_len + 1);
        sequence.scope = new.scope;
        sequence.read_cache = new.read_cache;
        sequence.score_end = if new.scores_prompt { prompt_len - 1 } else { 0 };
        sequence.priority = new.priority;
        sequence.place = place;
        sequence.reserve(self.blocks.block_size);
        self.enqueue(ix);
        Ok(())
    }

    /// Level of a newcomer in the queue: see `Queue` on ageing.
    fn level(&self, priority: i32) -> i64 {
        match (self.config.policy, self.config.age_steps) {
            (Policy::Fcfs, _) => 0,
            (Policy::Priority, 0) => i64::from(priority),
            (Policy::Priority, steps) => i64::from(priority) * i64::from(steps) + self.steps as i64,
        }
    }

    /// Enters a sequence without a seat at its place in the queue.
    pub(crate) fn enqueue(&mut self, ix: SeqIx) {
        let sequence = &mut self.arena[ix];
        sequence.place.class = match self.config.policy {
            _ if sequence.is_protected => 0,
            Policy::Fcfs if sequence.was_resident => 1,
            _ => 2,
        };
        self.waiting.insert(ix, &self.arena);
    }

    /// Ends a sequence: a waiting one at once, a running one when the next plan is made. False if the id
    /// is unknown. Cancelling twice is cancelling once.
    pub fn cancel(&mut self, id: SequenceId) -> bool {
        let Some(ix) = self.arena.get(id) else {
            return false;
        };
        let sequence = &mut self.arena[ix];
        if !sequence.is_running {
            self.waiting.remove(ix);
            self.arena.remove(ix);
        } else if !sequence.is_cancelled && !self.faults.has(Planted::CancelIgnored) {
            sequence.is_cancelled = true;
            self.cancels += 1;
        }
        true
    }

    /// Ends a sequence and frees its blocks at once, or, if a step is in flight, when the next plan is
    /// made. Its published blocks stay cached. False if the id is unknown.
    pub fn finish(&mut self, id: SequenceId) -> bool {
        let Some(ix) = self.arena.get(id) else {
            return false;
        };
        if self.in_flight || !self.arena[ix].is_running {
            return self.cancel(id);
        }
        self.cancels -= usize::from(self.arena[ix].is_cancelled);
        self.vacate(ix);
        self.running.retain(|&other| other != ix);
        self.arena.remove(ix);
        true
    }

    /// Frees the running sequences that were cancelled since the last plan.
    pub(crate) fn drop_cancelled(&mut self) {
        if std::mem::take(&mut self.cancels) == 0 {
            return;
        }
        for at in 0..self.running.len() {
            let ix = self.running[at];
            if self.arena[ix].is_cancelled {
                self.vacate(ix);
                self.arena.remove(ix);
            }
        }
        let arena = &self.arena;
        self.running.retain(|&ix| arena[ix].is_running);
    }

    /// Takes a sequence out of planning (its reader is slow) or back in. It keeps its blocks, but is the
    /// first to lose them. False if the id is unknown.
    pub fn set_paused(&mut self, id: SequenceId, is_paused: bool) -> bool {
        let Some(ix) = self.arena.get(id) else {
            return false;
        };
        self.arena[ix].is_paused = is_paused;
        true
    }

    /// The token sampled from a sequence's last row is known now.
    pub fn append(&mut self, id: SequenceId, token: TokenId) {
        assert!(
            !self.in_flight,
            "a token was appended while its step was in flight"
        );
        let ix = self.arena.get(id);
        let sequence = &mut self.arena[ix.expect("a token was appended to an unknown sequence")];
        assert!(
            sequence.is_running,
            "a token was appended to a waiting sequence"
        );
        assert!(
            sequence.missing() == 0,
            "a token was appended before the last one was computed"
        );
        assert!(
            sequence.known() < sequence.limit_len,
            "a sequence grew past its priced length"
        );
        sequence.tokens.push(token);
    }

    /// Starts `child` from the computed tokens of `parent` and a first token of its own. They share every
    /// block; the first to write into the last one copies it. Valid after the commit of a step that
    /// sampled the parent, before or after its own `append`, and before its `finish`.
    pub fn fork(
        &mut self,
        parent: SequenceId,
        child: SequenceId,
        first_token: TokenId,
    ) -> Result<Forked> {
        let forkable = self.arena.get(parent).filter(|&ix| {
            let sequence = &self.arena[ix];
            sequence.is_running
                && !sequence.is_cancelled
                && sequence.missing() <= 1
                && !self.in_flight
        });
        let parent_ix = forkable.ok_or(Error::NotForkable { id: parent })?;
        if self.arena.get(child).is_some() {
            return Err(Error::DuplicateId { id: child });
        }
        let ix = self.arena.insert(child);
        let (from, to) = self.arena.pair(parent_ix, ix);
        assert!(
            from.computed < from.limit_len,
            "a sequence was forked at its priced length"
        );
        from.forks += 1;
        to.tokens.extend_from_slice(&from.tokens[..from.computed]);
        to.tokens.push(first_token);
        to.keys.extend_from_slice(&from.keys[..from.published]);
        to.prompt_len = from.prompt_len;
        to.limit_len = from.limit_len;
        to.cached = from.cached;
        to.scope = from.scope;
        to.read_cache = from.read_cache;
        to.created = from.created;
        to.created_blocks = from.created_blocks;
        to.priority = from.priority;
        to.place = Place {
            fork: from.forks,
            ..from.place
        };
        to.was_resident = true;
        to.reserve(self.blocks.block_size);
        // A protected parent was promised its blocks; the copy that a fork will cost must not eat them.
        let is_promised = !self.protected.is_empty() && self.headroom(ix) == 0;
        if is_promised || self.running.len() >= self.config.running_max {
            self.enqueue(ix);
            return Ok(Forked::Waiting);
        }
        self.share_table(parent_ix, ix);
        self.running.push(ix);
        Ok(Forked::Running)
    }

    fn share_table(&mut self, parent: SeqIx, child: SeqIx) {
        let (from, to) = self.arena.pair(parent, child);
        let shared = &from.table[..self.blocks.needed(from.computed)];
        for &block in shared {
            self.blocks.pool.share(block);
        }
        to.table.extend_from_slice(shared);
        to.computed = from.computed;
        to.read_only = from.read_only;
        to.published = from.published;
        to.has_duplicates = from.has_duplicates;
        to.is_running = true;
        self.entries += shared.len();
    }

    /// Forgets every cached block that nobody uses.
    pub fn reset_prefix_cache(&mut self) {
        self.blocks.forget_unused();
    }

    /// Whether any sequence is left, running or waiting.
    pub fn has_work(&self) -> bool {
        self.arena.len() > 0
    }

    /// Whether a sequence has a seat; false if the id is unknown.
    pub fn is_running(&self, id: SequenceId) -> bool {
        self.arena
            .get(id)
            .is_some_and(|ix| self.arena[ix].is_running)
    }

    /// Prompt tokens that its first admission found in the cache.
    pub fn cached_tokens(&self, id: SequenceId) -> Option<usize> {
        self.arena.get(id).map(|ix| self.arena[ix].cached)
    }

    /// Prompt tokens in blocks that it was the first to bring into the cache.
    pub fn created_tokens(&self, id: SequenceId) -> Option<usize> {
        self.arena.get(id).map(|ix| self.arena[ix].created)
    }

    /// How often it was preempted.
    pub fn preemptions(&self, id: SequenceId) -> Option<u32> {
        self.arena.get(id).map(|ix| self.arena[ix].preemptions)
    }

    /// Tokens it has, prompt and output.
    pub fn known_len(&self, id: SequenceId) -> Option<usize> {
        self.arena.get(id).map(|ix| self.arena[ix].known())
    }

    /// Tokens of it whose KV is written.
    pub fn computed_len(&self, id: SequenceId) -> Option<usize> {
        self.arena.get(id).map(|ix| self.arena[ix].computed)
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        Stats {
            running: self.running.len(),
            waiting: self.waiting.len(),
            blocks_free: self.blocks.pool.free(),
            blocks_cached: self.blocks.pool.cached(),
            blocks_used: self.blocks.pool.used(),
            steps: self.steps,
            cache_evictions: self.blocks.evictions(),
            cache_mismatches: self.blocks.prefix.mismatches(),
            ..self.stats
        }
    }
}
