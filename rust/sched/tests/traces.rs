//! Random traces against the outside models of `world`: sets of blocks for the pool, all prefixes ever
//! computed for the cache, a hash oracle for the tokens. Few token values, so that prefixes meet often.

mod world;

use proptest::prelude::*;
use tokenmill_sched::{Policy, SchedConfig};
use world::{Ask, World, chain, mix};

/// One event of a trace. Sequences are named by how many come before them among the living.
#[derive(Clone, Debug)]
enum Event {
    Add(Ask),
    Cancel(usize),
    Pause(usize),
    Resume(usize),
    Finish(usize),
    Step(usize),
    Fail { copies_run: bool },
    ResetCache,
}

fn ask() -> impl Strategy<Value = Ask> {
    let tokens = prop::collection::vec(0u32..2, 1..20);
    // Equal prompts of every length, so that whole prompts are found in the cache.
    let equal = (1usize..20).prop_map(|len| vec![1; len]);
    let options = (
        1usize..12,
        1u32..4,
        -2i32..3,
        0u64..2,
        any::<bool>(),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.3),
    );
    (prop_oneof![tokens, equal], options).prop_map(
        |(prompt, (max_new, n, priority, scope, is_bounded, read_cache, scores_prompt))| Ask {
            prompt,
            max_new,
            is_bounded,
            n,
            priority,
            scope,
            read_cache,
            scores_prompt,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => ask().prop_map(Event::Add),
        10 => (1usize..6).prop_map(Event::Step),
        2 => (0usize..8).prop_map(Event::Cancel),
        1 => (0usize..8).prop_map(Event::Finish),
        1 => (0usize..8).prop_map(Event::Pause),
        1 => (0usize..8).prop_map(Event::Resume),
        1 => any::<bool>().prop_map(|copies_run| Event::Fail { copies_run }),
        1 => Just(Event::ResetCache),
    ]
}

prop_compose! {
    fn config()(
        blocks in 2usize..24,
        block_size in 1usize..6,
        tokens_per_step in 1usize..24,
        logits_rows_max in 1usize..8,
        running_max in 1usize..8,
        block_reserve in 0usize..3,
        caps in (prop::option::of(1usize..6), 1usize..40, 0.1f32..1.0),
        is_priority: bool,
        prefix_caching in prop::bool::weighted(0.8),
        guards in (0u32..4, 1u32..4, 0u32..5),
    ) -> SchedConfig {
        SchedConfig {
            tokens_per_step,
            logits_rows_max,
            running_max,
            queue_len_max: 16,
            blocks,
            block_size,
            block_reserve: block_reserve.min(blocks - 1),
            context_len: caps.1,
            prefix_caching,
            policy: if is_priority { Policy::Priority } else { Policy::Fcfs },
            chunk_max: caps.0,
            long_prefill_share: caps.2,
            bypass_max: guards.0,
            preempt_max: guards.1,
            age_steps: guards.2,
            ..SchedConfig::default()
        }
    }
}

fn nth(world: &World, index: usize) -> Option<u64> {
    world.live.keys().nth(index).copied()
}

fn play(world: &mut World, event: Event) {
    match event {
        Event::Add(ask) => {
            world.add(ask);
        }
        Event::Step(count) => (0..count).for_each(|_| {
            world.step();
        }),
        Event::ResetCache => {
            world.scheduler.reset_prefix_cache();
            world.scheduler.check_full();
        }
        Event::Fail { copies_run } => {
            world.failing_step(copies_run);
        }
        Event::Cancel(index) => nth(world, index)
            .into_iter()
            .for_each(|id| world.cancel(id)),
        Event::Pause(index) => nth(world, index)
            .into_iter()
            .for_each(|id| world.pause(id, true)),
        Event::Resume(index) => nth(world, index)
            .into_iter()
            .for_each(|id| world.pause(id, false)),
        Event::Finish(index) => nth(world, index)
            .into_iter()
            .for_each(|id| world.finish(id)),
    }
}

fn play_all(mut world: World, events: Vec<Event>) -> World {
    world.has_eos = true;
    for event in events {
        play(&mut world, event);
    }
    world.drain(20_000);
    world
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_traces_keep_every_invariant(
        config in config(),
        events in prop::collection::vec(event(), 1..60),
    ) {
        play_all(World::new(config), events);
    }

    /// One tight pool: preemption, protection, eviction and copies all happen in most traces.
    #[test]
    fn traces_in_a_tight_pool_keep_every_invariant(
        config in config(),
        events in prop::collection::vec(event(), 20..80),
    ) {
        let config = SchedConfig {
            blocks: 8,
            block_size: 3,
            block_reserve: 0,
            tokens_per_step: 12,
            logits_rows_max: 8,
            running_max: 6,
            context_len: 22,
            ..config
        };
        play_all(World::new(config), events);
    }

    /// In a pool that never evicts, a lookup finds the longest prefix that anybody computed before.
    #[test]
    fn a_lookup_finds_the_longest_computed_prefix(
        prompts in prop::collection::vec(prop::collection::vec(0u32..2, 1..24), 2..12),
        block_size in 1usize..5,
    ) {
        let config = SchedConfig { blocks: 400, block_size, ..SchedConfig::default() };
        let mut world = World::new(config);
        let mut computed = std::collections::HashSet::new();
        for prompt in prompts {
            let full = (block_size..=prompt.len()).step_by(block_size);
            let longest = full.clone().take_while(|&end| computed.contains(&chain(0, &prompt[..end]))).last();
            let id = world.add(Ask::new(prompt.clone(), 1)).expect("fits");
            world.scheduler.plan();
            let expected = longest.unwrap_or(0).min(prompt.len() - 1);
            prop_assert_eq!(world.scheduler.cached_tokens(tokenmill_core::SequenceId(id)), Some(expected));
            world.scheduler.commit();
            world.finish(id);
            computed.extend(full.map(|end| chain(0, &prompt[..end])));
        }
    }
}

/// The same requests under many schedules give the same outputs: budgets, chunks, block sizes, orders of
/// arrival, tight pools, cache on and off.
#[test]
fn outputs_do_not_depend_on_the_schedule() {
    let asks: Vec<Ask> = (0..12u64)
        .map(|seed| {
            let len = 1 + mix(seed, 1) as usize % 17;
            let prompt = (0..len as u64)
                .map(|at| (mix(seed / 3, at) % 3) as u32)
                .collect();
            Ask {
                n: 1 + seed as u32 % 3,
                ..Ask::new(prompt, 1 + mix(seed, 2) as usize % 9)
            }
        })
        .collect();
    let outputs = |config: &SchedConfig, shuffle: u64| {
        let mut world = World::new(config.clone());
        let mut order: Vec<usize> = (0..asks.len()).collect();
        order.sort_by_key(|&index| mix(shuffle, index as u64));
        for (turn, &index) in order.iter().enumerate() {
            world.add(asks[index].clone()).expect("fits");
            if mix(shuffle, turn as u64 + 100).is_multiple_of(2) {
                world.step();
            }
        }
        world.drain(5_000);
        let mut outputs: Vec<_> = world.ended.into_values().collect();
        outputs.sort();
        (outputs, world.scheduler.stats().preemptions)
    };
    let alone = SchedConfig {
        running_max: 1,
        prefix_caching: false,
        ..SchedConfig::default()
    };
    let (expected, _) = outputs(&alone, 0);
    let mut preemptions = 0;
    for shuffle in 0..20 {
        for (budget, block_size) in [(1, 16), (3, 1), (7, 4), (64, 2), (512, 16)] {
            for (prefix_caching, slots) in [(true, 400), (false, 400), (true, 34), (false, 34)] {
                let config = SchedConfig {
                    tokens_per_step: budget,
                    block_size,
                    blocks: slots / block_size + 1,
                    prefix_caching,
                    ..SchedConfig::default()
                };
                let (got, count) = outputs(&config, shuffle);
                assert_eq!(got, expected, "shuffle {shuffle}, {config:?}");
                preemptions += count;
            }
        }
    }
    assert!(
        preemptions > 1_000,
        "only {preemptions} preemptions: the pool was not tight"
    );
}
