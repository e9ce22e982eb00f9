//! From a program to phases. Owns the order of things and the choice between fused and plain forms; the
//! phases' work is in `exec`.
//!
//! Invariant: activations are made ready again after every write of their register.

use std::collections::HashMap;

use tokenmill_model::{
    Affine, Attention, Embed, Linear, Logits, Mlp, Norm, Op, Program, Qkv, Reg, Result, WeightId,
};

use super::matrices::{ActKey, Arithmetic, MatrixTable, WeightSource};
use super::{
    ActId, ActSpec, Attend, AttendClass, Finish, Gate, Head, HeadRun, Heads, Part, Phase, Plan,
    Product, Project, RegSpec, RowOp,
};
use crate::attend::Rule;
use crate::exec::{internal, unsupported};
use crate::pack::ROWS;

/// Plans a program over its weights.
pub(crate) fn plan(
    program: &Program,
    source: &dyn WeightSource,
    arithmetic: Arithmetic,
) -> Result<Plan> {
    let mut lowering = Lowering {
        program,
        matrices: MatrixTable::new(program, source, arithmetic),
        regs: program
            .regs
            .iter()
            .map(|width| RegSpec {
                width: *width,
                copies: 1,
            })
            .collect(),
        scratch_regs: HashMap::new(),
        acts: Vec::new(),
        act_ids: HashMap::new(),
        picked_acts: HashMap::new(),
        is_ready: Vec::new(),
        classes: Vec::new(),
        rows: Vec::new(),
        phases: Vec::new(),
    };
    if !program.ropes.is_empty() {
        lowering.rows.push(RowOp::Angles);
    }
    for op in &program.ops {
        lowering.op(op)?;
    }
    lowering.flush();
    Ok(Plan {
        regs: lowering.regs,
        matrices: lowering.matrices.into_specs(),
        acts: lowering.acts,
        classes: lowering.classes,
        exits: program.exits(),
        phases: lowering.phases,
    })
}

pub(super) struct Lowering<'a> {
    pub(super) program: &'a Program,
    pub(super) matrices: MatrixTable<'a>,
    pub(super) regs: Vec<RegSpec>,
    /// Registers that the plan added, by purpose.
    pub(super) scratch_regs: HashMap<(&'static str, usize, usize), usize>,
    pub(super) acts: Vec<ActSpec>,
    pub(super) act_ids: HashMap<(usize, ActKey, bool), ActId>,
    /// Activations with a row per pick, by purpose.
    pub(super) picked_acts: HashMap<(&'static str, ActKey, usize), ActId>,
    /// Per activation buffer: whether it holds its register's present content.
    pub(super) is_ready: Vec<bool>,
    pub(super) classes: Vec<AttendClass>,
    /// Row operations that no phase holds yet.
    pub(super) rows: Vec<RowOp>,
    pub(super) phases: Vec<Phase>,
}

impl Lowering<'_> {
    fn op(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Embed(embed) => self.embed(embed),
            Op::Norm(norm) => {
                self.norm(norm);
                Ok(())
            }
            Op::Qkv(qkv) => self.qkv(qkv),
            Op::Attention(attention) => self.attention(attention),
            Op::Linear(linear) => self.linear(linear),
            Op::Mlp(mlp) => self.mlp(mlp),
            Op::Moe(moe) => self.moe(moe),
            Op::Add(add) => {
                self.rows.push(RowOp::Add(add.clone()));
                self.wrote(index(add.to));
                Ok(())
            }
            Op::Exit(exit) => {
                let from = index(exit.input);
                let layer = exit.layer;
                self.rows.push(RowOp::Leave { layer, from });
                Ok(())
            }
            Op::Logits(logits) => self.logits(logits),
        }
    }

    fn embed(&mut self, embed: &Embed) -> Result<()> {
        for table in std::iter::once(embed.table).chain(embed.positions) {
            self.matrices.matrix(&[table], false)?;
        }
        self.rows.push(RowOp::Embed(embed.clone()));
        self.wrote(index(embed.out));
        Ok(())
    }

    fn norm(&mut self, norm: &Norm) {
        self.rows.push(RowOp::Norm(norm.clone()));
        self.wrote(index(norm.out));
    }

    fn qkv(&mut self, qkv: &Qkv) -> Result<()> {
        let shape = self
            .program
            .shape
            .kv
            .get(qkv.layer)
            .ok_or_else(|| internal("a layer without a cache"))?;
        let is_whole =
            |norm: &Option<tokenmill_model::HeadNorm>| norm.is_some_and(|norm| norm.is_whole);
        let heads = Heads {
            layer: qkv.layer,
            dim: shape.head_dim,
            q_count: qkv.heads,
            kv_count: shape.heads,
            biases: [qkv.q.bias, qkv.k.bias, qkv.v.bias],
            clip: qkv.clip,
            norms: [qkv.q_norm, qkv.k_norm],
            rope: qkv.rope,
            out: index(qkv.out),
        };
        if shape.head_dim.is_multiple_of(ROWS) && !is_whole(&qkv.q_norm) && !is_whole(&qkv.k_norm) {
            self.project(qkv, heads)?;
        } else {
            self.project_in_two(qkv, heads)?;
        }
        self.wrote(index(qkv.out));
        Ok(())
    }

    fn project(&mut self, qkv: &Qkv, heads: Heads) -> Result<()> {
        let weights = [qkv.q.weight, qkv.k.weight, qkv.v.weight];
        let is_stacked = self.matrices.can_stack(&weights)?;
        let counts = [heads.q_count, heads.kv_count, heads.kv_count];
        let parts = [Part::Query, Part::Key, Part::Value];
        let mut runs = Vec::with_capacity(3);
        let mut next_block = 0;
        for ((weight, part), heads_of_part) in weights.into_iter().zip(parts).zip(counts) {
            let stacked = if is_stacked {
                &weights[..]
            } else {
                &[weight][..]
            };
            let matrix = self.matrices.matrix(stacked, false)?;
            let act = self.ready(qkv.input, matrix);
            let first_block = if is_stacked { next_block } else { 0 };
            next_block += heads_of_part * heads.dim / ROWS;
            runs.push(HeadRun {
                matrix,
                act,
                part,
                first_block,
                heads: heads_of_part,
            });
        }
        self.push(Phase::Project(Project {
            heads,
            runs: [runs[0], runs[1], runs[2]],
        }));
        Ok(())
    }

    fn project_in_two(&mut self, qkv: &Qkv, heads: Heads) -> Result<()> {
        let parts = [("q", qkv.q), ("k", qkv.k), ("v", qkv.v)];
        let mut regs = [0; 3];
        let mut products = Vec::with_capacity(3);
        for (i, (purpose, affine)) in parts.into_iter().enumerate() {
            regs[i] = self.scratch_reg(purpose, self.matrices.outputs(affine.weight), 1);
            products.push(self.product(affine, qkv.input, regs[i])?);
        }
        self.push(Phase::Products(products));
        self.push(Phase::Finish(Finish { heads, regs }));
        Ok(())
    }

    fn attention(&mut self, attention: &Attention) -> Result<()> {
        let shape = self
            .program
            .shape
            .kv
            .get(attention.layer)
            .ok_or_else(|| internal("a layer without a cache"))?;
        if shape.heads == 0 || !attention.heads.is_multiple_of(shape.heads) {
            return Err(internal("query heads are no multiple of KV heads"));
        }
        let rule = Rule {
            head_dim: shape.head_dim,
            group: attention.heads / shape.heads,
            scale: attention.scale,
            soft_cap: attention.soft_cap,
            window: attention.window,
        };
        let class = AttendClass {
            rule,
            kv_heads: shape.heads,
        };
        let known = self.classes.iter().position(|other| *other == class);
        let class = known.unwrap_or_else(|| {
            self.classes.push(class);
            self.classes.len() - 1
        });
        let out = index(attention.out);
        let input = index(attention.input);
        self.push(Phase::Attend(Attend {
            layer: attention.layer,
            class,
            input,
            out,
            ready: None,
        }));
        self.wrote(out);
        Ok(())
    }

    fn linear(&mut self, linear: &Linear) -> Result<()> {
        let out = index(linear.out);
        let product = self.product(linear.affine, linear.input, out)?;
        self.push(Phase::Products(vec![product]));
        self.wrote(out);
        Ok(())
    }

    fn mlp(&mut self, mlp: &Mlp) -> Result<()> {
        let inner = self.matrices.outputs(mlp.up.weight);
        let inner_reg = self.scratch_reg("inner", inner, 1);
        let parts: Vec<WeightId> = mlp
            .gate
            .iter()
            .chain([&mlp.up])
            .map(|affine| affine.weight)
            .collect();
        if self.matrices.can_stack(&parts)? {
            let matrix = self.matrices.matrix(&parts, mlp.gate.is_some())?;
            let act = self.ready(mlp.input, matrix);
            self.push(Phase::Gate(Gate {
                matrix,
                is_gated: mlp.gate.is_some(),
                act,
                bias: mlp.gate.and_then(|gate| gate.bias),
                up_bias: mlp.up.bias,
                activation: mlp.activation,
                out: inner_reg,
                inner,
                ready: None,
                block_unit: 1,
            }));
            self.wrote(inner_reg);
        } else {
            self.gate_in_two(mlp, inner_reg, inner)?;
        }
        let out = index(mlp.out);
        let down = self.product(mlp.down, Reg(inner_reg as u16), out)?;
        self.push(Phase::Products(vec![down]));
        self.wrote(out);
        Ok(())
    }

    /// Gate and up in encodings that no single matrix holds.
    fn gate_in_two(&mut self, mlp: &Mlp, inner_reg: usize, inner: usize) -> Result<()> {
        let gate_reg = self.scratch_reg("gate", inner, 1);
        let up_reg = self.scratch_reg("up", inner, 1);
        let gate = mlp
            .gate
            .ok_or_else(|| internal("one matrix does not stack with itself"))?;
        let gate = self.product(gate, mlp.input, gate_reg)?;
        let up = self.product(mlp.up, mlp.input, up_reg)?;
        self.push(Phase::Products(vec![gate, up]));
        self.wrote(gate_reg);
        self.wrote(up_reg);
        let activation = mlp.activation;
        self.rows.push(RowOp::Activate {
            gate: gate_reg,
            up: up_reg,
            activation,
            out: inner_reg,
        });
        self.wrote(inner_reg);
        Ok(())
    }

    fn logits(&mut self, logits: &Logits) -> Result<()> {
        if self
            .phases
            .iter()
            .any(|phase| matches!(phase, Phase::Head(_)))
        {
            return Err(unsupported("a second output head"));
        }
        let matrix = self.matrices.matrix(&[logits.head.weight], false)?;
        let act = self.act(logits.input, matrix, true);
        self.rows.push(RowOp::PrepareHead {
            from: index(logits.input),
            act,
        });
        self.push(Phase::Head(Head {
            matrix,
            input: index(logits.input),
            act,
            bias: logits.head.bias,
            scale: logits.scale,
            soft_cap: logits.soft_cap,
        }));
        Ok(())
    }

    pub(super) fn product(&mut self, affine: Affine, input: Reg, reg: usize) -> Result<Product> {
        let matrix = self.matrices.matrix(&[affine.weight], false)?;
        let act = self.ready(input, matrix);
        Ok(Product {
            matrix,
            act,
            reg,
            bias: affine.bias,
        })
    }

    pub(super) fn push(&mut self, phase: Phase) {
        self.flush();
        self.phases.push(phase);
    }

    fn flush(&mut self) {
        if !self.rows.is_empty() {
            self.phases
                .push(Phase::Rows(std::mem::take(&mut self.rows)));
        }
    }
}

pub(super) fn index(Reg(reg): Reg) -> usize {
    usize::from(reg)
}
