//! Sampling parameters from named values, and back. What two options may not say together stands in
//! `params::rules`; what needs the vocabulary or the context is the engine's.

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::option::spec::{Access, Group, OPTIONS, checked};
use crate::option::value::Value;
use crate::params::rules::rules;
use crate::params::{MirostatVariant, NamedPipeline, SamplingParams};

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
        params.complete_searches(values);
        params.complete_pipeline(values);
        params.complete_mirostat(values);
        params.complete_echo(values);
        params.check_combinations()?;
        params.check_search(limits)?;
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
                let is_search = self.beams.is_on() || self.is_contrastive_search();
                if is_open("temperature") && !is_search {
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

    /// A beam search draws nothing unless somebody says how, nor does a contrastive search ever.
    fn complete_searches(&mut self, values: &[(String, Value)]) {
        let is_search = self.beams.is_on() || self.is_contrastive_search();
        if is_search && is_open(values, "temperature") {
            self.temperature = 0.0;
        }
    }

    /// Contrastive search compares so many candidates.
    fn check_search(&self, limits: &Limits) -> Result<()> {
        let most = limits.search_candidates_max;
        if !self.is_contrastive_search() || (1..=most).contains(&self.top_k) {
            return Ok(());
        }
        Err(Error::Conflict {
            name: "penalty_alpha".into(),
            other: "top_k".into(),
            reason: format!("a search compares 1 to {most} candidates"),
        })
    }

    /// A prompt that is given back is scored as its continuation is.
    fn complete_echo(&mut self, values: &[(String, Value)]) {
        if self.echo && is_open(values, "prompt_logprobs") {
            self.prompt_logprobs = self.logprobs;
        }
    }

    /// Refuses options that contradict each other: the order of the steps, which may fill in cuts of its own, then the rules.
    fn check_combinations(&self) -> Result<()> {
        let refuse = |name: &str, other: &str, reason: String| {
            Err(Error::Conflict {
                name: name.into(),
                other: other.into(),
                reason,
            })
        };
        if let Some((step, reason)) = self.pipeline.fault(self) {
            let reason = format!("{} {reason}", step.name());
            return refuse("pipeline", step.option(), reason);
        }
        for rule in rules() {
            if let Some(reason) = rule.fault(self) {
                return refuse(rule.name, rule.other, reason.into_owned());
            }
        }
        Ok(())
    }
}

/// Whether nobody gave the option a value of its own.
fn is_open(values: &[(String, Value)], name: &str) -> bool {
    let given = values.iter().find(|(given, _)| given == name);
    given.is_none_or(|(_, value)| *value == Value::Null)
}
