//! The fixtures of the scheduling page, number by number. One step in flight, no drafts, `fcfs`.

mod world;

use tokenmill_core::SequenceId;
use tokenmill_sched::{Copy, Forked, NO_SLOT, SchedConfig, Scheduler};
use world::{Ask, World, config, pool, prompt, rows, sequence};

#[test]
fn the_last_come_is_preempted_and_resumes_through_the_cache() {
    let mut world = World::new(config(4, 6));
    let a = world.add(Ask::new(prompt(1, 5), 12)).expect("fits");
    let b = world.add(Ask::new(prompt(2, 9), 12)).expect("fits");
    world.step();
    assert_eq!(rows(&world), [(a, 5), (b, 9)]);
    assert_eq!(pool(&world), (1, 0, 5));
    for _ in 0..3 {
        world.step();
        assert_eq!(rows(&world), [(a, 1), (b, 1)]);
    }
    // A feeds its output token 4 and takes the sixth block; B needs a fourth and is the last come.
    world.step();
    assert_eq!(world.scheduler.planned().preempted, [SequenceId(b)]);
    assert_eq!(rows(&world), [(a, 1)]);
    assert_eq!(pool(&world), (0, 3, 3));
    for _ in 0..3 {
        world.step();
        assert_eq!(pool(&world), (0, 3, 3));
    }
    // A feeds its output token 8: B's third block goes first, because children go before parents.
    world.step();
    assert_eq!(pool(&world), (0, 2, 4));
    assert_eq!(world.scheduler.stats().cache_evictions, 1);
    while world.live.contains_key(&a) {
        assert_eq!(world.scheduler.known_len(SequenceId(b)), Some(13));
        world.step();
        assert_eq!(rows(&world), [(a, 1)]);
    }
    world.step();
    assert_eq!(world.scheduler.planned().positions[0], 8);
    assert_eq!(rows(&world), [(b, 5)]);
    assert_eq!(world.scheduler.preemptions(SequenceId(b)), Some(1));
    world.drain(100);
}

#[test]
fn a_prompt_wholly_in_the_cache_runs_one_row_that_writes_nothing() {
    let mut world = World::new(config(16, 8));
    world.add(Ask::new(prompt(1, 16), 4)).expect("fits");
    world.drain(10);
    let again = world.add(Ask::new(prompt(1, 16), 4)).expect("fits");
    world.step();
    let plan = world.scheduler.planned();
    assert_eq!(plan.positions, [15]);
    assert_eq!(plan.slots, [NO_SLOT]);
    assert_eq!(plan.tables.len(), 1);
    assert_eq!(world.scheduler.cached_tokens(SequenceId(again)), Some(15));
    assert_eq!(world.scheduler.computed_len(SequenceId(again)), Some(16));
    // While it runs, a third shares the same block.
    world.add(Ask::new(prompt(1, 16), 4)).expect("fits");
    world.step();
    let plan = world.scheduler.planned();
    assert_eq!(plan.slots.last(), Some(&NO_SLOT));
    let last = plan.spans.last().expect("a span");
    assert_eq!(plan.table(last)[0], plan.table(&plan.spans[0])[0]);
    world.drain(10);
}

#[test]
fn beams_share_the_full_block_and_copy_the_partial_one() {
    let mut scheduler = Scheduler::new(config(16, 32)).expect("valid");
    scheduler.add(sequence(0, prompt(1, 20), 40)).expect("fits");
    let table = scheduler.plan().tables.clone();
    scheduler.commit();
    scheduler.append(SequenceId(0), 1);
    for child in 1..4 {
        let forked = scheduler.fork(SequenceId(0), SequenceId(child), 1 + child as u32);
        assert_eq!(forked, Ok(Forked::Running));
    }
    // 3 references more to the full block: 8 entries, 2 blocks.
    scheduler.check_full();
    assert_eq!(scheduler.stats().blocks_used, 2);
    let plan = scheduler.plan().clone();
    assert_eq!(plan.copies.len(), 3);
    for copy in &plan.copies {
        let Copy {
            from,
            to,
            from_slot,
            to_slot,
            len,
        } = *copy;
        assert_eq!((from, from_slot, to_slot, len), (table[1], 0, 0, 4));
        assert_ne!(to, table[1]);
    }
    assert!(
        plan.spans
            .iter()
            .all(|span| plan.table(span)[0] == table[0])
    );
    assert_eq!(scheduler.stats().blocks_used, 5);
    scheduler.commit();
    // Beam 0 has three children and beam 1 one; beams 2 and 3 have none and end.
    scheduler.append(SequenceId(0), 1);
    scheduler.append(SequenceId(1), 1);
    for child in [4, 5] {
        scheduler
            .fork(SequenceId(0), SequenceId(child), 7 + child as u32)
            .expect("forkable");
    }
    scheduler.finish(SequenceId(2));
    scheduler.finish(SequenceId(3));
    assert_eq!(scheduler.plan().copies.len(), 2);
    scheduler.check_full();
    scheduler.commit();
    // To the border of the block: a fork there copies nothing.
    for computed in 22..32 {
        assert_eq!(scheduler.computed_len(SequenceId(0)), Some(computed));
        for id in [0, 1, 4, 5] {
            scheduler.append(SequenceId(id), 3 + id as u32);
        }
        assert!(scheduler.plan().copies.is_empty());
        scheduler.commit();
    }
    scheduler.append(SequenceId(0), 1);
    scheduler
        .fork(SequenceId(0), SequenceId(6), 2)
        .expect("forkable");
    for id in [1, 4, 5] {
        scheduler.append(SequenceId(id), 1);
    }
    assert!(scheduler.plan().copies.is_empty());
    scheduler.check_full();
    scheduler.commit();
    for id in [0, 1, 4, 5, 6] {
        assert!(scheduler.finish(SequenceId(id)));
    }
    scheduler.check_full();
    assert_eq!(scheduler.stats().blocks_used, 0);
}

#[test]
fn a_prompt_takes_what_the_decodes_leave() {
    let mut world = World::new(SchedConfig {
        tokens_per_step: 8,
        ..config(4, 64)
    });
    let [a, b] = [1, 2].map(|seed| world.add(Ask::new(prompt(seed, 1), 30)).expect("fits"));
    world.step();
    let c = world.add(Ask::new(prompt(3, 20), 30)).expect("fits");
    for chunk in [6, 6, 6, 2] {
        world.step();
        assert_eq!(rows(&world), [(a, 1), (b, 1), (c, chunk)]);
    }
    assert_eq!(world.scheduler.known_len(SequenceId(c)), Some(21));
    world.drain(100);
}

#[test]
fn two_prompts_progress_side_by_side_under_the_cap_of_one_half() {
    let mut world = World::new(SchedConfig {
        tokens_per_step: 8,
        ..config(4, 64)
    });
    let [a, b] = [1, 2].map(|seed| world.add(Ask::new(prompt(seed, 1), 30)).expect("fits"));
    world.step();
    let [c, d] = [3, 4].map(|seed| world.add(Ask::new(prompt(seed, 20), 30)).expect("fits"));
    for step in 0..5 {
        world.step();
        assert_eq!(
            rows(&world),
            [(a, 1), (b, 1), (c, 4), (d, 2)],
            "step {step}"
        );
    }
    assert_eq!(
        world.scheduler.known_len(SequenceId(c)),
        Some(21),
        "the first token in the fifth"
    );
    for step in 0..2 {
        world.step();
        assert_eq!(
            rows(&world),
            [(a, 1), (b, 1), (c, 1), (d, 5)],
            "step {step}"
        );
    }
    assert_eq!(world.scheduler.known_len(SequenceId(d)), Some(21));
    world.drain(100);
}

#[test]
fn decodes_alone_do_not_cap_a_prompt() {
    let mut world = World::new(SchedConfig {
        tokens_per_step: 8,
        running_max: 2,
        ..config(4, 64)
    });
    world.add(Ask::new(prompt(1, 1), 30)).expect("fits");
    world.step();
    let c = world.add(Ask::new(prompt(2, 20), 4)).expect("fits");
    // It waits, but there is no seat for it, so it could not use the rest.
    world.add(Ask::new(prompt(3, 20), 4)).expect("fits");
    world.step();
    assert_eq!(rows(&world)[1], (c, 7));
}
