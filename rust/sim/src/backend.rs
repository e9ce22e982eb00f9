//! `SimBackend`: the Backend trait over chains. It asserts what a real backend cannot see: that every slot
//! a row reads was written for exactly this sequence's prefix. A violation is recorded and panics.

use std::sync::{Arc, Mutex, PoisonError};

use tokenmill_core::TokenId;
use tokenmill_model::{
    Backend, BlockCopy, Caps, Error, Exit, Hidden, KvFormat, KvShape, MemoryPlan, ModelShape,
    NO_SLOT, Op, Program, Reg, Result, Span, StepBatch, Ticket, Weights,
};

use crate::chain::{Chain, exit_row, logits_row, state_row};
use crate::trigger::Triggers;

/// What the oracle found wrong, shared with the test that drives it.
pub type Violations = Arc<Mutex<Vec<String>>>;

/// Width of the simulated hidden states.
pub const HIDDEN: usize = 8;

/// Layers from which simulated rows may leave early.
pub const EXITS: u32 = 6;

/// A program of exits alone: sizes, and what may be asked for beside logits.
pub fn program(vocab_len: usize, context_len: usize) -> Program {
    Program {
        architecture: "sim",
        shape: ModelShape {
            vocab_len,
            hidden: HIDDEN,
            context_len,
            kv: vec![KvShape {
                heads: 1,
                head_dim: 4,
            }],
        },
        regs: vec![HIDDEN],
        weights: Vec::new(),
        ropes: Vec::new(),
        ops: (0..EXITS as usize)
            .map(|layer| {
                Op::Exit(Exit {
                    layer,
                    input: Reg(0),
                })
            })
            .collect(),
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
    /// Chain after each row of the step, and whether the row is poisoned.
    chains: Vec<(Chain, bool)>,
    asked: StepBatch,
    /// What its model is: two of different seeds agree on nothing but prefixes.
    seed: u64,
    row: Vec<f32>,
    state: Vec<f32>,
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

    /// The same backend with another model.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The chain after a row that was asked for, as this model sees it.
    fn chain_of(&self, row: Option<u32>) -> Result<(Chain, bool)> {
        let found = row.and_then(|row| self.chains.get(row as usize));
        let &(chain, is_poisoned) = found.ok_or_else(|| Error::Internal {
            backend: "sim",
            what: "a row that was not asked for".into(),
        })?;
        Ok((chain.seen_by(self.seed), is_poisoned))
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

    fn run_span(&mut self, batch: &StepBatch, span: &Span) {
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
            self.chains
                .push((chain, self.triggers.nan_token == Some(token)));
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
            gives_hidden: true,
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
        self.state = vec![0.0; program.shape.hidden];
        Ok(())
    }

    fn run(&mut self, batch: &StepBatch) -> Result<Ticket> {
        let run = self.runs;
        self.runs += 1;
        self.chains.clear();
        self.trip(run, batch)?;
        for span in &batch.spans {
            self.run_span(batch, span);
        }
        self.asked.clone_from(batch);
        Ok(Ticket(run))
    }

    fn logits(&mut self, _ticket: Ticket, index: usize) -> Result<&[f32]> {
        let row = self.asked.logits_rows.get(index).copied();
        let (chain, is_poisoned) = self.chain_of(row)?;
        logits_row(chain, &mut self.row);
        if is_poisoned {
            self.row[0] = f32::NAN;
        }
        Ok(&self.row)
    }

    fn hidden(&mut self, _ticket: Ticket, what: Hidden) -> Result<&[f32]> {
        match what {
            Hidden::State(index) => {
                let row = self.asked.hidden_rows.get(index).copied();
                let (chain, _) = self.chain_of(row)?;
                state_row(chain, &mut self.state);
                Ok(&self.state)
            }
            Hidden::Exit(index) => {
                let exit = self.asked.exit_rows.get(index).copied();
                let (chain, _) = self.chain_of(exit.map(|exit| exit.row))?;
                exit_row(chain, exit.map_or(0, |exit| exit.layer), &mut self.row);
                Ok(&self.row)
            }
        }
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
