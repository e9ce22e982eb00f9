//! The model check: three requests, four blocks of two slots, budgets 1 to 3, and from every state every
//! event (arrive, cancel, step with each choice of ends, failing step), until no new state appears. From
//! each state steps alone must finish everything: no deadlock, no livelock. The world checks the rest.

use std::collections::HashSet;
use std::fmt::Write;

use tokenmill_core::SequenceId;

use crate::scheduler::Scheduler;
use crate::sequence::Group;
use crate::world::{Ask, World};
use crate::{Policy, SchedConfig};

impl Scheduler {
    /// Everything that future plans can depend on, as text; block numbers included, steps left out.
    fn fingerprint(&self) -> String {
        let mut text = String::new();
        let group = |text: &mut String, group: &Group| {
            let flags = (
                group.is_paused,
                group.is_cancelled,
                group.is_protected,
                group.was_resident,
                group.looked_up,
            );
            write!(
                text,
                "{:?}{flags:?}{}.{};",
                group.id, group.preemptions, group.bypassed
            )?;
            for s in &group.members {
                let counts = (s.computed, s.read_only, s.published, s.limit_len);
                let has = s.has_duplicates;
                write!(text, "{:?}{:?}{has}{counts:?};", s.tokens, s.table)?;
            }
            std::fmt::Result::Ok(())
        };
        for &ix in &self.running {
            group(&mut text, &self.arena[ix]).expect("a string takes all");
        }
        text.push('|');
        for ix in self.waiting.iter() {
            group(&mut text, &self.arena[ix]).expect("a string takes all");
        }
        let free: Vec<_> = self.blocks.pool.free_blocks().collect();
        let cached: Vec<_> = self.blocks.pool.cached_blocks().collect();
        write!(text, "|{free:?}{cached:?}").expect("a string takes all");
        for block in 0..self.config.blocks as u32 {
            let block = tokenmill_core::BlockId(block);
            if self.blocks.prefix.is_published(block) {
                let content = self.blocks.prefix.content(block);
                write!(text, "{:?}{:?}", content.key, content.parent).expect("a string takes all");
            }
        }
        text
    }
}

/// A world and which of the three requests has arrived.
#[derive(Clone)]
struct State {
    world: World,
    arrived: Vec<Option<u64>>,
}

struct Search {
    asks: Vec<Ask>,
    seen: HashSet<String>,
    open: Vec<State>,
}

impl Search {
    fn visit(&mut self, state: State) {
        let key = format!("{:?}{}", state.arrived, state.world.scheduler.fingerprint());
        if self.seen.insert(key) {
            state.world.clone().drain(60);
            self.open.push(state);
        }
    }

    fn expand(&mut self, state: &State) {
        for index in 0..self.asks.len() {
            let mut next = state.clone();
            match state.arrived[index] {
                None => next.arrived[index] = next.world.add(self.asks[index].clone()),
                Some(id) => next.world.cancel(id),
            }
            self.visit(next);
        }
        let mut next = state.clone();
        if !next.world.step() {
            return;
        }
        let sampled = next.world.scheduler.planned().sampled.clone();
        self.visit_ends(&next, &sampled);
        let mut next = state.clone();
        next.world.failing_step(false);
        self.visit(next);
    }

    /// Every choice of sampled sequences that end here, before their last token.
    fn visit_ends(&mut self, state: &State, sampled: &[SequenceId]) {
        for choice in 0..1u32 << sampled.len() {
            let mut next = state.clone();
            for (bit, id) in sampled.iter().enumerate() {
                if choice >> bit & 1 == 1 && next.world.live.contains_key(&id.0) {
                    next.world.finish(id.0);
                }
            }
            self.visit(next);
        }
    }
}

fn explore(config: SchedConfig, asks: Vec<Ask>) -> (usize, u64) {
    let arrived = vec![None; asks.len()];
    let mut search = Search {
        asks,
        seen: HashSet::new(),
        open: Vec::new(),
    };
    search.visit(State {
        world: World::new(config),
        arrived,
    });
    let mut preemptions = 0;
    while let Some(state) = search.open.pop() {
        preemptions = preemptions.max(state.world.scheduler.stats().preemptions);
        search.expand(&state);
        assert!(
            search.seen.len() < 1_000_000,
            "the state space is not closed"
        );
    }
    (search.seen.len(), preemptions)
}

fn explore_budgets(policy: Policy, asks: &[Ask]) {
    let mut most_preemptions = 0;
    for tokens_per_step in 1..=3 {
        let config = SchedConfig {
            tokens_per_step,
            blocks: 4,
            block_size: 2,
            preempt_max: 2,
            age_steps: 0,
            policy,
            ..SchedConfig::default()
        };
        let (states, preemptions) = explore(config, asks.to_vec());
        assert!(
            states > 500,
            "only {states} states with budget {tokens_per_step}"
        );
        most_preemptions = most_preemptions.max(preemptions);
    }
    assert!(most_preemptions > 1, "nothing was preempted twice");
}

#[test]
fn every_order_of_events_ends_with_fcfs() {
    let asks = [
        Ask::new(vec![1], 5),
        Ask::new(vec![2, 2, 2], 3),
        Ask::new(vec![3, 3, 3, 3], 3),
    ];
    explore_budgets(Policy::Fcfs, &asks);
}

#[test]
fn every_order_of_events_ends_with_common_prefixes() {
    let asks = [
        Ask::new(vec![1, 1], 5),
        Ask::new(vec![1, 1, 1], 3),
        Ask::new(vec![1, 1, 1, 1], 3),
    ];
    explore_budgets(Policy::Fcfs, &asks);
}

#[test]
fn every_order_of_events_ends_with_priorities() {
    let ask = |token, len, priority| Ask {
        priority,
        ..Ask::new(vec![token; len], 4)
    };
    explore_budgets(
        Policy::Priority,
        &[ask(1, 2, 1), ask(1, 3, 0), ask(2, 4, 1)],
    );
}

#[test]
fn every_order_of_events_ends_with_forks() {
    let ask = |token, len, n| Ask {
        n,
        ..Ask::new(vec![token; len], 3)
    };
    explore_budgets(Policy::Fcfs, &[ask(1, 3, 2), ask(2, 2, 2)]);
}
