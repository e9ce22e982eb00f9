//! Who gives way when the pool is empty, how often, and how it comes back.

mod world;

use tokenmill_core::SequenceId;
use tokenmill_sched::{Policy, SchedConfig};
use world::{Ask, World, config, prompt, rows};

#[test]
fn priority_makes_the_least_important_give_way() {
    let config = SchedConfig {
        policy: Policy::Priority,
        ..config(4, 6)
    };
    let mut world = World::new(config);
    let low = world
        .add(Ask {
            priority: 5,
            ..Ask::new(prompt(1, 8), 12)
        })
        .expect("fits");
    let high = world
        .add(Ask {
            priority: 1,
            ..Ask::new(prompt(2, 7), 12)
        })
        .expect("fits");
    let mut preempted = Vec::new();
    while world.scheduler.has_work() {
        world.step();
        preempted.extend(world.scheduler.planned().preempted.iter().map(|id| id.0));
    }
    assert!(
        !preempted.is_empty() && preempted.iter().all(|&id| id == low),
        "{preempted:?}, not {high}"
    );
}

#[test]
fn equal_priorities_give_way_as_first_come_first_served() {
    let config = SchedConfig {
        policy: Policy::Priority,
        ..config(4, 6)
    };
    let mut world = World::new(config);
    world.add(Ask::new(prompt(1, 8), 12)).expect("fits");
    let late = world.add(Ask::new(prompt(2, 7), 12)).expect("fits");
    for _ in 0..6 {
        assert!(world.scheduler.planned().preempted.is_empty());
        world.step();
    }
    // The first feeds its output token 5 and needs a fourth block; the pool is empty.
    assert_eq!(world.scheduler.planned().preempted, [SequenceId(late)]);
    world.drain(50);
}

#[test]
fn rows_of_a_preempted_sequence_return_to_the_budget() {
    let mut world = World::new(SchedConfig {
        policy: Policy::Priority,
        logits_rows_max: 2,
        ..config(4, 4)
    });
    let add = |world: &mut World, seed, len, priority| {
        let ask = Ask::new(prompt(seed, len), 6);
        world.add(Ask { priority, ..ask }).expect("fits")
    };
    let low = add(&mut world, 1, 1, 9);
    world.step();
    let high = add(&mut world, 2, 4, 0);
    let third = add(&mut world, 3, 5, 1);
    world.step();
    assert_eq!(rows(&world), [(low, 1), (high, 4), (third, 4)]);
    // Low comes first and takes its row and its logits; then high takes its block.
    world.step();
    assert_eq!(world.scheduler.planned().preempted, [SequenceId(low)]);
    assert_eq!(rows(&world), [(high, 1), (third, 1)]);
    world.drain(100);
}

#[test]
fn a_preempted_sequence_comes_back_only_with_room_for_one_more_step() {
    let mut world = World::new(config(2, 5));
    let a = world.add(Ask::new(prompt(1, 4), 6)).expect("fits");
    let c = world.add(Ask::new(prompt(2, 1), 9)).expect("fits");
    let b = world.add(Ask::new(prompt(3, 3), 6)).expect("fits");
    world.step();
    world.step();
    assert_eq!(world.scheduler.planned().preempted, [SequenceId(b)]);
    world.finish(c);
    // Its 4 known tokens would find the 2 blocks that are there, but its fifth would not.
    world.step();
    assert_eq!(world.scheduler.stats().blocks_used, 3);
    assert_eq!(rows(&world), [(a, 1)]);
    world.drain(50);
}

/// Sweeps sizes around the point where a protected parent forks into a pool without room for the copy.
#[test]
fn a_fork_does_not_eat_the_blocks_promised_to_its_parent() {
    let mut tight_forks = 0;
    for case in 0..6 * 8 * 8 * 5 {
        let (other, old) = (1 + case / 48 % 8, case / 384);
        let (blocks, long) = (6 + 3 * old.min(1) + case % 6, 4 + case / 6 % 8);
        let mut world = World::new(SchedConfig {
            policy: Policy::Priority,
            tokens_per_step: 8,
            chunk_max: Some(1),
            preempt_max: 1,
            ..config(4, blocks)
        });
        let ask = |seed, len, max_new, priority| Ask {
            priority,
            ..Ask::new(prompt(seed, len), max_new)
        };
        world.add(ask(1, long, 12, 0)).expect("fits");
        // None, or one that stands before the parent to the end.
        world.add(ask(2, old, 31, 0));
        (0..long).for_each(|_| assert!(world.step()));
        let asked = Ask {
            n: 2,
            ..ask(3, 9, 6, 1)
        };
        let parent = SequenceId(world.add(asked).expect("fits"));
        let is_protected = |world: &World| world.scheduler.preemptions(parent) == Some(1);
        let mut seed = 3;
        while world.scheduler.known_len(parent) == Some(9) {
            // Once the parent is back, more important ones take whatever is not promised to it.
            if is_protected(&world) && world.scheduler.is_running(parent) && seed < 7 {
                seed += 1;
                world.add(ask(seed, other, 8, 0)).into_iter().for_each(drop);
            }
            world.step();
        }
        let stats = world.scheduler.stats();
        let is_tight = stats.blocks_free + stats.blocks_cached <= 2;
        tight_forks += u32::from(is_protected(&world) && is_tight);
        world.drain(1_000);
    }
    assert!(
        tight_forks > 20,
        "only {tight_forks} protected parents forked in a tight pool"
    );
}

#[test]
fn a_sequence_is_preempted_at_most_preempt_max_times() {
    let mut world = World::new(SchedConfig {
        preempt_max: 1,
        bypass_max: 0,
        ..config(2, 8)
    });
    for seed in 0..6 {
        world.add(Ask::new(prompt(seed, 3), 10)).expect("fits");
    }
    world.drain(300);
    assert!(world.scheduler.stats().preemptions > 0);
    assert_eq!(world.ended.len(), 6);
}

#[test]
fn a_paused_sequence_keeps_its_blocks_until_somebody_needs_them() {
    let mut world = World::new(config(4, 6));
    let a = world.add(Ask::new(prompt(1, 8), 8)).expect("fits");
    world.step();
    world.pause(a, true);
    assert!(!world.step(), "nothing else to run");
    assert_eq!(world.scheduler.stats().blocks_used, 2);
    // Four blocks are free and the newcomer needs five: the paused one gives way, though nothing runs.
    let b = world.add(Ask::new(prompt(2, 17), 4)).expect("fits");
    world.step();
    assert_eq!(world.scheduler.planned().preempted, [SequenceId(a)]);
    assert_eq!(rows(&world), [(b, 17)]);
    assert_eq!(
        world.scheduler.preemptions(SequenceId(a)),
        Some(0),
        "it is not counted against it"
    );
    world.pause(a, false);
    world.drain(50);
    assert_eq!(world.ended.len(), 2);
}
