//! Where a weight lies inside a packed matrix: blocks of 16 outputs, one per 32-bit lane of a 512-bit
//! register, a forward stream of 64-byte lines per block. Knows sizes and offsets; reads no weight.
//!
//! ```text
//! F32R16    block = K lines                      line k      = 16 rows x f32
//! Bf16R16   block = ceil(K/2) lines              line k/2    = 16 rows x [k, k+1] bf16
//! I8R16     line k/4 = 16 rows x 4 codes         u8 code, zero 128 unless stored
//! I4R16     line k/8 = 16 rows x 4 bytes         byte b: k+b in the low nibble, k+b+4 in the high one
//! ```
//! Integer blocks are cut into groups of inputs; each group's scales (and zeros or minima) lie in front of its
//! lines. f16 scales without a second vector share one header line between two groups:
//!
//! ```text
//! f16, fixed zero     | s(g) s(g+1) | lines of g | lines of g+1 |
//! f16, second vector  | s(g) z(g)   | lines of g |
//! f32, fixed zero     | s(g)        | lines of g |
//! f32, second vector  | s(g) | z(g) | lines of g |
//! ```
//! Invariants: every block starts on a line and has `block_bytes`; the last group may be short; padding (rows
//! beyond N, inputs beyond K) has code and scale zero.

use crate::arena::LINE_BYTES;

/// Outputs per block.
pub(crate) const ROWS: usize = 16;

/// Bits of a stored code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bits {
    /// Two codes a byte.
    Four,
    /// One code a byte.
    Eight,
}

impl Bits {
    /// Inputs that a line holds of each row.
    pub(crate) const fn per_line(self) -> usize {
        match self {
            Self::Four => 8,
            Self::Eight => 4,
        }
    }

    /// The code that stands for zero where none is stored.
    pub(crate) const fn fixed_zero(self) -> u8 {
        match self {
            Self::Four => 8,
            Self::Eight => 128,
        }
    }
}

/// What is taken from a code, or added to its product with the scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Zero {
    /// weight = scale * (code - 8 or 128).
    Fixed,
    /// weight = scale * (code - zero), one integer per row and group.
    Integer,
    /// weight = scale * code + minimum, one float per row and group.
    Minima,
}

/// Storage of scales and minima.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ScaleKind {
    /// Half precision, for files that hold no more; integer zeros are i16.
    F16,
    /// Single precision; integer zeros are i32.
    F32,
}

/// A grouped integer format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Grouped {
    /// Width of a code.
    pub(crate) bits: Bits,
    /// Inputs per group, a multiple of `bits.per_line()`.
    pub(crate) group: usize,
    /// The offset.
    pub(crate) zero: Zero,
    /// The header's precision.
    pub(crate) scale: ScaleKind,
}

/// How a matrix is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Layout {
    /// Single precision.
    F32,
    /// Upper halves of single precision.
    Bf16,
    /// Grouped integers.
    Int(Grouped),
}

/// Sizes of one packed matrix; everything a kernel needs to walk a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Storage.
    pub(crate) layout: Layout,
    /// Inputs.
    pub(crate) k: usize,
    /// Code lines of a block, headers not counted.
    pub(crate) lines: usize,
    /// Groups of a block; 0 for float layouts.
    pub(crate) groups: usize,
    /// Lines of a full group.
    pub(crate) group_lines: usize,
    /// Bytes from one block to the next.
    pub(crate) block_bytes: usize,
}

/// Where one group lies inside its block, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupPlace {
    /// 16 scales.
    pub(crate) scales: usize,
    /// 16 zeros or minima, where they are stored.
    pub(crate) seconds: usize,
    /// The first code line.
    pub(crate) codes: usize,
    /// Code lines of this group.
    pub(crate) lines: usize,
}

impl Grouped {
    /// Whether two groups share one header line.
    pub(crate) const fn is_paired(self) -> bool {
        matches!((self.scale, self.zero), (ScaleKind::F16, Zero::Fixed))
    }

    /// Header lines in front of a group (of a pair, where paired).
    pub(crate) const fn header_lines(self) -> usize {
        match (self.scale, self.zero) {
            (ScaleKind::F32, Zero::Integer | Zero::Minima) => 2,
            _ => 1,
        }
    }

    /// Inputs under one activation scale: the weight's group, and at least 32.
    pub(crate) const fn act_group(self) -> usize {
        self.group * 32_usize.div_ceil(self.group)
    }
}

impl Shape {
    /// The sizes of a matrix with `k` inputs. Fails on overflow and on a group that is no whole number of lines.
    pub(crate) fn new(layout: Layout, k: usize) -> Option<Self> {
        let (lines, groups, group_lines, header_lines) = match layout {
            Layout::F32 => (k, 0, 0, 0),
            Layout::Bf16 => (k.div_ceil(2), 0, 0, 0),
            Layout::Int(grouped) => {
                let per_line = grouped.bits.per_line();
                if grouped.group == 0 || !grouped.group.is_multiple_of(per_line) {
                    return None;
                }
                let groups = k.div_ceil(grouped.group);
                let headers = if grouped.is_paired() {
                    groups.div_ceil(2)
                } else {
                    groups
                };
                (
                    k.div_ceil(per_line),
                    groups,
                    grouped.group / per_line,
                    headers.checked_mul(grouped.header_lines())?,
                )
            }
        };
        let block_bytes = lines.checked_add(header_lines)?.checked_mul(LINE_BYTES)?;
        Some(Self {
            layout,
            k,
            lines,
            groups,
            group_lines,
            block_bytes,
        })
    }

    /// Where group `index` lies. Float layouts have no groups.
    pub(crate) fn place(&self, grouped: Grouped, index: usize) -> GroupPlace {
        debug_assert!(index < self.groups);
        let group_bytes = self.group_lines * LINE_BYTES;
        let header_bytes = grouped.header_lines() * LINE_BYTES;
        let lines = self.group_lines.min(self.lines - index * self.group_lines);
        let half = LINE_BYTES / 2;
        if grouped.is_paired() {
            let start = index / 2 * (LINE_BYTES + 2 * group_bytes);
            let scales = start + index % 2 * half;
            return GroupPlace {
                scales,
                seconds: scales,
                codes: start + LINE_BYTES + index % 2 * group_bytes,
                lines,
            };
        }
        let start = index * (header_bytes + group_bytes);
        let second = match grouped.scale {
            ScaleKind::F16 => half,
            ScaleKind::F32 => LINE_BYTES,
        };
        GroupPlace {
            scales: start,
            seconds: start + second,
            codes: start + header_bytes,
            lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bits, Grouped, Layout, ScaleKind, Shape, Zero};

    const fn int(bits: Bits, group: usize, zero: Zero, scale: ScaleKind) -> Grouped {
        Grouped {
            bits,
            group,
            zero,
            scale,
        }
    }

    #[test]
    fn default_model_costs_its_files_bytes() {
        // Q4_1: 20 bytes per 32 weights; Q8_0: 34 per 32.
        let q4_1 = int(Bits::Four, 32, Zero::Minima, ScaleKind::F16);
        let q8_0 = int(Bits::Eight, 32, Zero::Fixed, ScaleKind::F16);
        assert_eq!(
            Shape::new(Layout::Int(q4_1), 576).unwrap().block_bytes,
            16 * 18 * 20
        );
        assert_eq!(
            Shape::new(Layout::Int(q8_0), 576).unwrap().block_bytes,
            16 * 18 * 34
        );
        assert_eq!(Shape::new(Layout::F32, 577).unwrap().block_bytes, 577 * 64);
        assert_eq!(Shape::new(Layout::Bf16, 577).unwrap().block_bytes, 289 * 64);
    }

    #[test]
    fn groups_tile_the_block_without_overlap() {
        for bits in [Bits::Four, Bits::Eight] {
            for zero in [Zero::Fixed, Zero::Integer, Zero::Minima] {
                for scale in [ScaleKind::F16, ScaleKind::F32] {
                    for (group, k) in [
                        (16, 100),
                        (32, 32),
                        (32, 577),
                        (64, 1),
                        (128, 300),
                        (40, 81),
                    ] {
                        let grouped = int(bits, group, zero, scale);
                        let shape = Shape::new(Layout::Int(grouped), k).unwrap();
                        let mut touched = vec![0_u8; shape.block_bytes];
                        let width = if scale == ScaleKind::F16 { 32 } else { 64 };
                        for index in 0..shape.groups {
                            let place = shape.place(grouped, index);
                            let mut mark = |start: usize, len: usize| {
                                touched[start..start + len]
                                    .iter_mut()
                                    .for_each(|byte| *byte += 1);
                            };
                            mark(place.scales, width);
                            if zero != Zero::Fixed {
                                mark(place.seconds, width);
                            }
                            mark(place.codes, place.lines * 64);
                        }
                        assert!(touched.iter().all(|count| *count <= 1), "{grouped:?} {k}");
                        let unused = touched.len()
                            - touched
                                .iter()
                                .map(|count| usize::from(*count))
                                .sum::<usize>();
                        let half = grouped.is_paired() && shape.groups % 2 == 1;
                        assert_eq!(unused, if half { 32 } else { 0 }, "{grouped:?} {k}");
                    }
                }
            }
        }
    }

    #[test]
    fn groups_that_are_no_whole_lines_are_refused() {
        let odd = int(Bits::Four, 20, Zero::Fixed, ScaleKind::F16);
        assert!(Shape::new(Layout::Int(odd), 64).is_none());
        let empty = int(Bits::Four, 0, Zero::Fixed, ScaleKind::F16);
        assert!(Shape::new(Layout::Int(empty), 64).is_none());
        assert!(Shape::new(Layout::F32, usize::MAX / 8).is_none());
    }

    #[test]
    fn activation_groups_are_at_least_32_inputs() {
        for (group, expected) in [(16, 32), (24, 48), (32, 32), (40, 40), (128, 128)] {
            assert_eq!(
                int(Bits::Eight, group, Zero::Fixed, ScaleKind::F32).act_group(),
                expected
            );
        }
    }
}
