//! What does a scheduling decision cost? A step at 256 running sequences (target: median at most 60 us),
//! taking and releasing blocks, and the prefix cache on a prompt of 2,048 tokens: found, and not found
//! (the price of having a cache at 0 % hits).

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tokenmill_core::SequenceId;
use tokenmill_sched::{NewSequence, SchedConfig, Scheduler, Scope};

const PROMPT_LEN: usize = 2048;

fn config() -> SchedConfig {
    SchedConfig {
        tokens_per_step: 8192,
        logits_rows_max: 256,
        running_max: 256,
        blocks: 32_768,
        block_size: 16,
        secret: [7; 32],
        ..SchedConfig::default()
    }
}

fn sequence(id: u64, len: usize) -> NewSequence {
    NewSequence {
        id: SequenceId(id),
        tokens: (0..len as u32)
            .map(|position| id as u32 * 7919 + position)
            .collect(),
        max_new: Some(1024),
        width: 1,
        second: None,
        priority: 0,
        scope: Scope::default(),
        read_cache: true,
        scores_prompt: false,
    }
}

/// 256 sequences of 400 to 655 tokens, all decoding.
fn decoding() -> Scheduler {
    let mut scheduler = Scheduler::new(config()).expect("a valid configuration");
    for id in 0..256 {
        scheduler
            .add(sequence(id, 400 + id as usize))
            .expect("room in the queue");
    }
    for _ in 0..64 {
        step(&mut scheduler);
    }
    assert_eq!(scheduler.plan().rows(), 256);
    scheduler.abort_step();
    scheduler
}

/// One step as the engine drives it, without the backend.
fn step(scheduler: &mut Scheduler) {
    let sampled = scheduler.plan().sampled.len();
    scheduler.commit();
    for index in 0..sampled {
        let id = scheduler.planned().sampled[index];
        scheduler.append(id, id.0 as u32);
    }
    scheduler.check();
}

fn steps(c: &mut Criterion) {
    let fresh = decoding();
    c.bench_function("step_256_running", |bencher| {
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            let mut left = count;
            while left > 0 {
                // Started over every 64 steps, so that the sequences keep their lengths.
                // A clone has no spare memory, so its first block of steps is not timed.
                let mut scheduler = fresh.clone();
                (0..16).for_each(|_| step(&mut scheduler));
                let turns = left.min(64);
                let start = Instant::now();
                (0..turns).for_each(|_| step(&mut scheduler));
                spent += start.elapsed();
                left -= turns;
            }
            spent
        });
    });
    c.bench_function("check_256_running", |bencher| {
        bencher.iter(|| black_box(&fresh).check());
    });
}

/// Admission, one step and the end of one prompt.
fn live_and_die(scheduler: &mut Scheduler, new: NewSequence) {
    let id = new.id;
    scheduler.add(new).expect("room in the queue");
    black_box(scheduler.plan());
    scheduler.commit();
    scheduler.finish(id);
}

fn blocks(c: &mut Criterion) {
    let config = SchedConfig {
        prefix_caching: false,
        ..config()
    };
    let mut scheduler = Scheduler::new(config).expect("a valid configuration");
    c.bench_function("blocks_take_and_release_128", |bencher| {
        bencher.iter_batched(
            || sequence(1, PROMPT_LEN),
            |new| live_and_die(&mut scheduler, new),
            BatchSize::SmallInput,
        );
    });
}

fn prefix(c: &mut Criterion) {
    let mut scheduler = Scheduler::new(config()).expect("a valid configuration");
    live_and_die(&mut scheduler, sequence(1, PROMPT_LEN));
    c.bench_function("prefix_found_2048_tokens", |bencher| {
        bencher.iter_batched(
            || sequence(1, PROMPT_LEN),
            |new| live_and_die(&mut scheduler, new),
            BatchSize::SmallInput,
        );
    });
    let mut id = 1;
    c.bench_function("prefix_published_2048_tokens", |bencher| {
        bencher.iter_batched(
            || {
                id += 1;
                sequence(id, PROMPT_LEN)
            },
            |new| live_and_die(&mut scheduler, new),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, steps, blocks, prefix);
criterion_main!(benches);
