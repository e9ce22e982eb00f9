//! The `pre_tokenizer` of `tokenizer.json`.

use serde::Deserialize;
use serde_json::Value;

use super::{corrupt, fields, members, type_of, unsupported};
use crate::encode::{Behavior, GPT2_PATTERN, PrependScheme, Splitter, Step, compile};
use crate::error::{Result, quote};

const PLACE: &str = "pre_tokenizer";

/// Longest pattern.
const PATTERN_LEN_MAX_BYTES: usize = 4 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    pattern: Pattern,
    behavior: BehaviorName,
    #[serde(default)]
    invert: bool,
}

#[derive(Deserialize)]
enum Pattern {
    String(String),
    Regex(String),
}

#[derive(Deserialize)]
enum BehaviorName {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// `trim_offsets` concerns offsets, which we do not make.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByteLevel {
    #[serde(default = "yes")]
    add_prefix_space: bool,
    #[serde(default, rename = "trim_offsets")]
    _trim_offsets: bool,
    #[serde(default = "yes")]
    use_regex: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Digits {
    #[serde(default)]
    individual_digits: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metaspace {
    pub(super) replacement: char,
    #[serde(default)]
    pub(super) prepend_scheme: SchemeName,
    add_prefix_space: Option<bool>,
    split: Option<bool>,
    #[serde(default, rename = "str_rep")]
    _str_rep: serde::de::IgnoredAny,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum SchemeName {
    First,
    Never,
    #[default]
    Always,
}

fn yes() -> bool {
    true
}

pub(super) fn parse(component: Option<&Value>) -> Result<Splitter> {
    let mut steps = Vec::new();
    for member in members(PLACE, component, "pretokenizers")? {
        push_steps(member, &mut steps)?;
    }
    Ok(Splitter { steps })
}

fn push_steps(component: &Value, steps: &mut Vec<Step>) -> Result<()> {
    match type_of(PLACE, component)? {
        "Split" => {
            let split: Split = fields(PLACE, component)?;
            let pattern = match split.pattern {
                Pattern::Regex(pattern) => pattern,
                Pattern::String(text) => escape(&text),
            };
            steps.push(pattern_step(
                &pattern,
                split.behavior.meaning(),
                split.invert,
            )?);
        }
        "ByteLevel" => {
            let bytes: ByteLevel = fields(PLACE, component)?;
            if bytes.add_prefix_space {
                steps.push(Step::PrefixSpace);
            }
            if bytes.use_regex {
                steps.push(pattern_step(GPT2_PATTERN, Behavior::Isolated, false)?);
            }
            steps.push(Step::ByteAlphabet);
        }
        "Digits" => {
            steps.push(Step::Digits {
                individual: fields::<Digits>(PLACE, component)?.individual_digits,
            });
        }
        "Metaspace" => steps.push(Metaspace::read(PLACE, component)?.step()),
        other => {
            return Err(unsupported(
                format!("pre_tokenizer {:?}", quote(other)),
                "Split, ByteLevel, Digits, Metaspace or one Sequence of these",
            ));
        }
    }
    Ok(())
}

fn pattern_step(pattern: &str, behavior: Behavior, invert: bool) -> Result<Step> {
    if pattern.is_empty() || pattern.len() > PATTERN_LEN_MAX_BYTES {
        let problem = format!(
            "a pattern has 1 to {PATTERN_LEN_MAX_BYTES} bytes, got {}",
            pattern.len()
        );
        return Err(corrupt(PLACE, problem));
    }
    let regex = compile(pattern).map_err(|problem| corrupt(PLACE, quote(&problem)))?;
    Ok(Step::Pattern {
        regex,
        behavior,
        invert,
    })
}

/// Literal text as a pattern.
fn escape(text: &str) -> String {
    fancy_regex::escape(text).into_owned()
}

impl BehaviorName {
    fn meaning(&self) -> Behavior {
        match self {
            Self::Removed => Behavior::Removed,
            Self::Isolated => Behavior::Isolated,
            Self::MergedWithPrevious => Behavior::MergedWithPrevious,
            Self::MergedWithNext => Behavior::MergedWithNext,
            Self::Contiguous => Behavior::Contiguous,
        }
    }
}

impl Metaspace {
    /// Reads the fields, which the decoder of this name has too.
    pub(super) fn read(place: &str, component: &Value) -> Result<Self> {
        let mut metaspace: Self = fields(place, component)?;
        if metaspace.add_prefix_space == Some(false) {
            metaspace.prepend_scheme = SchemeName::Never;
        }
        Ok(metaspace)
    }

    fn step(&self) -> Step {
        let scheme = match self.prepend_scheme {
            SchemeName::First => PrependScheme::First,
            SchemeName::Never => PrependScheme::Never,
            SchemeName::Always => PrependScheme::Always,
        };
        Step::Metaspace {
            mark: self.replacement,
            scheme,
            split: self.split.unwrap_or(true),
        }
    }
}
