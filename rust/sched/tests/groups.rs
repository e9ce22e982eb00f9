//! Groups of sequences that sample together: beams, and branches with a second source of logits. Every slot holds a
//! hash of the tokens up to its position, and what a group does next is a hash of what its members read there; so a
//! block that is shared, copied or freed wrongly changes a group's tokens, which must equal those it has alone.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokenmill_core::{SequenceId, TokenId};
use tokenmill_sched::{Error, Extent, NO_SLOT, NewSequence, Plan, SchedConfig, Scheduler, Scope};

fn mix(state: u64, value: u64) -> u64 {
    let z = (state ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

fn chain(tokens: &[TokenId]) -> u64 {
    let add = |state, &token| mix(state, u64::from(token));
    tokens.iter().fold(1, add)
}

/// A request of the trace.
#[derive(Clone, Debug)]
struct Ask {
    prompt: Vec<TokenId>,
    second: Option<Vec<TokenId>>,
    width: usize,
    steps: usize,
    read_cache: bool,
}

impl Ask {
    fn plain(prompt: Vec<TokenId>, width: usize, steps: usize) -> Self {
        Self {
            prompt,
            second: None,
            width,
            steps,
            read_cache: true,
        }
    }
}

/// A group as it should be: the tokens of each member.
#[derive(Clone, Debug)]
struct Live {
    ask: Ask,
    members: Vec<Vec<TokenId>>,
    steps: usize,
}

struct World {
    scheduler: Scheduler,
    memory: Vec<u64>,
    live: BTreeMap<u64, Live>,
    ended: BTreeMap<u64, Vec<Vec<TokenId>>>,
    block_size: usize,
    next: u64,
    /// Most copies of one group in one step.
    copies: usize,
}

impl World {
    fn new(config: SchedConfig) -> Self {
        Self {
            memory: vec![0; config.blocks * config.block_size],
            block_size: config.block_size,
            scheduler: Scheduler::new(config).expect("valid"),
            live: BTreeMap::new(),
            ended: BTreeMap::new(),
            next: 0,
            copies: 0,
        }
    }

    fn add(&mut self, ask: Ask) -> Result<u64, Error> {
        let id = self.next;
        self.scheduler.add(NewSequence {
            id: SequenceId(id),
            tokens: ask.prompt.clone(),
            max_new: Some(ask.steps),
            width: ask.width,
            second: ask.second.clone(),
            priority: 0,
            scope: Scope::default(),
            read_cache: ask.read_cache,
            scores_prompt: false,
        })?;
        self.next += 1;
        let members = std::iter::once(ask.prompt.clone()).chain(ask.second.clone());
        let live = Live {
            members: members.collect(),
            ask,
            steps: 0,
        };
        self.live.insert(id, live);
        Ok(id)
    }

    fn plan(&mut self) -> Plan {
        let plan = self.scheduler.plan().clone();
        self.scheduler.check_full();
        plan
    }

    /// Copies, writes, then each row reads every position up to its own.
    fn run(&mut self, plan: &Plan) {
        let size = self.block_size;
        for copy in &plan.copies {
            let from = copy.from.0 as usize * size;
            self.memory
                .copy_within(from..from + copy.len as usize, copy.to.0 as usize * size);
        }
        for span in &plan.spans {
            let tokens = &self.live[&span.id.0].members[span.member as usize];
            for row in span.row as usize..(span.row + span.rows) as usize {
                let position = plan.positions[row] as usize;
                assert_eq!(plan.tokens[row], tokens[position]);
                if plan.slots[row] != NO_SLOT {
                    self.memory[plan.slots[row] as usize] = chain(&tokens[..=position]);
                }
            }
        }
        for span in &plan.spans {
            let tokens = &self.live[&span.id.0].members[span.member as usize];
            let last = plan.positions[(span.row + span.rows) as usize - 1] as usize;
            for position in 0..=last {
                let block = plan.table(span)[position / size].0 as usize;
                let read = self.memory[block * size + position % size];
                assert_eq!(
                    read,
                    chain(&tokens[..=position]),
                    "a slot of another prefix"
                );
            }
        }
    }

    fn step(&mut self) -> bool {
        let plan = self.plan();
        if plan.is_empty() {
            return false;
        }
        self.run(&plan);
        self.count_copies(&plan);
        self.scheduler.commit();
        self.scheduler.check_full();
        let mut sampled: BTreeMap<u64, usize> = BTreeMap::new();
        for id in &plan.sampled {
            *sampled.entry(id.0).or_default() += 1;
        }
        for (id, rows) in sampled {
            let live = self.live[&id].clone();
            assert_eq!(rows, live.members.len(), "a group sampled without a member");
            self.go_on(id, live);
            self.scheduler.check_full();
        }
        true
    }

    /// The children of a group follow from what its members hold, as beams follow from their logits.
    fn go_on(&mut self, id: u64, mut live: Live) {
        let lanes = 1 + usize::from(live.ask.second.is_some());
        live.steps += 1;
        if live.steps == live.ask.steps {
            assert!(self.scheduler.finish(SequenceId(id)));
            self.live.remove(&id);
            self.ended.insert(id, live.members);
            return;
        }
        let branches = live.members.len() / lanes;
        let state = live
            .members
            .iter()
            .fold(7, |state, member| mix(state, chain(member)));
        let count = 1 + (mix(state, 1) as usize >> 8) % live.ask.width;
        let children: Vec<(u32, TokenId)> = (0..count as u64)
            .map(|child| {
                let dice = mix(state, 2 + child) >> 8;
                ((dice % branches as u64) as u32, (dice / 64 % 3) as TokenId)
            })
            .collect();
        if live.ask.width == 1 {
            self.scheduler.append(SequenceId(id), children[0].1);
        } else {
            self.scheduler.branch(SequenceId(id), &children);
        }
        let born = children.iter().flat_map(|&(parent, token)| {
            let first = parent as usize * lanes;
            live.members[first..first + lanes]
                .iter()
                .map(move |member| {
                    let mut child = member.clone();
                    child.push(token);
                    child
                })
        });
        live.members = born.collect();
        self.live.insert(id, live);
    }

    fn count_copies(&mut self, plan: &Plan) {
        let mut of: BTreeMap<u64, usize> = BTreeMap::new();
        for copy in &plan.copies {
            let names = |table: &[tokenmill_core::BlockId]| table.contains(&copy.to);
            let span = plan.spans.iter().find(|span| names(plan.table(span)));
            *of.entry(span.expect("a copy is for a row").id.0)
                .or_default() += 1;
        }
        for (id, copies) in of {
            let live = &self.live[&id];
            let lanes = 1 + usize::from(live.ask.second.is_some());
            let most = live.members.len() - lanes;
            assert!(copies <= most, "{copies} copies for {most} forks");
            self.copies = self.copies.max(copies);
        }
    }

    fn drain(&mut self) {
        for _ in 0..5_000 {
            if !self.scheduler.has_work() {
                break;
            }
            self.step();
        }
        assert!(self.live.is_empty(), "no end: {:?}", self.live);
        let stats = self.scheduler.stats();
        assert_eq!(stats.blocks_used, 0);
        assert_eq!(stats.blocks_free + stats.blocks_cached, stats.blocks_total);
    }
}

fn config(block_size: usize, blocks: usize) -> SchedConfig {
    SchedConfig {
        block_size,
        blocks,
        secret: [3; 32],
        ..SchedConfig::default()
    }
}

/// What a request yields alone in a pool that is never tight.
fn alone(ask: &Ask) -> Vec<Vec<TokenId>> {
    let mut world = World::new(config(4, 1024));
    let id = world.add(ask.clone()).expect("room");
    world.drain();
    world.ended.remove(&id).expect("ended")
}

#[test]
fn the_first_expansion_shares_full_blocks_and_copies_the_begun_one() {
    let mut world = World::new(config(16, 64));
    let id = SequenceId(
        world
            .add(Ask::plain((0..20).collect(), 4, 9))
            .expect("room"),
    );
    world.plan();
    world.scheduler.commit();
    world
        .scheduler
        .branch(id, &[(0, 1), (0, 2), (0, 3), (0, 4)]);
    world.scheduler.check_full();
    assert_eq!(world.scheduler.stats().blocks_used, 2);
    let plan = world.plan();
    let lens: Vec<u32> = plan.copies.iter().map(|copy| copy.len).collect();
    assert_eq!(lens, [4, 4, 4], "three copies of four slots");
    assert_eq!(plan.sampled, [id; 4]);
    assert_eq!(world.scheduler.stats().blocks_used, 5);
    world.scheduler.commit();
    // Two children of branch 0, two of branch 2: one copy each; branches 1 and 3 free theirs.
    world
        .scheduler
        .branch(id, &[(0, 1), (2, 1), (0, 2), (2, 2)]);
    assert_eq!(world.scheduler.stats().blocks_used, 3);
    assert_eq!(world.plan().copies.len(), 2);
}

#[test]
fn at_a_block_border_nothing_is_copied() {
    let mut world = World::new(config(4, 64));
    let id = SequenceId(world.add(Ask::plain((0..8).collect(), 4, 9)).expect("room"));
    world.plan();
    world.scheduler.commit();
    world
        .scheduler
        .branch(id, &[(0, 1), (0, 2), (0, 3), (0, 4)]);
    let plan = world.plan();
    assert!(plan.copies.is_empty());
    assert_eq!(world.scheduler.stats().blocks_used, 6);
}

#[test]
fn a_group_that_can_never_run_is_refused_with_the_numbers() {
    let mut world = World::new(SchedConfig {
        running_max: 6,
        ..config(4, 12)
    });
    let refused = world
        .add(Ask::plain((0..9).collect(), 4, 8))
        .expect_err("20 blocks");
    assert_eq!(
        refused.to_string(),
        "prompt of 9 tokens and output of 8 need 20 blocks in 4 sequences, the pool gives one request at most 12 \
         blocks of 4 tokens"
    );
    let refused = world.add(Ask::plain(vec![1], 7, 2)).expect_err("7 seats");
    assert_eq!(
        refused.to_string(),
        "a request must have 1 to 6 sequences at once (the sequences run at once), got 7"
    );
    let extent = Extent {
        second_len: Some(5),
        ..Extent::plain(9, Some(3))
    };
    assert_eq!(world.scheduler.price(&extent).blocks_needed, 5);
}

#[test]
fn groups_count_all_their_seats() {
    let mut world = World::new(SchedConfig {
        running_max: 6,
        ..config(4, 100)
    });
    for _ in 0..2 {
        world.add(Ask::plain(vec![1, 2, 3], 4, 5)).expect("room");
    }
    world.step();
    assert_eq!(world.scheduler.stats().running, 1);
    world.drain();
}

#[test]
fn a_preempted_group_comes_back_with_its_common_prefix_computed_once() {
    let mut world = World::new(config(4, 64));
    let id = SequenceId(
        world
            .add(Ask::plain((0..30).collect(), 4, 9))
            .expect("room"),
    );
    world.plan();
    world.scheduler.commit();
    let children = [(0, 50), (0, 51), (0, 52), (0, 53)];
    world.scheduler.branch(id, &children);
    let live = world.live.get_mut(&0).expect("live");
    live.members = (50..54)
        .map(|token| (0..30).chain([token]).collect())
        .collect();
    live.steps = 1;
    // A step that fails loses the copied blocks; a pause and a rival in need take the rest.
    world.scheduler.set_paused(id, true);
    world
        .add(Ask::plain((100..340).collect(), 1, 2))
        .expect("room");
    world.step();
    world.scheduler.reset_prefix_cache();
    assert_eq!(world.scheduler.preemptions(id), Some(0));
    assert!(!world.scheduler.is_running(id), "the paused gave way");
    world.scheduler.set_paused(id, false);
    let mut rows = 0;
    while world.live.contains_key(&0) && world.live[&0].steps == 1 {
        let plan = world.plan();
        let own = plan.spans.iter().filter(|span| span.id == id);
        rows += own.map(|span| span.rows).sum::<u32>();
        world.run(&plan);
        world.scheduler.commit();
        if plan.sampled.contains(&id) {
            break;
        }
        for rival in plan.sampled {
            world.scheduler.finish(rival);
            world.live.remove(&rival.0);
        }
    }
    // 30 tokens of the first and its last; 2 + 1 more of each of three others after 28 shared ones.
    assert_eq!(rows, 31 + 3 * 3);
}

fn ask() -> impl Strategy<Value = Ask> {
    let prompt = || prop::collection::vec(0u32..2, 1..14);
    let second = prop::option::weighted(0.3, prompt());
    (
        prompt(),
        second,
        1usize..5,
        1usize..9,
        prop::bool::weighted(0.8),
    )
        .prop_map(|(prompt, second, width, steps, read_cache)| Ask {
            prompt,
            second,
            width,
            steps,
            read_cache,
        })
}

#[derive(Clone, Debug)]
enum Event {
    Add(Ask),
    Step(usize),
    Cancel(usize),
    Pause(usize, bool),
    Fail(bool),
    Reset,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => ask().prop_map(Event::Add),
        10 => (1usize..6).prop_map(Event::Step),
        1 => (0usize..6).prop_map(Event::Cancel),
        1 => (0usize..6, any::<bool>()).prop_map(|(at, on)| Event::Pause(at, on)),
        1 => any::<bool>().prop_map(Event::Fail),
        1 => Just(Event::Reset),
    ]
}

fn apply(world: &mut World, event: &Event, asked: &mut BTreeMap<u64, Ask>) {
    let nth = |world: &World, at: usize| world.live.keys().nth(at).copied();
    match event {
        Event::Add(ask) => {
            if let Ok(id) = world.add(ask.clone()) {
                asked.insert(id, ask.clone());
            }
        }
        Event::Step(steps) => (0..*steps).for_each(|_| _ = world.step()),
        Event::Cancel(at) => {
            if let Some(id) = nth(world, *at) {
                world.scheduler.finish(SequenceId(id));
                world.live.remove(&id);
                asked.remove(&id);
            }
        }
        Event::Pause(at, on) => {
            if let Some(id) = nth(world, *at) {
                world.scheduler.set_paused(SequenceId(id), *on);
            }
        }
        Event::Fail(copies_run) => {
            let plan = world.plan();
            if plan.is_empty() {
                return;
            }
            for copy in &plan.copies {
                let (from, to) = (copy.from.0 as usize, copy.to.0 as usize);
                for slot in 0..copy.len as usize {
                    let read = world.memory[from * world.block_size + slot];
                    let to = to * world.block_size + slot;
                    world.memory[to] = if *copies_run { read } else { 3 };
                }
            }
            world.scheduler.abort_step();
        }
        Event::Reset => world.scheduler.reset_prefix_cache(),
    }
    world.scheduler.check_full();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn a_group_does_what_it_does_alone(
        events in prop::collection::vec(event(), 1..40),
        size in 1usize..5,
        blocks in 4usize..40,
        budget in 4usize..20,
        logits in 4usize..12,
        running in 4usize..12,
        preempt_max in 1u32..3,
        prefix_caching in any::<bool>(),
    ) {
        let mut world = World::new(SchedConfig {
            tokens_per_step: budget,
            logits_rows_max: logits,
            running_max: running,
            preempt_max,
            prefix_caching,
            ..config(size, blocks)
        });
        let mut asked = BTreeMap::new();
        for event in &events {
            apply(&mut world, event, &mut asked);
        }
        let ids: Vec<u64> = world.live.keys().copied().collect();
        for id in ids {
            world.scheduler.set_paused(SequenceId(id), false);
        }
        world.drain();
        for (id, ask) in asked {
            prop_assert_eq!(&world.ended[&id], &alone(&ask));
        }
    }
}
