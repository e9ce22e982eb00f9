//! Instruction levels: what this machine can run, and what the user allows it to run.
//! Owns detection and the names of `TOKENMILL_CPU_ISA`; reads no environment itself and knows no kernel.
//!
//! Invariant: a `Level` above `Scalar` is handed to a kernel only if `Level::detect() >= level`; every
//! `unsafe` call of a `#[target_feature]` function in this crate rests on that.

use std::fmt;

/// An instruction level; each includes all lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain Rust.
    Scalar,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
    /// `vpdpbusd` as well.
    Avx512Vnni,
    /// `vdpbf16ps` as well.
    Avx512Bf16,
}

impl Level {
    /// All levels, ascending.
    pub const ALL: [Self; 5] = [
        Self::Scalar,
        Self::Avx2,
        Self::Avx512,
        Self::Avx512Vnni,
        Self::Avx512Bf16,
    ];

    /// The highest level of this machine.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let has_avx512 = has_avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            let has_vnni = has_avx512 && is_x86_feature_detected!("avx512vnni");
            let has_bf16 = has_vnni && is_x86_feature_detected!("avx512bf16");
            match (has_avx2, has_avx512, has_vnni, has_bf16) {
                (_, _, _, true) => Self::Avx512Bf16,
                (_, _, true, _) => Self::Avx512Vnni,
                (_, true, _, _) => Self::Avx512,
                (true, _, _, _) => Self::Avx2,
                _ => Self::Scalar,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            Self::Scalar
        }
    }

    /// The levels that this machine can run, ascending.
    pub fn available() -> impl Iterator<Item = Self> {
        let highest = Self::detect();
        Self::ALL.into_iter().filter(move |level| *level <= highest)
    }

    /// The level to use: this machine's, lowered to `requested` (a value of `TOKENMILL_CPU_ISA`) where one
    /// is given. A request above the machine's level does not raise it. `None`: the name is unknown.
    pub fn choose(requested: Option<&str>) -> Option<Self> {
        let highest = Self::detect();
        match requested {
            None => Some(highest),
            Some(name) => Self::parse(name).map(|level| level.min(highest)),
        }
    }

    /// The level of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// The name, as logged and as parsed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512vnni",
            Self::Avx512Bf16 => "avx512bf16",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Level;

    #[test]
    fn a_request_lowers_the_level_and_never_raises_it() {
        let highest = Level::detect();
        assert_eq!(Level::choose(None), Some(highest));
        assert_eq!(Level::choose(Some("scalar")), Some(Level::Scalar));
        assert_eq!(Level::choose(Some("avx512bf16")), Some(highest));
        assert_eq!(Level::choose(Some("avx3")), None);
        assert_eq!(Level::choose(Some("")), None);
    }

    #[test]
    fn names_parse_back_and_available_levels_ascend() {
        for level in Level::ALL {
            assert_eq!(Level::parse(level.name()), Some(level));
        }
        let available: Vec<_> = Level::available().collect();
        assert_eq!(available.first(), Some(&Level::Scalar));
        assert!(available.is_sorted());
    }
}
