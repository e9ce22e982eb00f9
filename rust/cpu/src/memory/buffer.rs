//! A matrix of f32 that the workers of a step share by address. Owns the memory and its strides; who writes
//! which part when is the business of the phases in `exec`.
//!
//! Invariants: rows start on a 64-byte line; a debug build fills fresh memory with NaN.

#![expect(
    clippy::cast_ptr_alignment,
    reason = "tiles and rows start on lines of 64 bytes"
)]

use tokenmill_model::Result;

use crate::arena::{Arena, LINE_BYTES, Region};
use crate::lanes::LANES;

/// `rows` rows of `stride` f32.
#[derive(Debug)]
pub(crate) struct Buffer {
    region: Region,
    rows: usize,
    stride: usize,
}

impl Buffer {
    /// Room for `rows` rows of `width` values, padded to whole lines.
    pub(crate) fn new(rows: usize, width: usize) -> Result<Self> {
        let stride = width.next_multiple_of(LANES);
        let bytes = rows
            .saturating_mul(stride)
            .saturating_mul(size_of::<f32>())
            .max(LINE_BYTES);
        let mut region = Arena::sparse(bytes, "the activations of a step")?.take(bytes)?;
        if cfg!(debug_assertions) {
            region.as_mut_slice().fill(0xFF);
        }
        Ok(Self {
            region,
            rows,
            stride,
        })
    }

    /// Elements from a row to the next.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// First element of a row.
    pub(crate) fn row(&self, row: usize) -> *mut f32 {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the region holds `rows` rows of `stride`.
        unsafe {
            self.region
                .as_ptr()
                .cast_mut()
                .cast::<f32>()
                .add(row * self.stride)
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.region.len()
    }

    /// The first `width` values of a row.
    ///
    /// # Safety
    /// They are written, and nobody writes them while the slice lives.
    pub(crate) unsafe fn slice(&self, row: usize, width: usize) -> &[f32] {
        assert!(width <= self.stride);
        // SAFETY: the row is inside the region; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.row(row), width) }
    }
}
