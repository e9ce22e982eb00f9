//! Names tensors in a program's list of weights: whole, as rows of a fusion, or as columns.

use super::{Purpose, Writer};
use crate::architecture::Projections;
use crate::program::{Affine, Reg, RowOrder, RowSlice, WeightId, WeightSpec};

/// A matrix of a layer.
pub(super) struct Matrix {
    pub(super) shape: [usize; 2],
    /// Rows that stand together where a file mixes heads.
    pub(super) run: usize,
    pub(super) has_bias: bool,
    pub(super) order: RowOrder,
}

impl Writer<'_> {
    /// Several matrices of one input: a tensor each, or rows of one.
    pub(super) fn projections<const N: usize>(
        &mut self,
        prefix: &str,
        names: Projections,
        matrices: [Matrix; N],
    ) -> [Affine; N] {
        let (mut start, mut index) = (0, 0);
        let total = matrices.iter().map(|matrix| matrix.shape[0]).sum();
        matrices.map(|matrix| {
            let len = matrix.shape[0];
            let (at, run) = match names {
                Projections::FusedByHead(_) => (index * matrix.run, matrix.run),
                _ => (start, len),
            };
            let rows = RowSlice {
                start: at,
                len: run,
                stride: if run == len { len } else { N * run },
                repeat: len / run.max(1),
                total,
            };
            let name = match names {
                Projections::Apart(names) => names[index],
                other => other.first(),
            };
            (start, index) = (start + len, index + 1);
            let name = format!("{prefix}{name}");
            match names {
                Projections::Apart(_) => self.affine(&name, &matrix),
                Projections::Transposed(_) => self.part_of(&name, &matrix, None, true),
                Projections::FusedTransposed(_) => self.part_of(&name, &matrix, Some(rows), true),
                Projections::Fused(_) | Projections::FusedByHead(_) => {
                    self.part_of(&name, &matrix, Some(rows), false)
                }
            }
        })
    }

    /// Rows of a tensor that holds more, or holds them as columns.
    pub(super) fn part_of(
        &mut self,
        name: &str,
        matrix: &Matrix,
        rows: Option<RowSlice>,
        is_transposed: bool,
    ) -> Affine {
        let mut push = |name: String, shape: &[usize]| {
            self.program.weights.push(WeightSpec {
                name,
                shape: shape.to_vec(),
                rows,
                order: matrix.order,
                is_transposed: is_transposed && shape.len() == 2,
            });
            WeightId((self.program.weights.len() - 1) as u32)
        };
        let weight = push(format!("{name}.weight"), &matrix.shape);
        let bias = matrix
            .has_bias
            .then(|| push(format!("{name}.bias"), &matrix.shape[..1]));
        Affine { weight, bias }
    }

    pub(super) fn affine(&mut self, name: &str, matrix: &Matrix) -> Affine {
        let weight = self.tensor(&format!("{name}.weight"), &matrix.shape, matrix.order);
        let bias = matrix
            .has_bias
            .then(|| self.tensor(&format!("{name}.bias"), &matrix.shape[..1], matrix.order));
        Affine { weight, bias }
    }

    pub(super) fn weight(&mut self, name: &str, shape: &[usize]) -> WeightId {
        self.tensor(&format!("{name}.weight"), shape, RowOrder::Plain)
    }

    /// The id of a tensor; the first use decides its place in the program's list.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize], order: RowOrder) -> WeightId {
        if let Some(&id) = self.weight_ids.get(name) {
            return id;
        }
        let id = WeightId(self.program.weights.len() as u32);
        self.program.weights.push(WeightSpec {
            name: name.to_owned(),
            shape: shape.to_vec(),
            rows: None,
            order,
            is_transposed: false,
        });
        self.weight_ids.insert(name.to_owned(), id);
        id
    }

    pub(super) fn reg(&mut self, purpose: Purpose, width: usize) -> Reg {
        let regs = &mut self.program.regs;
        *self.regs.entry((purpose, width)).or_insert_with(|| {
            regs.push(width);
            Reg((regs.len() - 1) as u16)
        })
    }
}
