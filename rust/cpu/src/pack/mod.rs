//! Packed weights: layouts, the plan from tensors to a layout, and the writers.

mod fill;
mod ggml;
mod layout;
mod matrix;
mod plan;
mod rows;

pub(crate) use fill::write_int_rows;
pub(crate) use layout::{Bits, GroupPlace, Grouped, Layout, ROWS, ScaleKind, Shape, Zero};
pub(crate) use matrix::{PackedMatrix, code, gather_row, header};
pub(crate) use plan::{FloatMath, IntMath, Math, PackPlan, PartShape, WeightForm, pack};
pub(crate) use rows::{IntRow, IntRows, Stack};
