//! Mixtures of experts: the router's product, the choice of experts, and the products of the chosen ones. Rows
//! are copied once for each of their experts and sorted by expert ("picks"), so that an expert's weights are
//! read once for all of its rows.
//!
//! Invariant: picks of one expert stand in ascending rows, and a row's results are added in ascending experts;
//! neither depends on which other rows there are.

use tokenmill_model::{Affine, Mlp, Moe, Result};

use super::lower::{Lowering, index};
use super::ready::UNIT_MAX;
use super::{ActId, Gate, MatrixId, Phase, Product, RowOp};
use crate::exec::{internal, unsupported};
use crate::pack::ROWS;

/// The choice of experts for all rows, and their order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routing {
    /// Register of the router's logits.
    pub(crate) logits: usize,
    /// Experts.
    pub(crate) experts: usize,
    /// Experts per row.
    pub(crate) active: usize,
    /// Whether the weights of a row's experts sum to 1.
    pub(crate) is_renormalised: bool,
}

impl Lowering<'_> {
    pub(super) fn moe(&mut self, moe: &Moe) -> Result<()> {
        let Some(first) = moe.experts.first() else {
            return Err(internal("a mixture of no experts"));
        };
        self.route(moe)?;
        let active = moe.active;
        let inner = self.matrices.outputs(first.up.weight);
        let gates = moe
            .experts
            .iter()
            .map(|expert| self.expert_matrix(expert))
            .collect::<Result<Vec<_>>>()?;
        let downs = moe
            .experts
            .iter()
            .map(|expert| self.matrices.matrix(&[expert.down.weight], false))
            .collect::<Result<Vec<_>>>()?;
        let whole = self.ready(moe.input, self.one_form(&gates)?);
        let picked = self.picked_act("picked", gates[0], active);
        self.rows.push(RowOp::Pick {
            from: whole,
            to: picked,
            active,
        });
        let wide = self.picked_act("wide", self.one_form(&downs)?, active);
        let block_unit = self.ready_unit(downs[0])?;
        let gate = |(expert, matrix): (&Mlp, &MatrixId)| Gate {
            matrix: *matrix,
            is_gated: expert.gate.is_some(),
            act: picked,
            bias: expert.gate.and_then(|gate| gate.bias),
            up_bias: expert.up.bias,
            activation: expert.activation,
            out: usize::MAX,
            inner,
            ready: Some(wide),
            block_unit,
        };
        let gates = moe.experts.iter().zip(&gates).map(gate).collect();
        self.push(Phase::ExpertGates(gates));
        let reg = self.scratch_reg("experts", self.program.regs[index(moe.out)], active);
        let down = |(expert, matrix): (&Mlp, &MatrixId)| Product {
            matrix: *matrix,
            act: wide,
            reg,
            bias: expert.down.bias,
        };
        let downs = moe.experts.iter().zip(&downs).map(down).collect();
        self.push(Phase::ExpertDowns(downs));
        self.rows.push(RowOp::Combine {
            from: reg,
            out: index(moe.out),
            active,
        });
        self.wrote(index(moe.out));
        Ok(())
    }

    /// The router's product and the choice.
    fn route(&mut self, moe: &Moe) -> Result<()> {
        let (experts, active) = (moe.experts.len(), moe.active);
        let logits = self.scratch_reg("router", experts, 1);
        let router = Affine {
            weight: moe.router,
            bias: None,
        };
        let router = self.product(router, moe.input, logits)?;
        self.push(Phase::Products(vec![router]));
        self.wrote(logits);
        self.push(Phase::Route(Routing {
            logits,
            experts,
            active,
            is_renormalised: moe.is_renormalised,
        }));
        Ok(())
    }

    /// Gate and up of one expert in one matrix.
    fn expert_matrix(&mut self, expert: &Mlp) -> Result<MatrixId> {
        let parts: Vec<_> = expert
            .gate
            .iter()
            .chain([&expert.up])
            .map(|affine| affine.weight)
            .collect();
        if !self.matrices.can_stack(&parts)? {
            return Err(unsupported(
                "an expert whose gate and up are encoded differently",
            ));
        }
        self.matrices.matrix(&parts, expert.gate.is_some())
    }

    /// A matrix whose activations serve all of them.
    fn one_form(&self, matrices: &[MatrixId]) -> Result<MatrixId> {
        let key = self.matrices.act_key(matrices[0]);
        let is_same = |matrix: &MatrixId| self.matrices.act_key(*matrix) == key;
        if matrices.iter().all(is_same) {
            Ok(matrices[0])
        } else {
            Err(unsupported("experts of one layer in several encodings"))
        }
    }

    /// Blocks of gate and up whose outputs are made ready together for `down`.
    fn ready_unit(&self, down: MatrixId) -> Result<usize> {
        let group = self.matrices.act_group(down);
        if group == 1 || (group.is_multiple_of(ROWS) && group <= UNIT_MAX) {
            Ok(group.div_ceil(ROWS))
        } else {
            Err(unsupported(format!("experts in groups of {group}")))
        }
    }

    /// Activations with a row per pick. They are written anew by every mixture.
    fn picked_act(&mut self, purpose: &'static str, matrix: MatrixId, copies: usize) -> ActId {
        let key = (purpose, self.matrices.act_key(matrix), copies);
        if let Some(act) = self.picked_acts.get(&key) {
            return *act;
        }
        let act = self.new_act(matrix, copies);
        self.picked_acts.insert(key, act);
        act
    }
}
