//! Who is let in, in which order, and what is refused.

mod world;

use tokenmill_core::{HasKind, Kind, SequenceId};
use tokenmill_sched::{Error, Extent, NewSequence, Policy, SchedConfig, Scheduler};
use world::{Ask, World, config, pool, prompt, sequence};

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
        sequences: 1,
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
    let price = scheduler.price(&Extent::plain(9, Some(8)));
    assert_eq!((price.blocks_needed, price.blocks_total), (5, 4));
    assert_eq!(scheduler.price(&Extent::plain(9, None)).blocks_needed, 4);
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
    type Spoil = fn(&mut SchedConfig);
    let cases: [(&str, Spoil); 14] = [
        ("tokens_per_step", |config| config.tokens_per_step = 0),
        ("logits_rows_max", |config| config.logits_rows_max = 0),
        ("running_max", |config| config.running_max = 0),
        ("queue_len_max", |config| config.queue_len_max = 0),
        ("blocks", |config| config.blocks = 0),
        ("blocks", |config| config.blocks = 1 << 30),
        ("block_size", |config| config.block_size = 0),
        ("block_reserve", |config| config.block_reserve = 6),
        ("context_len", |config| config.context_len = 0),
        ("chunk_max", |config| config.chunk_max = Some(0)),
        ("long_prefill_share", |config| {
            config.long_prefill_share = 0.0;
        }),
        ("long_prefill_share", |config| {
            config.long_prefill_share = f32::NAN;
        }),
        ("preempt_max", |config| config.preempt_max = 0),
        ("age_steps", |config| config.age_steps = u32::MAX),
    ];
    for (name, spoil) in cases {
        let mut config = config(4, 6);
        spoil(&mut config);
        let Err(error) = Scheduler::new(config) else {
            panic!("a bad {name} was accepted")
        };
        assert_eq!(error.param(), Some(name), "{error}");
    }
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
fn a_reset_cache_finds_nothing_but_what_is_in_use() {
    let mut world = World::new(config(4, 32));
    world.add(Ask::new(prompt(1, 9), 2)).expect("fits");
    world.drain(10);
    let user = world.add(Ask::new(prompt(2, 9), 9)).expect("fits");
    world.step();
    world.scheduler.reset_prefix_cache();
    world.scheduler.check_full();
    assert_eq!(pool(&world), (29, 0, 3));
    let ended = world.add(Ask::new(prompt(1, 9), 2)).expect("fits");
    let used = world.add(Ask::new(prompt(2, 9), 2)).expect("fits");
    world.scheduler.plan();
    assert_eq!(world.scheduler.cached_tokens(SequenceId(ended)), Some(0));
    assert_eq!(world.scheduler.cached_tokens(SequenceId(used)), Some(8));
    assert!(world.scheduler.is_running(SequenceId(user)));
}
