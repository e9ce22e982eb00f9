//! The option table: one definition per option gives its Python keyword, command-line flag, environment
//! name, type, bound, default, doc line and status. Every door reads it and none repeats it. It checks
//! values and knows no model: ids are compared with the vocabulary by the engine's validator.
//! Invariant: no value is accepted and ignored; an unknown name is refused with the nearest known one.

mod absent;
mod choice;
mod engine;
mod engine_rows;
mod kind;
mod nearest;
mod sampling;
mod sampling_rows;
mod spec;
mod text;
mod value;

#[cfg(test)]
mod tests;

pub use crate::error::{Error, Result};
pub use crate::params::rules::{Rule, TEXT_NEEDS, TextNeed, rules};
pub use choice::{
    ActivationsChoice, BackendChoice, DtypeChoice, GenerationConfigChoice, KvCacheDtypeChoice,
    SchedulingPolicyChoice,
};
pub use engine::EngineOptions;
pub use kind::{IdList, OptionType};
pub use nearest::nearest;
pub use spec::{Group, OPTIONS, OptionSpec, Status, find};
pub use text::parse_text;
pub use value::Value;
