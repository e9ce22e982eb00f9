//! Sixteen f32 lanes, written once and compiled per instruction level: every kernel of this crate that is
//! not a matrix product is a generic function over `Lanes`, instantiated by `per_level!`.
//!
//! Invariant: all levels give the same bits. Each method is one correctly rounded operation per lane, a
//! fused multiply-add is fused everywhere, and a reduction folds lanes i and i + 8, then + 4, + 2, + 1.
//! `Scalar` is the definition; the tests hold the others to it. The trait knows nothing of what it computes.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod dispatch;
pub(crate) mod elementwise;
pub(crate) mod math;
pub(crate) mod norm;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use dispatch::per_level;
pub(crate) use scalar::Scalar;

/// Lanes of a vector.
pub(crate) const LANES: usize = 16;

/// A vector of sixteen f32. Values are made by `unsafe` constructors alone, whose caller promises that the
/// processor has the level; that promise is what makes the other methods safe.
pub(crate) trait Lanes: Copy {
    /// Vectors that can be accumulated at once beside a few operands; 1: tiles do not pay.
    const REGISTERS: usize;

    /// All lanes `x`.
    ///
    /// # Safety
    /// The processor has the instructions of this level.
    unsafe fn splat(x: f32) -> Self;

    /// Sixteen values from `from`, any alignment.
    ///
    /// # Safety
    /// As `splat`; `from` is valid for reading 16 f32.
    unsafe fn load(from: *const f32) -> Self;

    /// Sixteen bf16 widened.
    ///
    /// # Safety
    /// As `splat`; `from` is valid for reading 16 u16.
    unsafe fn load_bf16(from: *const u16) -> Self;

    /// Sixteen pairs of bf16, widened: the first elements, the second elements.
    ///
    /// # Safety
    /// As `splat`; `from` is valid for reading 32 u16.
    unsafe fn load_bf16_pairs(from: *const u16) -> (Self, Self);

    /// Asks for a line of memory, at any address.
    fn prefetch(_line: *const u8) {}

    /// Writes the sixteen values.
    ///
    /// # Safety
    /// `to` is valid for writing 16 f32.
    unsafe fn store(self, to: *mut f32);

    /// self + b.
    fn add(self, b: Self) -> Self;
    /// self - b.
    fn sub(self, b: Self) -> Self;
    /// self * b.
    fn mul(self, b: Self) -> Self;
    /// self / b.
    fn div(self, b: Self) -> Self;
    /// self * b + c, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// self where self > b, else b (so a NaN in `b` stays, one in `self` goes).
    fn max(self, b: Self) -> Self;
    /// self where self < b, else b.
    fn min(self, b: Self) -> Self;
    /// `yes` where self < b, else `no`.
    fn select_lt(self, b: Self, yes: Self, no: Self) -> Self;
    /// self with the low nine bits of `n`'s pattern added to its exponent: self * 2^n for an `n` that
    /// carries an integer in its low mantissa bits.
    fn scale_by_low_bits(self, n: Self) -> Self;
    /// Lane 0.
    fn first(self) -> f32;
    /// Sum by the fixed tree.
    fn reduce_add(self) -> f32;
    /// Largest lane (no lane is NaN, or the result is unspecified but the same at every level).
    fn reduce_max(self) -> f32;
    /// `x` in the lanes `first..end`, self elsewhere; lanes outside 0..16 are ignored.
    fn keep_lanes(self, first: usize, end: usize, other: Self) -> Self;
}

/// The first `len` (at most 16) values at `from`, the other lanes `fill`.
///
/// # Safety
/// As `Lanes::load`, for `len` values.
#[inline(always)]
pub(crate) unsafe fn load_partial<V: Lanes>(from: *const f32, len: usize, fill: f32) -> V {
    let mut lanes = [fill; LANES];
    // SAFETY: the caller vouches for `len` values, and `len` <= 16 fits the array; the level is the caller's.
    unsafe {
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), len.min(LANES));
        V::load(lanes.as_ptr())
    }
}

/// Writes the first `len` (at most 16) values to `to`.
///
/// # Safety
/// `to` is valid for writing `len` values.
#[inline(always)]
pub(crate) unsafe fn store_partial<V: Lanes>(value: V, to: *mut f32, len: usize) {
    let mut lanes = [0.0; LANES];
    // SAFETY: the array holds 16 values; the caller vouches for `len` at `to`.
    unsafe {
        value.store(lanes.as_mut_ptr());
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, len.min(LANES));
    }
}

#[cfg(test)]
mod tests {
    use super::{LANES, Lanes, per_level};
    use crate::isa::Level;

    /// Every method once, its results side by side.
    #[inline(always)]
    unsafe fn all<V: Lanes>(x: &[f32; 32], bits: &[u16; 32], lanes: (usize, usize)) -> Vec<u32> {
        // SAFETY: the arrays are long enough; the test runs available levels only.
        unsafe {
            let a = V::load(x.as_ptr());
            let b = V::load(x.as_ptr().add(LANES));
            let (first, second) = V::load_bf16_pairs(bits.as_ptr());
            let results = [
                a.add(b),
                a.sub(b),
                a.mul(b),
                a.div(b),
                a.fma(b, first),
                a.max(b),
                a.min(b),
                a.select_lt(b, first, second),
                a.scale_by_low_bits(V::splat(12_582_912.0 + 3.0)),
                a.keep_lanes(lanes.0, lanes.1, b),
                V::load_bf16(bits.as_ptr().add(7)),
                super::load_partial::<V>(x.as_ptr(), lanes.1, 7.0),
            ];
            let mut out = vec![0.0; results.len() * LANES];
            for (i, result) in results.into_iter().enumerate() {
                result.store(out.as_mut_ptr().add(i * LANES));
            }
            let mut partial = vec![3.0; LANES];
            super::store_partial(b, partial.as_mut_ptr(), lanes.1);
            out.extend(partial);
            out.extend([
                a.first(),
                a.reduce_add(),
                b.reduce_add(),
                a.reduce_max(),
                b.reduce_max(),
            ]);
            out.into_iter().map(f32::to_bits).collect()
        }
    }

    per_level! {
        /// The methods under test.
        fn all_at = all(x: &[f32; 32], bits: &[u16; 32], lanes: (usize, usize)) -> Vec<u32>;
    }

    #[test]
    fn every_method_gives_the_bits_of_the_scalar_level() {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        for round in 0..400 {
            let x = std::array::from_fn(|_| (next() as f32 - 8e6) / 4e6);
            let bits = std::array::from_fn(|_| (next() % 0x7F00) as u16);
            let lanes = (round % 17, next() as usize % 17);
            // SAFETY: Scalar is always available, and so are the levels below.
            let expected = unsafe { all_at(Level::Scalar, &x, &bits, lanes) };
            for level in Level::available() {
                // SAFETY: as above.
                let got = unsafe { all_at(level, &x, &bits, lanes) };
                assert_eq!(got, expected, "{level}, lanes {lanes:?}");
            }
        }
    }

    #[test]
    fn the_fold_adds_lane_i_and_i_plus_eight_first() {
        let mut x = [0.0f32; 32];
        // 2^24 + 1 is lost, (2^24 + 2^24) + ... is not: only one order gives this sum.
        x[0] = 16_777_216.0;
        x[1] = 1.0;
        x[9] = 1.0;
        x[8] = -16_777_216.0;
        // SAFETY: Scalar is always available.
        let bits = unsafe { all_at(Level::Scalar, &x, &[0; 32], (0, 16)) };
        assert_eq!(f32::from_bits(bits[bits.len() - 4]), 2.0);
    }
}
