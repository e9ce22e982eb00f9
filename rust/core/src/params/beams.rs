//! How a beam search is wanted: how many beams, how their lengths are weighed, when it ends, what it returns.
//! Whether there is one at all is the width; everything else means nothing without it.

/// How a hypothesis's sum of log-probabilities is weighed by its length L.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LengthPenaltyKind {
    /// Divided by L to the power of the penalty.
    #[default]
    Power,
    /// Divided by (5 + L) / 6 to the power of the penalty. Source: Wu et al., "Google's neural machine translation
    /// system" (2016).
    Gnmt,
}

impl LengthPenaltyKind {
    /// The public names, in the order of the variants.
    pub const NAMES: [&'static str; 2] = ["power", "gnmt"];

    const VARIANTS: [Self; 2] = [Self::Power, Self::Gnmt];

    /// The public name.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The variant of a public name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::VARIANTS.into_iter().find(|kind| kind.name() == name)
    }
}

/// When a search ends whose beams could go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyStopping {
    /// When the best beam, weighed at its present length, does not beat the worst hypothesis.
    #[default]
    False,
    /// As soon as there are as many hypotheses as beams.
    True,
    /// When the best beam, weighed at the length that suits it most, does not beat the worst hypothesis.
    Never,
}

/// The wish for a beam search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beams {
    /// Beams, 1..=`Limits::beam_width_max`; absent: no beam search.
    pub width: Option<u32>,
    /// Above 0 favours long hypotheses, below 0 short ones.
    pub length_penalty: f64,
    /// What that is the power of.
    pub length_penalty_kind: LengthPenaltyKind,
    /// When the search ends.
    pub early_stopping: EarlyStopping,
    /// Hypotheses returned, the best first; absent: as many as beams.
    pub num_return_sequences: Option<u32>,
    /// Groups that search one after another, each a search of its own.
    pub num_beam_groups: u32,
    /// Subtracted from a token once for every beam of an earlier group that took it in this step.
    pub diversity_penalty: f32,
}

impl Beams {
    /// No beam search.
    pub(crate) const DEFAULT: Self = Self {
        width: None,
        length_penalty: 1.0,
        length_penalty_kind: LengthPenaltyKind::Power,
        early_stopping: EarlyStopping::False,
        num_return_sequences: None,
        num_beam_groups: 1,
        diversity_penalty: 0.0,
    };

    /// Whether there is a beam search.
    pub const fn is_on(&self) -> bool {
        self.width.is_some()
    }

    /// Hypotheses returned at most.
    pub fn returned(&self) -> u32 {
        let width = self.width.unwrap_or(1);
        self.num_return_sequences.unwrap_or(width).min(width)
    }

    /// What a sum of log-probabilities over `len` tokens is divided by, as f32 arithmetic sees it.
    pub fn divisor(&self, len: usize) -> f32 {
        let len = len as f64;
        let base = match self.length_penalty_kind {
            LengthPenaltyKind::Power => len,
            LengthPenaltyKind::Gnmt => (5.0 + len) / 6.0,
        };
        base.powf(self.length_penalty) as f32
    }
}

impl Default for Beams {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_divides_by_its_power_in_either_kind() {
        let mut beams = Beams {
            length_penalty: 0.5,
            ..Beams::default()
        };
        assert_eq!(beams.divisor(4), 2.0);
        beams.length_penalty_kind = LengthPenaltyKind::Gnmt;
        assert_eq!(beams.divisor(19), 2.0);
        beams.length_penalty = -1.0;
        assert_eq!(beams.divisor(7), 0.5);
        beams.length_penalty = 0.0;
        assert_eq!(beams.divisor(7), 1.0);
    }

    #[test]
    fn as_many_hypotheses_as_beams_unless_fewer_are_wanted() {
        let of = |width, num_return_sequences| Beams {
            width,
            num_return_sequences,
            ..Beams::default()
        };
        assert_eq!(of(Some(4), None).returned(), 4);
        assert_eq!(of(Some(4), Some(2)).returned(), 2);
        assert!(!of(None, None).is_on());
    }
}
