//! One row of the table, the table itself, and how a row describes itself to doors.

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::option::engine::EngineOptions;
use crate::option::kind::OptionType;
use crate::option::value::Value;
use crate::option::{absent, engine, engine_rows, sampling_rows};
use crate::params::rules::{TEXT_NEEDS, TextNeed, rules};
use crate::params::{NamedPipeline, SamplingParams, Step};

/// What an option configures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// One request.
    Sampling,
    /// One engine, at its start.
    Engine,
}

impl Group {
    /// The public name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sampling => "sampling",
            Self::Engine => "engine",
        }
    }
}

/// Whether an option is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Supported,
    /// It is not built yet: refused, with what it waits for.
    Later(&'static str),
    /// It is refused for good, with the reason or the way round it.
    Refused(&'static str),
}

/// How an option reaches its field. A setter gets a value that was checked, or null where that is a
/// value of its own, and answers `None` only where the row's type and its field contradict each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    Sampling {
        set: fn(&mut SamplingParams, &Value) -> Option<()>,
        get: fn(&SamplingParams) -> Value,
    },
    Engine {
        set: fn(&mut EngineOptions, &Value) -> Option<()>,
        get: fn(&EngineOptions) -> Value,
    },
    /// No field: the only value taken is null or this one, as [`Value`] displays it.
    Absent { neutral: &'static str },
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The Python keyword.
    pub name: &'static str,
    /// What it configures.
    pub group: Group,
    /// Type and bound.
    pub kind: OptionType,
    /// Whether null is a value of its own; for the others it means the default.
    pub is_nullable: bool,
    /// One line of help; empty for options that are not taken.
    pub doc: &'static str,
    /// Whether it is taken.
    pub status: Status,
    pub(super) access: Access,
}

/// Every option, by group: sampling, engine, then the names that are known and not taken.
pub static OPTIONS: &[OptionSpec] = &TABLE;

const LEN: usize = sampling_rows::CHOOSING.len()
    + sampling_rows::CUTS.len()
    + sampling_rows::STEERING.len()
    + sampling_rows::BEAMS.len()
    + sampling_rows::SOURCES.len()
    + sampling_rows::OUTPUT.len()
    + sampling_rows::CUSTOM.len()
    + engine_rows::ROWS.len()
    + absent::ROWS.len();

static TABLE: [OptionSpec; LEN] = {
    let mut table = [sampling_rows::CHOOSING[0]; LEN];
    let mut len = 0;
    let parts: [&[OptionSpec]; 9] = [
        sampling_rows::CHOOSING,
        sampling_rows::CUTS,
        sampling_rows::STEERING,
        sampling_rows::BEAMS,
        sampling_rows::SOURCES,
        sampling_rows::OUTPUT,
        sampling_rows::CUSTOM,
        engine_rows::ROWS,
        absent::ROWS,
    ];
    let mut part = 0;
    while part < parts.len() {
        let mut row = 0;
        while row < parts[part].len() {
            table[len] = parts[part][row];
            len += 1;
            row += 1;
        }
        part += 1;
    }
    table
};

/// The row of a name in a group.
pub fn find(group: Group, name: &str) -> Option<&'static OptionSpec> {
    OPTIONS
        .iter()
        .find(|spec| spec.group == group && spec.name == name)
}

impl OptionSpec {
    /// The command-line flag.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// The environment name: `TOKENMILL_` and, for sampling, `SAMPLING_`, since both groups have a `seed`.
    pub fn env(&self) -> String {
        let group = match self.group {
            Group::Sampling => "SAMPLING_",
            Group::Engine => "",
        };
        format!("TOKENMILL_{group}{}", self.name.to_uppercase())
    }

    /// Whether it is taken.
    pub fn is_supported(&self) -> bool {
        self.status == Status::Supported
    }

    /// The doors it can be given at. A command's flag, the environment and the two languages share one table.
    pub fn doors(&self) -> &'static [&'static str] {
        match self.kind {
            _ if !self.is_supported() => &[],
            // No text writes one.
            OptionType::Callable => &["python", "rust"],
            _ => &["python", "command", "environment", "rust"],
        }
    }

    /// The backends on which another value than the default runs. What acts on logits runs wherever there are
    /// logits.
    pub fn backends(&self) -> &'static [&'static str] {
        match (self.is_supported(), self.group, self.name) {
            (false, ..) => &[],
            (_, Group::Engine, "profile" | "activations" | "threads") => &["cpu"],
            _ => &["cpu", "reference", "sim"],
        }
    }

    /// The named pipelines that run its step; nothing where it is the option of no step.
    pub fn pipelines(&self) -> Option<Vec<&'static str>> {
        let is_own = |step: &Step| self.group == Group::Sampling && step.option() == self.name;
        let step = Step::ALL.into_iter().find(is_own)?;
        let named = NamedPipeline::NAMES.into_iter();
        Some(
            named
                .filter(|name| NamedPipeline::from_name(name).is_some_and(|named| named.has(step)))
                .collect(),
        )
    }

    /// The options that it may contradict, and when.
    pub fn meets(&self) -> Vec<(&'static str, &'static str)> {
        let of_requests = rules().map(|rule| (rule.name, rule.other, rule.when));
        let pairs: Vec<_> = match self.group {
            Group::Sampling => of_requests.collect(),
            Group::Engine => engine::MEETS.to_vec(),
        };
        let met = pairs
            .into_iter()
            .filter_map(|(name, other, when)| match self.name {
                own if own == name => Some((other, when)),
                own if own == other => Some((name, when)),
                _ => None,
            });
        met.collect()
    }

    /// Whether it reads text, and so needs a model with a tokenizer.
    pub fn needs_text(&self) -> bool {
        let is_own = |need: &TextNeed| need.name == self.name;
        self.group == Group::Sampling && TEXT_NEEDS.iter().any(is_own)
    }

    /// The default, from the struct that holds the option.
    pub fn default_value(&self) -> Value {
        match self.access {
            Access::Sampling { get, .. } => get(&SamplingParams::default()),
            Access::Engine { get, .. } => get(&EngineOptions::default()),
            Access::Absent { .. } => Value::Null,
        }
    }

    /// The row as text: name, group, type, default, bound, doc, flag, env, status, reason.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let (status, reason) = match self.status {
            Status::Supported => ("supported", ""),
            Status::Later(reason) => ("later", reason),
            Status::Refused(reason) => ("refused", reason),
        };
        vec![
            ("name", self.name.into()),
            ("group", self.group.name().into()),
            ("type", self.kind.name().into()),
            ("default", self.default_value().to_string()),
            ("bound", self.kind.bound(&Limits::default())),
            ("doc", self.doc.into()),
            ("flag", self.flag()),
            ("env", self.env()),
            ("status", status.into()),
            ("reason", reason.into()),
        ]
    }

    /// The value in its normal form. Null becomes the default, or stays where it is a value of its own. Whether
    /// it agrees with other options is not looked at.
    pub fn check(&self, value: &Value, limits: &Limits) -> Result<Value> {
        if let Status::Later(reason) | Status::Refused(reason) = self.status {
            return self.check_neutral(value, reason);
        }
        if *value == Value::Null {
            return Ok(if self.is_nullable {
                Value::Null
            } else {
                self.default_value()
            });
        }
        self.kind
            .check(value, limits)
            .ok_or_else(|| self.bad_value(value, limits))
    }

    /// Scripts written for other engines often spell out a default; where that is also what we do, it runs.
    fn check_neutral(&self, value: &Value, reason: &str) -> Result<Value> {
        let Access::Absent { neutral } = self.access else {
            return Ok(Value::Null);
        };
        let is_neutral = *value == Value::Null || value.to_string() == neutral;
        if is_neutral {
            return Ok(Value::Null);
        }
        Err(Error::Unsupported {
            name: self.name.into(),
            reason: reason.into(),
        })
    }

    pub(super) fn bad_value(&self, value: &Value, limits: &Limits) -> Error {
        let or_none = if self.is_nullable { ", or none" } else { "" };
        let expected = format!("{}{or_none}", self.kind.bound(limits));
        Error::BadValue {
            name: self.name.into(),
            expected,
            got: value.echo(),
        }
    }
}

/// The rows of the given values, each checked and in its normal form; refuses unknown and repeated names.
pub(super) fn checked(
    group: Group,
    values: &[(String, Value)],
    limits: &Limits,
) -> Result<Vec<(&'static OptionSpec, Value)>> {
    let mut rows: Vec<(&'static OptionSpec, Value)> = Vec::with_capacity(values.len());
    for (name, value) in values {
        let Some(spec) = find(group, name) else {
            return Err(unknown(name));
        };
        if rows.iter().any(|(earlier, _)| earlier.name == spec.name) {
            return Err(Error::Conflict {
                name: name.clone(),
                other: name.clone(),
                reason: "given twice".into(),
            });
        }
        rows.push((spec, spec.check(value, limits)?));
    }
    Ok(rows)
}

fn unknown(name: &str) -> Error {
    let hint = crate::option::nearest(name).map(str::to_owned);
    Error::UnknownOption {
        name: name.chars().take(64).collect(),
        hint,
    }
}
