//! Rows of logits and samplers for tests.

use tokenmill_core::SamplingParams;
use tokenmill_core::noise::{Noise, Purpose};
use tokenmill_decode::{Choice, Result, Sampler, Scratch, Vocabulary};

pub const P7: [f64; 7] = [0.40, 0.25, 0.15, 0.08, 0.05, 0.04, 0.03];

/// The test distribution as logits.
pub fn p7() -> Vec<f32> {
    P7.iter().map(|p| p.ln() as f32).collect()
}

/// Everything a sampler is made of but its parameters.
#[derive(Clone, Debug, Default)]
pub struct Prefix {
    pub seed: i64,
    pub sample_index: u32,
    pub eos: Vec<u32>,
    pub prompt: Vec<u32>,
    pub output: Vec<u32>,
}

impl Prefix {
    pub fn seeded(seed: i64, position: usize) -> Self {
        Self {
            seed,
            prompt: vec![0; position],
            ..Self::default()
        }
    }

    pub fn position(&self) -> u32 {
        (self.prompt.len() + self.output.len()) as u32
    }

    pub fn sampler(&self, params: &SamplingParams, vocab_len: usize) -> Result<Sampler> {
        let vocabulary = Vocabulary::new(vocab_len, self.eos.clone())?;
        let mut sampler = Sampler::new(
            &std::sync::Arc::new(params.clone()),
            self.seed,
            self.sample_index,
            &vocabulary,
            &self.prompt,
        )?;
        self.output.iter().for_each(|&token| sampler.advance(token));
        Ok(sampler)
    }

    pub fn choose(&self, params: &SamplingParams, row: &[f32]) -> Result<Choice> {
        self.sampler(params, row.len())?
            .sample(row, &mut Scratch::new())
    }
}

/// Pseudo-random numbers in [0, 1) for rows; the key says which row.
fn uniforms(key: i64, len: usize) -> impl Iterator<Item = f64> {
    let noise = Noise::new(key, 0, 0, Purpose::Private);
    (0..len as u32).map(move |index| f64::from(noise.word(index)) / 4_294_967_296.0)
}

/// A row shaped like a model's: normal logits of this spread, a few large ones.
pub fn normal_row(key: i64, len: usize, spread: f64) -> Vec<f32> {
    let mut u: Vec<f64> = uniforms(key, 2 * len).collect();
    let v = u.split_off(len);
    u.iter()
        .zip(&v)
        .map(|(u, v)| {
            ((-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos() * spread) as f32
        })
        .collect()
}

/// A row with few distinct values, so that ties are everywhere.
pub fn tied_row(key: i64, len: usize, values: u32) -> Vec<f32> {
    uniforms(key, len)
        .map(|u| (u * f64::from(values)).floor() as f32 * 0.75 - 3.0)
        .collect()
}
