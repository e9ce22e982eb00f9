//! The items of attention of one step: which rows, which KV head, and for few rows over a long context which
//! split. Who computes one never matters.
//!
//! Invariants: the lists never grow beyond what was taken at load; every (row, KV head) lies in exactly one
//! whole item, or in one item per split under one slot, whose last finisher merges.

use std::sync::atomic::{AtomicU32, Ordering};

use tokenmill_model::{Result, Span, StepBatch};

use super::memory::{SMALL_ROWS, Sizes, split_queries};
use crate::attend::{SPLIT, rows_per_item, state_len};
use crate::memory::Buffer;
use crate::plan::AttendClass;

/// Whole items per worker below which items are cut into splits.
const ITEMS_PER_WORKER: usize = 4;

/// Some rows of one span for one KV head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    /// Index of the span.
    pub(crate) span: u32,
    /// First row of the step.
    pub(crate) row: u32,
    /// Number of rows.
    pub(crate) rows: u32,
    /// KV head.
    pub(crate) head: u32,
    /// The split, where the item is one of several.
    pub(crate) part: Option<Part>,
}

/// One of several items over the same rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Which split.
    pub(crate) split: u32,
    /// The first split of the rows.
    pub(crate) first: u32,
    /// Where the states of all parts lie.
    pub(crate) slot: u32,
}

/// The items of each class, and the states of cut ones.
pub(crate) struct Items {
    lists: Vec<List>,
    /// `[slot][split][query][state_len]`, for one class at a time.
    states: Buffer,
}

struct List {
    class: AttendClass,
    items: Vec<Item>,
    /// Per slot: items still to do, and how many there are.
    pending: Vec<(AtomicU32, u32)>,
}

impl Items {
    /// Room for any step within `sizes`.
    pub(crate) fn new(classes: &[AttendClass], sizes: Sizes) -> Result<Self> {
        let splits = sizes.context_len.div_ceil(SPLIT) + 1;
        let slots = ITEMS_PER_WORKER * sizes.threads;
        let state =
            |class: &AttendClass| split_queries(class.rule.group) * state_len(class.rule.head_dim);
        let states = classes.iter().map(state).max().unwrap_or(0);
        let list = |class: &AttendClass| List {
            class: *class,
            items: Vec::with_capacity(sizes.rows_max * class.kv_heads + slots * splits),
            pending: (0..slots).map(|_| (AtomicU32::new(0), 0)).collect(),
        };
        Ok(Self {
            lists: classes.iter().map(list).collect(),
            states: Buffer::new(slots, splits * states)?,
        })
    }

    /// Lists the items of a checked step.
    pub(crate) fn plan(&mut self, batch: &StepBatch) {
        self.lists.iter_mut().for_each(|list| list.plan(batch));
    }

    /// The items of a class.
    pub(crate) fn of(&self, class: usize) -> &[Item] {
        &self.lists[class].items
    }

    /// The states of a slot, first split first.
    pub(crate) fn states(&self, slot: u32) -> *mut f32 {
        self.states.row(slot as usize)
    }

    /// Notes that an item of a slot is done; whether it was the last, who then merges. Ready for the next
    /// operation of the class after that.
    pub(crate) fn finish(&self, class: usize, slot: u32) -> bool {
        let (left, total) = &self.lists[class].pending[slot as usize];
        // Release and acquire: the last one sees the states of all.
        if left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return false;
        }
        left.store(*total, Ordering::Release);
        true
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.states.bytes()
            + self
                .lists
                .iter()
                .map(|list| list.items.capacity() * size_of::<Item>())
                .sum::<usize>()
    }
}

impl List {
    fn plan(&mut self, batch: &StepBatch) {
        self.items.clear();
        let rule = self.class.rule;
        let rows_max = rows_per_item(rule.group);
        let runs = batch
            .spans
            .iter()
            .map(|span| (span.rows as usize).div_ceil(rows_max))
            .sum::<usize>();
        let is_few = runs * self.class.kv_heads <= self.pending.len();
        let mut slot = 0;
        for (index, span) in batch.spans.iter().enumerate() {
            // In the order of rows, so that a worker mostly meets the rows that it has in other phases.
            for start in (0..span.rows as usize).step_by(rows_max) {
                let whole = Item {
                    span: index as u32,
                    row: span.row + start as u32,
                    rows: (span.rows as usize - start).min(rows_max) as u32,
                    head: 0,
                    part: None,
                };
                self.push(batch, span, whole, is_few.then_some(&mut slot));
            }
        }
    }

    /// Lists a run of rows for every KV head, cut into splits if there are slots for that and it pays.
    fn push(&mut self, batch: &StepBatch, span: &Span, whole: Item, mut slot: Option<&mut usize>) {
        let position = batch.positions[whole.row as usize] as usize;
        let splits = self.class.rule.splits(position, whole.rows as usize);
        debug_assert!(whole.row >= span.row && whole.row + whole.rows <= span.row + span.rows);
        let is_cut = splits.len() > 1 && whole.rows as usize <= SMALL_ROWS;
        for head in 0..self.class.kv_heads as u32 {
            let Some(slot) = slot.as_deref_mut().filter(|_| is_cut) else {
                self.items.push(Item { head, ..whole });
                continue;
            };
            let total = splits.len() as u32;
            self.pending[*slot] = (AtomicU32::new(total), total);
            for split in splits.clone() {
                let part = Part {
                    split: split as u32,
                    first: splits.start as u32,
                    slot: *slot as u32,
                };
                self.items.push(Item {
                    head,
                    part: Some(part),
                    ..whole
                });
            }
            *slot += 1;
        }
    }
}
