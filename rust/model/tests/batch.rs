//! What `StepBatch::check` lets through and what it does not: backends index by it.

use tokenmill_core::BlockId;
use tokenmill_model::{
    Activations, ComputeDtype, KvFormat, MemoryPlan, ModelShape, NO_SLOT, Span, StepBatch,
};

fn plan() -> MemoryPlan {
    MemoryPlan {
        blocks: 4,
        block_size: 16,
        rows_max: 8,
        logits_rows_max: 2,
        exit_rows_max: 3,
        context_len: 40,
        kv_format: KvFormat::F32,
        dtype: ComputeDtype::Float32,
        activations: Activations::Exact,
        threads: 1,
        op_times: None,
    }
}

/// Two sequences: positions 15..18 in blocks 2 and 0, position 0 in block 3.
fn batch() -> StepBatch {
    let span = |row, rows, table, table_len| Span {
        row,
        rows,
        table,
        table_len,
        scope: 0,
    };
    StepBatch {
        tokens: vec![1, 2, 3, 4],
        positions: vec![15, 16, 17, 0],
        slots: vec![47, 0, 1, NO_SLOT],
        spans: vec![span(0, 3, 0, 2), span(3, 1, 2, 1)],
        tables: [2, 0, 3].map(BlockId).to_vec(),
        logits_rows: vec![2, 3],
        ..StepBatch::default()
    }
}

fn check(batch: &StepBatch) -> Result<(), String> {
    let shape = ModelShape {
        vocab_len: 10,
        hidden: 8,
        context_len: 64,
        kv: Vec::new(),
    };
    batch.check(&shape, &plan())
}

#[test]
fn a_sound_batch_passes_and_so_does_an_empty_one() {
    assert_eq!(check(&batch()), Ok(()));
    assert_eq!(check(&StepBatch::default()), Ok(()));
}

#[test]
fn every_broken_batch_is_refused_in_words() {
    type Break = fn(&mut StepBatch);
    let cases: [(&str, Break); 16] = [
        ("exceed the plan", |batch| batch.tokens = vec![0; 9]),
        ("exceed the plan", |batch| batch.logits_rows = vec![0, 1, 2]),
        ("differ in number", |batch| batch.positions.truncate(3)),
        ("differ in number", |batch| batch.slots.truncate(3)),
        ("a token or a position", |batch| batch.tokens[0] = 10),
        ("a token or a position", |batch| batch.positions[3] = 40),
        ("a slot or a block", |batch| batch.slots[0] = 64),
        ("a slot or a block", |batch| batch.tables[0] = BlockId(4)),
        ("not ascending", |batch| batch.logits_rows = vec![3, 2]),
        ("not ascending", |batch| batch.logits_rows = vec![1, 1]),
        ("not ascending", |batch| batch.logits_rows = vec![4]),
        ("do not cover", |batch| batch.spans[1].row = 2),
        ("do not cover", |batch| batch.spans.truncate(1)),
        ("do not cover", |batch| batch.spans[1].table_len = 2),
        ("gaps or leave", |batch| batch.positions[1] = 17),
        ("gaps or leave", |batch| batch.spans[0].table_len = 1),
    ];
    for (index, (words, break_it)) in cases.into_iter().enumerate() {
        let mut broken = batch();
        break_it(&mut broken);
        let text = check(&broken).expect_err(words);
        assert!(
            text.contains(words),
            "case {index}: {text:?} lacks {words:?}"
        );
    }
}

#[test]
fn huge_spans_do_not_wrap_around() {
    let mut broken = batch();
    broken.spans[0].rows = u32::MAX;
    assert!(check(&broken).is_err());
    let mut broken = batch();
    broken.spans[0].table = u32::MAX;
    broken.spans[0].table_len = u32::MAX;
    assert!(check(&broken).is_err());
}
