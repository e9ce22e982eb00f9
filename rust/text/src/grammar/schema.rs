//! A JSON schema before it is compiled: it is JSON, no deeper and no larger than the bounds, refers to nothing outside
//! itself, and carries the request's switches.

use llguidance::JsonCompileOptions;
use serde_json::{Map, Value, json};
use tokenmill_core::StructuredOutputs;

use super::source::{Made, SourceLimits};

/// Keywords under which schemas stand by names of the schema's author.
const NAMED: [&str; 5] = [
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
];

/// Keywords whose values are data, not schemas.
const DATA: [&str; 4] = ["enum", "const", "default", "examples"];

/// The keyword by which llguidance takes options; ours are the request's switches.
const OPTIONS: &str = "x-guidance";

/// The schema in `text`, ready to be compiled under the switches of `asked`.
pub(super) fn read(text: &str, asked: &StructuredOutputs, limits: &SourceLimits) -> Made<Value> {
    let schema: Value =
        serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
    let mut schema = match schema {
        Value::Bool(true) => json!({}),
        Value::Bool(false) => return Err("allows no value".into()),
        Value::Object(_) => schema,
        _ => return Err("must be a schema: an object, or true".into()),
    };
    check(&schema, limits)?;
    if asked.disable_additional_properties {
        close_objects(&mut schema);
    }
    apply_switches(&mut schema, asked);
    Ok(schema)
}

/// The schema of any object.
pub(super) fn object(asked: &StructuredOutputs) -> Value {
    let mut schema = json!({"type": "object"});
    apply_switches(&mut schema, asked);
    schema
}

/// White space between two parts where the request does not say: JSON's, and enough of it for a deep indentation.
/// Without an end, a model that has begun to indent may never stop.
const BLANKS: &str = r"[\x20\x0A\x0D\x09]{1,64}";

fn apply_switches(schema: &mut Value, asked: &StructuredOutputs) {
    let flexible = !asked.disable_any_whitespace;
    let pattern = asked.whitespace_pattern.clone();
    let options = JsonCompileOptions {
        whitespace_flexible: flexible,
        whitespace_pattern: pattern.or_else(|| flexible.then(|| BLANKS.to_owned())),
        ..JsonCompileOptions::default()
    };
    options.apply_to(schema);
}

/// The bounds, and no reference out of the schema.
pub(super) fn check(schema: &Value, limits: &SourceLimits) -> Made<()> {
    if schema.get(OPTIONS).is_some() {
        return Err(format!(
            "{OPTIONS} is not taken: the switches of structured_outputs say the same"
        ));
    }
    let mut properties = 0;
    walk(schema, limits, 0, &mut properties)
}

fn walk(schema: &Value, limits: &SourceLimits, depth: usize, properties: &mut usize) -> Made<()> {
    let SourceLimits {
        depth_max,
        properties_max,
    } = *limits;
    if depth > depth_max {
        return Err(format!("nests schemas more than {depth_max} deep"));
    }
    let object = match schema {
        Value::Object(object) => object,
        Value::Array(items) => {
            let mut items = items.iter();
            return items.try_for_each(|item| walk(item, limits, depth + 1, properties));
        }
        _ => return Ok(()),
    };
    for (key, value) in object {
        if key.ends_with("$ref") || key.ends_with("Ref") {
            check_reference(key, value)?;
        }
        if DATA.contains(&key.as_str()) {
            continue;
        }
        let named = value.as_object().filter(|_| NAMED.contains(&key.as_str()));
        let Some(named) = named else {
            walk(
                value,
                limits,
                depth + usize::from(value.is_object()),
                properties,
            )?;
            continue;
        };
        *properties += named.len();
        if *properties > properties_max {
            return Err(format!("has more than {properties_max} properties"));
        }
        for part in named.values() {
            walk(part, limits, depth + 1, properties)?;
        }
    }
    Ok(())
}

fn check_reference(key: &str, value: &Value) -> Made<()> {
    match value.as_str() {
        Some(reference) if !reference.starts_with('#') => Err(format!(
            "{key} must begin with #: only what is in the schema is looked up"
        )),
        _ => Ok(()),
    }
}

/// Objects that say nothing of properties beyond their own get none.
fn close_objects(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close_objects),
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                if DATA.contains(&key.as_str()) {
                    continue;
                }
                match value.as_object_mut() {
                    Some(named) if NAMED.contains(&key.as_str()) => {
                        named.values_mut().for_each(close_objects);
                    }
                    _ => close_objects(value),
                }
            }
            if is_open_object(object) {
                object.insert("additionalProperties".into(), false.into());
            }
        }
        _ => {}
    }
}

fn is_open_object(schema: &Map<String, Value>) -> bool {
    let has = |key: &str| schema.contains_key(key);
    let is_object = schema.get("type") == Some(&json!("object"))
        || has("properties")
        || has("patternProperties");
    is_object && !has("additionalProperties") && !has("unevaluatedProperties")
}
