//! Which tile functions each level uses for a storage and an arithmetic. A level without a tile of its own
//! uses the next lower level's.

use super::scalar;
use super::tile::TileSet;
use crate::isa::Level;
use crate::pack::{Bits, Layout, Math, PackedMatrix};

#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// The best tile functions up to `level`.
pub(super) fn tile_set(level: Level, weights: &PackedMatrix) -> &'static TileSet {
    let (layout, math) = (weights.shape().layout, weights.math());
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2_set(layout, math),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Vnni | Level::Avx512Bf16 => avx512_set(level, layout, math),
        _ => scalar::tile_set(math),
    }
}

#[cfg(target_arch = "x86_64")]
fn is_four(layout: Layout) -> bool {
    matches!(layout, Layout::Int(grouped) if grouped.bits == Bits::Four)
}

#[cfg(target_arch = "x86_64")]
fn avx2_set(layout: Layout, math: Math) -> &'static TileSet {
    match (math, layout) {
        (Math::F32, Layout::F32) => &avx2::F32,
        (Math::F32, Layout::Bf16) => &avx2::BF16_F32,
        (Math::F32, Layout::Int(_)) if is_four(layout) => &avx2::EXACT4,
        (Math::F32, Layout::Int(_)) => &avx2::EXACT8,
        (Math::Bf16, _) => &avx2::BF16,
        (Math::Int8, _) if is_four(layout) => &avx2::FOUR,
        (Math::Int8, _) => &avx2::EIGHT,
    }
}

#[cfg(target_arch = "x86_64")]
fn avx512_set(level: Level, layout: Layout, math: Math) -> &'static TileSet {
    let is_four = is_four(layout);
    match (math, layout) {
        (Math::F32, Layout::F32) => &avx512::F32,
        (Math::F32, Layout::Bf16) => &avx512::BF16_F32,
        (Math::F32, Layout::Int(_)) if is_four => &avx512::EXACT4,
        (Math::F32, Layout::Int(_)) => &avx512::EXACT8,
        (Math::Bf16, _) if level >= Level::Avx512Bf16 => &avx512::native::BF16,
        (Math::Bf16, _) => &avx512::widened::BF16,
        (Math::Int8, _) if level >= Level::Avx512Vnni && is_four => &avx512::vnni::FOUR,
        (Math::Int8, _) if level >= Level::Avx512Vnni => &avx512::vnni::EIGHT,
        (Math::Int8, _) if is_four => &avx512::bw::FOUR,
        (Math::Int8, _) => &avx512::bw::EIGHT,
    }
}
