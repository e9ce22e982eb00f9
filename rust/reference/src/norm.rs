//! Normalisations of a row. Sums are f64, so that the oracle's own rounding stays out of comparisons.

use tokenmill_model::NormKind;

/// The scale and shift of a normalisation.
pub struct NormWeights<'a> {
    /// One per element of the group.
    pub weight: &'a [f32],
    /// Added to each weight.
    pub weight_offset: f32,
    /// Added after the scale.
    pub bias: Option<&'a [f32]>,
    /// Inside the root.
    pub eps: f32,
}

/// Normalises one group of elements in place.
pub fn normalise(kind: NormKind, values: &mut [f32], weights: &NormWeights<'_>) {
    let count = values.len() as f64;
    let mean = match kind {
        NormKind::Rms => 0.0,
        NormKind::Layer => values.iter().map(|&x| f64::from(x)).sum::<f64>() / count,
    };
    let square = |x: f32| (f64::from(x) - mean) * (f64::from(x) - mean);
    let variance = values.iter().map(|&x| square(x)).sum::<f64>() / count;
    let scale = 1.0 / (variance + f64::from(weights.eps)).sqrt();
    for (index, value) in values.iter_mut().enumerate() {
        let unit = ((f64::from(*value) - mean) * scale) as f32;
        *value = unit * (weights.weight[index] + weights.weight_offset);
        if let Some(bias) = weights.bias {
            *value += bias[index];
        }
    }
}
