//! Mixtures of experts: the router's product, the choice of experts, and the products of the chosen ones. Rows
//! are copied once for each of their experts and sorted by expert ("picks"), so that an expert's weights are
//! read once for all of its rows.
//!
//! Invariant: picks of one expert stand in ascending rows, and a row's results are added in ascending experts;
//! neither depends on which other rows there are.

use tokenmill_model::{Affine, Mlp, Moe, Result, WeightId};

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
        if !(1..=moe.experts.len()).contains(&moe.active) {
            return Err(internal(
                "a mixture whose rows go through none or too many experts",
            ));
        }
        self.route(moe)?;
        let downs: Vec<Affine> = moe.experts.iter().map(|expert| expert.down).collect();
        let down = self.matrices_of(&downs)?;
        let wide = self.picked_act("wide", self.one_form(&down)?, moe.active);
        self.widen(moe, down[0], wide)?;
        let width = self.program.regs[index(moe.out)];
        let results = self.scratch_reg("expert outputs", width, moe.active);
        self.push_products(&downs, &down, wide, results);
        self.rows.push(RowOp::Combine {
            from: results,
            out: index(moe.out),
            active: moe.active,
        });
        self.wrote(index(moe.out));
        Ok(())
    }

    /// The router's product and the choice.
    fn route(&mut self, moe: &Moe) -> Result<()> {
        let logits = self.scratch_reg("router", moe.experts.len(), 1);
        let router = Affine {
            weight: moe.router,
            bias: None,
        };
        let router = self.product(router, moe.input, logits)?;
        self.push(Phase::Products(vec![router]));
        self.wrote(logits);
        let routing = Routing {
            logits,
            experts: moe.experts.len(),
            active: moe.active,
            is_renormalised: moe.is_renormalised,
        };
        self.rows.push(RowOp::Choose(routing));
        self.push(Phase::Sort(routing));
        Ok(())
    }

    /// Everything up to the inner values of each expert, made ready for `down` in `wide`.
    fn widen(&mut self, moe: &Moe, down: MatrixId, wide: ActId) -> Result<()> {
        let mut is_stacked = true;
        for expert in &moe.experts {
            is_stacked &= self.matrices.can_stack(&parts(expert))?;
        }
        let active = moe.active;
        let inner = self.matrices.outputs(moe.experts[0].up.weight);
        if is_stacked && let Some(block_unit) = self.ready_unit(down) {
            return self.push_gates(moe, (usize::MAX, inner), Some((wide, block_unit)));
        }
        let out = self.scratch_reg("expert inner", inner, active);
        if is_stacked {
            self.push_gates(moe, (out, inner), None)?;
        } else {
            self.gate_apart(moe, (out, inner))?;
        }
        self.rows.push(RowOp::PreparePicks {
            from: out,
            act: wide,
            active,
        });
        Ok(())
    }

    /// Gate and up of each expert in one matrix, to a register or made ready at once.
    fn push_gates(
        &mut self,
        moe: &Moe,
        (out, inner): (usize, usize),
        ready: Option<(ActId, usize)>,
    ) -> Result<()> {
        let mut matrices = Vec::with_capacity(moe.experts.len());
        for expert in &moe.experts {
            matrices.push(
                self.matrices
                    .matrix(&parts(expert), expert.gate.is_some())?,
            );
        }
        let act = self.pick(moe, &matrices)?;
        let gate = |(expert, matrix): (&Mlp, &MatrixId)| Gate {
            matrix: *matrix,
            is_gated: expert.gate.is_some(),
            act,
            bias: expert.gate.and_then(|gate| gate.bias),
            up_bias: expert.up.bias,
            activation: expert.activation,
            out,
            inner,
            ready: ready.map(|(act, _)| act),
            block_unit: ready.map_or(1, |(_, unit)| unit),
        };
        let gates = moe.experts.iter().zip(&matrices).map(gate).collect();
        self.push(Phase::ExpertGates(gates));
        Ok(())
    }

    /// Gate and up in encodings that no single matrix holds.
    fn gate_apart(&mut self, moe: &Moe, (out, inner): (usize, usize)) -> Result<()> {
        let mut regs = [0; 2];
        let gates: Option<Vec<Affine>> = moe.experts.iter().map(|expert| expert.gate).collect();
        let gates = gates.ok_or_else(|| unsupported("experts with and without a gate"))?;
        let ups = moe.experts.iter().map(|expert| expert.up).collect();
        for (reg, (purpose, affines)) in regs
            .iter_mut()
            .zip([("expert gate", gates), ("expert up", ups)])
        {
            let matrices = self.matrices_of(&affines)?;
            let act = self.pick(moe, &matrices)?;
            *reg = self.scratch_reg(purpose, inner, moe.active);
            self.push_products(&affines, &matrices, act, *reg);
        }
        self.rows.push(RowOp::ActivatePicks {
            gate: regs[0],
            up: regs[1],
            activation: moe.experts[0].activation,
            out,
            active: moe.active,
        });
        Ok(())
    }

    /// The mixture's input, made ready for these matrices and copied to each pick.
    fn pick(&mut self, moe: &Moe, matrices: &[MatrixId]) -> Result<ActId> {
        let matrix = self.one_form(matrices)?;
        let from = self.ready(moe.input, matrix);
        let to = self.picked_act("picked", matrix, moe.active);
        self.rows.push(RowOp::Pick {
            from,
            to,
            active: moe.active,
        });
        Ok(to)
    }

    fn push_products(&mut self, affines: &[Affine], matrices: &[MatrixId], act: ActId, reg: usize) {
        let product = |(affine, matrix): (&Affine, &MatrixId)| Product {
            matrix: *matrix,
            act,
            reg,
            bias: affine.bias,
        };
        let products = affines.iter().zip(matrices).map(product).collect();
        self.push(Phase::ExpertProducts(products));
    }

    fn matrices_of(&mut self, affines: &[Affine]) -> Result<Vec<MatrixId>> {
        affines
            .iter()
            .map(|affine| self.matrices.matrix(&[affine.weight], false))
            .collect()
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

    /// Blocks of gate and up whose outputs are made ready together for `down`, where their groups allow it.
    fn ready_unit(&self, down: MatrixId) -> Option<usize> {
        let group = self.matrices.act_group(down);
        let is_whole = group == 1 || (group.is_multiple_of(ROWS) && group <= UNIT_MAX);
        is_whole.then_some(group.div_ceil(ROWS))
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

/// The weights that one matrix may hold: gate and up.
fn parts(expert: &Mlp) -> Vec<WeightId> {
    let affines = expert.gate.iter().chain([&expert.up]);
    affines.map(|affine| affine.weight).collect()
}
