//! One worker's memory for attention: the queries of an item and their running state. Sized at load for the
//! largest layer; owns offsets and nothing else.
//!
//! "Query" here is one row's one head: an item has at most `queries` of them, row-major, so the heads of a row
//! that share a KV head lie side by side.

#![expect(
    clippy::cast_ptr_alignment,
    reason = "tiles and rows start on lines of 64 bytes"
)]

use tokenmill_model::Result;

use crate::arena::{Arena, LINE_BYTES, Region};
use crate::memory::{TILE, v_width};

/// Tiles whose scores are computed together.
pub(crate) const TILES_AT_ONCE: usize = 4;
/// Queries of an item, about: enough to use each loaded line of K many times, few enough to stay in L1 and L2.
const QUERIES_AIM: usize = 48;

/// Rows of an item for a layer whose KV heads serve `group` query heads each.
pub(crate) fn rows_per_item(group: usize) -> usize {
    (QUERIES_AIM / group.max(1)).clamp(1, 32)
}

/// Pointers into a worker's memory, for items of up to `queries` queries of `head_dim`.
#[derive(Clone, Copy)]
pub(crate) struct Arrays {
    /// Scaled queries, `[queries][q_stride]`, zero-padded to a multiple of 16.
    pub(crate) q: *mut f32,
    /// Scores, then weights, `[queries][TILES_AT_ONCE * 16]`.
    pub(crate) s: *mut f32,
    /// Rescale factors, `[queries][TILES_AT_ONCE]`.
    pub(crate) alpha: *mut f32,
    /// Running sum of weights by lane, `[queries][16]`.
    pub(crate) l: *mut f32,
    /// Running state of the split, `[queries][width + 16]`.
    pub(crate) state: *mut f32,
    /// The merged state of all splits so far, likewise.
    pub(crate) merged: *mut f32,
    /// Width of a query and of an output, a multiple of 16.
    pub(crate) width: usize,
}

impl Arrays {
    /// From one query's state to the next: the output, then maximum and sum on a line of their own.
    #[inline(always)]
    pub(crate) fn state_len(&self) -> usize {
        self.width + TILE
    }

    /// The running state of a query.
    #[inline(always)]
    pub(crate) fn state(&self, query: usize) -> *mut f32 {
        self.state.wrapping_add(query * self.state_len())
    }

    /// The merged state of a query.
    #[inline(always)]
    pub(crate) fn merged(&self, query: usize) -> *mut f32 {
        self.merged.wrapping_add(query * self.state_len())
    }
}

/// f32 elements of a query's state.
pub(crate) fn state_len(head_dim: usize) -> usize {
    v_width(head_dim) + TILE
}

/// One worker's memory.
pub(crate) struct Scratch {
    region: Region,
}

impl Scratch {
    /// Memory for the largest of `layers`, given as (head_dim, group).
    pub(crate) fn new(layers: impl Iterator<Item = (usize, usize)>) -> Result<Self> {
        let len = layers
            .map(|(head_dim, group)| len(rows_per_item(group) * group, v_width(head_dim)))
            .max();
        let bytes = len.unwrap_or(0).max(TILE) * size_of::<f32>();
        let mut region = Arena::new(bytes + LINE_BYTES)?.take(bytes)?;
        if cfg!(debug_assertions) {
            region.as_mut_slice().fill(0xFF);
        }
        Ok(Self { region })
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.region.len()
    }

    /// The arrays of an item with `queries` queries of `head_dim`.
    pub(crate) fn arrays(&self, queries: usize, head_dim: usize) -> Arrays {
        let width = v_width(head_dim);
        assert!(
            len(queries, width) * size_of::<f32>() <= self.region.len(),
            "sized at load"
        );
        let mut next = self.region.as_ptr().cast_mut().cast::<f32>();
        let mut take = |len: usize| {
            let start = next;
            // SAFETY: the sum of all lengths is `len(queries, width)`, which was just compared.
            next = unsafe { next.add(len.next_multiple_of(TILE)) };
            start
        };
        Arrays {
            q: take(queries * width),
            s: take(queries * TILES_AT_ONCE * TILE),
            alpha: take(queries * TILES_AT_ONCE),
            l: take(queries * TILE),
            state: take(queries * (width + TILE)),
            merged: take(queries * (width + TILE)),
            width,
        }
    }
}

/// f32 elements for `queries` queries.
fn len(queries: usize, width: usize) -> usize {
    let per_query = 3 * width + TILES_AT_ONCE * TILE + 3 * TILE;
    queries * per_query + (queries * TILES_AT_ONCE).next_multiple_of(TILE)
}
