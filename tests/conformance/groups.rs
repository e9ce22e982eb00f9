//! The groups of the suite. Each drives a backend through one part of the contract and says what went wrong,
//! so that a backend which breaks that part can be seen to fail it.

use tokenmill_core::{BlockId, TokenId};
use tokenmill_formats::Encoding;
use tokenmill_model::{Activation, BlockCopy, KvFormat, MemoryPlan, NormKind};

use crate::driver::{Piece, Rig, blocks};
use crate::random::Random;
use crate::sketch::{Feed, QkNorm, Sketch, Tiny, VOCAB};
use crate::subject::{Outcome, Subject, compare, text, truth};

/// A group: its name and what it does.
pub type Group = (&'static str, fn(&Subject) -> Outcome);

/// All of them.
pub const GROUPS: [Group; 14] = [
    ("prefill", prefill),
    ("chunked prefill", chunked_prefill),
    ("decode", decode),
    ("mixed batch", mixed_batch),
    ("forked tables", forked_tables),
    ("moved slots", moved_slots),
    ("read-only rows", read_only_rows),
    ("windows", windows),
    ("soft caps", soft_caps),
    ("norms", norms),
    ("layouts of layers", layouts),
    ("experts", experts),
    ("weight formats", weight_formats),
    ("bf16 cache", bf16_cache),
];

fn tokens(seed: u64, len: usize) -> Vec<TokenId> {
    Random::new(seed).tokens(len, VOCAB)
}

fn ids(table: &[u32]) -> Vec<BlockId> {
    table.iter().copied().map(BlockId).collect()
}

fn piece<'a>(tokens: &'a [TokenId], table: &'a [BlockId], from: usize, to: usize) -> Piece<'a> {
    Piece {
        tokens,
        table,
        from,
        to,
        is_read_only: false,
    }
}

fn prefill(subject: &Subject) -> Outcome {
    let tiny = Sketch::default().draw();
    for len in [1, 5, 16, 17, 70] {
        let prompt = tokens(len as u64, len);
        let mut rig = subject.load(&tiny, 5)?;
        let got = rig.run_alone(&prompt, &blocks(0, 5), len).map_err(text)?;
        let what = format!("prompt of {len}");
        subject.compare(&what, 0, &truth(&tiny, &prompt, KvFormat::F32), &got)?;
    }
    Ok(())
}

fn chunked_prefill(subject: &Subject) -> Outcome {
    let tiny = Sketch::default().draw();
    let prompt = tokens(2, 70);
    let truth = truth(&tiny, &prompt, KvFormat::F32);
    for chunk in [3, 16, 33, 64] {
        let mut rig = subject.load(&tiny, 9)?;
        let table = ids(&[8, 1, 6, 0, 3]);
        let got = rig.run_alone(&prompt, &table, chunk).map_err(text)?;
        subject.compare(&format!("chunks of {chunk}"), 0, &truth, &got)?;
    }
    Ok(())
}

fn decode(subject: &Subject) -> Outcome {
    let tiny = Sketch::default().draw();
    let known = tokens(3, 50);
    let truth = truth(&tiny, &known, KvFormat::F32);
    let table = ids(&[2, 0, 3, 1]);
    let mut rig = subject.load(&tiny, 4)?;
    rig.step(&[piece(&known, &table, 0, 19)]).map_err(text)?;
    for at in 19..known.len() {
        let got = rig
            .step(&[piece(&known, &table, at, at + 1)])
            .map_err(text)?;
        subject.compare("decode", at, &truth, &got[0])?;
    }
    Ok(())
}

/// Three sequences in scattered blocks; every step has another mixture of chunks and decodes.
fn mixed_batch(subject: &Subject) -> Outcome {
    let tiny = Sketch::default().draw();
    let lens = [40, 23, 9];
    let known: Vec<_> = (0..3)
        .map(|index| tokens(10 + index as u64, lens[index]))
        .collect();
    let truths: Vec<_> = known
        .iter()
        .map(|known| truth(&tiny, known, KvFormat::F32))
        .collect();
    let tables = [ids(&[7, 2, 5]), ids(&[0, 9]), ids(&[4])];
    let steps: [&[(usize, usize, usize)]; 6] = [
        &[(0, 0, 20), (1, 0, 5)],
        &[(1, 5, 6), (0, 20, 33), (2, 0, 8)],
        &[(2, 8, 9), (0, 33, 34), (1, 6, 20)],
        &[(1, 20, 21), (0, 34, 35)],
        &[(0, 35, 36), (1, 21, 22)],
        &[(1, 22, 23), (0, 36, 40)],
    ];
    let mut rig = subject.load(&tiny, 10)?;
    for step in steps {
        let piece =
            |&(at, from, to): &(usize, usize, usize)| piece(&known[at], &tables[at], from, to);
        let got = rig
            .step(&step.iter().map(piece).collect::<Vec<_>>())
            .map_err(text)?;
        for (&(at, from, _), rows) in step.iter().zip(&got) {
            subject.compare(&format!("sequence {at}"), from, &truths[at], rows)?;
        }
    }
    Ok(())
}

/// Two continuations of one prompt share its full blocks; the partial one is copied.
fn forked_tables(subject: &Subject) -> Outcome {
    let tiny = Sketch::default().draw();
    let prompt = tokens(4, 37);
    let grown = |seed: u64| [prompt.clone(), tokens(seed, 12)].concat();
    let known = [grown(5), grown(6), grown(7)];
    let truths: Vec<_> = known
        .iter()
        .map(|known| truth(&tiny, known, KvFormat::F32))
        .collect();
    let tables = [ids(&[3, 1, 4, 2]), ids(&[3, 1, 6, 0]), ids(&[3, 1, 5, 7])];
    let mut rig = subject.load(&tiny, 8)?;
    rig.run_alone(&prompt, &tables[0], 37).map_err(text)?;
    let copy = |from: u32, to: u32| BlockCopy {
        from: BlockId(from),
        to: BlockId(to),
        from_slot: 0,
        to_slot: 0,
        len: 5,
    };
    // The second copy reads what the first wrote.
    rig.backend
        .copy_blocks(&[copy(4, 6), copy(6, 5)])
        .map_err(text)?;
    for at in 37..known[0].len() {
        let pieces: Vec<_> = known
            .iter()
            .zip(&tables)
            .map(|(known, table)| piece(known, table, at, at + 1))
            .collect();
        let got = rig.step(&pieces).map_err(text)?;
        for (index, truth) in truths.iter().enumerate() {
            subject.compare(&format!("branch {index}"), at, truth, &got[index])?;
        }
    }
    Ok(())
}

/// Slots move to other offsets and back, past the reuse of their block.
fn moved_slots(subject: &Subject) -> Outcome {
    let tiny = Sketch::default().draw();
    let known = tokens(8, 20);
    let truth = truth(&tiny, &known, KvFormat::F32);
    let table = ids(&[0, 1]);
    let mut rig = subject.load(&tiny, 3)?;
    rig.run_alone(&known[..16], &table, 16).map_err(text)?;
    let move_slots = |from: u32, to: u32, from_slot: u32, to_slot: u32| BlockCopy {
        from: BlockId(from),
        to: BlockId(to),
        from_slot,
        to_slot,
        len: 7,
    };
    rig.backend
        .copy_blocks(&[move_slots(0, 2, 3, 8)])
        .map_err(text)?;
    // Rows 3..10 of the block now hold K and V of other tokens.
    let other = tokens(9, 20);
    rig.step(&[piece(&other, &table, 0, 16)]).map_err(text)?;
    rig.step(&[piece(&known, &table, 0, 3)]).map_err(text)?;
    rig.backend
        .copy_blocks(&[move_slots(2, 0, 8, 3)])
        .map_err(text)?;
    let got = rig.step(&[piece(&known, &table, 10, 20)]).map_err(text)?;
    subject.compare("after two moves", 10, &truth, &got[0])
}

/// A prompt found whole in the cache: its last row computes logits and writes nothing.
fn read_only_rows(subject: &Subject) -> Outcome {
    let tiny = Sketch::default().draw();
    let known = tokens(11, 40);
    let truth = truth(&tiny, &known, KvFormat::F32);
    let table = ids(&[0, 1, 2]);
    let mut rig = subject.load(&tiny, 3)?;
    rig.run_alone(&known[..32], &table, 32).map_err(text)?;
    let reading = Piece {
        is_read_only: true,
        ..piece(&known, &table[..2], 31, 32)
    };
    let got = rig.step(&[reading]).map_err(text)?;
    subject.compare("read-only", 31, &truth, &got[0])?;
    let got = rig
        .step(&[piece(&known, &table, 32, 36), reading])
        .map_err(text)?;
    subject.compare("beside a read-only row", 32, &truth, &got[0])?;
    subject.compare("read-only beside a chunk", 31, &truth, &got[1])?;
    let got = rig.step(&[piece(&known, &table, 36, 40)]).map_err(text)?;
    subject.compare("after a read-only row", 36, &truth, &got[0])
}

/// Windows smaller and larger than a block, whose ends cross the borders of blocks and of splits.
fn windows(subject: &Subject) -> Outcome {
    for (window, len) in [(1, 40), (5, 40), (16, 70), (33, 300), (300, 620)] {
        let sketch = Sketch {
            window: Some(window),
            layers: 1,
            ..Sketch::default()
        };
        let tiny = sketch.draw();
        let known = tokens(window as u64, len);
        let truth = truth(&tiny, &known, KvFormat::F32);
        let count = len.div_ceil(16) as u32;
        for chunk in [64, 1] {
            let mut rig = subject.load(&tiny, count as usize)?;
            let got = rig
                .run_alone(&known, &blocks(0, count), chunk)
                .map_err(text)?;
            subject.compare(&format!("window {window}, chunk {chunk}"), 0, &truth, &got)?;
        }
    }
    Ok(())
}

/// Whole prompt, chunks and decode of one sketch.
fn run_sketch(subject: &Subject, what: &str, sketch: &Sketch) -> Outcome {
    let tiny = sketch.draw();
    let known = tokens(12, 40);
    let truth = truth(&tiny, &known, KvFormat::F32);
    for chunk in [40, 7, 1] {
        let mut rig = subject.load(&tiny, 3)?;
        let got = rig.run_alone(&known, &blocks(0, 3), chunk).map_err(text)?;
        subject.compare(&format!("{what}, chunk {chunk}"), 0, &truth, &got)?;
    }
    Ok(())
}

fn run_sketches(subject: &Subject, sketches: Vec<(&str, Sketch)>) -> Outcome {
    sketches
        .iter()
        .try_for_each(|(what, sketch)| run_sketch(subject, what, sketch))
}

fn soft_caps(subject: &Subject) -> Outcome {
    let plain = Sketch::default;
    run_sketches(
        subject,
        vec![
            (
                "attention cap",
                Sketch {
                    attention_cap: Some(0.7),
                    ..plain()
                },
            ),
            (
                "logits cap",
                Sketch {
                    logits_cap: Some(1.5),
                    ..plain()
                },
            ),
            (
                "both caps",
                Sketch {
                    attention_cap: Some(0.7),
                    logits_cap: Some(2.0),
                    window: Some(9),
                    ..plain()
                },
            ),
        ],
    )
}

fn norms(subject: &Subject) -> Outcome {
    let plain = Sketch::default;
    run_sketches(
        subject,
        vec![
            (
                "layer norm",
                Sketch {
                    norm: NormKind::Layer,
                    ..plain()
                },
            ),
            (
                "offset 1",
                Sketch {
                    norm_offset: 1.0,
                    ..plain()
                },
            ),
            (
                "head norms",
                Sketch {
                    qk_norm: QkNorm::Heads,
                    ..plain()
                },
            ),
            (
                "head norms with offset",
                Sketch {
                    qk_norm: QkNorm::Heads,
                    norm_offset: 1.0,
                    ..plain()
                },
            ),
            (
                "norm of whole q and k",
                Sketch {
                    qk_norm: QkNorm::Whole,
                    ..plain()
                },
            ),
            (
                "post norms",
                Sketch {
                    has_post_norms: true,
                    ..plain()
                },
            ),
        ],
    )
}

/// What the layers of other architectures are made of.
fn layouts(subject: &Subject) -> Outcome {
    let plain = Sketch::default;
    let gpt2 = Sketch {
        norm: NormKind::Layer,
        has_biases: true,
        has_rope: false,
        positions: Some(0),
        kv_heads: 4,
        feed: Feed::Plain(Activation::GeluTanh),
        ..plain()
    };
    run_sketches(
        subject,
        vec![
            ("gpt2", gpt2.clone()),
            (
                "opt",
                Sketch {
                    positions: Some(2),
                    feed: Feed::Plain(Activation::Relu),
                    ..gpt2.clone()
                },
            ),
            (
                "exact gelu",
                Sketch {
                    feed: Feed::Gated(Activation::Gelu),
                    ..plain()
                },
            ),
            (
                "gelu by tanh",
                Sketch {
                    feed: Feed::Gated(Activation::GeluTanh),
                    ..plain()
                },
            ),
            (
                "parallel residual",
                Sketch {
                    is_parallel: true,
                    ..plain()
                },
            ),
            (
                "clip and own head",
                Sketch {
                    clip: Some(0.8),
                    is_tied: false,
                    has_biases: true,
                    ..plain()
                },
            ),
            (
                "scales",
                Sketch {
                    embed_scale: 5.7,
                    residual_scale: 0.4,
                    logits_scale: 0.3,
                    ..plain()
                },
            ),
            (
                "one kv head",
                Sketch {
                    kv_heads: 1,
                    ..plain()
                },
            ),
            (
                "odd sizes",
                Sketch {
                    hidden: 40,
                    heads: 5,
                    kv_heads: 5,
                    head_dim: 6,
                    inner: 37,
                    ..plain()
                },
            ),
            (
                "pruned to one head",
                Sketch {
                    hidden: 24,
                    heads: 1,
                    kv_heads: 1,
                    head_dim: 10,
                    inner: 3,
                    ..plain()
                },
            ),
        ],
    )
}

fn experts(subject: &Subject) -> Outcome {
    let feed = |experts, active, is_renormalised| Sketch {
        feed: Feed::Experts {
            experts,
            active,
            is_renormalised,
        },
        ..Sketch::default()
    };
    run_sketches(
        subject,
        vec![
            ("2 of 5 experts", feed(5, 2, true)),
            ("3 of 4 experts, weights of all", feed(4, 3, false)),
            ("the only expert", feed(1, 1, true)),
        ],
    )
}

/// Rows of every encoding that a weight may have.
pub fn weight_formats(subject: &Subject) -> Outcome {
    let encodings = [
        Encoding::F16,
        Encoding::Bf16,
        Encoding::Q8_0,
        Encoding::Q4_0,
        Encoding::Q4_1,
        Encoding::Q4K,
        Encoding::Q6K,
    ];
    for encoding in encodings {
        let sketch = Sketch {
            encoding,
            hidden: 256,
            heads: 4,
            head_dim: 64,
            inner: 256,
            is_tied: encoding != Encoding::Q4K,
            ..Sketch::default()
        };
        run_sketch(subject, encoding.name(), &sketch)?;
    }
    Ok(())
}

fn bf16_cache(subject: &Subject) -> Outcome {
    let tiny = Sketch::default().draw();
    let known = tokens(13, 60);
    let truth = truth(&tiny, &known, KvFormat::Bf16);
    for chunk in [60, 7, 1] {
        let plan = MemoryPlan {
            kv_format: KvFormat::Bf16,
            ..subject.plan(&tiny, 4, 16)
        };
        let mut rig = subject.load_with(&tiny, plan)?;
        let got = rig.run_alone(&known, &blocks(0, 4), chunk).map_err(text)?;
        compare(
            subject.bf16_tolerance,
            &format!("chunk {chunk}"),
            0,
            &truth,
            &got,
        )?;
    }
    Ok(())
}

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

/// The tiny models of sketches that every operation appears in.
pub fn all_operations() -> Vec<Tiny> {
    let feed = Feed::Experts {
        experts: 4,
        active: 2,
        is_renormalised: false,
    };
    let sketches = [
        Sketch::default(),
        Sketch {
            window: Some(9),
            attention_cap: Some(0.7),
            logits_cap: Some(2.0),
            ..Sketch::default()
        },
        Sketch {
            norm: NormKind::Layer,
            has_biases: true,
            has_rope: false,
            positions: Some(2),
            feed: Feed::Plain(Activation::Relu),
            ..Sketch::default()
        },
        Sketch {
            norm_offset: 1.0,
            qk_norm: QkNorm::Heads,
            has_post_norms: true,
            embed_scale: 5.7,
            feed: Feed::Gated(Activation::GeluTanh),
            ..Sketch::default()
        },
        Sketch {
            qk_norm: QkNorm::Whole,
            is_parallel: true,
            clip: Some(0.8),
            is_tied: false,
            feed: Feed::Gated(Activation::Gelu),
            ..Sketch::default()
        },
        Sketch {
            feed,
            residual_scale: 0.4,
            logits_scale: 0.3,
            ..Sketch::default()
        },
        Sketch {
            feed: Feed::Experts {
                experts: 5,
                active: 2,
                is_renormalised: true,
            },
            ..Sketch::default()
        },
    ];
    sketches.iter().map(Sketch::draw).collect()
}
