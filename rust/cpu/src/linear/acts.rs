//! Activations as the kernels want them: rows of f32, bf16 pairs, or int8 codes with a scale and sums per group.
//! Owns the buffer, its strides and the preparation of rows; knows no weight. Quantisation itself: `quantise`.
//!
//! Invariants: a row is prepared from itself alone, so its codes never depend on its neighbours; rows are padded
//! with zeros to whole weight lines (8 inputs), whatever was in the buffer before.

use std::ops::Range;

use tokenmill_model::Result;

use super::quantise::{GroupMeta, narrow_row, quantise_row};
use crate::arena::{Arena, LINE_BYTES, Region};
use crate::isa::Level;

/// What activations are made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ActForm {
    /// As they are.
    F32,
    /// Rounded to nearest even.
    Bf16,
    /// Dynamic int8.
    Int8 {
        /// Inputs under one scale.
        group: usize,
        /// Inputs under one sum: the weight's group; divides `group`.
        sums: usize,
    },
}

impl ActForm {
    /// Bytes of a row's values, and its group entries.
    fn row(self, k: usize) -> (usize, usize) {
        let padded = k.next_multiple_of(8);
        let (bytes, metas) = match self {
            Self::F32 => (padded * 4, 0),
            Self::Bf16 => (padded * 2, 0),
            Self::Int8 { sums, .. } => (padded, k.div_ceil(sums)),
        };
        let stride = bytes.next_multiple_of(LINE_BYTES);
        // Rows a multiple of a page apart would all fall into one set of the first cache.
        let skew = if stride.is_multiple_of(4096) {
            LINE_BYTES
        } else {
            0
        };
        (stride + skew, metas)
    }

    fn bytes(self, rows: usize, k: usize) -> usize {
        let (stride, metas) = self.row(k);
        rows * (stride + metas * size_of::<GroupMeta>())
    }
}

/// Memory for the activations of one product at a time.
#[derive(Debug)]
pub(crate) struct ActBuffer {
    region: Region,
    rows_max: usize,
}

impl ActBuffer {
    /// Room for `rows_max` rows in any of `uses`: (form, inputs).
    pub(crate) fn new(
        rows_max: usize,
        uses: impl IntoIterator<Item = (ActForm, usize)>,
    ) -> Result<Self> {
        let bytes = uses
            .into_iter()
            .map(|(form, k)| form.bytes(rows_max, k))
            .max()
            .unwrap_or(0);
        let arena = Arena::new(bytes.next_multiple_of(LINE_BYTES))?;
        let mut region = arena.take(bytes)?;
        if cfg!(debug_assertions) {
            // All bits set is a NaN in f32 and bf16: what is read without having been prepared shows.
            region.as_mut_slice().fill(0xFF);
        }
        Ok(Self { region, rows_max })
    }

    /// The buffer laid out for one form and width. What an earlier view prepared is lost.
    pub(crate) fn view(&self, form: ActForm, k: usize) -> ActView {
        assert!(
            form.bytes(self.rows_max, k) <= self.region.len(),
            "{form:?} x {k} was not planned"
        );
        let (stride, metas) = form.row(k);
        let data = self.region.as_ptr().cast_mut();
        ActView {
            form,
            k,
            rows_max: self.rows_max,
            data,
            stride,
            // SAFETY: the values of all rows and then their entries fit into the region, by the assert.
            meta: unsafe { data.add(self.rows_max * stride) }.cast(),
            metas,
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.region.len()
    }
}

/// A buffer as one product sees it. Copies are equal; all of them die with the `ActBuffer`, which their holder
/// keeps alive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActView {
    pub(super) form: ActForm,
    pub(super) k: usize,
    pub(super) rows_max: usize,
    pub(super) data: *mut u8,
    /// Bytes between rows.
    pub(super) stride: usize,
    pub(super) meta: *mut GroupMeta,
    /// Entries per row.
    pub(super) metas: usize,
}

// SAFETY: a view is a set of addresses; `prepare_rows` and `matmul` state who may use them when.
unsafe impl Send for ActView {}
// SAFETY: as above.
unsafe impl Sync for ActView {}

/// Rows of f32 in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowsIn {
    /// First element of row 0.
    pub(crate) ptr: *const f32,
    /// Elements between rows.
    pub(crate) ld: usize,
}

/// Prepares `rows` of `input`, each to its own place in the view.
///
/// # Safety
/// `input` has `view.k` readable elements in every one of `rows`; the view's buffer is alive; no other thread
/// touches the same rows of the view or writes those of the input meanwhile. This machine runs `level`.
pub(crate) unsafe fn prepare_rows(level: Level, view: &ActView, input: RowsIn, rows: Range<usize>) {
    for row in rows {
        // SAFETY: row `row` of the input is readable for `k` elements, by the caller.
        let values = unsafe { std::slice::from_raw_parts(input.ptr.add(row * input.ld), view.k) };
        // SAFETY: passed on from the caller.
        unsafe { prepare_row(level, view, row, values) };
    }
}

/// Prepares one row from values that are at hand, such as those a norm has just written.
///
/// # Safety
/// As for `prepare_rows`, for this row.
pub(crate) unsafe fn prepare_row(level: Level, view: &ActView, row: usize, values: &[f32]) {
    assert_eq!(values.len(), view.k);
    // SAFETY: passed on from the caller.
    unsafe { prepare_part(level, view, (row, 0), values) };
}

/// Prepares a run of whole groups of a row: inputs `start ..`, up to a border of groups or the row's end.
///
/// # Safety
/// As for `prepare_rows`, for this part of the row.
#[expect(clippy::cast_ptr_alignment, reason = "rows start on 64-byte lines")]
pub(crate) unsafe fn prepare_part(
    level: Level,
    view: &ActView,
    (row, start): (usize, usize),
    values: &[f32],
) {
    let (len, end) = (values.len(), start + values.len());
    assert!(row < view.rows_max && end <= view.k);
    // Whoever prepares the end of a row pads it.
    let padded = if end == view.k {
        end.next_multiple_of(8) - start
    } else {
        len
    };
    // SAFETY: row < rows_max, and a row has `stride` bytes, at least those of its padded values; lines are
    // aligned for f32; the caller lets nobody else into this part.
    let bytes = unsafe { view.data.add(row * view.stride) };
    match view.form {
        ActForm::F32 => {
            // SAFETY: as above.
            let out =
                unsafe { std::slice::from_raw_parts_mut(bytes.cast::<f32>().add(start), padded) };
            out[..len].copy_from_slice(values);
            out[len..].fill(0.0);
        }
        ActForm::Bf16 => {
            // SAFETY: as above.
            let out =
                unsafe { std::slice::from_raw_parts_mut(bytes.cast::<u16>().add(start), padded) };
            narrow_row(level, values, &mut out[..len]);
            out[len..].fill(0);
        }
        ActForm::Int8 { group, sums } => {
            assert!(start.is_multiple_of(group) && (end == view.k || end.is_multiple_of(group)));
            // SAFETY: as above.
            let codes =
                unsafe { std::slice::from_raw_parts_mut(bytes.cast::<i8>().add(start), padded) };
            codes[len..].fill(0);
            let first = row * view.metas + start / sums;
            // SAFETY: entries of row `row` lie behind the values; `GroupMeta` is aligned since strides are lines;
            // those of whole groups are nobody else's.
            let meta =
                unsafe { std::slice::from_raw_parts_mut(view.meta.add(first), len.div_ceil(sums)) };
            quantise_row(level, values, (group, sums), &mut codes[..len], meta);
        }
    }
}

/// Copies a prepared row to another view of the same form and width.
///
/// # Safety
/// Both buffers are alive; `row` of `from` was prepared and is not written meanwhile; no other thread touches
/// row `place` of `to`.
pub(crate) unsafe fn copy_row(from: &ActView, row: usize, to: &ActView, place: usize) {
    assert_eq!((from.form, from.k), (to.form, to.k));
    assert!(row < from.rows_max && place < to.rows_max);
    // SAFETY: rows of one form and width have the same strides, and both rows exist, by the asserts.
    unsafe {
        let source = from.data.add(row * from.stride);
        std::ptr::copy_nonoverlapping(source, to.data.add(place * to.stride), from.stride);
        let source = from.meta.add(row * from.metas);
        std::ptr::copy_nonoverlapping(source, to.meta.add(place * to.metas), from.metas);
    }
}

#[cfg(test)]
mod tests {
    use super::{ActBuffer, ActForm, RowsIn, prepare_rows};
    use crate::isa::Level;

    #[test]
    fn rows_are_padded_with_zeros_whatever_was_there_before() {
        let int8 = ActForm::Int8 {
            group: 32,
            sums: 16,
        };
        for (form, width) in [(ActForm::F32, 4), (ActForm::Bf16, 2), (int8, 1)] {
            // A fresh buffer is all ones in test builds.
            let buffer = ActBuffer::new(2, [(form, 37)]).unwrap();
            let view = buffer.view(form, 37);
            let x = [1.0_f32; 74];
            let input = RowsIn {
                ptr: x.as_ptr(),
                ld: 37,
            };
            // SAFETY: two rows of 37 values; one thread; every machine runs `Scalar`.
            unsafe { prepare_rows(Level::Scalar, &view, input, 0..2) };
            for row in 0..2 {
                // SAFETY: a row holds 40 values of this width.
                let bytes = unsafe {
                    std::slice::from_raw_parts(view.data.add(row * view.stride), 40 * width)
                };
                assert!(bytes[..37 * width].iter().any(|byte| *byte != 0));
                assert!(
                    bytes[37 * width..].iter().all(|byte| *byte == 0),
                    "{form:?}"
                );
            }
        }
    }
}
