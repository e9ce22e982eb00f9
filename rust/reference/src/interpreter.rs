//! Runs the operations of a program over one step, in order, each on whole registers. It trusts the batch:
//! `backend` has checked it.

use tokenmill_model::{
    Attention, Embed, Exit, HeadNorm, Logits, NO_SLOT, Norm, NormKind, Op, Program, Qkv, Reg,
    Result, StepBatch,
};

use crate::attention::{View, attend};
use crate::backend::broken;
use crate::cache::LayerCache;
use crate::mlp::{mlp, moe};
use crate::norm::{NormWeights, normalise};
use crate::product::{Matrix, Parameters, add};
use crate::rotary::Angles;

/// One step under way.
pub struct Interpreter<'a> {
    /// What to run.
    pub program: &'a Program,
    /// With which weights.
    pub parameters: &'a Parameters,
    /// Over which cache, one per layer.
    pub caches: &'a mut [LayerCache],
    /// For which rows.
    pub batch: &'a StepBatch,
    /// Slots per block.
    pub block_size: usize,
    /// The registers.
    pub regs: Vec<Matrix>,
    /// The residual stream of each of the batch's exits that was met, by its index.
    pub exits: Vec<(usize, Vec<f32>)>,
}

/// What a step leaves.
#[derive(Debug, Default)]
pub struct Answers {
    /// `[logits rows][vocab_len]`.
    pub logits: Matrix,
    /// `[hidden rows][hidden]`.
    pub states: Matrix,
    /// `[exit rows][vocab_len]`.
    pub exits: Matrix,
}

impl Interpreter<'_> {
    /// Runs all operations.
    pub fn run(&mut self) -> Result<Answers> {
        let mut answers = Answers::default();
        for op in &self.program.ops {
            match op {
                Op::Embed(op) => self.embed(op)?,
                Op::Norm(op) => self.norm(op)?,
                Op::Qkv(op) => self.qkv(op)?,
                Op::Attention(op) => self.attention(op),
                Op::Linear(op) => {
                    let out = self.parameters.apply(&op.affine, self.reg(op.input))?;
                    self.set(op.out, out);
                }
                Op::Mlp(op) => {
                    let out = mlp(op, self.parameters, self.reg(op.input))?;
                    self.set(op.out, out);
                }
                Op::Moe(op) => {
                    let out = moe(op, self.parameters, self.reg(op.input))?;
                    self.set(op.out, out);
                }
                Op::Add(op) => {
                    let from = self.reg(op.from).data.clone();
                    let to = &mut self.regs[op.to.0 as usize].data;
                    for (to, from) in to.iter_mut().zip(from) {
                        *to += op.scale * from;
                    }
                }
                Op::Exit(op) => self.leave(op),
                Op::Logits(op) => answers = self.answers(op)?,
            }
        }
        Ok(answers)
    }

    /// Keeps the rows that leave here.
    fn leave(&mut self, op: &Exit) {
        let wanted = self.batch.exit_rows.iter().enumerate();
        let here = wanted.filter(|(_, exit)| exit.layer as usize == op.layer);
        let source = &self.regs[op.input.0 as usize];
        let kept = here.map(|(index, exit)| (index, source.row(exit.row as usize).to_vec()));
        self.exits.extend(kept);
    }

    fn reg(&self, reg: Reg) -> &Matrix {
        &self.regs[reg.0 as usize]
    }

    fn set(&mut self, reg: Reg, matrix: Matrix) {
        debug_assert_eq!(matrix.width, self.program.regs[reg.0 as usize]);
        self.regs[reg.0 as usize] = matrix;
    }

    fn embed(&mut self, op: &Embed) -> Result<()> {
        let width = self.program.regs[op.out.0 as usize];
        let mut out = Matrix::zeros(self.batch.rows(), width);
        for row in 0..self.batch.rows() {
            let token = self.batch.tokens[row] as usize;
            let mut vector = self.parameters.table_row(op.table, token)?;
            for element in &mut vector {
                *element *= op.scale;
            }
            if let Some(positions) = op.positions {
                let position = self.batch.positions[row] as usize + op.position_offset;
                add(
                    &mut vector,
                    &self.parameters.table_row(positions, position)?,
                );
            }
            out.row_mut(row).copy_from_slice(&vector);
        }
        self.set(op.out, out);
        Ok(())
    }

    fn norm(&mut self, op: &Norm) -> Result<()> {
        let weight = self.parameters.elements(op.weight)?;
        let bias = op
            .bias
            .map(|bias| self.parameters.elements(bias))
            .transpose()?;
        let weights = NormWeights {
            weight: &weight,
            weight_offset: op.weight_offset,
            bias: bias.as_deref(),
            eps: op.eps,
        };
        let mut out = self.reg(op.input).clone();
        for row in 0..out.rows() {
            normalise(op.kind, out.row_mut(row), &weights);
        }
        self.set(op.out, out);
        Ok(())
    }

    fn qkv(&mut self, op: &Qkv) -> Result<()> {
        let head_dim = self.program.shape.kv[op.layer].head_dim;
        let input = self.reg(op.input);
        let mut query = self.parameters.apply(&op.q, input)?;
        let mut key = self.parameters.apply(&op.k, input)?;
        let mut value = self.parameters.apply(&op.v, input)?;
        self.head_norm(op.q_norm.as_ref(), head_dim, &mut query)?;
        self.head_norm(op.k_norm.as_ref(), head_dim, &mut key)?;
        if let Some(clip) = op.clip {
            for matrix in [&mut query, &mut key, &mut value] {
                for element in &mut matrix.data {
                    *element = element.clamp(-clip, clip);
                }
            }
        }
        if let Some(rope) = op.rope {
            for row in 0..self.batch.rows() {
                let angles = Angles::at(&self.program.ropes[rope], self.batch.positions[row]);
                for matrix in [&mut query, &mut key] {
                    let heads = matrix.row_mut(row).chunks_exact_mut(head_dim);
                    heads.for_each(|head| angles.rotate(head));
                }
            }
        }
        for row in 0..self.batch.rows() {
            let slot = self.batch.slots[row];
            if slot != NO_SLOT {
                self.caches[op.layer].write(slot as usize, key.row(row), value.row(row));
            }
        }
        self.set(op.out, query);
        Ok(())
    }

    fn head_norm(
        &self,
        norm: Option<&HeadNorm>,
        head_dim: usize,
        matrix: &mut Matrix,
    ) -> Result<()> {
        let Some(norm) = norm else {
            return Ok(());
        };
        let weight = self.parameters.elements(norm.weight)?;
        let weights = NormWeights {
            weight: &weight,
            weight_offset: norm.weight_offset,
            bias: None,
            eps: norm.eps,
        };
        let group = if norm.is_whole {
            matrix.width
        } else {
            head_dim
        };
        for values in matrix.data.chunks_exact_mut(group) {
            normalise(NormKind::Rms, values, &weights);
        }
        Ok(())
    }

    fn attention(&mut self, op: &Attention) {
        let kv = self.program.shape.kv[op.layer];
        let mut out = Matrix::zeros(self.batch.rows(), op.heads * kv.head_dim);
        for span in &self.batch.spans {
            for row in span.row as usize..(span.row + span.rows) as usize {
                let view = View {
                    table: self.batch.table(span),
                    block_size: self.block_size,
                    position: self.batch.positions[row] as usize,
                };
                let query = self.reg(op.input).row(row);
                let attended = attend(op, kv, &self.caches[op.layer], &view, query);
                out.row_mut(row).copy_from_slice(&attended);
            }
        }
        self.set(op.out, out);
    }

    fn answers(&mut self, op: &Logits) -> Result<Answers> {
        let source = self.reg(op.input);
        let gather = |rows: &[u32]| Matrix {
            width: source.width,
            data: rows
                .iter()
                .flat_map(|&row| source.row(row as usize))
                .copied()
                .collect(),
        };
        let (last, states) = (
            gather(&self.batch.logits_rows),
            gather(&self.batch.hidden_rows),
        );
        let width = source.width;
        let mut exits = std::mem::take(&mut self.exits);
        if exits.len() != self.batch.exit_rows.len() {
            return Err(broken("an exit from a layer that the model has not"));
        }
        exits.sort_by_key(|(index, _)| *index);
        let early = Matrix {
            width,
            data: exits.into_iter().flat_map(|(_, row)| row).collect(),
        };
        Ok(Answers {
            logits: self.head(op, &last)?,
            states,
            exits: self.head(op, &early)?,
        })
    }

    fn head(&self, op: &Logits, input: &Matrix) -> Result<Matrix> {
        if input.data.is_empty() {
            return Ok(Matrix::default());
        }
        let mut logits = self.parameters.apply(&op.head, input)?;
        for logit in &mut logits.data {
            *logit *= op.scale;
            if let Some(cap) = op.soft_cap {
                *logit = cap * (*logit / cap).tanh();
            }
        }
        Ok(logits)
    }
}
