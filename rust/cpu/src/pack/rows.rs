//! Rows of a weight before packing: which tensor and row stands at an output, and a row seen as integers.
//! Owns stacking (Q, K, V one after another) and interleaving (gate and up by blocks); writes nothing packed.
//!
//! Invariant: a stacked matrix has no padding between its parts, an interleaved one pads each part to blocks.

use tokenmill_formats::IntZero;
use tokenmill_formats::blocks::unpack_row;
use tokenmill_model::{Result, Tensor};

use super::layout::ROWS;

/// One row as integers: `codes[k]`, and per group a scale and, where the format has one, a zero or minimum.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct IntRow {
    /// One code per input.
    pub(crate) codes: Vec<u8>,
    /// One scale per group.
    pub(crate) scales: Vec<f32>,
    /// One zero (a whole number) or minimum per group; ignored under a fixed zero.
    pub(crate) seconds: Vec<f32>,
}

impl IntRow {
    /// A row of `k` inputs in `groups` groups.
    pub(crate) fn new(k: usize, groups: usize) -> Self {
        Self {
            codes: vec![0; k],
            scales: vec![0.0; groups],
            seconds: vec![0.0; groups],
        }
    }
}

/// Whatever gives rows of integers.
pub(crate) trait IntRows {
    /// Fills `out`, whose sizes are those of the matrix, with row `row`.
    fn read(&self, row: usize, out: &mut IntRow) -> Result<()>;
}

impl IntRows for Tensor {
    fn read(&self, row: usize, out: &mut IntRow) -> Result<()> {
        let has_minima = self
            .encoding
            .int_layout()
            .is_some_and(|layout| layout.zero == IntZero::Minima);
        unpack_row(
            self.encoding,
            row_bytes(self, row),
            &mut out.codes,
            &mut out.scales,
            if has_minima {
                &mut out.seconds
            } else {
                &mut []
            },
        )?;
        Ok(())
    }
}

/// The bytes of one row; the plan has checked that the tensor holds a whole number of them.
pub(crate) fn row_bytes(tensor: &Tensor, row: usize) -> &[u8] {
    let rows = tensor.shape.first().copied().unwrap_or(0);
    let len = tensor.bytes.len() / rows.max(1);
    &tensor.bytes[row * len..(row + 1) * len]
}

/// How the outputs of several parts follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    /// Outputs of each part.
    parts: Vec<usize>,
    /// Whether blocks of the parts take turns.
    is_interleaved: bool,
}

impl Stack {
    /// `parts` outputs each. Interleaved parts must be equally long.
    pub(crate) fn new(parts: Vec<usize>, is_interleaved: bool) -> Option<Self> {
        let first = *parts.first()?;
        if is_interleaved && parts.iter().any(|len| *len != first) {
            return None;
        }
        Some(Self {
            parts,
            is_interleaved,
        })
    }

    /// Outputs of the stacked matrix, an interleaved one's padding included.
    pub(crate) fn outputs(&self) -> usize {
        if self.is_interleaved {
            self.parts
                .iter()
                .map(|len| len.next_multiple_of(ROWS))
                .sum()
        } else {
            self.parts.iter().sum()
        }
    }

    /// The part and its row at a lane of a block; `None` in the padding.
    pub(crate) fn source(&self, block: usize, lane: usize) -> Option<(usize, usize)> {
        if self.is_interleaved {
            let part = block % self.parts.len();
            let row = block / self.parts.len() * ROWS + lane;
            return (row < self.parts[part]).then_some((part, row));
        }
        let mut row = block * ROWS + lane;
        for (part, len) in self.parts.iter().enumerate() {
            if row < *len {
                return Some((part, row));
            }
            row -= len;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Stack;

    #[test]
    fn stacked_parts_follow_without_padding() {
        let stack = Stack::new(vec![10, 4, 4], false).unwrap();
        assert_eq!(stack.outputs(), 18);
        assert_eq!(stack.source(0, 9), Some((0, 9)));
        assert_eq!(stack.source(0, 10), Some((1, 0)));
        assert_eq!(stack.source(0, 15), Some((2, 1)));
        assert_eq!(stack.source(1, 1), Some((2, 3)));
        assert_eq!(stack.source(1, 2), None);
    }

    #[test]
    fn interleaved_parts_take_turns_by_blocks_and_pad_each() {
        let stack = Stack::new(vec![20, 20], true).unwrap();
        assert_eq!(stack.outputs(), 64);
        assert_eq!(stack.source(0, 3), Some((0, 3)));
        assert_eq!(stack.source(1, 3), Some((1, 3)));
        assert_eq!(stack.source(2, 3), Some((0, 19)));
        assert_eq!(stack.source(3, 4), None);
        assert_eq!(Stack::new(vec![20, 21], true), None);
        assert_eq!(Stack::new(vec![], false), None);
    }
}
