//! Watches one choice step by step: the very steps that sample run here, and whoever watches is told what each left.
//! Nobody watches an ordinary choice, and that costs nothing: the watcher's type is known when it is compiled.
//! Invariant: watching changes no token. Reference: `sample`, and samplers with fewer steps, in the tests.

use std::cmp::Ordering;

use tokenmill_core::explain::{Explanation, Pick, Racer, Shown, Stage};
use tokenmill_core::noise::{Noise, exponential, gumbel};
use tokenmill_core::option::Value;
use tokenmill_core::{SamplingParams, TokenId};

use crate::error::Result;
use crate::pipeline::Step;
use crate::row::Row;
use crate::scratch::Scratch;
use crate::source::Mixed;
use crate::warper::Scores;

use super::{Choice, Sampler};

/// What a choice tells whoever watches it, in this order.
pub(super) trait Watch {
    /// The rows that it starts from.
    fn begin(&mut self, mixed: &Mixed<'_>);
    /// A soft ban was lifted, and all processors run again.
    fn restart(&mut self);
    /// A processor acted.
    fn process(&mut self, step: Step, row: &Row<'_>);
    /// A warper acted.
    fn warp(&mut self, step: Step, scores: &Scores<'_, '_>);
    /// The draw is to come.
    fn draw(&mut self, scores: &Scores<'_, '_>, noise: &Noise);
}

/// Nobody.
impl Watch for () {
    #[inline(always)]
    fn begin(&mut self, _: &Mixed<'_>) {}
    #[inline(always)]
    fn restart(&mut self) {}
    #[inline(always)]
    fn process(&mut self, _: Step, _: &Row<'_>) {}
    #[inline(always)]
    fn warp(&mut self, _: Step, _: &Scores<'_, '_>) {}
    #[inline(always)]
    fn draw(&mut self, _: &Scores<'_, '_>, _: &Noise) {}
}

/// Writes down the best tokens behind every step.
pub(super) struct Trace<'p> {
    params: &'p SamplingParams,
    values: Vec<(&'static str, Value)>,
    top: usize,
    stages: Vec<Stage>,
    /// Stages before the first processor.
    begun: usize,
    race: Option<Pick>,
}

impl<'p> Trace<'p> {
    pub(super) fn new(params: &'p SamplingParams, top: u32) -> Self {
        Self {
            values: params.to_values(),
            params,
            top: top.max(1) as usize,
            stages: Vec::new(),
            begun: 0,
            race: None,
        }
    }

    fn stage(&self, name: &'static str, step: Option<Step>, alive: &[Alive]) -> Stage {
        let option = step.and_then(|step| {
            let option = step.option();
            let mut values = self.values.iter();
            let (_, value) = values.find(|(name, _)| *name == option)?;
            Some((option, value.echo()))
        });
        Stage::new(name, option, alive.len(), best(alive, self.top))
    }

    /// Adds the stage behind a step: what it dropped is told of the best before.
    fn push(&mut self, step: Step, alive: &[Alive]) {
        let mut stage = self.stage(step.name(), Some(step), alive);
        let is_left = |token: TokenId| alive.binary_search_by_key(&token, |one| one.0).is_ok();
        if let Some(before) = self.stages.last() {
            let tokens = before.best.iter().map(|shown| shown.token);
            stage.dropped = tokens.filter(|&token| !is_left(token)).collect();
        }
        self.stages.push(stage);
    }
}

impl Watch for Trace<'_> {
    fn begin(&mut self, mixed: &Mixed<'_>) {
        let model = self.stage("logits", None, &of_values(mixed.model));
        if let Some(other) = mixed.other {
            self.stages
                .push(self.stage("second_row", None, &of_values(other)));
        }
        // The model's own row stands last, so that what a source drops is told of its best.
        self.stages.push(model);
        let mut sources = Step::SOURCES.into_iter();
        let source = sources.find(|step| step.is_active(self.params));
        if let Some(step) = source {
            self.push(step, &of_values(mixed.scores));
        }
        self.begun = self.stages.len();
    }

    fn restart(&mut self) {
        self.stages.truncate(self.begun);
    }

    fn process(&mut self, step: Step, row: &Row<'_>) {
        let chunks = (0..row.maxima().len()).flat_map(|index| row.chunk(index));
        let alive: Vec<Alive> = alive((0..).zip(chunks.copied())).collect();
        self.push(step, &alive);
    }

    fn warp(&mut self, step: Step, scores: &Scores<'_, '_>) {
        self.push(step, &of_scores(scores, scores.shift()));
    }

    fn draw(&mut self, scores: &Scores<'_, '_>, noise: &Noise) {
        self.race = Some(race(&of_scores(scores, 0.0), noise, self.top));
    }
}

/// A token that is left, with its score.
type Alive = (TokenId, f32);

/// What is left, ids ascending; NaN may stand in a row until a step replaces it.
fn alive(entries: impl Iterator<Item = Alive>) -> impl Iterator<Item = Alive> {
    entries.filter(|&(_, score)| score > f32::NEG_INFINITY)
}

fn of_values(values: &[f32]) -> Vec<Alive> {
    alive((0..).zip(values.iter().copied())).collect()
}

/// Scores counted from the best one, and `shift` added: with the scores' own one they are logits over the temperature.
fn of_scores(scores: &Scores<'_, '_>, shift: f32) -> Vec<Alive> {
    if let Some(kept) = scores.kept() {
        let kept = kept.iter();
        return alive(kept.map(|one| (one.token, one.score + shift))).collect();
    }
    let row = scores.row();
    let chunks = (0..row.maxima().len()).flat_map(|index| row.chunk(index));
    let all = chunks.map(|&logit| scores.score(logit) + shift);
    alive((0..).zip(all)).collect()
}

/// The total order.
fn order(a: Alive, b: Alive) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The first `top` in the total order, with their probabilities.
fn best(alive: &[Alive], top: usize) -> Vec<Shown> {
    let shares = Shares::of(alive);
    let mut first = alive.to_vec();
    if first.len() > top {
        first.select_nth_unstable_by(top, |a, b| order(*a, *b));
        first.truncate(top);
    }
    first.sort_unstable_by(|a, b| order(*a, *b));
    let shown = |&(token, score): &Alive| Shown {
        token,
        score,
        probability: shares.of_score(score),
    };
    first.iter().map(shown).collect()
}

/// What turns a score into a probability.
struct Shares {
    max: f32,
    total: f64,
}

impl Shares {
    fn of(alive: &[Alive]) -> Self {
        let largest = |max: f32, one: &Alive| max.max(one.1);
        let max = alive.iter().fold(f32::NEG_INFINITY, largest);
        let mut shares = Self { max, total: 1.0 };
        shares.total = alive.iter().map(|one| shares.of_score(one.1)).sum();
        shares
    }

    fn of_score(&self, score: f32) -> f64 {
        // A row that is still to be cleaned may hold +inf.
        let weight = if score == self.max {
            1.0
        } else {
            (f64::from(score) - f64::from(self.max)).exp()
        };
        weight / self.total
    }
}

/// The race of the draw: every token that is left, by the very sums that the draw compares.
fn race(alive: &[Alive], noise: &Noise, top: usize) -> Pick {
    let key = |&(token, score): &Alive| (token, score + gumbel(noise.word(token)));
    let mut keys: Vec<Alive> = alive.iter().map(key).collect();
    keys.sort_unstable_by(|a, b| order(*a, *b));
    let mut first = best(alive, alive.len());
    let leaders: Vec<TokenId> = keys.iter().take(2).map(|one| one.0).collect();
    let mut index = 0;
    first.retain(|shown| {
        index += 1;
        index <= top || leaders.contains(&shown.token)
    });
    let racer = |shown: &Shown| {
        let noise = exponential(noise.word(shown.token));
        let place = keys.iter().position(|one| one.0 == shown.token);
        Racer {
            token: shown.token,
            probability: shown.probability,
            noise,
            time: f64::from(noise) / shown.probability,
            place: place.map_or(0, |place| place as u32 + 1),
        }
    };
    Pick::Race {
        token: leaders[0],
        runner_up: leaders.get(1).copied(),
        racers: first.iter().map(racer).collect(),
    }
}

impl Sampler {
    /// The stages that lead to what `candidates` gives.
    pub fn explain_candidates(
        &self,
        mixed: Mixed<'_>,
        top: u32,
        scratch: &mut Scratch,
    ) -> Result<Vec<Stage>> {
        let params = self.params.clone();
        let mut trace = Trace::new(&params, top);
        self.candidates_watched(mixed, 1, &mut trace, scratch)?;
        Ok(trace.stages)
    }

    /// What `sample_mixed` chooses, and how that came to be: the best `top` tokens behind every step.
    pub fn explain(
        &self,
        mixed: Mixed<'_>,
        top: u32,
        scratch: &mut Scratch,
    ) -> Result<(Choice, Explanation)> {
        let params = self.params.clone();
        let mut trace = Trace::new(&params, top.max(2));
        let choice = self.sample_watched(mixed, &mut trace, scratch)?;
        let pick = trace.race.take().unwrap_or_else(|| {
            let best = trace.stages.last().map(|stage| &stage.best);
            Pick::Greedy {
                token: choice.token,
                runner_up: best.and_then(|best| best.get(1)).map(|shown| shown.token),
            }
        });
        let position = self.prefix_len() as u32;
        let mut stages = trace.stages;
        for stage in &mut stages {
            stage.best.truncate(top.max(1) as usize);
        }
        let mut explanation = Explanation::new(position, stages, pick);
        explanation.lifted = choice.lifted.iter().map(|step| step.name()).collect();
        Ok((choice, explanation))
    }
}
