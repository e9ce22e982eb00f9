//! Bugs that exist to be found by the simulator. Without the feature `planted` the switch is a constant
//! `false` and the compiler removes every site.

/// One deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Planted {
    /// The sampler's masks and penalties miss every fifth token.
    StaleMask,
    /// The last token of an answer is not sent.
    DropLastToken,
    /// Every seventh token of an answer is sent twice.
    RepeatToken,
    /// An engine that was idle does not look at its commands.
    LostWakeUp,
    /// Guidance takes the row of the other prompt for the request's own.
    SwappedLanes,
    /// A search forgets the hidden states of what it generated.
    ForgottenState,
    /// A search takes a candidate's hidden state for its neighbour's.
    NeighboursState,
    /// Blocks that fork are not copied for the amateur.
    UncopiedAmateur,
}

impl Planted {
    /// Every bug of this crate.
    #[cfg(feature = "planted")]
    pub const ALL: [Self; 8] = [
        Self::StaleMask,
        Self::DropLastToken,
        Self::RepeatToken,
        Self::LostWakeUp,
        Self::SwappedLanes,
        Self::ForgottenState,
        Self::NeighboursState,
        Self::UncopiedAmateur,
    ];
}

/// The switch that each site asks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    #[cfg(feature = "planted")]
    pub planted: Option<Planted>,
}

impl Faults {
    #[inline(always)]
    #[cfg_attr(
        not(feature = "planted"),
        expect(clippy::unused_self, reason = "the same face as with the bugs")
    )]
    pub fn has(self, bug: Planted) -> bool {
        #[cfg(feature = "planted")]
        return self.planted == Some(bug);
        #[cfg(not(feature = "planted"))]
        {
            let _ = bug;
            false
        }
    }
}
