//! Rotation of heads by position. Element i of a head is paired with element i + pairs; elements beyond
//! twice the pairs stay.

use tokenmill_model::Rope;

/// Sines and cosines of one position.
pub struct Angles {
    sines: Vec<f32>,
    cosines: Vec<f32>,
}

impl Angles {
    /// Angles are f32 products, as in every f32 implementation; their sines are exact to f32.
    pub fn at(rope: &Rope, position: u32) -> Self {
        let factor = f64::from(rope.attention_factor);
        let angles: Vec<f64> = rope
            .inv_freq
            .iter()
            .map(|freq| f64::from(position as f32 * freq))
            .collect();
        Self {
            sines: angles.iter().map(|x| (x.sin() * factor) as f32).collect(),
            cosines: angles.iter().map(|x| (x.cos() * factor) as f32).collect(),
        }
    }

    /// Rotates one head in place.
    pub fn rotate(&self, head: &mut [f32]) {
        let pairs = self.sines.len();
        for pair in 0..pairs {
            let (sine, cosine) = (self.sines[pair], self.cosines[pair]);
            let (low, high) = (head[pair], head[pair + pairs]);
            head[pair] = low * cosine - high * sine;
            head[pair + pairs] = high * cosine + low * sine;
        }
    }
}
