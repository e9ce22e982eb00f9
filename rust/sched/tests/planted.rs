//! A check is believed only after it has been seen to fail: every planted bug is found by seeded traces,
//! and the same traces find nothing without one. Run with `--features planted`.
#![cfg(feature = "planted")]

mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenmill_sched::{Planted, SchedConfig};
use world::{Ask, World, mix};

const SEEDS: u64 = 200;

/// A seeded trace: arrivals with common prefixes in two scopes, cancels, failing steps, a tight pool.
fn trace(seed: u64, planted: Option<Planted>) {
    let config = SchedConfig {
        tokens_per_step: 1 + mix(seed, 1) as usize % 12,
        blocks: 8 + mix(seed, 2) as usize % 8,
        block_size: 1 + mix(seed, 3) as usize % 4,
        running_max: 1 + mix(seed, 4) as usize % 6,
        secret: [seed as u8; 32],
        planted,
        ..SchedConfig::default()
    };
    let mut world = World::new(config);
    world.vocab = 1000;
    for turn in 0..40 {
        let dice = mix(mix(seed, 5), turn);
        match dice % 8 {
            0..3 => {
                let len = 1 + dice as usize / 8 % 10;
                // Many first tokens, so that a short key would meet another prefix.
                let prompt = (0..len as u64)
                    .map(|at| (mix(dice / 1024 % 8, at) % 50) as u32)
                    .collect();
                let ask = Ask {
                    scope: dice / 64 % 2,
                    n: 1 + (dice / 128 % 2) as u32,
                    ..Ask::new(prompt, 6)
                };
                world.add(ask);
            }
            3 => {
                let id = world.live.keys().nth(dice as usize / 8 % 4).copied();
                if let Some(id) = id {
                    world.cancel(id);
                }
            }
            4 => {
                world.failing_step(dice.is_multiple_of(3));
            }
            _ => {
                world.step();
            }
        }
    }
    world.drain(2_000);
}

fn is_found(seed: u64, planted: Option<Planted>) -> bool {
    catch_unwind(AssertUnwindSafe(|| trace(seed, planted))).is_err()
}

#[test]
fn every_planted_bug_is_found_and_nothing_else() {
    // Hundreds of expected panics would drown the report.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let false_alarms: Vec<u64> = (0..SEEDS).filter(|&seed| is_found(seed, None)).collect();
    let finds = |bug| (0..SEEDS).filter(|&seed| is_found(seed, Some(bug))).count();
    let found: Vec<_> = Planted::ALL.iter().map(|&bug| (bug, finds(bug))).collect();
    std::panic::set_hook(hook);
    assert!(
        false_alarms.is_empty(),
        "alarms without a bug at seeds {false_alarms:?}"
    );
    for (bug, seeds) in &found {
        assert!(
            *seeds > 0,
            "{bug:?} was not found in {SEEDS} seeds: {found:?}"
        );
    }
}
