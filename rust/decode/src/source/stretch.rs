//! Sums of f64 over the vocabulary in a fixed order: stretches of 1,024 ids, ascending, each summed alone first.

/// Ids of a stretch.
const STRETCH: usize = 1024;

/// The sum of `term` over pairs of values of two rows.
pub(super) fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f64) -> f64 {
    let stretches = a.chunks(STRETCH).zip(b.chunks(STRETCH));
    let sum = |(a, b): (&[f32], &[f32])| -> f64 {
        a.iter().zip(b).fold(0.0, |sum, (&a, &b)| sum + term(a, b))
    };
    stretches.fold(0.0, |total, stretch| total + sum(stretch))
}
