//! Backends that break one part of the contract each: the reference with one lie. A group that does not
//! find its liar proves nothing.

use tokenmill_model::{
    Backend, BlockCopy, Caps, Hidden, MemoryPlan, NO_SLOT, NormKind, Op, Program, Result,
    StepBatch, Ticket, Weights,
};
use tokenmill_reference::ReferenceBackend;

/// What a liar does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Rows of a prompt see the token before their own twice.
    RepeatsToken,
    /// Chunks after the first look up another first block.
    LosesFirstBlock,
    /// A row alone does not write its K and V.
    ForgetsDecoded,
    /// All sequences of a step read the first one's table.
    SharesTables,
    /// Blocks are not copied.
    ForgetsCopies,
    /// Copies go to the slots they came from.
    KeepsOffsets,
    /// A row that should only read writes slot 0.
    WritesReadOnly,
    /// A window shows one token too many.
    WidensWindow,
    /// Scores and logits are not capped.
    DropsCaps,
    /// The weight's offset and the whole-vector norm are left out.
    SimplifiesNorms,
    /// The residual is added at full scale, activations are SiLU, positions start at 0.
    SimplifiesLayers,
    /// Only the best expert is used.
    UsesOneExpert,
    /// Weights that are not f32 are taken for others.
    SwapsGateAndUp,
    /// Attention is twice as sharp.
    SharpensAttention,
    /// Hidden states are those of the row before.
    GivesOtherStates,
    /// Rows leave a layer late, where there is one.
    LeavesLate,
    /// A row's logits move a little with the number of rows in its step.
    MindsCompany,
}

/// The reference with a lie.
pub struct Liar {
    lie: Lie,
    inner: ReferenceBackend,
    logits: Vec<f32>,
    rows: usize,
}

impl Liar {
    /// A liar.
    pub fn new(lie: Lie) -> Self {
        Self {
            lie,
            inner: ReferenceBackend::new(),
            logits: Vec::new(),
            rows: 0,
        }
    }
}

impl Backend for Liar {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn load(&mut self, program: &Program, weights: &Weights<'_>, plan: &MemoryPlan) -> Result<()> {
        let mut program = program.clone();
        for op in &mut program.ops {
            twist_op(self.lie, op);
        }
        self.inner.load(&program, weights, plan)
    }

    fn run(&mut self, batch: &StepBatch) -> Result<Ticket> {
        self.rows = batch.rows();
        let mut batch = batch.clone();
        twist_batch(self.lie, &mut batch);
        self.inner.run(&batch)
    }

    fn logits(&mut self, ticket: Ticket, index: usize) -> Result<&[f32]> {
        self.logits = self.inner.logits(ticket, index)?.to_vec();
        if self.lie == Lie::MindsCompany {
            self.logits[0] += 1e-6 * self.rows as f32;
        }
        Ok(&self.logits)
    }

    fn hidden(&mut self, ticket: Ticket, what: Hidden) -> Result<&[f32]> {
        let what = match what {
            Hidden::State(index) if self.lie == Lie::GivesOtherStates => {
                Hidden::State(index.max(1) - 1)
            }
            what => what,
        };
        self.logits = self.inner.hidden(ticket, what)?.to_vec();
        if self.lie == Lie::MindsCompany {
            self.logits[0] += 1e-6 * self.rows as f32;
        }
        Ok(&self.logits)
    }

    fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<()> {
        let mut copies = copies.to_vec();
        match self.lie {
            Lie::ForgetsCopies => copies.clear(),
            Lie::KeepsOffsets => copies
                .iter_mut()
                .for_each(|copy| copy.to_slot = copy.from_slot),
            _ => {}
        }
        self.inner.copy_blocks(&copies)
    }

    fn close(&mut self) {
        self.inner.close();
    }
}

fn twist_op(lie: Lie, op: &mut Op) {
    match (lie, op) {
        (Lie::WidensWindow, Op::Attention(op)) => op.window = op.window.map(|window| window + 1),
        (Lie::SharpensAttention, Op::Attention(op)) => op.scale *= 2.0,
        (Lie::DropsCaps, Op::Attention(op)) => op.soft_cap = None,
        (Lie::DropsCaps, Op::Logits(op)) => op.soft_cap = None,
        (Lie::SimplifiesNorms, Op::Norm(op)) => {
            op.weight_offset = 0.0;
            op.kind = NormKind::Rms;
        }
        (Lie::SimplifiesLayers, Op::Embed(op)) => op.position_offset = 0,
        (Lie::SimplifiesLayers, Op::Add(op)) => op.scale = 1.0,
        (Lie::LeavesLate, Op::Exit(op)) => op.layer ^= 1,
        (Lie::UsesOneExpert, Op::Moe(op)) => op.active = 1,
        (Lie::SwapsGateAndUp, Op::Mlp(op)) => {
            if let Some(gate) = &mut op.gate {
                std::mem::swap(gate, &mut op.up);
            }
        }
        _ => {}
    }
}

fn twist_batch(lie: Lie, batch: &mut StepBatch) {
    match lie {
        Lie::RepeatsToken => {
            for row in 1..batch.rows() {
                batch.tokens[row] = batch.tokens[row - 1];
            }
        }
        Lie::LosesFirstBlock => {
            for span in &batch.spans {
                if batch.positions[span.row as usize] > 0 && span.rows > 1 {
                    batch.tables[span.table as usize] = batch.tables[span.table as usize + 1];
                }
            }
        }
        Lie::ForgetsDecoded => {
            for span in &batch.spans {
                if span.rows == 1 {
                    batch.slots[span.row as usize] = NO_SLOT;
                }
            }
        }
        Lie::SharesTables => {
            let first = batch.spans[0];
            for span in &mut batch.spans {
                if first.table_len >= span.table_len {
                    span.table = first.table;
                }
            }
        }
        Lie::WritesReadOnly => {
            for slot in &mut batch.slots {
                if *slot == NO_SLOT {
                    *slot = 0;
                }
            }
        }
        _ => {}
    }
}
