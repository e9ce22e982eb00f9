//! The scheduler: its state, and the events of a sequence's life. The turns of a step are in `step`.
//!
//! Time is a step number. One step is in flight at most. Every method leaves the books balanced (`check`);
//! nobody else owns a block.

use tokenmill_core::{BlockId, SequenceId, TokenId};

use crate::blocks::{Blocks, KeyMaker};
use crate::config::{Policy, SchedConfig};
use crate::error::{Error, Result};
use crate::planted::{Faults, Planted};
use crate::price::Extent;
use crate::sequence::{Arena, GroupIx, NewSequence, Place, Queue, Sequence};
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
    /// Groups with a seat, in order of admission.
    pub(crate) running: Vec<GroupIx>,
    /// Seats they count for.
    pub(crate) seats: usize,
    /// Those of them that are protected.
    pub(crate) protected: Vec<GroupIx>,
    pub(crate) waiting: Queue,
    pub(crate) plan: Plan,
    /// Sequences of the plan, in row order: the group and which member of it.
    pub(crate) order: Vec<(GroupIx, usize)>,
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
            seats: 0,
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

    /// Lets a group wait for a seat; refuses, with the numbers, what could never run.
    pub fn add(&mut self, new: NewSequence) -> Result<()> {
        self.check_new(&new)?;
        let context_len = self.context_len;
        let ix = self.arena.insert(new.id);
        let place = Place {
            class: 2,
            level: self.level(new.priority),
            arrival: self.arrivals,
            fork: 0,
        };
        self.arrivals += 1;
        let group = &mut self.arena[ix];
        group.width = new.width;
        group.lanes = 1 + usize::from(new.second.is_some());
        group.scope = new.scope;
        group.read_cache = new.read_cache;
        group.priority = new.priority;
        group.place = place;
        let scored = new.tokens.len() - 1;
        group.members[0].score_end = if new.scores_prompt { scored } else { 0 };
        group.members[0].tokens = new.tokens;
        if let Some(tokens) = new.second {
            group.members.push(Sequence {
                tokens,
                ..Sequence::default()
            });
        }
        for member in &mut group.members {
            member.prompt_len = member.known();
            // The token sampled at the end of the context is known, though never computed.
            let limit_len = new
                .max_new
                .map_or(usize::MAX, |most| member.prompt_len.saturating_add(most));
            member.limit_len = limit_len.min(context_len + 1);
            member.reserve(self.blocks.block_size);
        }
        self.enqueue(ix);
        Ok(())
    }

    fn check_new(&self, new: &NewSequence) -> Result<()> {
        self.check_extent(&Extent {
            prompt_len: new.tokens.len(),
            second_len: new.second.as_ref().map(Vec::len),
            width: new.width,
            max_new: new.max_new,
        })?;
        if self.arena.get(new.id).is_some() {
            return Err(Error::DuplicateId { id: new.id });
        }
        let queue_len_max = self.config.queue_len_max;
        if self.waiting.len() >= queue_len_max {
            return Err(Error::QueueFull { queue_len_max });
        }
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

    /// Enters a group without a seat at its place in the queue.
    pub(crate) fn enqueue(&mut self, ix: GroupIx) {
        let group = &mut self.arena[ix];
        group.place.class = match self.config.policy {
            _ if group.is_protected => 0,
            Policy::Fcfs if group.was_resident => 1,
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
        let group = &mut self.arena[ix];
        if !group.is_running {
            self.waiting.remove(ix);
            self.arena.remove(ix);
        } else if !group.is_cancelled && !self.faults.has(Planted::CancelIgnored) {
            group.is_cancelled = true;
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

    /// The token sampled for a group that has not branched is known now.
    pub fn append(&mut self, id: SequenceId, token: TokenId) {
        let ix = self.appendable(id);
        let group = &mut self.arena[ix];
        assert!(
            group.members.len() == group.lanes,
            "a token was appended to a group of several branches"
        );
        for member in &mut group.members {
            member.tokens.push(token);
        }
    }

    /// The place of a group whose members all wait for their next token.
    pub(crate) fn appendable(&self, id: SequenceId) -> GroupIx {
        assert!(
            !self.in_flight,
            "a token was appended while its step was in flight"
        );
        let ix = self.arena.get(id);
        let ix = ix.expect("a token was appended to an unknown sequence");
        let group = &self.arena[ix];
        assert!(
            group.is_running,
            "a token was appended to a waiting sequence"
        );
        for member in &group.members {
            assert!(
                member.missing() == 0,
                "a token was appended before the last one was computed"
            );
            assert!(
                member.known() < member.limit_len,
                "a sequence grew past its priced length"
            );
        }
        ix
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
        self.arena.get(id).map(|ix| self.arena[ix].first().created)
    }

    /// How often it was preempted.
    pub fn preemptions(&self, id: SequenceId) -> Option<u32> {
        self.arena.get(id).map(|ix| self.arena[ix].preemptions)
    }

    /// Tokens that its first sequence has, prompt and output.
    pub fn known_len(&self, id: SequenceId) -> Option<usize> {
        self.arena.get(id).map(|ix| self.arena[ix].first().known())
    }

    /// Tokens of its first sequence whose KV is written.
    pub fn computed_len(&self, id: SequenceId) -> Option<usize> {
        self.arena.get(id).map(|ix| self.arena[ix].first().computed)
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
