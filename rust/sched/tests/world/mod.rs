//! A world to schedule in: KV memory in which each slot holds a hash of the tokens up to its position, a
//! "model" whose next token is a hash of what it reads there, and an outside model of the pool (sets of
//! blocks) and of the cache (the set of all prefixes ever computed). Whatever the scheduler mixes up
//! changes a token or trips an assertion. It knows the scheduler's public door only.
// Each test file uses a part of it.
#![allow(dead_code, unused_imports)]

mod checks;
mod forward;
mod given;

use std::collections::{BTreeMap, HashSet};

pub use given::{config, pool, prompt, rows, sequence};
use tokenmill_core::{BlockId, SequenceId, TokenId};
use tokenmill_sched::{NO_SLOT, NewSequence, SchedConfig, Scheduler, Scope};

/// One mixing step (the finaliser of SplitMix64).
pub fn mix(state: u64, value: u64) -> u64 {
    let mut z =
        (state ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Hash of a prefix in a scope.
pub fn chain(scope: u64, tokens: &[TokenId]) -> u64 {
    tokens
        .iter()
        .fold(mix(1, scope), |state, &token| mix(state, u64::from(token)))
}

/// One request of a trace.
#[derive(Clone, Debug)]
pub struct Ask {
    pub prompt: Vec<TokenId>,
    /// Most tokens of output.
    pub max_new: usize,
    /// Whether the scheduler is told `max_new`, or left to price the rest of the context.
    pub is_bounded: bool,
    /// Samples.
    pub n: u32,
    pub priority: i32,
    pub scope: u64,
    pub read_cache: bool,
    pub scores_prompt: bool,
}

impl Ask {
    pub fn new(prompt: Vec<TokenId>, max_new: usize) -> Self {
        Self {
            prompt,
            max_new,
            is_bounded: true,
            n: 1,
            priority: 0,
            scope: 0,
            read_cache: true,
            scores_prompt: false,
        }
    }
}

/// A live sequence, as the world knows it.
#[derive(Clone, Debug)]
pub struct Live {
    pub ask: Ask,
    pub tokens: Vec<TokenId>,
    /// Its place in the order of arrival.
    pub arrival: u64,
    /// Which sample of its request.
    pub sample: u64,
    pub table: Vec<BlockId>,
    pub computed: usize,
    /// Leading positions of the prompt whose rows were scored.
    pub scored: usize,
    pub is_running: bool,
    pub was_running: bool,
    pub is_paused: bool,
    pub is_cancelled: bool,
    pub bypassed: u32,
    pub forked: bool,
}

impl Live {
    /// Under `priority` the largest gives way.
    fn rank(&self) -> (i32, u64, u64) {
        (self.ask.priority, self.arrival, self.sample)
    }

    /// Positions of the prompt that are to be scored: all but the last, of the first sample.
    pub fn score_end(&self) -> usize {
        let is_scored = self.ask.scores_prompt && self.sample == 0;
        if is_scored {
            self.ask.prompt.len() - 1
        } else {
            0
        }
    }

    fn need(&self, block_size: usize) -> usize {
        self.tokens.len().div_ceil(block_size)
    }
}

/// The scheduler and everything around it.
#[derive(Clone)]
pub struct World {
    pub scheduler: Scheduler,
    /// Slots; 0 was never written.
    pub memory: Vec<u64>,
    pub live: BTreeMap<u64, Live>,
    /// Hash of every prefix of full blocks that was ever computed.
    prefixes: HashSet<u64>,
    pub ended: BTreeMap<u64, Vec<TokenId>>,
    pub vocab: u64,
    /// Outputs end at token 0.
    pub has_eos: bool,
    next_id: u64,
}

impl World {
    pub fn new(config: SchedConfig) -> Self {
        Self {
            memory: vec![0; config.blocks * config.block_size],
            scheduler: Scheduler::new(config).expect("a valid configuration"),
            live: BTreeMap::new(),
            prefixes: HashSet::new(),
            ended: BTreeMap::new(),
            vocab: 5,
            has_eos: false,
            next_id: 0,
        }
    }

    fn block_size(&self) -> usize {
        self.scheduler.config().block_size
    }

    /// Hands a request in; none if it was refused.
    pub fn add(&mut self, ask: Ask) -> Option<u64> {
        let id = self.next_id;
        let new = NewSequence {
            id: SequenceId(id),
            tokens: ask.prompt.clone(),
            max_new: ask.is_bounded.then_some(ask.max_new),
            width: 1,
            second: None,
            priority: ask.priority,
            scope: Scope::from_u64(ask.scope),
            read_cache: ask.read_cache,
            scores_prompt: ask.scores_prompt,
        };
        self.scheduler.add(new).ok()?;
        self.insert(id, ask, Vec::new(), (id, 0));
        Some(id)
    }

    fn insert(&mut self, id: u64, ask: Ask, tokens: Vec<TokenId>, rank: (u64, u64)) {
        let (arrival, sample) = rank;
        let tokens = if tokens.is_empty() {
            ask.prompt.clone()
        } else {
            tokens
        };
        let live = Live {
            forked: sample > 0 || ask.n <= 1,
            ask,
            tokens,
            arrival,
            sample,
            table: Vec::new(),
            computed: 0,
            scored: 0,
            is_running: false,
            was_running: sample > 0,
            is_paused: false,
            is_cancelled: false,
            bypassed: 0,
        };
        self.live.insert(id, live);
        self.next_id = self.next_id.max(id + 1);
    }

    pub fn cancel(&mut self, id: u64) {
        if !self.scheduler.cancel(SequenceId(id)) {
            assert!(!self.live.contains_key(&id), "a live sequence was unknown");
            return;
        }
        let live = self.live.get_mut(&id).expect("a dead sequence was known");
        live.is_cancelled = true;
        if !live.is_running {
            self.live.remove(&id);
        }
        self.scheduler.check_full();
    }

    pub fn pause(&mut self, id: u64, is_paused: bool) {
        if self.scheduler.set_paused(SequenceId(id), is_paused) {
            self.live.get_mut(&id).expect("live").is_paused = is_paused;
        }
    }

    pub fn finish(&mut self, id: u64) {
        assert!(self.scheduler.finish(SequenceId(id)));
        let live = self.live.remove(&id).expect("live");
        self.ended.insert(id, live.tokens);
        self.scheduler.check_full();
    }

    /// Plans, checks the plan, and runs it to its end. False if there was nothing to run.
    pub fn step(&mut self) -> bool {
        self.plan_and_check();
        let plan = self.scheduler.planned().clone();
        if plan.is_empty() {
            return false;
        }
        self.run(&plan);
        self.scheduler.commit();
        self.settle(&plan);
        self.sample(&plan);
        true
    }

    /// A step that fails: its copies ran or not, its write slots hold garbage.
    pub fn failing_step(&mut self, copies_run: bool) -> bool {
        self.plan_and_check();
        let plan = self.scheduler.planned().clone();
        if plan.is_empty() {
            return false;
        }
        for copy in &plan.copies {
            let block_size = self.block_size();
            let to = copy.to.0 as usize * block_size;
            let from = copy.from.0 as usize * block_size;
            for slot in 0..copy.len as usize {
                self.memory[to + slot] = if copies_run {
                    self.memory[from + slot]
                } else {
                    3
                };
            }
        }
        for &slot in plan.slots.iter().filter(|&&slot| slot != NO_SLOT) {
            self.memory[slot as usize] = 7;
        }
        self.scheduler.abort_step();
        self.scheduler.check_full();
        for (&id, live) in &mut self.live {
            let computed = self.scheduler.computed_len(SequenceId(id)).expect("live");
            // Nothing is gained by a failed step, and what is lost is the block copied for it.
            if plan.admitted.contains(&SequenceId(id)) {
                live.computed = computed;
            }
            assert!(computed <= live.computed);
            let kept = if computed < live.computed {
                computed.div_ceil(self.scheduler.config().block_size)
            } else {
                live.table.len()
            };
            live.table.truncate(kept);
            live.computed = computed;
        }
        self.check_pool();
        true
    }

    /// Steps until nothing is left; panics after `steps_max`.
    pub fn drain(&mut self, steps_max: usize) {
        for id in self.live.keys().copied().collect::<Vec<_>>() {
            self.pause(id, false);
        }
        let mut steps = 0;
        while self.scheduler.has_work() {
            assert!(steps < steps_max, "no end after {steps} steps: livelock");
            self.step();
            steps += 1;
        }
        assert!(self.live.is_empty(), "a sequence was lost");
        let stats = self.scheduler.stats();
        assert_eq!(stats.blocks_used, 0);
        assert_eq!(stats.blocks_free + stats.blocks_cached, stats.blocks_total);
    }
}
