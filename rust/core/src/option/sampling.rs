//! Sampling parameters from named values, and back. The rules that need two options stand here; those that
//! need the vocabulary or the context are the engine's.

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::option::spec::{Access, Group, OPTIONS, checked};
use crate::option::value::Value;
use crate::params::{
    MirostatVariant, NamedPipeline, OutputKind, SamplingParams, Step, StructuredOutputs,
};

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
        params.complete_pipeline(values);
        params.complete_mirostat(values);
        params.check_combinations()?;
        params.check_choosers()?;
        params.check_forcing()?;
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

    /// What a named pipeline of another engine fills in where nobody said anything.
    fn complete_pipeline(&mut self, values: &[(String, Value)]) {
        let is_open = |name: &str| is_open(values, name);
        match self.pipeline.meaning() {
            NamedPipeline::Hf if !self.is_greedy() && is_open("top_k") => self.top_k = 50,
            NamedPipeline::Llamacpp => {
                if is_open("temperature") {
                    self.temperature = 0.8;
                }
                // Beside mirostat llama.cpp runs no other cut.
                if self.mirostat.version > 0 {
                    return;
                }
                if is_open("top_k") {
                    self.top_k = 40;
                }
                if is_open("top_p") {
                    self.top_p = 0.95;
                }
                if is_open("min_p") {
                    self.min_p = 0.05;
                }
            }
            _ => {}
        }
    }

    /// What the authors of mirostat fill in where nobody said anything.
    fn complete_mirostat(&mut self, values: &[(String, Value)]) {
        if self.mirostat.version == 0 || self.mirostat.variant != MirostatVariant::Authors {
            return;
        }
        if is_open(values, "mirostat_tau") {
            self.mirostat.tau = 3.0;
        }
        if is_open(values, "mirostat_eta") {
            self.mirostat.eta = 1.0;
        }
    }

    /// Refuses what a greedy request cannot mean, and two cuts of which one moves by itself.
    fn check_choosers(&self) -> Result<()> {
        let is_asked_for = |step: &Step| step.is_asked_for(self);
        let mut steps = Step::ALL.into_iter();
        let dropping = steps.find(|step| step.may_drop_best() && step.is_asked_for(self));
        if let Some(step) = dropping.filter(|_| self.is_greedy()) {
            return Err(Error::Conflict {
                name: step.option().into(),
                other: "temperature".into(),
                reason: "it may drop the best token, which a greedy request takes".into(),
            });
        }
        let moving = [Step::Mirostat, Step::AdaptiveP];
        let Some(step) = moving.into_iter().find(is_asked_for) else {
            return Ok(());
        };
        let is_other = |other: &Step| other.is_truncation() && *other != step;
        let mut others = Step::ALL.into_iter().filter(is_other);
        others.find(is_asked_for).map_or(Ok(()), |other| {
            Err(Error::Conflict {
                name: step.option().into(),
                other: other.option().into(),
                reason: "one cut moves by itself, so there can be no other".into(),
            })
        })
    }

    /// Refuses a token that is forced and banned.
    fn check_forcing(&self) -> Result<()> {
        let ends = self.forced_eos_token_id.as_deref().unwrap_or_default();
        let first = self.forced_bos_token_id.as_slice();
        for (name, forced) in [
            ("forced_bos_token_id", first),
            ("forced_eos_token_id", ends),
        ] {
            let banned = forced.iter().find(|id| self.suppress_tokens.contains(id));
            if let Some(token) = banned {
                return Err(Error::Conflict {
                    name: name.into(),
                    other: "suppress_tokens".into(),
                    reason: format!("token {token} is forced and banned"),
                });
            }
        }
        Ok(())
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
        if let (Some(ids), Some(count)) = (&self.logprob_token_ids, self.logprobs)
            && ids.len() != count as usize
        {
            let reason = format!("{} ids for {count} alternatives", ids.len());
            return refuse("logprob_token_ids", "logprobs", reason);
        }
        if self.prompt_logprobs.is_some() && self.skip_reading_prefix_cache == Some(false) {
            let reason = "cached blocks have no logits";
            return refuse(
                "skip_reading_prefix_cache",
                "prompt_logprobs",
                reason.into(),
            );
        }
        if self.stream_interval.is_some() && self.output_kind == OutputKind::FinalOnly {
            let reason = "there is one event, at the end";
            return refuse("stream_interval", "output_kind", reason.into());
        }
        if let Some(fault) = self
            .structured_outputs
            .as_ref()
            .and_then(StructuredOutputs::fault)
        {
            return refuse(fault.0, fault.1, fault.2.into());
        }
        if let Some((step, reason)) = self.pipeline.fault(self) {
            let reason = format!("{} {reason}", step.name());
            return refuse("pipeline", step.option(), reason);
        }
        Ok(())
    }
}

/// Whether nobody gave the option a value of its own.
fn is_open(values: &[(String, Value)], name: &str) -> bool {
    let given = values.iter().find(|(given, _)| given == name);
    given.is_none_or(|(_, value)| *value == Value::Null)
}
