//! What a step refuses, and what it survives: broken batches, copies, rows that only read, logits that are no
//! numbers.

use tokenmill_core::BlockId;
use tokenmill_model::*;

use super::programs::Recipe;
use super::runner::Schedule;
use crate::exec::Loaded;

const TOKENS: [u32; 20] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4];

/// Breaks a batch.
type Breakage = fn(&mut StepBatch);

fn loaded() -> Loaded {
    let (program, source) = Recipe::llama().build();
    Schedule::exact().load(&program, &source, &[TOKENS.to_vec(), TOKENS.to_vec()])
}

/// Rows `start..end` of `TOKENS` over `table`, all of them with logits.
fn batch(start: usize, end: usize, table: &[u32]) -> StepBatch {
    let slot = |position: usize| table[position / 16] * 16 + position as u32 % 16;
    StepBatch {
        tokens: TOKENS[start..end].to_vec(),
        positions: (start as u32..end as u32).collect(),
        slots: (start..end).map(slot).collect(),
        spans: vec![Span {
            row: 0,
            rows: (end - start) as u32,
            table: 0,
            table_len: table.len() as u32,
            scope: 0,
        }],
        tables: table.iter().map(|block| BlockId(*block)).collect(),
        logits_rows: (0..(end - start) as u32).collect(),
        ..StepBatch::default()
    }
}

fn last_logits(loaded: &mut Loaded, batch: &StepBatch) -> Vec<u32> {
    let step = loaded.run(batch).unwrap();
    let last = batch.logits_rows.len() - 1;
    loaded
        .logits(step, last)
        .unwrap()
        .iter()
        .map(|x| x.to_bits())
        .collect()
}

#[test]
fn broken_batches_are_refused_and_the_backend_goes_on() {
    let mut loaded = loaded();
    let good = batch(0, 20, &[1, 2]);
    let expected = last_logits(&mut loaded, &good);
    let breakages: [(&str, Breakage); 16] = [
        ("no rows", StepBatch::clear),
        ("a missing position", |b| b.positions.truncate(19)),
        ("a missing slot", |b| b.slots.truncate(19)),
        ("a token outside the vocabulary", |b| b.tokens[3] = 50),
        ("a gap in positions", |b| b.positions[4] = 7),
        ("a position beyond the context", |b| {
            b.positions.iter_mut().for_each(|p| *p += 1);
        }),
        ("a slot outside the cache", |b| b.slots[0] = 16 * 5),
        ("a slot written twice", |b| b.slots[1] = b.slots[0]),
        ("a block outside the cache", |b| b.tables[1] = BlockId(5)),
        ("a short table", |b| b.spans[0].table_len = 1),
        ("a table outside the step", |b| b.spans[0].table = 1),
        ("rows without a span", |b| b.spans[0].rows = 19),
        ("a span of no rows", |b| b.spans[0].rows = 0),
        ("a span beyond the rows", |b| b.spans[0].rows = 21),
        ("rows with logits out of order", |b| {
            b.logits_rows.swap(0, 1);
        }),
        ("a row with logits that is none", |b| b.logits_rows[19] = 20),
    ];
    for (what, break_it) in breakages {
        let mut broken = good.clone();
        break_it(&mut broken);
        assert!(
            matches!(loaded.run(&broken), Err(Error::Internal { .. })),
            "{what}"
        );
        assert_eq!(last_logits(&mut loaded, &good), expected, "after {what}");
    }
}

#[test]
fn a_row_that_only_reads_gives_the_same_logits_and_writes_nothing() {
    let mut loaded = loaded();
    let expected = last_logits(&mut loaded, &batch(0, 20, &[1, 2]));
    let mut reading = batch(19, 20, &[1, 2]);
    reading.slots = vec![NO_SLOT];
    // Another token at that position would change its K and V, were they written.
    let mut other = reading.clone();
    other.tokens[0] = 7;
    assert_ne!(last_logits(&mut loaded, &other), expected);
    assert_eq!(last_logits(&mut loaded, &reading), expected);
}

#[test]
fn copied_slots_serve_another_sequence() {
    let mut loaded = loaded();
    let expected = last_logits(&mut loaded, &batch(0, 20, &[1, 2]));
    let copies = [
        BlockCopy {
            from: BlockId(1),
            to: BlockId(4),
            from_slot: 0,
            to_slot: 0,
            len: 16,
        },
        BlockCopy {
            from: BlockId(2),
            to: BlockId(3),
            from_slot: 0,
            to_slot: 0,
            len: 3,
        },
    ];
    loaded.copy_blocks(&copies).unwrap();
    assert_eq!(last_logits(&mut loaded, &batch(19, 20, &[4, 3])), expected);
    // Slots of one block may move within it: position 18's content to 19's slot and back leaves 18 as it was.
    let moves = [
        BlockCopy {
            from: BlockId(3),
            to: BlockId(3),
            from_slot: 2,
            to_slot: 9,
            len: 1,
        },
        BlockCopy {
            from: BlockId(3),
            to: BlockId(3),
            from_slot: 9,
            to_slot: 2,
            len: 1,
        },
    ];
    loaded.copy_blocks(&moves).unwrap();
    assert_eq!(last_logits(&mut loaded, &batch(19, 20, &[4, 3])), expected);
    let outside = [
        BlockCopy {
            from: BlockId(1),
            to: BlockId(5),
            from_slot: 0,
            to_slot: 0,
            len: 1,
        },
        BlockCopy {
            from: BlockId(1),
            to: BlockId(2),
            from_slot: 10,
            to_slot: 0,
            len: 7,
        },
        BlockCopy {
            from: BlockId(1),
            to: BlockId(2),
            from_slot: 0,
            to_slot: 15,
            len: 2,
        },
    ];
    for copy in outside {
        assert!(loaded.copy_blocks(&[copy]).is_err());
    }
}

#[test]
fn logits_that_are_no_numbers_fail_their_row_alone() {
    let (program, mut source) = Recipe {
        is_tied: false,
        positions: Some(0),
        ..Recipe::llama()
    }
    .build();
    let Some(Op::Embed(embed)) = program.ops.first() else {
        panic!("the program starts with the embedding")
    };
    source.poison_row(embed.positions.unwrap(), 5);
    let mut loaded = Schedule::exact().load(&program, &source, &[TOKENS.to_vec()]);
    let step = loaded.run(&batch(0, 8, &[1])).unwrap();
    assert!(loaded.logits(step, 4).is_ok());
    // Row 5 itself, and those that attend to it.
    for row in 5..8 {
        assert!(matches!(loaded.logits(step, row), Err(Error::NotFinite)));
    }
    assert!(matches!(
        loaded.logits(step + 1, 0),
        Err(Error::Internal { .. })
    ));
    assert!(matches!(
        loaded.logits(step, 8),
        Err(Error::Internal { .. })
    ));
}

#[test]
fn rows_without_logits_leave_the_others_as_they_are() {
    let mut loaded = loaded();
    let expected = last_logits(&mut loaded, &batch(0, 20, &[1, 2]));
    let mut few = batch(0, 20, &[3, 4]);
    few.logits_rows = vec![4, 19];
    assert_eq!(last_logits(&mut loaded, &few), expected);
    few.logits_rows = Vec::new();
    few.tables = vec![BlockId(1), BlockId(2)];
    few.slots = batch(0, 20, &[1, 2]).slots;
    let step = loaded.run(&few).unwrap();
    assert!(loaded.logits(step, 0).is_err());
}
