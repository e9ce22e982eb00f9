//! Writes mixtures of experts: a router, and a gated MLP for each expert, from tensors of its own or as rows of
//! a stack.

use super::tensors::Matrix;
use super::{Purpose, Writer};
use crate::architecture::ExpertNames;
use crate::config::ExpertConfig;
use crate::program::{Affine, Mlp, Moe, Op, RowOrder, RowSlice};

impl Writer<'_> {
    pub(super) fn write_experts(&mut self, prefix: &str, mixture: ExpertConfig) {
        let (config, names) = (self.config, self.config.names());
        let residual = self.reg(Purpose::Residual, config.hidden);
        let branch = self.reg(Purpose::Branch, config.hidden);
        let input = self.branch_input(prefix, names.mlp_norm, residual);
        let router = format!("{prefix}{}", names.router);
        let router = self.weight(&router, &[mixture.count, config.hidden]);
        let widen = [mixture.inner, config.hidden];
        let narrow = [config.hidden, mixture.inner];
        let experts = (0..mixture.count)
            .map(|expert| {
                let mut part =
                    |part, shape| self.of_expert(prefix, part, (expert, mixture.count), shape);
                Mlp {
                    gate: Some(part(0, widen)),
                    up: part(1, widen),
                    down: part(2, narrow),
                    activation: config.activation,
                    input,
                    out: branch,
                }
            })
            .collect();
        self.program.ops.push(Op::Moe(Moe {
            router,
            experts,
            active: mixture.active,
            is_renormalised: mixture.is_renormalised,
            input,
            out: branch,
        }));
        self.add_branch(prefix, names.post_mlp_norm, branch, residual);
    }

    /// Gate (0), up (1) or down (2) of one expert.
    fn of_expert(
        &mut self,
        prefix: &str,
        part: usize,
        (expert, count): (usize, usize),
        shape: [usize; 2],
    ) -> Affine {
        let matrix = Matrix {
            shape,
            run: shape[0],
            has_bias: false,
            order: RowOrder::Plain,
        };
        match self.config.names().experts {
            ExpertNames::Apart(names) => {
                let name = names[part].replace("{}", &expert.to_string());
                self.affine(&format!("{prefix}{name}"), &matrix)
            }
            ExpertNames::Stacked(names) => {
                let rows = RowSlice {
                    start: expert * shape[0],
                    len: shape[0],
                    stride: shape[0],
                    repeat: 1,
                    total: count * shape[0],
                };
                self.part_of(
                    &format!("{prefix}{}", names[part]),
                    &matrix,
                    Some(rows),
                    false,
                )
            }
        }
    }
}
