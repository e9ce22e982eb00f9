//! Sixteen lanes in two 256-bit registers. Bit-equal to `Scalar`, which is the definition.

use std::arch::x86_64::*;

use super::Lanes;

/// Sixteen f32: lanes 0..8 and 8..16.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256, __m256);

/// Sixteen set lanes between clear ones: a window of this is any run of lanes.
static LANE_RUNS: [i32; 48] = {
    let mut runs = [0; 48];
    let mut i = 16;
    while i < 32 {
        runs[i] = -1;
        i += 1;
    }
    runs
};

// SAFETY (every block below): a value of this type exists only where an `unsafe` constructor was called
// under the promise that the processor has AVX2 and FMA; pointers are the caller's promise.
macro_rules! has_level {
    ($body:expr) => {{
        // SAFETY: see the note above this macro.
        unsafe { $body }
    }};
}

macro_rules! both {
    ($op:ident, $a:expr, $b:expr) => {
        Self(has_level!($op($a.0, $b.0)), has_level!($op($a.1, $b.1)))
    };
}

impl Avx2 {
    #[inline(always)]
    fn bits(self) -> (__m256i, __m256i) {
        has_level!((_mm256_castps_si256(self.0), _mm256_castps_si256(self.1)))
    }

    #[inline(always)]
    fn from_bits(low: __m256i, high: __m256i) -> Self {
        has_level!(Self(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)))
    }
}

impl Lanes for Avx2 {
    const REGISTERS: usize = 6;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        has_level!(Self(_mm256_set1_ps(x), _mm256_set1_ps(x)))
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        has_level!(Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))))
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        has_level!({
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(8).cast()));
            Self::from_bits(_mm256_slli_epi32::<16>(low), _mm256_slli_epi32::<16>(high))
        })
    }

    #[inline(always)]
    unsafe fn load_bf16_pairs(from: *const u16) -> (Self, Self) {
        has_level!({
            let low = _mm256_loadu_si256(from.cast());
            let high = _mm256_loadu_si256(from.add(16).cast());
            let upper = _mm256_set1_epi32(0xFFFF_0000u32 as i32);
            (
                Self::from_bits(_mm256_slli_epi32::<16>(low), _mm256_slli_epi32::<16>(high)),
                Self::from_bits(_mm256_and_si256(low, upper), _mm256_and_si256(high, upper)),
            )
        })
    }

    #[inline(always)]
    fn prefetch(line: *const u8) {
        // SAFETY: a prefetch faults nowhere, and every x86-64 has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        has_level!({
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        });
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        both!(_mm256_add_ps, self, b)
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        both!(_mm256_sub_ps, self, b)
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        both!(_mm256_mul_ps, self, b)
    }

    #[inline(always)]
    fn div(self, b: Self) -> Self {
        both!(_mm256_div_ps, self, b)
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        has_level!(Self(
            _mm256_fmadd_ps(self.0, b.0, c.0),
            _mm256_fmadd_ps(self.1, b.1, c.1)
        ))
    }

    #[inline(always)]
    fn max(self, b: Self) -> Self {
        both!(_mm256_max_ps, self, b)
    }

    #[inline(always)]
    fn min(self, b: Self) -> Self {
        both!(_mm256_min_ps, self, b)
    }

    #[inline(always)]
    fn select_lt(self, b: Self, yes: Self, no: Self) -> Self {
        has_level!({
            let low = _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, b.0);
            let high = _mm256_cmp_ps::<_CMP_LT_OQ>(self.1, b.1);
            Self(
                _mm256_blendv_ps(no.0, yes.0, low),
                _mm256_blendv_ps(no.1, yes.1, high),
            )
        })
    }

    #[inline(always)]
    fn scale_by_low_bits(self, n: Self) -> Self {
        let (a, n) = (self.bits(), n.bits());
        has_level!(Self::from_bits(
            _mm256_add_epi32(a.0, _mm256_slli_epi32::<23>(n.0)),
            _mm256_add_epi32(a.1, _mm256_slli_epi32::<23>(n.1)),
        ))
    }

    #[inline(always)]
    fn first(self) -> f32 {
        has_level!(_mm256_cvtss_f32(self.0))
    }

    #[inline(always)]
    fn reduce_add(self) -> f32 {
        has_level!({
            let eight = _mm256_add_ps(self.0, self.1);
            let four = _mm_add_ps(
                _mm256_castps256_ps128(eight),
                _mm256_extractf128_ps::<1>(eight),
            );
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }

    #[inline(always)]
    fn reduce_max(self) -> f32 {
        has_level!({
            let eight = _mm256_max_ps(self.0, self.1);
            let four = _mm_max_ps(
                _mm256_castps256_ps128(eight),
                _mm256_extractf128_ps::<1>(eight),
            );
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }

    #[inline(always)]
    fn keep_lanes(self, first: usize, end: usize, other: Self) -> Self {
        // Lanes >= first come from a window that starts 16 - first into the run, lanes < end likewise.
        has_level!({
            let from = LANE_RUNS.as_ptr().add(16 - first.min(16));
            let until = LANE_RUNS.as_ptr().add(32 - end.min(16));
            let low = _mm256_and_si256(
                _mm256_loadu_si256(until.cast()),
                _mm256_loadu_si256(from.cast()),
            );
            let high = _mm256_and_si256(
                _mm256_loadu_si256(until.add(8).cast()),
                _mm256_loadu_si256(from.add(8).cast()),
            );
            let is_kept = Self::from_bits(low, high);
            Self(
                _mm256_blendv_ps(other.0, self.0, is_kept.0),
                _mm256_blendv_ps(other.1, self.1, is_kept.1),
            )
        })
    }
}
