//! The events of a sequence's life: cancel, finish, a failed step, a fork.

mod world;

use tokenmill_core::{BlockId, SequenceId};
use tokenmill_sched::{SchedConfig, Scheduler};
use world::{Ask, World, config, prompt, rows, sequence};

#[test]
fn cancel_during_prefill_frees_every_block() {
    let mut world = World::new(SchedConfig {
        tokens_per_step: 8,
        ..config(4, 16)
    });
    let a = world.add(Ask::new(prompt(1, 20), 4)).expect("fits");
    let b = world.add(Ask::new(prompt(2, 20), 4)).expect("fits");
    world.step();
    world.cancel(a);
    world.cancel(a);
    world.step();
    assert_eq!(rows(&world), [(b, 8)]);
    assert_eq!(world.scheduler.stats().blocks_used, 5);
    // A waiting one goes at once.
    let c = world.add(Ask::new(prompt(3, 60), 4)).expect("fits");
    world.cancel(c);
    assert_eq!(world.scheduler.stats().waiting, 0);
    assert!(!world.scheduler.cancel(SequenceId(c)));
    world.drain(20);
}

#[test]
fn finish_while_a_step_is_in_flight_takes_effect_at_the_next_plan() {
    let mut scheduler = Scheduler::new(config(4, 16)).expect("valid");
    scheduler.add(sequence(0, prompt(1, 6), 4)).expect("fits");
    assert_eq!(scheduler.plan().rows(), 6);
    assert!(scheduler.finish(SequenceId(0)));
    assert_eq!(
        scheduler.stats().blocks_used,
        2,
        "the step writes them still"
    );
    scheduler.commit();
    // It may have been ended because its rows failed, so what they wrote is not published.
    assert!(scheduler.plan().is_empty());
    scheduler.check_full();
    assert_eq!(scheduler.stats().blocks_free, 16);
    assert!(!scheduler.has_work());
}

#[test]
fn a_failed_step_leaves_its_sequences_where_they_were() {
    let mut world = World::new(config(4, 16));
    world
        .add(Ask {
            n: 3,
            ..Ask::new(prompt(1, 6), 6)
        })
        .expect("fits");
    assert!(world.failing_step(true));
    world.step();
    // The copies of the forks never ran: their block is given up and computed again.
    assert!(world.failing_step(false));
    world.drain(30);
    assert_eq!(world.ended.len(), 3);
}

#[test]
fn a_fork_without_a_seat_comes_back_through_the_cache() {
    let mut world = World::new(SchedConfig {
        running_max: 2,
        ..config(4, 16)
    });
    let parent = world
        .add(Ask {
            n: 3,
            ..Ask::new(prompt(1, 9), 3)
        })
        .expect("fits");
    world.add(Ask::new(prompt(2, 9), 3)).expect("fits");
    world.step();
    // The second prompt took the other seat, so both children wait, ahead of any newcomer.
    let late = world.add(Ask::new(prompt(3, 1), 1)).expect("fits");
    let mut admitted = Vec::new();
    while world.scheduler.has_work() {
        world.step();
        let plan = world.scheduler.planned();
        for span in plan
            .spans
            .iter()
            .filter(|span| plan.admitted.contains(&span.id))
        {
            admitted.push((span.id.0, span.rows));
        }
    }
    // 10 known tokens each, 8 of them found.
    assert_eq!(admitted, [(2, 2), (3, 2), (late, 1)]);
    assert_eq!(parent, 0);
}

#[test]
fn blocks_are_numbered_from_zero_and_reused() {
    let mut scheduler = Scheduler::new(SchedConfig {
        prefix_caching: false,
        ..config(4, 4)
    })
    .expect("valid");
    for id in 0..3 {
        scheduler.add(sequence(id, prompt(1, 16), 0)).expect("fits");
        assert_eq!(scheduler.plan().tables.len(), 4);
        let mut blocks = scheduler.planned().tables.clone();
        blocks.sort_unstable();
        assert_eq!(blocks, [0, 1, 2, 3].map(BlockId));
        scheduler.commit();
        scheduler.finish(SequenceId(id));
        assert_eq!(scheduler.stats().blocks_free, 4);
    }
}
