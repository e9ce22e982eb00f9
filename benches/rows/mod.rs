//! The rows that the benches of the sampler read, and the least that can be done with one. Each bench uses a part.
#![allow(dead_code)]

use tokenmill_core::noise::{Noise, Purpose};

/// SmolLM2's vocabulary, and Qwen's.
pub const VOCAB_LENS: [usize; 2] = [49_152, 152_064];

/// Normal with a spread of 2.5.
pub fn row(len: usize) -> Vec<f32> {
    let noise = Noise::new(1, 0, 0, Purpose::Private);
    let uniform = |index: usize| f64::from(noise.word(index as u32)) / 4_294_967_296.0;
    let normal = |index: usize| {
        let (u, v) = (uniform(2 * index), uniform(2 * index + 1));
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    };
    (0..len).map(|index| (normal(index) * 2.5) as f32).collect()
}

/// The least that any sampler does: the maximum of a row.
pub fn plain_pass(row: &[f32]) -> f32 {
    let mut maxima = [f32::NEG_INFINITY; 16];
    let (blocks, rest) = row.as_chunks::<16>();
    for block in blocks {
        for (maximum, &value) in maxima.iter_mut().zip(block) {
            *maximum = if value > *maximum { value } else { *maximum };
        }
    }
    maxima
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max)
}
