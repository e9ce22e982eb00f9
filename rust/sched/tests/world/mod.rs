//! A world to schedule in: KV memory in which each slot holds a hash of the tokens up to its position, a
//! "model" whose next token is a hash of what it reads there, and an outside model of the pool (sets of
//! blocks) and of the cache (the set of all prefixes ever computed). Whatever the scheduler mixes up
//! changes a token or trips an assertion. It knows the scheduler's public door only.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tokenmill_core::{BlockId, SequenceId, TokenId};
use tokenmill_sched::{Forked, NO_SLOT, NewSequence, Plan, Policy, SchedConfig, Scheduler, Scope};

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
            priority: ask.priority,
            scope: Scope::from_u64(ask.scope),
            read_cache: ask.read_cache,
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

    fn plan_and_check(&mut self) {
        let before = self.live.clone();
        self.scheduler.plan();
        self.scheduler.check_full();
        self.live.retain(|_, live| !live.is_cancelled);
        let plan = self.scheduler.planned().clone();
        self.check_preempted(&plan, &before);
        self.check_admitted(&plan);
        self.check_rows(&plan);
        self.check_pool();
        let is_runnable = self.live.values().any(|live| !live.is_paused);
        assert!(
            !is_runnable || !plan.is_empty(),
            "something is runnable and nothing was scheduled"
        );
    }

    fn check_preempted(&mut self, plan: &Plan, before: &BTreeMap<u64, Live>) {
        let preempt_max = self.scheduler.config().preempt_max;
        for id in &plan.preempted {
            let live = self
                .live
                .get_mut(&id.0)
                .expect("a dead sequence was preempted");
            assert!(live.is_running, "a waiter was preempted");
            live.is_running = false;
            live.computed = 0;
            live.table.clear();
            let count = self.scheduler.preemptions(*id).expect("live");
            assert!(count <= preempt_max, "{count} preemptions of one sequence");
        }
        if self.scheduler.config().policy != Policy::Priority {
            return;
        }
        for id in &plan.preempted {
            let victim = &self.live[&id.0];
            for (other, live) in self.live.iter().filter(|(_, live)| live.is_running) {
                let is_protected =
                    self.scheduler.preemptions(SequenceId(*other)) >= Some(preempt_max);
                let gave_way = before.contains_key(other)
                    && !victim.is_paused
                    && !is_protected
                    && live.rank() > victim.rank();
                assert!(
                    !gave_way,
                    "a more important sequence was preempted for a lesser one"
                );
            }
        }
    }

    fn check_admitted(&mut self, plan: &Plan) {
        let block_size = self.block_size();
        let config = self.scheduler.config().clone();
        for id in &plan.admitted {
            let (was_running, need) = {
                let live = self
                    .live
                    .get_mut(&id.0)
                    .expect("a dead sequence was admitted");
                assert!(!live.is_running && !live.is_paused);
                live.is_running = true;
                (
                    std::mem::replace(&mut live.was_running, true),
                    live.need(block_size),
                )
            };
            if config.policy != Policy::Fcfs || was_running {
                continue;
            }
            let waiters = self.live.iter_mut().filter(|(other, live)| {
                !live.is_running && !live.is_paused && (live.was_running || **other < id.0)
            });
            for (other, waiter) in waiters {
                if plan.preempted.contains(&SequenceId(*other)) {
                    continue;
                }
                waiter.bypassed += 1;
                assert!(
                    waiter.bypassed <= config.bypass_max,
                    "a waiter was passed too often"
                );
                assert!(
                    need <= waiter.need(block_size),
                    "a larger sequence passed a smaller one"
                );
            }
        }
    }

    /// The rows are the next tokens of their sequences, within the budgets, and sample at the last token.
    fn check_rows(&mut self, plan: &Plan) {
        let block_size = self.block_size();
        let config = self.scheduler.config();
        assert!(plan.rows() <= config.tokens_per_step);
        assert!(plan.logits_rows.len() <= config.logits_rows_max);
        assert_eq!(plan.logits_rows.len(), plan.sampled.len());
        for copy in &plan.copies {
            let owners = plan
                .tables
                .iter()
                .filter(|&&block| block == copy.to)
                .count();
            assert_eq!(
                owners, 1,
                "a copy goes to a block that no row of the step reads"
            );
        }
        let mut seen = BTreeSet::new();
        let mut due = Vec::new();
        for span in &plan.spans {
            assert!(seen.insert(span.id), "a sequence has two spans");
            let live = self
                .live
                .get_mut(&span.id.0)
                .expect("a dead sequence has rows");
            assert!(
                live.is_running && !live.is_paused,
                "a sequence without a seat has rows"
            );
            live.table = plan.table(span).to_vec();
            assert_eq!(span.scope, live.ask.scope);
            let rows = span.row as usize..(span.row + span.rows) as usize;
            let first = plan.positions[rows.start] as usize;
            if plan.admitted.contains(&span.id) {
                // Only what somebody computed can be found.
                let whole = (first + 1) / block_size * block_size;
                let found = if first.is_multiple_of(block_size) {
                    first
                } else {
                    whole
                };
                assert!(found == 0 || live.ask.read_cache);
                for end in (block_size..=found).step_by(block_size) {
                    let prefix = chain(live.ask.scope, &live.tokens[..end]);
                    assert!(
                        self.prefixes.contains(&prefix),
                        "a prefix was found that nobody computed"
                    );
                }
                live.computed = first;
            }
            assert_eq!(first, live.computed, "rows were skipped or repeated");
            if let Some(most) = config.chunk_max {
                assert!(span.rows as usize <= most.max(1));
            }
            for (offset, row) in rows.clone().enumerate() {
                let position = first + offset;
                assert_eq!(plan.positions[row] as usize, position);
                assert_eq!(plan.tokens[row], live.tokens[position]);
            }
            if first + span.rows as usize == live.tokens.len() {
                due.push((rows.end as u32 - 1, span.id));
            }
        }
        let sampled = plan
            .logits_rows
            .iter()
            .copied()
            .zip(plan.sampled.iter().copied());
        assert!(
            sampled.eq(due),
            "sampled rows are not the last known tokens"
        );
    }

    /// The set model: used = blocks named by tables; tables that share a block agree on what is in it.
    fn check_pool(&self) {
        let mut named: HashMap<BlockId, (usize, u64)> = HashMap::new();
        for live in self.live.values().filter(|live| live.is_running) {
            for (index, &block) in live.table.iter().enumerate() {
                let filled = live.computed.min((index + 1) * self.block_size());
                let start = index * self.block_size();
                let before = chain(live.ask.scope, &live.tokens[..start.min(filled)]);
                let other = named.insert(block, (index, before));
                let agrees = other.is_none_or(|other| other == (index, before));
                assert!(agrees, "two tables name one block for different prefixes");
            }
        }
        let stats = self.scheduler.stats();
        assert_eq!(
            stats.blocks_used,
            named.len(),
            "blocks are used that no table names, or not used"
        );
        assert_eq!(
            stats.blocks_free + stats.blocks_cached + stats.blocks_used,
            stats.blocks_total
        );
        assert_eq!(
            stats.running,
            self.live.values().filter(|live| live.is_running).count()
        );
    }

    /// The forward: copies, writes, then every row reads all positions up to its own.
    fn run(&mut self, plan: &Plan) {
        let block_size = self.block_size();
        for copy in &plan.copies {
            let from = copy.from.0 as usize * block_size + copy.from_slot as usize;
            let to = copy.to.0 as usize * block_size + copy.to_slot as usize;
            self.memory.copy_within(from..from + copy.len as usize, to);
        }
        for span in &plan.spans {
            let live = &self.live[&span.id.0];
            for row in span.row as usize..(span.row + span.rows) as usize {
                let position = plan.positions[row] as usize;
                if plan.slots[row] != NO_SLOT {
                    let hash = chain(live.ask.scope, &live.tokens[..=position]);
                    self.memory[plan.slots[row] as usize] = hash;
                }
            }
        }
        for span in &plan.spans {
            let live = &self.live[&span.id.0];
            let last = plan.positions[(span.row + span.rows) as usize - 1] as usize;
            for position in 0..=last {
                let block = plan.table(span)[position / block_size].0 as usize;
                let read = self.memory[block * block_size + position % block_size];
                let own = chain(live.ask.scope, &live.tokens[..=position]);
                assert_eq!(read, own, "position {position} holds what is not its own");
            }
        }
    }

    /// After the commit: what the rows computed counts.
    fn settle(&mut self, plan: &Plan) {
        self.scheduler.check_full();
        let block_size = self.block_size();
        for span in &plan.spans {
            let live = self.live.get_mut(&span.id.0).expect("live");
            live.computed += span.rows as usize;
            for end in (block_size..=live.computed).step_by(block_size) {
                self.prefixes
                    .insert(chain(live.ask.scope, &live.tokens[..end]));
            }
        }
    }

    fn sample(&mut self, plan: &Plan) {
        for (index, &id) in plan.sampled.iter().enumerate() {
            let row = plan.logits_rows[index];
            let span = plan
                .spans
                .iter()
                .find(|span| span.row + span.rows > row)
                .expect("a span");
            let position = plan.positions[row as usize] as usize;
            let block = plan.table(span)[position / self.block_size()].0 as usize;
            let read = self.memory[block * self.block_size() + position % self.block_size()];
            self.take_token(id, read);
        }
        self.scheduler.check_full();
        self.check_pool();
    }

    fn draw(&self, state: u64, sample: u64) -> TokenId {
        (mix(state, sample) % self.vocab) as TokenId
    }

    fn take_token(&mut self, id: SequenceId, read: u64) {
        let live = &self.live[&id.0];
        let (sample, scope) = (live.sample, live.ask.scope);
        let token = self.draw(read, sample);
        assert_eq!(
            token,
            self.draw(chain(scope, &live.tokens), sample),
            "a wrong token"
        );
        if live.is_cancelled {
            return;
        }
        if !live.forked {
            self.fork_samples(id, read);
        }
        let live = self.live.get_mut(&id.0).expect("live");
        self.scheduler.append(id, token);
        live.tokens.push(token);
        self.end_if_done(id.0);
    }

    fn fork_samples(&mut self, id: SequenceId, read: u64) {
        let parent = self.live.get_mut(&id.0).expect("live");
        parent.forked = true;
        let parent = parent.clone();
        let shared = parent.computed.div_ceil(self.block_size());
        for sample in 1..u64::from(parent.ask.n) {
            let child = self.next_id;
            let token = self.draw(read, sample);
            let forked = self
                .scheduler
                .fork(id, SequenceId(child), token)
                .expect("forkable");
            let mut tokens = parent.tokens.clone();
            tokens.push(token);
            self.insert(child, parent.ask.clone(), tokens, (parent.arrival, sample));
            if forked == Forked::Running {
                let live = self.live.get_mut(&child).expect("live");
                live.is_running = true;
                live.computed = parent.computed;
                live.table = parent.table[..shared].to_vec();
            }
            self.end_if_done(child);
        }
    }

    fn end_if_done(&mut self, id: u64) {
        let live = &self.live[&id];
        let made = live.tokens.len() - live.ask.prompt.len();
        let is_full = live.tokens.len() >= self.scheduler.context_len();
        let is_eos = self.has_eos && live.tokens.last() == Some(&0);
        if made >= live.ask.max_new || is_full || is_eos {
            self.finish(id);
        }
    }
}
