//! The fixtures of the scheduling page, number by number, and the events at the edges of a sequence's
//! life. One step in flight, no drafts.

mod world;

use tokenmill_core::{BlockId, HasKind, Kind, SequenceId};
use tokenmill_sched::{
    Copy, Error, Forked, NO_SLOT, NewSequence, Policy, SchedConfig, Scheduler, Scope,
};
use world::{Ask, World};

fn config(block_size: usize, blocks: usize) -> SchedConfig {
    SchedConfig {
        block_size,
        blocks,
        secret: [9; 32],
        ..SchedConfig::default()
    }
}

/// A prompt of `len` tokens that shares nothing with another seed's.
fn prompt(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32)
        .map(|position| seed * 1000 + position)
        .collect()
}

fn sequence(id: u64, tokens: Vec<u32>, max_new: usize) -> NewSequence {
    NewSequence {
        id: SequenceId(id),
        tokens,
        max_new: Some(max_new),
        priority: 0,
        scope: Scope::default(),
        read_cache: true,
    }
}

/// Rows of each sequence in the next plan, in row order.
fn rows(world: &World) -> Vec<(u64, u32)> {
    world
        .scheduler
        .planned()
        .spans
        .iter()
        .map(|span| (span.id.0, span.rows))
        .collect()
}

/// free, cached, used.
fn pool(world: &World) -> (usize, usize, usize) {
    let stats = world.scheduler.stats();
    (stats.blocks_free, stats.blocks_cached, stats.blocks_used)
}

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

#[test]
fn what_can_never_run_is_refused_with_the_numbers() {
    let mut scheduler = Scheduler::new(SchedConfig {
        block_reserve: 2,
        ..config(4, 6)
    })
    .expect("valid");
    assert_eq!(scheduler.context_len(), 16);
    let refused = scheduler
        .add(sequence(0, prompt(1, 9), 8))
        .expect_err("17 tokens");
    let expected = Error::TooLarge {
        prompt_len: 9,
        max_new: 8,
        blocks_needed: 5,
        blocks_total: 4,
        block_size: 4,
    };
    assert_eq!(refused, expected);
    assert_eq!(refused.kind(), Kind::InvalidRequest);
    assert_eq!(refused.param(), Some("max_tokens"));
    assert!(
        scheduler.add(sequence(0, prompt(1, 9), 7)).is_ok(),
        "16 tokens"
    );
    assert_eq!(
        scheduler.add(sequence(0, prompt(1, 1), 1)),
        Err(Error::DuplicateId { id: SequenceId(0) })
    );
    assert_eq!(
        scheduler.add(sequence(1, Vec::new(), 1)),
        Err(Error::EmptyPrompt)
    );
    let long = scheduler.add(NewSequence {
        max_new: None,
        ..sequence(1, prompt(1, 17), 0)
    });
    assert_eq!(
        long,
        Err(Error::PromptTooLong {
            prompt_len: 17,
            context_len: 16
        })
    );
    let open = NewSequence {
        max_new: None,
        ..sequence(1, prompt(1, 3), 0)
    };
    assert!(
        scheduler.add(open).is_ok(),
        "without a bound the rest of the context is the price"
    );
    let price = scheduler.price(9, Some(8));
    assert_eq!((price.blocks_needed, price.blocks_total), (5, 4));
    assert_eq!(scheduler.price(9, None).blocks_needed, 4);
}

#[test]
fn a_full_queue_refuses_and_stays_as_it_was() {
    let mut scheduler = Scheduler::new(SchedConfig {
        queue_len_max: 2,
        ..config(4, 6)
    })
    .expect("valid");
    for id in 0..2 {
        scheduler.add(sequence(id, prompt(1, 2), 2)).expect("room");
    }
    let refused = scheduler
        .add(sequence(2, prompt(1, 2), 2))
        .expect_err("full");
    assert_eq!(refused.kind(), Kind::Overloaded);
    assert_eq!(scheduler.stats().waiting, 2);
    assert_eq!(scheduler.known_len(SequenceId(2)), None);
}

#[test]
fn bad_configurations_are_refused_by_name() {
    let good = config(4, 6);
    let cases = [
        (
            "tokens_per_step",
            SchedConfig {
                tokens_per_step: 0,
                ..good.clone()
            },
        ),
        (
            "logits_rows_max",
            SchedConfig {
                logits_rows_max: 0,
                ..good.clone()
            },
        ),
        (
            "running_max",
            SchedConfig {
                running_max: 0,
                ..good.clone()
            },
        ),
        (
            "queue_len_max",
            SchedConfig {
                queue_len_max: 0,
                ..good.clone()
            },
        ),
        (
            "blocks",
            SchedConfig {
                blocks: 0,
                ..good.clone()
            },
        ),
        (
            "blocks",
            SchedConfig {
                blocks: 1 << 30,
                block_size: 4,
                ..good.clone()
            },
        ),
        (
            "block_size",
            SchedConfig {
                block_size: 0,
                ..good.clone()
            },
        ),
        (
            "block_reserve",
            SchedConfig {
                block_reserve: 6,
                ..good.clone()
            },
        ),
        (
            "context_len",
            SchedConfig {
                context_len: 0,
                ..good.clone()
            },
        ),
        (
            "chunk_max",
            SchedConfig {
                chunk_max: Some(0),
                ..good.clone()
            },
        ),
        (
            "long_prefill_share",
            SchedConfig {
                long_prefill_share: 0.0,
                ..good.clone()
            },
        ),
        (
            "long_prefill_share",
            SchedConfig {
                long_prefill_share: f32::NAN,
                ..good.clone()
            },
        ),
        (
            "preempt_max",
            SchedConfig {
                preempt_max: 0,
                ..good.clone()
            },
        ),
        (
            "age_steps",
            SchedConfig {
                age_steps: u32::MAX,
                ..good
            },
        ),
    ];
    for (name, config) in cases {
        let Err(error) = Scheduler::new(config) else {
            panic!("{name} was accepted")
        };
        assert_eq!(error.param(), Some(name), "{error}");
    }
}

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
    assert!(scheduler.plan().is_empty());
    scheduler.check_full();
    assert_eq!(scheduler.stats().blocks_used, 0);
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
fn scopes_share_nothing_and_readers_without_cache_read_nothing() {
    let mut world = World::new(config(4, 32));
    world.add(Ask::new(prompt(1, 9), 2)).expect("fits");
    world.drain(10);
    let other = world
        .add(Ask {
            scope: 1,
            ..Ask::new(prompt(1, 9), 2)
        })
        .expect("fits");
    world.step();
    assert_eq!(world.scheduler.cached_tokens(SequenceId(other)), Some(0));
    let blind = world
        .add(Ask {
            read_cache: false,
            ..Ask::new(prompt(1, 9), 2)
        })
        .expect("fits");
    world.step();
    assert_eq!(world.scheduler.cached_tokens(SequenceId(blind)), Some(0));
    let same = world.add(Ask::new(prompt(1, 9), 2)).expect("fits");
    world.step();
    assert_eq!(world.scheduler.cached_tokens(SequenceId(same)), Some(8));
    world.drain(10);
}

#[test]
fn at_most_bypass_max_smaller_requests_pass_a_waiter() {
    let mut world = World::new(SchedConfig {
        bypass_max: 2,
        ..config(4, 8)
    });
    let holder = world.add(Ask::new(prompt(1, 15), 9)).expect("fits");
    world.step();
    let large = world.add(Ask::new(prompt(2, 24), 4)).expect("fits");
    for seed in 3..8 {
        world.add(Ask::new(prompt(seed, 2), 2)).expect("fits");
    }
    let mut passed = 0;
    while world.scheduler.is_running(SequenceId(holder)) {
        world.step();
        passed += world.scheduler.planned().admitted.len();
    }
    assert_eq!(passed, 2, "two passed, and then nobody");
    world.step();
    assert_eq!(
        world.scheduler.planned().admitted.first(),
        Some(&SequenceId(large))
    );
    world.drain(50);
}

#[test]
fn priority_admits_smaller_numbers_first_and_ageing_raises_a_waiter() {
    let policy = Policy::Priority;
    let config = SchedConfig {
        policy,
        age_steps: 4,
        running_max: 1,
        ..config(4, 16)
    };
    let mut world = World::new(config);
    world.add(Ask::new(prompt(1, 2), 6)).expect("fits");
    world.step();
    let ask = |seed, priority| Ask {
        priority,
        ..Ask::new(prompt(seed, 2), 1)
    };
    let old = world.add(ask(2, 1)).expect("fits");
    let urgent = world.add(ask(3, 0)).expect("fits");
    for _ in 0..4 {
        world.step();
    }
    // Four steps later the old one stands one level higher and came first.
    let young = world.add(ask(4, 0)).expect("fits");
    let mut order = Vec::new();
    while world.scheduler.has_work() {
        world.step();
        order.extend(world.scheduler.planned().admitted.iter().map(|id| id.0));
    }
    assert_eq!(order, [urgent, old, young]);
}

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
    for case in 0..4 * 8 * 16 {
        let (blocks, long, other) = (6 + case % 4, 4 + case / 4 % 8, 1 + case / 32);
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

#[test]
fn equal_blocks_stay_private_and_their_successors_are_still_found() {
    let mut world = World::new(config(2, 16));
    // Both compute the same first block in the same step; each goes on alone.
    world.add(Ask::new(vec![1, 2, 3, 4, 5], 1)).expect("fits");
    world.add(Ask::new(vec![1, 2, 6, 7, 8], 1)).expect("fits");
    world.step();
    world.drain(5);
    let found = world.add(Ask::new(vec![1, 2, 6, 7, 8], 1)).expect("fits");
    world.scheduler.plan();
    assert_eq!(world.scheduler.cached_tokens(SequenceId(found)), Some(4));
    world.scheduler.check_full();
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
