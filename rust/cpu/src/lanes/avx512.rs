//! Sixteen lanes in one 512-bit register. Bit-equal to `Scalar`, which is the definition.

use std::arch::x86_64::*;

use super::Lanes;

/// Sixteen f32 in a register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

/// Bits of the lanes below `n`.
#[inline(always)]
fn lanes_below(n: usize) -> __mmask16 {
    ((1u32 << n.min(16)) - 1) as u16
}

// SAFETY (every block below): a value of this type exists only where an `unsafe` constructor was called
// under the promise that the processor has AVX-512 F, BW, DQ and VL; pointers are the caller's promise.
macro_rules! has_level {
    ($body:expr) => {{
        // SAFETY: see the note above this macro.
        unsafe { $body }
    }};
}

impl Lanes for Avx512 {
    const REGISTERS: usize = 24;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self(has_level!(_mm512_set1_ps(x)))
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(has_level!(_mm512_loadu_ps(from)))
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        Self(has_level!(_mm512_castsi512_ps(_mm512_slli_epi32(
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())),
            16
        ))))
    }

    #[inline(always)]
    unsafe fn load_bf16_pairs(from: *const u16) -> (Self, Self) {
        has_level!({
            let line = _mm512_loadu_si512(from.cast());
            let first = _mm512_slli_epi32(line, 16);
            let second = _mm512_and_si512(line, _mm512_set1_epi32(0xFFFF_0000u32 as i32));
            (
                Self(_mm512_castsi512_ps(first)),
                Self(_mm512_castsi512_ps(second)),
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
        has_level!(_mm512_storeu_ps(to, self.0));
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self(has_level!(_mm512_add_ps(self.0, b.0)))
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Self(has_level!(_mm512_sub_ps(self.0, b.0)))
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        Self(has_level!(_mm512_mul_ps(self.0, b.0)))
    }

    #[inline(always)]
    fn div(self, b: Self) -> Self {
        Self(has_level!(_mm512_div_ps(self.0, b.0)))
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        Self(has_level!(_mm512_fmadd_ps(self.0, b.0, c.0)))
    }

    #[inline(always)]
    fn max(self, b: Self) -> Self {
        Self(has_level!(_mm512_max_ps(self.0, b.0)))
    }

    #[inline(always)]
    fn min(self, b: Self) -> Self {
        Self(has_level!(_mm512_min_ps(self.0, b.0)))
    }

    #[inline(always)]
    fn select_lt(self, b: Self, yes: Self, no: Self) -> Self {
        has_level!({
            let is_less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, b.0);
            Self(_mm512_mask_blend_ps(is_less, no.0, yes.0))
        })
    }

    #[inline(always)]
    fn scale_by_low_bits(self, n: Self) -> Self {
        has_level!({
            let exponent = _mm512_slli_epi32(_mm512_castps_si512(n.0), 23);
            Self(_mm512_castsi512_ps(_mm512_add_epi32(
                _mm512_castps_si512(self.0),
                exponent,
            )))
        })
    }

    #[inline(always)]
    fn first(self) -> f32 {
        has_level!(_mm512_cvtss_f32(self.0))
    }

    #[inline(always)]
    fn reduce_add(self) -> f32 {
        has_level!({
            let eight = _mm256_add_ps(
                _mm512_castps512_ps256(self.0),
                _mm512_extractf32x8_ps::<1>(self.0),
            );
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
            let eight = _mm256_max_ps(
                _mm512_castps512_ps256(self.0),
                _mm512_extractf32x8_ps::<1>(self.0),
            );
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
        Self(has_level!(_mm512_mask_blend_ps(
            lanes_below(end) & !lanes_below(first),
            other.0,
            self.0
        )))
    }
}
