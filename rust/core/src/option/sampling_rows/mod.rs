//! The rows of the sampling options. Names and bounds are vLLM's where it has the option; what differs is
//! said in the doc line. Defaults are those of `SamplingParams::default`.

mod beams;
mod choosing;
mod custom;
mod cuts;
mod output;
mod sources;
mod steering;

use std::collections::HashSet;

use crate::id::TokenId;
use crate::option::kind::OptionType;
use crate::option::spec::{Access, Group, OptionSpec, Status};
use crate::option::value::Value;
use crate::params::SamplingParams;

pub(super) use beams::ROWS as BEAMS;
pub(super) use choosing::ROWS as CHOOSING;
pub(super) use custom::ROWS as CUSTOM;
pub(super) use cuts::ROWS as CUTS;
pub(super) use output::ROWS as OUTPUT;
pub(super) use sources::ROWS as SOURCES;
pub(super) use steering::ROWS as STEERING;

type Set = fn(&mut SamplingParams, &Value) -> Option<()>;
type Get = fn(&SamplingParams) -> Value;

const fn row(
    name: &'static str,
    kind: OptionType,
    doc: &'static str,
    set: Set,
    get: Get,
) -> OptionSpec {
    let access = Access::Sampling { set, get };
    OptionSpec {
        name,
        group: Group::Sampling,
        kind,
        is_nullable: false,
        doc,
        status: Status::Supported,
        access,
    }
}

const fn nullable(spec: OptionSpec) -> OptionSpec {
    OptionSpec {
        is_nullable: true,
        ..spec
    }
}

const fn float(min: f64, max: f64) -> OptionType {
    OptionType::Float {
        min,
        is_min_open: false,
        max,
    }
}

const fn float_above(min: f64, max: f64) -> OptionType {
    OptionType::Float {
        min,
        is_min_open: true,
        max,
    }
}

const fn int(min: i64, max: i64) -> OptionType {
    OptionType::Int { min, max }
}

/// The shortest decimal that reads back as the f32, so that 0.7 is shown as 0.7.
fn shown(float: f32) -> Value {
    Value::Float(float.to_string().parse().unwrap_or(f64::from(float)))
}

fn read(value: &Value) -> Option<f32> {
    value.as_f64().map(|float| float as f32)
}

fn optional_int(int: Option<u32>) -> Value {
    int.map_or(Value::Null, |int| Value::Int(int.into()))
}

fn read_bias(value: &Value) -> Option<Vec<(TokenId, f32)>> {
    let Value::Map(pairs) = value else {
        return None;
    };
    pairs
        .iter()
        .map(|(id, bias)| Some((id.as_u32()?, read(bias)?)))
        .collect()
}

fn read_texts(value: &Value) -> Option<Vec<String>> {
    value
        .as_list()?
        .iter()
        .map(|item| item.as_text().map(str::to_owned))
        .collect()
}

/// Duplicates are dropped, the first of each stays.
fn read_ids(value: &Value) -> Option<Vec<TokenId>> {
    let mut known = HashSet::new();
    let ids: Option<Vec<TokenId>> = value.as_list()?.iter().map(Value::as_u32).collect();
    ids.map(|ids| ids.into_iter().filter(|&id| known.insert(id)).collect())
}

fn shown_ids(ids: &[TokenId]) -> Value {
    Value::List(ids.iter().map(|&id| Value::Int(id.into())).collect())
}

fn shown_optional_ids(ids: Option<&[TokenId]>) -> Value {
    ids.map_or(Value::Null, shown_ids)
}

fn shown_texts(texts: &[String]) -> Value {
    Value::List(texts.iter().cloned().map(Value::Text).collect())
}

/// A number of alternatives; -1 is the vocabulary.
fn read_count(value: &Value) -> Option<u32> {
    let count = value.as_int()?;
    Some(u32::try_from(count).unwrap_or(u32::MAX))
}

fn shown_count(count: Option<u32>) -> Value {
    match count {
        Some(u32::MAX) => Value::Int(-1),
        count => optional_int(count),
    }
}
