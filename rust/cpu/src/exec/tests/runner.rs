//! Runs sequences through the backend under a schedule, and gives the logits of every token.

use tokenmill_core::BlockId;
use tokenmill_model::*;

use super::programs::{Random, Source};
use crate::exec::Loaded;
use crate::isa::Level;

/// How sequences are run.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) level: Level,
    pub(super) threads: usize,
    pub(super) block_size: usize,
    /// Rows of each sequence in each step.
    pub(super) chunk: usize,
    /// Whether all sequences run in the same steps (shifted by one another), or one after another.
    pub(super) is_together: bool,
    pub(super) kv_format: KvFormat,
    pub(super) dtype: ComputeDtype,
    pub(super) activations: Activations,
}

impl Schedule {
    /// Exact arithmetic in one chunk on one thread.
    pub(super) fn exact() -> Self {
        Self {
            level: Level::detect(),
            threads: 1,
            block_size: 16,
            chunk: 1_000,
            is_together: false,
            kv_format: KvFormat::F32,
            dtype: ComputeDtype::Float32,
            activations: Activations::Exact,
        }
    }

    fn plan(&self, sequences: &[Vec<u32>]) -> MemoryPlan {
        let longest = sequences.iter().map(Vec::len).max().unwrap();
        MemoryPlan {
            blocks: sequences.len() * longest.div_ceil(self.block_size) + 1,
            block_size: self.block_size,
            rows_max: sequences.len() * longest.min(self.chunk),
            logits_rows_max: sequences.len() * longest.min(self.chunk),
            exit_rows_max: 8,
            context_len: longest,
            kv_format: self.kv_format,
            dtype: self.dtype,
            activations: self.activations,
            threads: self.threads,
            op_times: None,
        }
    }

    /// A backend for these sequences.
    pub(super) fn load(
        &self,
        program: &Program,
        source: &Source,
        sequences: &[Vec<u32>],
    ) -> Loaded {
        Loaded::new(program, source, &self.plan(sequences), self.level).unwrap()
    }

    /// Logits of every token of every sequence.
    pub(super) fn run(
        &self,
        program: &Program,
        source: &Source,
        sequences: &[Vec<u32>],
    ) -> Vec<Vec<Vec<f32>>> {
        let mut loaded = self.load(program, source, sequences);
        let mut all: Vec<Vec<Vec<f32>>> = vec![Vec::new(); sequences.len()];
        loop {
            let pending: Vec<usize> = (0..sequences.len())
                .filter(|i| all[*i].len() < sequences[*i].len())
                .collect();
            let Some(first) = pending.first() else {
                return all;
            };
            let chosen = if self.is_together {
                &pending[..]
            } else {
                std::slice::from_ref(first)
            };
            let mut batch = StepBatch::default();
            for i in chosen {
                self.push(&mut batch, sequences, *i, all[*i].len());
            }
            let ticket = loaded.run(&batch).unwrap();
            for (span, i) in batch.spans.iter().zip(chosen) {
                for row in span.row..span.row + span.rows {
                    all[*i].push(loaded.logits(ticket, row as usize).unwrap().to_vec());
                }
            }
        }
    }

    /// Adds the next chunk of a sequence to a step. The blocks of all sequences are mixed.
    fn push(&self, batch: &mut StepBatch, sequences: &[Vec<u32>], i: usize, start: usize) {
        let end = sequences[i].len().min(start + self.chunk);
        let blocks = end.div_ceil(self.block_size);
        let block = |index: usize| index * sequences.len() + (i + index) % sequences.len() + 1;
        batch.spans.push(Span {
            row: batch.rows() as u32,
            rows: (end - start) as u32,
            table: batch.tables.len() as u32,
            table_len: blocks as u32,
            scope: 0,
        });
        batch
            .tables
            .extend((0..blocks).map(|index| BlockId(block(index) as u32)));
        for (position, token) in sequences[i].iter().enumerate().take(end).skip(start) {
            batch.logits_rows.push(batch.rows() as u32);
            batch.tokens.push(*token);
            batch.positions.push(position as u32);
            batch.slots.push(
                (block(position / self.block_size) * self.block_size + position % self.block_size)
                    as u32,
            );
        }
    }
}

/// Random sequences of these lengths.
pub(super) fn sequences(vocab: usize, lengths: &[usize]) -> Vec<Vec<u32>> {
    let mut random = Random(5);
    let mut sequence = |len: &usize| (0..*len).map(|_| random.bits() % vocab as u32).collect();
    lengths.iter().map(&mut sequence).collect()
}
