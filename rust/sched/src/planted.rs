//! Bugs that exist to be found (spec: reliability, section 6). Without the feature `planted` the
//! switch is a constant `false` and the compiler removes every site; the assertions of the books are
//! the same in both builds.

/// One deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Planted {
    /// A released table keeps its first block.
    SkipFree,
    /// A released table gives its last block back twice.
    FreeTwice,
    /// The full blocks of a prompt enter the prefix cache before their step has run.
    PublishEarly,
    /// Four bits of the key find a block, and its tokens are not compared.
    PrefixMatchIds,
    /// Two rows with logits are attributed to each other's sequence.
    SwapRows,
    /// The key, and the comparison, ignore the scope.
    ForgetSalt,
    /// The first slot of a block is taken in the block before it.
    OffByOneBlock,
    /// A running sequence goes on after its cancel.
    CancelIgnored,
}

impl Planted {
    /// Every bug of this crate.
    #[cfg(feature = "planted")]
    pub const ALL: [Self; 8] = [
        Self::SkipFree,
        Self::FreeTwice,
        Self::PublishEarly,
        Self::PrefixMatchIds,
        Self::SwapRows,
        Self::ForgetSalt,
        Self::OffByOneBlock,
        Self::CancelIgnored,
    ];
}

/// The switch that each site asks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    #[cfg(feature = "planted")]
    planted: Option<Planted>,
}

impl Faults {
    pub(crate) fn of(config: &crate::SchedConfig) -> Self {
        #[cfg(feature = "planted")]
        return Self {
            planted: config.planted,
        };
        #[cfg(not(feature = "planted"))]
        {
            let _ = config;
            Self {}
        }
    }

    #[inline(always)]
    pub(crate) fn has(self, bug: Planted) -> bool {
        #[cfg(feature = "planted")]
        return self.planted == Some(bug);
        #[cfg(not(feature = "planted"))]
        {
            let _ = (self, bug);
            false
        }
    }
}
