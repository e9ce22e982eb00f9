//! `SimBackend`: the Backend trait over chains. It asserts what a real backend cannot see: that every slot
//! a row reads was written for exactly this sequence's prefix. A violation is recorded and panics.

use std::sync::{Arc, Mutex, PoisonError};

use tokenmill_core::TokenId;
use tokenmill_model::{
    Backend, BlockCopy, Caps, Error, KvFormat, KvShape, MemoryPlan, ModelShape, NO_SLOT, Program,
    Result, Span, StepBatch, Ticket, Weights,
};

use crate::chain::{Chain, logits_row};
use crate::trigger::Triggers;

/// What the oracle found wrong, shared with the test that drives it.
pub type Violations = Arc<Mutex<Vec<String>>>;

/// A program without operations: sizes only.
pub fn program(vocab_len: usize, context_len: usize) -> Program {
    Program {
        architecture: "sim",
        shape: ModelShape {
            vocab_len,
            hidden: 1,
            context_len,
            kv: vec![KvShape {
                heads: 1,
                head_dim: 4,
            }],
        },
        regs: Vec::new(),
        weights: Vec::new(),
        ropes: Vec::new(),
        ops: Vec::new(),
    }
}

/// One token's place: the token and the chain up to and including it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Slot {
    token: TokenId,
    chain: Chain,
}

/// The simulated backend.
#[derive(Debug, Default)]
pub struct SimBackend {
    triggers: Triggers,
    violations: Violations,
    slots: Vec<Option<Slot>>,
    block_size: usize,
    vocab_len: usize,
    runs: u64,
    /// Chain after each row that wants logits, and whether the row is poisoned.
    answers: Vec<(Chain, bool)>,
    row: Vec<f32>,
}

impl SimBackend {
    /// A backend with faults on demand; violations are also written to `violations`.
    pub fn new(triggers: Triggers, violations: Violations) -> Self {
        Self {
            triggers,
            violations,
            ..Self::default()
        }
    }

    fn violate(&self, what: &str) -> ! {
        self.violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what.to_owned());
        panic!("{what}");
    }

    /// The chain of positions `0..end` read from the blocks, each slot checked against its predecessor.
    fn read_prefix(&self, batch: &StepBatch, span: &Span, end: usize) -> Chain {
        let table = batch.table(span);
        let mut chain = Chain::empty(span.scope);
        for position in 0..end {
            let Some(block) = table.get(position / self.block_size) else {
                self.violate(&format!(
                    "position {position} is past a table of {} blocks",
                    table.len()
                ));
            };
            let place = block.0 as usize * self.block_size + position % self.block_size;
            match self.slots.get(place).copied().flatten() {
                Some(slot) if slot.chain == chain.push(slot.token) => chain = slot.chain,
                Some(_) => self.violate(&format!(
                    "slot {place} at position {position} belongs to another prefix"
                )),
                None => self.violate(&format!(
                    "slot {place} at position {position} was never written"
                )),
            }
        }
        chain
    }

    fn run_span(&mut self, batch: &StepBatch, span: &Span, wanted: &mut std::slice::Iter<'_, u32>) {
        let rows = span.row as usize..(span.row + span.rows) as usize;
        let first = batch.positions[rows.start] as usize;
        let mut chain = self.read_prefix(batch, span, first);
        for row in rows {
            let (token, position) = (batch.tokens[row], batch.positions[row] as usize);
            if position != first + (row - span.row as usize) {
                self.violate(&format!(
                    "row {row} has position {position} in a span that starts at {first}"
                ));
            }
            chain = chain.push(token);
            if batch.slots[row] == NO_SLOT {
                if self.read_prefix(batch, span, position + 1) != chain {
                    self.violate(&format!(
                        "a read-only row at position {position} meets another token"
                    ));
                }
            } else {
                self.write(
                    batch,
                    span,
                    position,
                    batch.slots[row],
                    Slot { token, chain },
                );
            }
            if wanted.as_slice().first() == Some(&(row as u32)) {
                wanted.next();
                self.answers
                    .push((chain, self.triggers.nan_token == Some(token)));
            }
        }
    }

    fn write(&mut self, batch: &StepBatch, span: &Span, position: usize, slot: u32, value: Slot) {
        let expected = batch
            .table(span)
            .get(position / self.block_size)
            .map(|block| block.0 as usize * self.block_size + position % self.block_size);
        if expected != Some(slot as usize) {
            self.violate(&format!(
                "position {position} is written to slot {slot}, its table says {expected:?}"
            ));
        }
        self.slots[slot as usize] = Some(value);
    }

    fn trip(&self, run: u64, batch: &StepBatch) -> Result<()> {
        let has =
            |trigger: Option<TokenId>| trigger.is_some_and(|token| batch.tokens.contains(&token));
        assert!(
            !self.triggers.panic_runs.contains(&run) && !has(self.triggers.panic_token),
            "a panic on demand"
        );
        if self.triggers.error_runs.contains(&run) || has(self.triggers.error_token) {
            return Err(Error::Internal {
                backend: "sim",
                what: "an error on demand".into(),
            });
        }
        Ok(())
    }
}

impl Backend for SimBackend {
    fn caps(&self) -> Caps {
        Caps {
            name: "sim",
            level: String::new(),
            block_multiple: 1,
            kv_formats: vec![KvFormat::F32, KvFormat::Bf16],
            weight_bytes: 0,
        }
    }

    fn load(&mut self, program: &Program, _weights: &Weights<'_>, plan: &MemoryPlan) -> Result<()> {
        if plan.op_times.is_some() {
            return Err(Error::Unsupported {
                what: "profile".to_owned(),
                by: "sim".to_owned(),
            });
        }
        self.block_size = plan.block_size;
        self.vocab_len = program.shape.vocab_len;
        self.slots = vec![None; plan.blocks * plan.block_size];
        self.row = vec![0.0; self.vocab_len];
        Ok(())
    }

    fn run(&mut self, batch: &StepBatch) -> Result<Ticket> {
        let run = self.runs;
        self.runs += 1;
        self.answers.clear();
        self.trip(run, batch)?;
        let mut wanted = batch.logits_rows.iter();
        for span in &batch.spans {
            self.run_span(batch, span, &mut wanted);
        }
        Ok(Ticket(run))
    }

    fn logits(&mut self, _ticket: Ticket, index: usize) -> Result<&[f32]> {
        let Some(&(chain, is_poisoned)) = self.answers.get(index) else {
            return Err(Error::Internal {
                backend: "sim",
                what: format!("no logits row {index}"),
            });
        };
        logits_row(chain, &mut self.row);
        if is_poisoned {
            self.row[0] = f32::NAN;
        }
        Ok(&self.row)
    }

    fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<()> {
        for copy in copies {
            let from = copy.from.0 as usize * self.block_size + copy.from_slot as usize;
            let to = copy.to.0 as usize * self.block_size + copy.to_slot as usize;
            self.slots.copy_within(from..from + copy.len as usize, to);
        }
        Ok(())
    }

    fn close(&mut self) {
        self.slots = Vec::new();
    }
}
