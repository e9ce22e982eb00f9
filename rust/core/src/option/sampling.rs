//! Sampling parameters from named values, and back. The rules that need two options stand here; those that
//! need the vocabulary or the context are the engine's.

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::option::spec::{Access, Group, OPTIONS, checked};
use crate::option::value::Value;
use crate::params::{MirostatVariant, NamedPipeline, OutputKind, SamplingParams, Step};

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
        params.complete_search(values);
        params.check_combinations()?;
        params.check_sources(is_open(values, "guidance_scale"))?;
        params.check_search(limits)?;
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

    /// A search draws nothing, so where nobody spoke of a temperature there is none.
    fn complete_search(&mut self, values: &[(String, Value)]) {
        if self.is_contrastive_search() && is_open(values, "temperature") {
            self.temperature = 0.0;
        }
    }

    /// Refuses two second rows, and what only one that is not asked for would read.
    fn check_sources(&self, is_scale_open: bool) -> Result<()> {
        let mut active = Step::SOURCES.iter().filter(|step| step.is_asked_for(self));
        if let (Some(first), Some(second)) = (active.next(), active.next()) {
            let reason = "a request reads one second row of logits";
            return refuse(first.option(), second.option(), reason);
        }
        let guidance = &self.guidance;
        let negative = [
            ("negative_prompt", guidance.negative_prompt.is_some()),
            (
                "negative_prompt_token_ids",
                guidance.negative_prompt_token_ids.is_some(),
            ),
        ];
        if negative.iter().all(|(_, is_given)| *is_given) {
            return refuse(negative[0].0, negative[1].0, "they are two ways to say it");
        }
        if let Some((name, _)) = negative.iter().find(|(_, is_given)| *is_given)
            && is_scale_open
        {
            let reason = "without a scale nothing moves away from it";
            return refuse(name, "guidance_scale", reason);
        }
        Ok(())
    }

    /// Refuses what contrastive search cannot mean: it compares the best candidates and draws nothing.
    fn check_search(&self, limits: &Limits) -> Result<()> {
        if !self.is_contrastive_search() {
            return Ok(());
        }
        let name = "penalty_alpha";
        if let Some(source) = self.source() {
            let reason = "a search compares candidates of the model's own row";
            return refuse(source.option(), name, reason);
        }
        if !self.is_greedy() {
            return refuse(
                name,
                "temperature",
                "a search draws nothing: 0 goes with it",
            );
        }
        if self.n > 1 {
            return refuse("n", name, "a search has one result");
        }
        let most = limits.search_candidates_max;
        if !(1..=most).contains(&self.top_k) {
            let reason = format!("a search compares 1 to {most} candidates");
            return refuse(name, "top_k", &reason);
        }
        if self.skip_reading_prefix_cache == Some(false) {
            let reason = "cached blocks have no hidden states";
            return refuse("skip_reading_prefix_cache", name, reason);
        }
        let is_other = |step: &Step| step.is_truncation() || *step == Step::DynamicTemperature;
        let mut others = Step::ALL.into_iter().filter(is_other);
        others
            .find(|step| step.is_asked_for(self))
            .map_or(Ok(()), |step| {
                refuse(step.option(), name, "the candidates are those of top_k")
            })
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
        if let Some((step, reason)) = self.pipeline.fault(self) {
            let reason = format!("{} {reason}", step.name());
            return refuse("pipeline", step.option(), reason);
        }
        Ok(())
    }
}

fn refuse(name: &str, other: &str, reason: &str) -> Result<()> {
    Err(Error::Conflict {
        name: name.into(),
        other: other.into(),
        reason: reason.into(),
    })
}

/// Whether nobody gave the option a value of its own.
fn is_open(values: &[(String, Value)], name: &str) -> bool {
    let given = values.iter().find(|(given, _)| given == name);
    given.is_none_or(|(_, value)| *value == Value::Null)
}
