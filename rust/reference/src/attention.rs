//! Causal attention of one query row over the cache: for each head the scores of all visible positions, their
//! softmax, the weighted sum of values. It knows nothing of the rows beside it.

use tokenmill_core::BlockId;
use tokenmill_model::{Attention, KvShape};

use crate::cache::LayerCache;

/// Lanes of a dot product, so that a compiler can keep them in one register.
const LANES: usize = 8;

/// Where a row looks.
pub struct View<'a> {
    /// Its sequence's blocks.
    pub table: &'a [BlockId],
    /// Slots per block.
    pub block_size: usize,
    /// Its position.
    pub position: usize,
}

impl View<'_> {
    fn slot(&self, position: usize) -> usize {
        let block = self.table[position / self.block_size].0 as usize;
        block * self.block_size + position % self.block_size
    }
}

/// The attended values of one row, all heads.
pub fn attend(
    op: &Attention,
    kv: KvShape,
    cache: &LayerCache,
    view: &View<'_>,
    query: &[f32],
) -> Vec<f32> {
    let head_dim = kv.head_dim;
    let queries_per_kv = op.heads / kv.heads;
    let first = op
        .window
        .map_or(0, |window| (view.position + 1).saturating_sub(window));
    let slots: Vec<usize> = (first..=view.position).map(|at| view.slot(at)).collect();
    let mut out = Vec::with_capacity(op.heads * head_dim);
    for head in 0..op.heads {
        let query = &query[head * head_dim..(head + 1) * head_dim];
        let column = head / queries_per_kv * head_dim;
        let vector = |data: &'_ [f32], slot: usize| -> std::ops::Range<usize> {
            debug_assert!(data.len() >= (slot + 1) * cache.width);
            let start = slot * cache.width + column;
            start..start + head_dim
        };
        let scores: Vec<f32> = slots
            .iter()
            .map(|&slot| {
                let score = dot(query, &cache.keys[vector(&cache.keys, slot)]) * op.scale;
                op.soft_cap.map_or(score, |cap| cap * (score / cap).tanh())
            })
            .collect();
        let weights = softmax(&scores);
        let mut sum = vec![0.0; head_dim];
        for (weight, &slot) in weights.iter().zip(&slots) {
            let value = &cache.values[vector(&cache.values, slot)];
            for (sum, value) in sum.iter_mut().zip(value) {
                *sum += weight * value;
            }
        }
        out.extend(sum);
    }
    out
}

/// exp(x - max) over its sum.
pub fn softmax(scores: &[f32]) -> Vec<f32> {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = scores.iter().map(|score| (score - max).exp()).collect();
    let sum: f64 = powers.iter().map(|&power| f64::from(power)).sum();
    powers
        .iter()
        .map(|&power| (f64::from(power) / sum) as f32)
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}
