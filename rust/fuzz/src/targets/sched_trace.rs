//! Bytes to a trace through the real scheduler, in the world of its own tests: KV memory that remembers whose
//! prefix it holds, and outside models of the pool and of the cache.

use tokenmill_sched::{Policy, SchedConfig};

use super::world::{Ask, World};

const EVENTS_MAX: usize = 200;

/// Reads numbers until the bytes end; then zeros.
struct Dice<'a>(&'a [u8]);

impl Dice<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// A number in `low..=high`.
    fn between(&mut self, low: usize, high: usize) -> usize {
        low + usize::from(self.byte()) % (high - low + 1)
    }
}

/// Plays the trace and drains the world.
pub fn run(data: &[u8]) {
    let mut dice = Dice(data);
    let mut world = World::new(config(&mut dice));
    world.has_eos = dice.byte() & 1 == 1;
    for _ in 0..EVENTS_MAX {
        if dice.0.is_empty() {
            break;
        }
        play(&mut world, &mut dice);
    }
    world.drain(20_000);
}

fn config(dice: &mut Dice<'_>) -> SchedConfig {
    let flags = dice.byte();
    let blocks = dice.between(2, 24);
    SchedConfig {
        blocks,
        block_size: dice.between(1, 5),
        tokens_per_step: dice.between(1, 24),
        logits_rows_max: dice.between(1, 8),
        running_max: dice.between(1, 8),
        queue_len_max: 16,
        block_reserve: dice.between(0, 2).min(blocks - 1),
        context_len: dice.between(1, 40),
        prefix_caching: flags & 1 == 0,
        policy: if flags & 2 == 0 {
            Policy::Fcfs
        } else {
            Policy::Priority
        },
        chunk_max: (flags & 4 != 0).then(|| dice.between(1, 6)),
        long_prefill_share: dice.between(1, 10) as f32 / 10.0,
        bypass_max: dice.between(0, 3) as u32,
        preempt_max: dice.between(1, 3) as u32,
        age_steps: dice.between(0, 4) as u32,
        secret: [7; 32],
        ..SchedConfig::default()
    }
}

fn play(world: &mut World, dice: &mut Dice<'_>) {
    match dice.between(0, 15) {
        0..4 => {
            world.add(ask(dice));
        }
        4 => nth(world, dice).into_iter().for_each(|id| world.cancel(id)),
        5 => nth(world, dice).into_iter().for_each(|id| world.finish(id)),
        6 => nth(world, dice)
            .into_iter()
            .for_each(|id| world.pause(id, true)),
        7 => nth(world, dice)
            .into_iter()
            .for_each(|id| world.pause(id, false)),
        8 => {
            world.failing_step(dice.byte() & 1 == 0);
        }
        9 => {
            world.scheduler.reset_prefix_cache();
            world.scheduler.check_full();
        }
        steps => (10..=steps).for_each(|_| {
            world.step();
        }),
    }
}

fn ask(dice: &mut Dice<'_>) -> Ask {
    let flags = dice.byte();
    let len = dice.between(1, 20);
    // One token over and over, or two in the pattern of a byte, so that prefixes meet.
    let pattern = if flags & 1 == 0 { 0 } else { dice.byte() };
    let prompt = (0..len)
        .map(|at| u32::from(pattern >> (at % 8) & 1))
        .collect();
    Ask {
        is_bounded: flags & 2 == 0,
        n: 1 + u32::from(flags >> 2 & 3) % 3,
        scope: u64::from(flags >> 4 & 1),
        read_cache: flags & 32 == 0,
        priority: dice.between(0, 4) as i32 - 2,
        ..Ask::new(prompt, dice.between(1, 12))
    }
}

fn nth(world: &World, dice: &mut Dice<'_>) -> Option<u64> {
    let index = dice.between(0, 7);
    world.live.keys().nth(index).copied()
}
