//! A group's header as registers: 16 scales and, where stored, 16 zeros or minima.

use std::arch::x86_64::*;

use super::lines::Halves;
use crate::pack::{GroupPlace, Grouped, ScaleKind, Zero};

/// The scales of a group of the block at `block`.
///
/// # Safety
/// The block holds the group.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn scales(block: *const u8, grouped: Grouped, place: &GroupPlace) -> Halves {
    let at = block.wrapping_add(place.scales);
    // SAFETY: a group's header holds 16 scales of this kind.
    unsafe { floats(at, grouped.scale) }
}

/// The minima of a group.
///
/// # Safety
/// The block holds the group, and minima.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn minima(block: *const u8, grouped: Grouped, place: &GroupPlace) -> Halves {
    let at = block.wrapping_add(place.seconds);
    // SAFETY: a group's header holds 16 minima of the scales' kind.
    unsafe { floats(at, grouped.scale) }
}

/// The integer zeros of a group.
///
/// # Safety
/// The block holds the group, and integer zeros unless they are fixed.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn zeros(block: *const u8, grouped: Grouped, place: &GroupPlace) -> [__m256i; 2] {
    let at = block.wrapping_add(place.seconds);
    match (grouped.zero, grouped.scale) {
        // SAFETY: 16 zeros of 16 bits.
        (Zero::Integer, ScaleKind::F16) => unsafe {
            [
                _mm256_cvtepi16_epi32(_mm_loadu_si128(at.cast())),
                _mm256_cvtepi16_epi32(_mm_loadu_si128(at.wrapping_add(16).cast())),
            ]
        },
        // SAFETY: 16 zeros of 32 bits.
        (Zero::Integer, ScaleKind::F32) => unsafe {
            [
                _mm256_loadu_si256(at.cast()),
                _mm256_loadu_si256(at.wrapping_add(32).cast()),
            ]
        },
        _ => [_mm256_set1_epi32(i32::from(grouped.bits.fixed_zero())); 2],
    }
}

/// # Safety
/// 16 floats of this kind are readable at `at`.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn floats(at: *const u8, kind: ScaleKind) -> Halves {
    match kind {
        // SAFETY: by the caller.
        ScaleKind::F16 => unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(at.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(at.wrapping_add(16).cast())),
            ]
        },
        // SAFETY: by the caller.
        ScaleKind::F32 => unsafe {
            [
                _mm256_loadu_ps(at.cast()),
                _mm256_loadu_ps(at.wrapping_add(32).cast()),
            ]
        },
    }
}
