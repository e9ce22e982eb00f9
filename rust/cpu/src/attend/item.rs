//! One item of attention: some rows of one sequence, the query heads of one KV head, and a run of splits.
//!
//! Splits are runs of 256 positions anchored at position 0 of the sequence; inside one, tiles of 16 ascend.
//! Invariant: what a row gets depends on its position and its window alone, never on the rows beside it, so
//! a row alone and the same row in a chunk have the same bits.

use std::ops::Range;

use super::mix::{Part, mix};
use super::score::{Tiles, scores};
use super::scratch::{Arrays, TILES_AT_ONCE};
use super::soften::{begin, end, finish, merge, soften};
use crate::lanes::{LANES, Lanes, load_partial, per_level};
use crate::memory::{KvView, TILE, k_rows};
use tokenmill_model::KvFormat;

/// Tokens of a split.
pub(crate) const SPLIT: usize = 256;

/// What is the same for all items of an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rule {
    /// Elements per head.
    pub(crate) head_dim: usize,
    /// Query heads per KV head.
    pub(crate) group: usize,
    /// Multiplier of the scores.
    pub(crate) scale: f32,
    /// `cap * tanh(score / cap)`.
    pub(crate) soft_cap: Option<f32>,
    /// A row at p sees positions > p - window.
    pub(crate) window: Option<usize>,
}

/// Rows of one sequence at consecutive positions, and where their heads lie.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    /// What is to be done with them.
    pub(crate) rule: Rule,
    /// Position of the first row.
    pub(crate) position: usize,
    /// Number of rows.
    pub(crate) len: usize,
    /// The first row's first head of the group.
    pub(crate) q: *const f32,
    /// Elements from a row of `q` to the next.
    pub(crate) q_stride: usize,
    /// Where the first row's first head goes.
    pub(crate) out: *mut f32,
    /// Elements from a row of `out` to the next.
    pub(crate) out_stride: usize,
}

impl Rule {
    /// Positions that the row at `position` sees.
    pub(crate) fn seen(&self, position: usize) -> Range<usize> {
        let first = self
            .window
            .map_or(0, |window| (position + 1).saturating_sub(window));
        first..position + 1
    }

    /// Splits that `rows` rows from `position` on see anything of.
    pub(crate) fn splits(&self, position: usize, rows: usize) -> Range<usize> {
        self.seen(position).start / SPLIT..(position + rows).div_ceil(SPLIT)
    }
}

impl Rows {
    /// A query's position.
    #[inline(always)]
    fn position_of(&self, query: usize) -> usize {
        self.position + query / self.rule.group
    }

    /// A query's offset among rows of `stride`.
    #[inline(always)]
    fn offset(&self, query: usize, stride: usize) -> usize {
        query / self.rule.group * stride + query % self.rule.group * self.rule.head_dim
    }

    /// Rows by heads of the group.
    pub(crate) fn queries(&self) -> usize {
        self.len * self.rule.group
    }

    /// Splits that any of the rows sees anything of.
    pub(crate) fn splits(&self) -> Range<usize> {
        self.rule.splits(self.position, self.len)
    }
}

per_level! {
    /// Attention of `rows` over `splits`. With `states` null these are all splits, and the result goes to
    /// `rows.out`; else it is one, whose states go to `states[query][state_len]` (not those of queries that see
    /// nothing of it).
    fn attend = run(
        arrays: &Arrays,
        kv: &KvView<'_>,
        rows: &Rows,
        splits: Range<usize>,
        states: *mut f32,
    );

    /// Merges the states of all splits, `[split][query][state_len]`, in ascending order, into `rows.out`.
    fn merge_splits = merged(arrays: &Arrays, rows: &Rows, states: *const f32);
}

/// # Safety
/// `rows` and `kv` are valid, the arrays are those of as many queries, all positions up to the rows' own are written; `states` is null or valid for a
/// state per query; the level is the processor's.
#[inline(always)]
unsafe fn run<V: Lanes>(
    arrays: &Arrays,
    kv: &KvView<'_>,
    rows: &Rows,
    splits: Range<usize>,
    states: *mut f32,
) {
    // SAFETY: passed on from the caller.
    unsafe {
        gather::<V>(arrays, rows);
        for split in splits.start..splits.end {
            walk::<V>(arrays, kv, rows, split);
            for query in 0..rows.queries() {
                let (seen, state) = (
                    rows.rule.splits(rows.position_of(query), 1),
                    arrays.state(query),
                );
                if states.is_null() {
                    take::<V>(arrays, &seen, query, (split, state));
                } else if seen.contains(&split) {
                    let len = arrays.state_len();
                    std::ptr::copy_nonoverlapping(state, states.add(query * len), len);
                }
            }
        }
        if states.is_null() {
            scatter::<V>(arrays, rows);
        }
    }
}

/// # Safety
/// As `run`; `states` holds a state per split and query.
#[inline(always)]
unsafe fn merged<V: Lanes>(arrays: &Arrays, rows: &Rows, states: *const f32) {
    let queries = rows.queries();
    // SAFETY: passed on from the caller.
    unsafe {
        for (i, split) in rows.splits().enumerate() {
            for query in 0..queries {
                let seen = rows.rule.splits(rows.position_of(query), 1);
                let state = states.add((i * queries + query) * arrays.state_len());
                take::<V>(arrays, &seen, query, (split, state));
            }
        }
        scatter::<V>(arrays, rows);
    }
}

/// Adds the state of `split` to a query's merged state, if the query sees any of it (`splits`).
///
/// # Safety
/// As `run`.
#[inline(always)]
unsafe fn take<V: Lanes>(
    arrays: &Arrays,
    splits: &Range<usize>,
    query: usize,
    (split, state): (usize, *const f32),
) {
    let merged = arrays.merged(query);
    // SAFETY: passed on from the caller.
    unsafe {
        if split == splits.start {
            std::ptr::copy_nonoverlapping(state, merged, arrays.state_len());
        } else if splits.contains(&split) {
            merge::<V>(merged, state, arrays.width);
        }
    }
}

/// Scales the queries into the scratch, padded with zeros.
///
/// # Safety
/// As `run`.
#[inline(always)]
unsafe fn gather<V: Lanes>(arrays: &Arrays, rows: &Rows) {
    // SAFETY: passed on from the caller.
    unsafe {
        let scale = V::splat(rows.rule.scale);
        for query in 0..rows.queries() {
            let from = rows.q.add(rows.offset(query, rows.q_stride));
            let to = arrays.q.add(query * arrays.width);
            for column in (0..arrays.width).step_by(LANES) {
                let len = rows.rule.head_dim - column;
                let value = if len >= LANES {
                    V::load(from.add(column))
                } else {
                    load_partial(from.add(column), len, 0.0)
                };
                value.mul(scale).store(to.add(column));
            }
        }
    }
}

/// # Safety
/// As `run`; every query has a merged state.
#[inline(always)]
unsafe fn scatter<V: Lanes>(arrays: &Arrays, rows: &Rows) {
    // SAFETY: passed on from the caller.
    unsafe {
        for query in 0..rows.queries() {
            let out = rows.out.add(rows.offset(query, rows.out_stride));
            finish::<V>(arrays.merged(query), arrays.width, out, rows.rule.head_dim);
        }
    }
}

/// Runs all queries over one split. Leaves their states, sums included.
///
/// # Safety
/// As `run`; the queries are gathered.
#[inline(always)]
unsafe fn walk<V: Lanes>(arrays: &Arrays, kv: &KvView<'_>, rows: &Rows, split: usize) {
    // SAFETY: passed on from the caller.
    unsafe {
        match kv.format {
            KvFormat::F32 => walk_as::<V, false>(arrays, kv, rows, split),
            KvFormat::Bf16 => walk_as::<V, true>(arrays, kv, rows, split),
        }
    }
}

/// # Safety
/// As `walk`.
#[inline(always)]
unsafe fn walk_as<V: Lanes, const BF16: bool>(
    arrays: &Arrays,
    kv: &KvView<'_>,
    rows: &Rows,
    split: usize,
) {
    let (rule, queries) = (&rows.rule, rows.queries());
    let last = rows.position + rows.len - 1;
    // Tiles that any row sees; those that every row sees whole need no mask.
    let first_tile = (rule.seen(rows.position).start / TILE).max(split * SPLIT / TILE);
    let end_tile = (last / TILE + 1).min((split + 1) * SPLIT / TILE);
    let whole = rule.seen(last).start.div_ceil(TILE)..(rows.position + 1) / TILE;
    // SAFETY: passed on from the caller; tiles up to the last row's position are in the table.
    unsafe {
        for query in 0..queries {
            begin::<V>(arrays, query);
        }
        let mut tile = first_tile;
        while tile < end_tile {
            let tiles = (end_tile - tile).min(TILES_AT_ONCE);
            let (k, v) = tiles_from(kv, tile, end_tile, last / TILE);
            scores::<V, BF16>(arrays, queries, &k, tiles, k_rows(kv.format, rule.head_dim));
            let are_whole = whole.start <= tile && tile + tiles <= whole.end;
            let mut i = 0;
            while i < tiles {
                let is_whole = whole.contains(&(tile + i));
                let end = if are_whole { tiles } else { i + 1 };
                let rows_each = if is_whole { rows.len } else { 1 };
                let mut row = 0;
                while row < rows.len {
                    let seen = lanes_of(&rule.seen(rows.position + row), tile + i);
                    let part = Part {
                        queries: row * rule.group..(row + rows_each) * rule.group,
                        tiles: i..end,
                        lanes: if is_whole { 0..TILE } else { seen },
                    };
                    add::<V, BF16>(arrays, rule, &v, &part);
                    row += rows_each;
                }
                i = end;
            }
            tile += tiles;
        }
        for query in 0..queries {
            end::<V>(arrays, query);
        }
    }
}

/// Turns the scores of a part into weights and adds its tokens.
///
/// # Safety
/// As `mix`; the scores are there.
#[inline(always)]
unsafe fn add<V: Lanes, const BF16: bool>(arrays: &Arrays, rule: &Rule, v: &Tiles, part: &Part) {
    if part.lanes.is_empty() {
        return;
    }
    // SAFETY: passed on from the caller.
    unsafe {
        for query in part.queries.start..part.queries.end {
            for tile in part.tiles.start..part.tiles.end {
                soften::<V>(arrays, query, tile, &part.lanes, rule.soft_cap);
            }
        }
        mix::<V, BF16>(arrays, v, part);
    }
}

/// The tiles of K and of V from `tile` on, before `end`, and those after them up to `last`.
#[inline(always)]
fn tiles_from(kv: &KvView<'_>, tile: usize, end: usize, last: usize) -> (Tiles, Tiles) {
    let (k, v) = kv.tile(tile);
    let none = [std::ptr::null(); TILES_AT_ONCE];
    let (mut k, mut v) = (
        Tiles {
            now: [k; TILES_AT_ONCE],
            next: none,
        },
        Tiles {
            now: [v; TILES_AT_ONCE],
            next: none,
        },
    );
    for i in 0..TILES_AT_ONCE {
        (k.now[i], v.now[i]) = kv.tile((tile + i).min(end - 1));
        (k.next[i], v.next[i]) = kv.tile((tile + TILES_AT_ONCE + i).min(last));
    }
    (k, v)
}

/// The part of a tile that lies in `seen`, as lanes.
#[inline(always)]
fn lanes_of(seen: &Range<usize>, tile: usize) -> Range<usize> {
    let base = tile * TILE;
    let lane = |position: usize| position.saturating_sub(base).min(TILE);
    lane(seen.start)..lane(seen.end)
}
