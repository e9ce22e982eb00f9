//! A program's weights in an open checkpoint: finds, reads, checks the shape, takes the program's rows and
//! undoes the file's row order. Quantised rows move whole; nothing is decoded here unless asked.

use tokenmill_formats::{Checkpoint, Encoding};

use crate::error::{Error, Result};
use crate::program::{Program, RowOrder, WeightId, WeightSpec};

/// One weight, in memory, rows in our order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// How the bytes encode elements.
    pub encoding: Encoding,
    /// `[outputs, inputs]` or `[n]`.
    pub shape: Vec<usize>,
    /// Row-major; each row is `encoding.row_bytes(inputs)` long.
    pub bytes: Vec<u8>,
}

/// The weights that a program names.
pub struct Weights<'a> {
    program: &'a Program,
    checkpoint: &'a Checkpoint,
}
