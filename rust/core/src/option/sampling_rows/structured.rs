//! The row of what an output must be as a text, and its value to and from the map that doors know.

use super::{nullable, row};
use crate::option::kind::{OptionType, SWITCHES};
use crate::option::spec::OptionSpec;
use crate::option::value::Value;
use crate::params::{OutputConstraint, StructuredOutputs};

/// A constraint on the whole text.
pub(super) const ROW: OptionSpec = nullable(row(
    "structured_outputs",
    OptionType::Structured,
    "what the output must be: JSON under a schema, a text of a regular expression or a grammar, one of several texts",
    |params, value| {
        params.structured_outputs = match value {
            Value::Null => None,
            _ => Some(read_structured(value)?),
        };
        Some(())
    },
    |params| {
        params
            .structured_outputs
            .as_ref()
            .map_or(Value::Null, shown_structured)
    },
));

/// Checked values have the constraint first.
fn read_structured(value: &Value) -> Option<StructuredOutputs> {
    let Value::Map(pairs) = value else {
        return None;
    };
    let ((key, value), switches) = pairs.split_first()?;
    let text = || value.as_text().map(str::to_owned);
    let constraint = match key.as_text()? {
        "json" => OutputConstraint::Json(text()?),
        "regex" => OutputConstraint::Regex(text()?),
        "choice" => OutputConstraint::Choice(super::read_texts(value)?),
        "grammar" => OutputConstraint::Grammar(text()?),
        "json_object" => OutputConstraint::JsonObject,
        "structural_tag" => OutputConstraint::StructuralTag(text()?),
        _ => return None,
    };
    let mut structured = StructuredOutputs::from(constraint);
    for (key, value) in switches {
        match key.as_text()? {
            "disable_any_whitespace" => structured.disable_any_whitespace = value.as_bool()?,
            "disable_additional_properties" => {
                structured.disable_additional_properties = value.as_bool()?;
            }
            "whitespace_pattern" => {
                structured.whitespace_pattern = Some(value.as_text()?.to_owned());
            }
            _ => return None,
        }
    }
    Some(structured)
}

fn shown_structured(structured: &StructuredOutputs) -> Value {
    let constraint = match &structured.constraint {
        OutputConstraint::Json(text)
        | OutputConstraint::Regex(text)
        | OutputConstraint::Grammar(text)
        | OutputConstraint::StructuralTag(text) => Value::Text(text.clone()),
        OutputConstraint::Choice(texts) => super::shown_texts(texts),
        OutputConstraint::JsonObject => Value::Bool(true),
    };
    let switch = |flag: bool| flag.then_some(Value::Bool(true));
    let switches = [
        switch(structured.disable_any_whitespace),
        switch(structured.disable_additional_properties),
        structured.whitespace_pattern.clone().map(Value::Text),
    ];
    let names = [structured.constraint.name()].into_iter().chain(SWITCHES);
    let values = [Some(constraint)].into_iter().chain(switches);
    let entry = |(name, value): (&str, Option<Value>)| Some((Value::Text(name.into()), value?));
    Value::Map(names.zip(values).filter_map(entry).collect())
}
