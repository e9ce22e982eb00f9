//! How a token came to be: the distribution behind every step that acted, and what decided at the end. Plain data
//! that the sampler fills in and every door shows; what a step does is told nowhere here.
//! Invariant: entries stand in the total order (score descending, token id ascending).

use crate::id::TokenId;
use crate::option::Value;

/// Everything that led to one token, or to one step of a beam search.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// Index in the whole token sequence of the token that was chosen.
    pub position: u32,
    /// The distribution as the model gave it, and behind every step that acted. Empty for a beam search.
    pub stages: Vec<Stage>,
    /// Soft bans that would have left nothing, and forcing that was skipped.
    pub lifted: Vec<&'static str>,
    /// What decided.
    pub pick: Pick,
}

/// The distribution behind a step.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stage {
    /// `logits`, `second_row`, or the step's public name.
    pub name: &'static str,
    /// The option that asks for the step, and its value as messages show it.
    pub option: Option<(&'static str, String)>,
    /// Tokens that are left.
    pub left: usize,
    /// The best of them.
    pub best: Vec<Shown>,
    /// Which of the best tokens of the stage before are not left.
    pub dropped: Vec<TokenId>,
}

/// A token of a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// The token.
    pub token: TokenId,
    /// Its score: a logit, later over the temperature.
    pub score: f32,
    /// Its probability among what is left.
    pub probability: f64,
}

/// What decided.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Pick {
    /// The first token in the total order.
    Greedy {
        /// That one.
        token: TokenId,
        /// The next one, if there is one.
        runner_up: Option<TokenId>,
    },
    /// A race of all tokens that are left: the smallest noise over probability wins.
    Race {
        /// The winner.
        token: TokenId,
        /// Who came second, if there was anyone.
        runner_up: Option<TokenId>,
        /// The likeliest tokens, and those two.
        racers: Vec<Racer>,
    },
    /// The best (1 - alpha) p - alpha max cos.
    Contrast {
        /// The winner.
        token: TokenId,
        /// The weight of the penalty.
        alpha: f32,
        /// All candidates.
        candidates: Vec<ContrastCandidate>,
    },
    /// The best sums of log-probabilities.
    Beams(Vec<BeamCandidate>),
}

/// A token in a race.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Racer {
    /// The token.
    pub token: TokenId,
    /// Its probability among what is left.
    pub probability: f64,
    /// Its keyed exponential noise E.
    pub noise: f32,
    /// E / p.
    pub time: f64,
    /// 1 for the winner; its place among all tokens that are left.
    pub place: u32,
}

/// A candidate of contrastive search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContrastCandidate {
    /// The token.
    pub token: TokenId,
    /// Its probability.
    pub probability: f32,
    /// The largest cosine of its hidden state with those before it.
    pub resemblance: f32,
    /// What the choice is by.
    pub score: f64,
}

/// A beam with a token behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BeamCandidate {
    /// Its beam, by its place among the beams of the step.
    pub parent: u32,
    /// The token.
    pub token: TokenId,
    /// The sum of log-probabilities with it.
    pub score: f32,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a candidate of a beam search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on, as this beam of the next step.
    Kept(u32),
    /// It is a hypothesis: it ended among the first as many candidates as there are beams.
    Ended,
    /// It goes no further.
    Dropped,
}

impl Explanation {
    /// Of one choice.
    pub const fn new(position: u32, stages: Vec<Stage>, pick: Pick) -> Self {
        Self {
            position,
            stages,
            lifted: Vec::new(),
            pick,
        }
    }

    /// As plain values under the names that every door uses.
    pub fn to_value(&self) -> Value {
        map([
            ("position", int(self.position)),
            ("stages", list(&self.stages, Stage::to_value)),
            (
                "lifted",
                list(&self.lifted, |name| Value::Text((*name).into())),
            ),
            ("pick", self.pick.to_value()),
        ])
    }
}

impl Stage {
    /// A distribution, before it is known what of the stage before is gone.
    pub const fn new(
        name: &'static str,
        option: Option<(&'static str, String)>,
        left: usize,
        best: Vec<Shown>,
    ) -> Self {
        Self {
            name,
            option,
            left,
            best,
            dropped: Vec::new(),
        }
    }

    fn to_value(&self) -> Value {
        let (option, value) = match &self.option {
            Some((option, value)) => (Value::Text((*option).into()), Value::Text(value.clone())),
            None => (Value::Null, Value::Null),
        };
        let shown = |shown: &Shown| {
            map([
                ("token", int(shown.token)),
                ("score", Value::Float(f64::from(shown.score))),
                ("probability", Value::Float(shown.probability)),
            ])
        };
        map([
            ("name", Value::Text(self.name.into())),
            ("option", option),
            ("value", value),
            ("left", Value::Int(self.left as i64)),
            ("best", list(&self.best, shown)),
            ("dropped", list(&self.dropped, |token| int(*token))),
        ])
    }
}

impl Pick {
    fn to_value(&self) -> Value {
        let kind = |kind: &str| ("kind", Value::Text(kind.into()));
        let next = |token: &Option<TokenId>| ("runner_up", token.map_or(Value::Null, int));
        match self {
            Self::Greedy { token, runner_up } => {
                map([kind("greedy"), ("token", int(*token)), next(runner_up)])
            }
            Self::Race {
                token,
                runner_up,
                racers,
            } => map([
                kind("race"),
                ("token", int(*token)),
                next(runner_up),
                ("racers", list(racers, |one| one.to_value())),
            ]),
            Self::Contrast {
                token,
                alpha,
                candidates,
            } => map([
                kind("contrast"),
                ("token", int(*token)),
                ("alpha", Value::Float(f64::from(*alpha))),
                ("candidates", list(candidates, |one| one.to_value())),
            ]),
            Self::Beams(candidates) => map([
                kind("beams"),
                ("candidates", list(candidates, |one| one.to_value())),
            ]),
        }
    }
}

impl Racer {
    fn to_value(self) -> Value {
        map([
            ("token", int(self.token)),
            ("probability", Value::Float(self.probability)),
            ("noise", Value::Float(f64::from(self.noise))),
            ("time", Value::Float(self.time)),
            ("place", int(self.place)),
        ])
    }
}

impl ContrastCandidate {
    fn to_value(self) -> Value {
        map([
            ("token", int(self.token)),
            ("probability", Value::Float(f64::from(self.probability))),
            ("resemblance", Value::Float(f64::from(self.resemblance))),
            ("score", Value::Float(self.score)),
        ])
    }
}

impl BeamCandidate {
    fn to_value(self) -> Value {
        let (fate, beam) = match self.fate {
            Fate::Kept(beam) => ("kept", int(beam)),
            Fate::Ended => ("ended", Value::Null),
            Fate::Dropped => ("dropped", Value::Null),
        };
        map([
            ("parent", int(self.parent)),
            ("token", int(self.token)),
            ("score", Value::Float(f64::from(self.score))),
            ("fate", Value::Text(fate.into())),
            ("beam", beam),
        ])
    }
}

fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    let pairs = pairs.into_iter();
    Value::Map(
        pairs
            .map(|(key, value)| (Value::Text(key.into()), value))
            .collect(),
    )
}

fn list<T>(items: &[T], value: impl Fn(&T) -> Value) -> Value {
    Value::List(items.iter().map(value).collect())
}

fn int(number: u32) -> Value {
    Value::Int(i64::from(number))
}
