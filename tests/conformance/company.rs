//! The promise that a row's result depends on its prefix alone: the bits of one sequence under different
//! chunks, block sizes, thread counts and mates.

use tokenmill_core::TokenId;
use tokenmill_formats::Encoding;
use tokenmill_model::{KvFormat, MemoryPlan};

use crate::driver::{Rig, blocks};
use crate::groups::{piece, tokens};
use crate::sketch::Sketch;
use crate::subject::{Outcome, Subject, text};

/// One schedule of the same sequence.
#[derive(Debug)]
struct Schedule {
    block_size: usize,
    threads: usize,
    chunk: usize,
    has_mate: bool,
}

const fn schedule(block_size: usize, threads: usize, chunk: usize, has_mate: bool) -> Schedule {
    Schedule {
        block_size,
        threads,
        chunk,
        has_mate,
    }
}

/// Every block size, thread count, chunk and company at least twice, in different mixtures.
const SCHEDULES: [Schedule; 8] = [
    schedule(16, 1, 60, false),
    schedule(16, 2, 60, true),
    schedule(16, 1, 1, true),
    schedule(32, 2, 1, false),
    schedule(32, 1, 7, true),
    schedule(64, 2, 7, false),
    schedule(64, 1, 33, true),
    schedule(16, 2, 33, false),
];

/// The result of a row depends on nothing but its prefix: the bits stay, whatever the schedule.
pub fn company(subject: &Subject, sketch: &Sketch, kv_format: KvFormat) -> Outcome {
    let tiny = sketch.draw();
    let known = tokens(14, 60);
    let mut first: Option<Vec<Vec<f32>>> = None;
    for schedule in &SCHEDULES {
        let plan = MemoryPlan {
            threads: schedule.threads,
            kv_format,
            ..subject.plan(&tiny, 8, schedule.block_size)
        };
        let mut rig = subject.load_with(&tiny, plan)?;
        let got = run_schedule(&mut rig, &known, schedule)?;
        let first = first.get_or_insert_with(|| got.clone());
        if let Some(position) = (0..known.len()).find(|&at| first[at] != got[at]) {
            return Err(format!("{schedule:?}: position {position} has other bits"));
        }
    }
    Ok(())
}

/// The sequence alone, or after the rows of another of the same length.
fn run_schedule(
    rig: &mut Rig,
    known: &[TokenId],
    schedule: &Schedule,
) -> Result<Vec<Vec<f32>>, String> {
    let count = known.len().div_ceil(schedule.block_size) as u32;
    let mate = tokens(15, known.len());
    let (table, mate_table) = (blocks(0, count), blocks(count, count));
    let mut rows = Vec::new();
    for from in (0..known.len()).step_by(schedule.chunk) {
        let to = (from + schedule.chunk).min(known.len());
        let own = piece(known, &table, from, to);
        let beside = piece(&mate, &mate_table, from, to);
        let pieces = if schedule.has_mate {
            vec![beside, own]
        } else {
            vec![own]
        };
        rows.extend(rig.step(&pieces).map_err(text)?.pop().expect("a piece"));
    }
    Ok(rows)
}

/// The sketches whose bits `company` compares: one per kind of weight.
pub fn company_sketches() -> Vec<Sketch> {
    let of = |encoding| Sketch {
        encoding,
        hidden: 64,
        heads: 4,
        head_dim: 16,
        inner: 96,
        ..Sketch::default()
    };
    let window = Sketch {
        window: Some(21),
        attention_cap: Some(0.9),
        ..Sketch::default()
    };
    [
        Encoding::F32,
        Encoding::Bf16,
        Encoding::Q8_0,
        Encoding::Q4_0,
        Encoding::Q4_1,
    ]
    .map(of)
    .into_iter()
    .chain([window])
    .collect()
}
