//! How bytes encode the elements of a tensor: plain numbers and the quantised blocks of ggml. A block holds
//! `block_len` consecutive elements of a row in `block_bytes` bytes; plain numbers are blocks of one.
//! The layouts themselves are in `blocks`; nothing here reads a byte.

/// An element or block encoding found in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// IEEE double.
    F64,
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// Upper half of an IEEE single.
    Bf16,
    /// 8-bit float, 4 exponent bits, no infinity (`float8_e4m3fn`).
    F8E4m3,
    /// 8-bit float, 5 exponent bits.
    F8E5m2,
    /// 8-bit power of two, bias 127.
    F8E8m0,
    /// One byte, 0 or 1.
    Bool,
    /// Signed integers.
    I8,
    /// 16 bits.
    I16,
    /// 32 bits.
    I32,
    /// 64 bits.
    I64,
    /// Unsigned integers.
    U8,
    /// 16 bits.
    U16,
    /// 32 bits.
    U32,
    /// 64 bits.
    U64,
    /// 32 elements: f16 scale, 4-bit codes less 8.
    Q4_0,
    /// 32 elements: f16 scale and minimum, 4-bit codes.
    Q4_1,
    /// 32 elements: f16 scale, 5-bit codes less 16.
    Q5_0,
    /// 32 elements: f16 scale and minimum, 5-bit codes.
    Q5_1,
    /// 32 elements: f16 scale, signed bytes.
    Q8_0,
    /// 256 elements: 4-bit scales and minima per 16, 2-bit codes.
    Q2K,
    /// 256 elements: 6-bit scales per 16, 3-bit codes.
    Q3K,
    /// 256 elements: 6-bit scales and minima per 32, 4-bit codes.
    Q4K,
    /// 256 elements: 6-bit scales and minima per 32, 5-bit codes.
    Q5K,
    /// 256 elements: 8-bit scales per 16, 6-bit codes.
    Q6K,
    /// 32 elements: f16 scale, 4-bit codes into a table of 16 bytes.
    Iq4Nl,
    /// 256 elements: 6-bit scales per 32, codes as `Iq4Nl`.
    Iq4Xs,
    /// 256 elements: f16 scale, ternary codes in 2 bits.
    Tq2_0,
    /// 32 elements: power-of-two scale, fp4 codes.
    Mxfp4,
    /// 64 elements: 8-bit float scales per 16, fp4 codes. The tensor's own f32 scale is another tensor.
    Nvfp4,
}

/// An encoding seen as integers: element = scale · (code − zero), or scale · code + minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntLayout {
    /// Width of a code, 4 or 8: codes are `0..2^bits`.
    pub bits: u8,
    /// Consecutive elements of a row under one scale.
    pub group: usize,
    /// What stands for zero.
    pub zero: IntZero,
}

/// The offset of an integer layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntZero {
    /// The same code everywhere.
    Fixed(u8),
    /// A float minimum per group, added after the scale.
    Minima,
}

impl Encoding {
    /// Every encoding, in the order of the enum.
    pub const ALL: [Self; 31] = [
        Self::F64,
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::F8E4m3,
        Self::F8E5m2,
        Self::F8E8m0,
        Self::Bool,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq4Nl,
        Self::Iq4Xs,
        Self::Tq2_0,
        Self::Mxfp4,
        Self::Nvfp4,
    ];

    /// Name, elements per block and bytes per block.
    const fn row(self) -> (&'static str, usize, usize) {
        match self {
            Self::F64 => ("F64", 1, 8),
            Self::F32 => ("F32", 1, 4),
            Self::F16 => ("F16", 1, 2),
            Self::Bf16 => ("BF16", 1, 2),
            Self::F8E4m3 => ("F8_E4M3", 1, 1),
            Self::F8E5m2 => ("F8_E5M2", 1, 1),
            Self::F8E8m0 => ("F8_E8M0", 1, 1),
            Self::Bool => ("BOOL", 1, 1),
            Self::I8 => ("I8", 1, 1),
            Self::I16 => ("I16", 1, 2),
            Self::I32 => ("I32", 1, 4),
            Self::I64 => ("I64", 1, 8),
            Self::U8 => ("U8", 1, 1),
            Self::U16 => ("U16", 1, 2),
            Self::U32 => ("U32", 1, 4),
            Self::U64 => ("U64", 1, 8),
            Self::Q4_0 => ("Q4_0", 32, 18),
            Self::Q4_1 => ("Q4_1", 32, 20),
            Self::Q5_0 => ("Q5_0", 32, 22),
            Self::Q5_1 => ("Q5_1", 32, 24),
            Self::Q8_0 => ("Q8_0", 32, 34),
            Self::Q2K => ("Q2_K", 256, 84),
            Self::Q3K => ("Q3_K", 256, 110),
            Self::Q4K => ("Q4_K", 256, 144),
            Self::Q5K => ("Q5_K", 256, 176),
            Self::Q6K => ("Q6_K", 256, 210),
            Self::Iq4Nl => ("IQ4_NL", 32, 18),
            Self::Iq4Xs => ("IQ4_XS", 256, 136),
            Self::Tq2_0 => ("TQ2_0", 256, 66),
            Self::Mxfp4 => ("MXFP4", 32, 17),
            Self::Nvfp4 => ("NVFP4", 64, 36),
        }
    }

    /// The name used in files and messages.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// Elements per block, 1 for plain numbers.
    pub const fn block_len(self) -> usize {
        self.row().1
    }

    /// Bytes per block.
    pub const fn block_bytes(self) -> usize {
        self.row().2
    }

    /// Bytes of a row of `elements`; `None` if that is no whole number of blocks, or overflows.
    pub const fn row_bytes(self, elements: usize) -> Option<usize> {
        match (
            elements.checked_rem(self.block_len()),
            elements.checked_div(self.block_len()),
        ) {
            (Some(0), Some(blocks)) => blocks.checked_mul(self.block_bytes()),
            _ => None,
        }
    }

    /// Bytes of a tensor of this shape, rows being its last dimension; `None` as for `row_bytes`. Zeros do not
    /// hide an overflow of the other dimensions.
    pub fn tensor_bytes(self, shape: &[usize]) -> Option<usize> {
        let (inputs, outer) = shape
            .split_last()
            .map_or((1, shape), |(last, outer)| (*last, outer));
        let row = self.row_bytes(inputs)?;
        let outer_or_one = |bytes: usize| {
            outer
                .iter()
                .try_fold(bytes, |total, &dim| total.checked_mul(dim.max(1)))
        };
        let bytes = outer_or_one(row.max(self.block_bytes()))?;
        isize::try_from(bytes).ok()?;
        if shape.contains(&0) {
            Some(0)
        } else {
            Some(bytes)
        }
    }

    /// Whether a block holds more than one element.
    pub const fn is_quantised(self) -> bool {
        self.block_len() > 1
    }

    /// How `blocks::unpack_row` presents this encoding as integers; `None` for plain numbers.
    pub const fn int_layout(self) -> Option<IntLayout> {
        let (bits, group, zero) = match self {
            Self::Q4_0 => (4, 32, IntZero::Fixed(8)),
            Self::Q4_1 | Self::Q4K => (4, 32, IntZero::Minima),
            Self::Q5_1 | Self::Q5K => (8, 32, IntZero::Minima),
            Self::Q2K => (8, 16, IntZero::Minima),
            Self::Q8_0 | Self::Q5_0 | Self::Iq4Nl | Self::Iq4Xs | Self::Mxfp4 => {
                (8, 32, IntZero::Fixed(128))
            }
            Self::Q6K | Self::Q3K | Self::Nvfp4 => (8, 16, IntZero::Fixed(128)),
            Self::Tq2_0 => (8, 256, IntZero::Fixed(128)),
            _ => return None,
        };
        Some(IntLayout { bits, group, zero })
    }

    /// Bits a weight costs on disk, scales included.
    pub fn bits_per_weight(self) -> f64 {
        8.0 * self.block_bytes() as f64 / self.block_len() as f64
    }
}

impl std::fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
