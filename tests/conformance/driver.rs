//! Drives a backend by hand: pieces of sequences become one flat batch, logits come back by piece and row.
//! It decides nothing about blocks; whoever calls it brings the tables.

use tokenmill_core::{BlockId, TokenId};
use tokenmill_model::{
    Activations, Backend, ComputeDtype, KvFormat, MemoryPlan, NO_SLOT, Program, Result, Span,
    StepBatch, Weights,
};

/// Rows of one sequence in a step: tokens `from..to` of a sequence whose blocks are `table`.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// All tokens of the sequence so far.
    pub tokens: &'a [TokenId],
    /// Its blocks.
    pub table: &'a [BlockId],
    /// First row's position.
    pub from: usize,
    /// One past the last row's position.
    pub to: usize,
    /// Whether the rows only read the cache.
    pub is_read_only: bool,
}

/// A loaded backend and its plan.
pub struct Rig {
    /// The backend.
    pub backend: Box<dyn Backend>,
    /// What it was loaded with.
    pub plan: MemoryPlan,
}

/// The plan that tests start from: float32 throughout.
pub fn exact_plan(program: &Program, blocks: usize, block_size: usize) -> MemoryPlan {
    let context_len = program.shape.context_len.min(blocks * block_size);
    MemoryPlan {
        blocks,
        block_size,
        rows_max: 512,
        logits_rows_max: 512,
        exit_rows_max: 512,
        context_len,
        kv_format: KvFormat::F32,
        dtype: ComputeDtype::Float32,
        activations: Activations::Exact,
        threads: 1,
        op_times: None,
    }
}

/// Blocks `first..first + count`.
pub fn blocks(first: u32, count: u32) -> Vec<BlockId> {
    (first..first + count).map(BlockId).collect()
}

impl Rig {
    /// Loads a backend.
    pub fn load(
        mut backend: Box<dyn Backend>,
        weights: &Weights<'_>,
        plan: MemoryPlan,
    ) -> Result<Self> {
        backend.load(weights.program(), weights, &plan)?;
        Ok(Self { backend, plan })
    }

    /// Runs one step of all pieces; the logits of every row, by piece.
    pub fn step(&mut self, pieces: &[Piece<'_>]) -> Result<Vec<Vec<Vec<f32>>>> {
        let batch = self.batch(pieces);
        let ticket = self.backend.run(&batch)?;
        let mut index = 0;
        let mut rows_of = |piece: &Piece<'_>| {
            (piece.from..piece.to)
                .map(|_| {
                    index += 1;
                    Ok(self.backend.logits(ticket, index - 1)?.to_vec())
                })
                .collect::<Result<Vec<_>>>()
        };
        pieces.iter().map(&mut rows_of).collect()
    }

    /// Runs one sequence alone, in chunks of `chunk` rows; the logits of every row.
    pub fn run_alone(
        &mut self,
        tokens: &[TokenId],
        table: &[BlockId],
        chunk: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let mut logits = Vec::new();
        for from in (0..tokens.len()).step_by(chunk) {
            let to = (from + chunk).min(tokens.len());
            let piece = Piece {
                tokens,
                table,
                from,
                to,
                is_read_only: false,
            };
            logits.extend(self.step(&[piece])?.remove(0));
        }
        Ok(logits)
    }

    /// The rows of all pieces, each with logits.
    pub fn batch(&self, pieces: &[Piece<'_>]) -> StepBatch {
        let mut batch = StepBatch::default();
        for piece in pieces {
            batch.spans.push(Span {
                row: batch.rows() as u32,
                rows: (piece.to - piece.from) as u32,
                table: batch.tables.len() as u32,
                table_len: piece.table.len() as u32,
                scope: 0,
            });
            for position in piece.from..piece.to {
                let block = piece.table[position / self.plan.block_size].0 as usize;
                let slot = block * self.plan.block_size + position % self.plan.block_size;
                let written = if piece.is_read_only {
                    NO_SLOT
                } else {
                    slot as u32
                };
                batch.logits_rows.push(batch.rows() as u32);
                batch.tokens.push(piece.tokens[position]);
                batch.positions.push(position as u32);
                batch.slots.push(written);
            }
            batch.tables.extend_from_slice(piece.table);
        }
        batch
    }
}

/// Largest difference of two rows, as a share of the range of the first.
pub fn distance(expected: &[f32], got: &[f32]) -> f32 {
    if expected.len() != got.len() {
        return f32::INFINITY;
    }
    let low = expected.iter().copied().fold(f32::INFINITY, f32::min);
    let high = expected.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let worst = expected
        .iter()
        .zip(got)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    worst / (high - low)
}
