//! Sampling parameters from named values, and back. The rules that need two options stand here; those that
//! need the vocabulary or the context are the engine's.

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::option::spec::{Access, Group, OPTIONS, checked};
use crate::option::value::Value;
use crate::params::SamplingParams;

impl SamplingParams {
    /// The defaults with `values` over them. Refuses an unknown, repeated or unsupported name, a value of
    /// the wrong type or outside its bound, and options that contradict each other.
    pub fn from_values(values: &[(String, Value)], limits: &Limits) -> Result<Self> {
        let mut params = Self::default();
        for (spec, value) in checked(Group::Sampling, values, limits)? {
            let Access::Sampling { set, .. } = spec.access else {
                continue;
            };
            set(&mut params, &value).ok_or_else(|| spec.bad_value(&value, limits))?;
        }
        params.check_combinations()?;
        Ok(params)
    }

    /// Every option with its value, in the order of the table.
    pub fn to_values(&self) -> Vec<(&'static str, Value)> {
        OPTIONS
            .iter()
            .filter_map(|spec| match spec.access {
                Access::Sampling { get, .. } => Some((spec.name, get(self))),
                _ => None,
            })
            .collect()
    }

    /// Refuses parameters built by hand as `from_values` refuses values: every bound and every combination.
    pub fn validate(&self, limits: &Limits) -> Result<()> {
        let values: Vec<(String, Value)> = self
            .to_values()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Self::from_values(&values, limits).map(drop)
    }

    /// Refuses options that contradict each other.
    fn check_combinations(&self) -> Result<()> {
        let refuse = |name: &str, other: &str, reason: String| {
            Err(Error::Conflict {
                name: name.into(),
                other: other.into(),
                reason,
            })
        };
        if self.n > 1 && self.is_greedy() {
            return refuse(
                "n",
                "temperature",
                format!("{} greedy samples would be the same text", self.n),
            );
        }
        if let Some(max_tokens) = self.max_tokens
            && self.min_tokens > max_tokens
        {
            let reason = format!("{} is more than {max_tokens}", self.min_tokens);
            return refuse("min_tokens", "max_tokens", reason);
        }
        if !self.stop.is_empty() && !self.detokenize {
            return refuse(
                "stop",
                "detokenize",
                "stop strings are looked for in the text".into(),
            );
        }
        Ok(())
    }
}
