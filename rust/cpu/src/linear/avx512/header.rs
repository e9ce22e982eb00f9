//! A group's header as registers: 16 scales and, where stored, 16 zeros or minima.

use std::arch::x86_64::*;

use crate::pack::{GroupPlace, Grouped, ScaleKind, Zero};

/// The scales of a group of the block at `block`.
///
/// # Safety
/// The block holds the group.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn scales(block: *const u8, grouped: Grouped, place: &GroupPlace) -> __m512 {
    let at = block.wrapping_add(place.scales);
    // SAFETY: a group's header holds 16 scales of this kind.
    unsafe { floats(at, grouped.scale) }
}

/// The minima of a group.
///
/// # Safety
/// The block holds the group, and minima.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn minima(block: *const u8, grouped: Grouped, place: &GroupPlace) -> __m512 {
    let at = block.wrapping_add(place.seconds);
    // SAFETY: a group's header holds 16 minima of the scales' kind.
    unsafe { floats(at, grouped.scale) }
}

/// The integer zeros of a group.
///
/// # Safety
/// The block holds the group, and integer zeros unless they are fixed.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn zeros(block: *const u8, grouped: Grouped, place: &GroupPlace) -> __m512i {
    let at = block.wrapping_add(place.seconds);
    match (grouped.zero, grouped.scale) {
        (Zero::Integer, ScaleKind::F16) => {
            // SAFETY: 16 zeros of 16 bits.
            _mm512_cvtepi16_epi32(unsafe { _mm256_loadu_si256(at.cast()) })
        }
        // SAFETY: 16 zeros of 32 bits.
        (Zero::Integer, ScaleKind::F32) => unsafe { _mm512_loadu_si512(at.cast()) },
        _ => _mm512_set1_epi32(i32::from(grouped.bits.fixed_zero())),
    }
}

/// # Safety
/// 16 floats of this kind are readable at `at`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn floats(at: *const u8, kind: ScaleKind) -> __m512 {
    match kind {
        // SAFETY: by the caller.
        ScaleKind::F16 => _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(at.cast()) }),
        // SAFETY: by the caller.
        ScaleKind::F32 => unsafe { _mm512_loadu_ps(at.cast()) },
    }
}
