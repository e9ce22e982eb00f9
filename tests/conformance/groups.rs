//! The groups of the suite, and those among them that are about batches, tables and slots. Each drives a
//! backend through one part of the contract and says what went wrong, so that a backend which breaks that
//! part can be seen to fail it.

use tokenmill_core::{BlockId, TokenId};
use tokenmill_model::{BlockCopy, KvFormat, MemoryPlan};

use crate::driver::{Piece, blocks};
use crate::hidden::{early_layers, hidden_states};
use crate::programs::{experts, layouts, norms, soft_caps, weight_formats, windows};
use crate::random::Random;
use crate::sketch::{Sketch, VOCAB};
use crate::subject::{Outcome, Subject, compare, text, truth};

/// A group: its name and what it does.
pub type Group = (&'static str, fn(&Subject) -> Outcome);

/// All of them.
pub const GROUPS: [Group; 16] = [
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
    ("hidden states", hidden_states),
    ("early layers", early_layers),
];

/// A random sequence.
pub fn tokens(seed: u64, len: usize) -> Vec<TokenId> {
    Random::new(seed).tokens(len, VOCAB)
}

fn ids(table: &[u32]) -> Vec<BlockId> {
    table.iter().copied().map(BlockId).collect()
}

/// Rows `from..to` of a sequence.
pub fn piece<'a>(tokens: &'a [TokenId], table: &'a [BlockId], from: usize, to: usize) -> Piece<'a> {
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
        .copy_blocks(&[
            move_slots(0, 2, 3, 8),
            // Within a block, over slots of their own, down and up.
            move_slots(2, 2, 8, 6),
            move_slots(2, 2, 6, 9),
        ])
        .map_err(text)?;
    // Rows 3..10 of the block now hold K and V of other tokens.
    let other = tokens(9, 20);
    rig.step(&[piece(&other, &table, 0, 16)]).map_err(text)?;
    rig.step(&[piece(&known, &table, 0, 3)]).map_err(text)?;
    rig.backend
        .copy_blocks(&[move_slots(2, 0, 9, 3)])
        .map_err(text)?;
    let got = rig.step(&[piece(&known, &table, 10, 20)]).map_err(text)?;
    subject.compare("after four moves", 10, &truth, &got[0])
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
