//! What a backend packs: weight formats as data. Many encodings share one format (Q8_0, Q5_0 and IQ4_NL are
//! all bytes in groups of 32); a backend that packs the format runs them all, and refuses the rest by name.

use crate::encoding::{Encoding, IntLayout};

/// The arithmetic content of a weight, whatever file it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// Single precision.
    F32,
    /// Upper half of single precision.
    Bf16,
    /// Half precision.
    F16,
    /// Grouped integers with scales, as `blocks::unpack_row` gives them.
    Int(IntLayout),
    /// An encoding that no product is computed in (indices, scales of other formats).
    Other(Encoding),
}

impl From<Encoding> for WeightFormat {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::F32 => Self::F32,
            Encoding::Bf16 => Self::Bf16,
            Encoding::F16 => Self::F16,
            _ => encoding
                .int_layout()
                .map_or(Self::Other(encoding), Self::Int),
        }
    }
}

impl std::fmt::Display for WeightFormat {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::F32 => formatter.write_str("f32"),
            Self::Bf16 => formatter.write_str("bf16"),
            Self::F16 => formatter.write_str("f16"),
            Self::Int(layout) => write!(formatter, "int{} g{}", layout.bits, layout.group),
            Self::Other(encoding) => formatter.write_str(encoding.name()),
        }
    }
}
