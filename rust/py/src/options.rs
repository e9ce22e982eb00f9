//! The option table for Python and the command line: read, never repeated.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tokenmill::option::{Group, find};
use tokenmill::{Kind, Limits, SamplingParams};

use crate::convert::{from_params, from_value, refuse, to_text, to_values};
use crate::errors::{built, convert, raise};

/// Every option: name, group, type, default, bound, nullable, doc, flag, env, status, reason, and what it can be
/// combined with: doors, backends, pipelines, meets, needs_text.
#[pyfunction]
pub(crate) fn options(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    built(py, || rows(py))
}

fn rows(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for row in tokenmill::option::OPTIONS {
        let dict = PyDict::new(py);
        for (key, text) in row.describe() {
            dict.set_item(key, text)?;
        }
        dict.set_item("nullable", row.is_nullable)?;
        dict.set_item("doors", row.doors())?;
        dict.set_item("backends", row.backends())?;
        dict.set_item("pipelines", row.pipelines())?;
        dict.set_item("meets", row.meets())?;
        dict.set_item("needs_text", row.needs_text())?;
        list.append(dict)?;
    }
    Ok(list)
}

/// Sampling values checked and completed with the defaults.
#[pyfunction]
pub(crate) fn check_sampling<'py>(
    py: Python<'py>,
    values: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let values = to_values(values)?;
    let params =
        SamplingParams::from_values(&values, &limits()).map_err(|error| convert(py, &error))?;
    from_params(py, &params)
}

/// The value that `text` writes for an option, as a command line or an environment gives it; refused where
/// the option refuses it.
#[pyfunction]
pub(crate) fn parse_text<'py>(
    py: Python<'py>,
    group: &str,
    name: &str,
    text: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let group = match group {
        "sampling" => Group::Sampling,
        "engine" => Group::Engine,
        _ => return Err(refuse(py, "group", "must be sampling or engine")),
    };
    let spec = find(group, name).ok_or_else(|| {
        let message = format!("unknown option {name}");
        raise(py, Kind::InvalidRequest, message, Some(name))
    })?;
    let text = to_text(name, text)?;
    let value = tokenmill::option::parse_text(spec, &text).map_err(|error| convert(py, &error))?;
    spec.check(&value, &limits())
        .map_err(|error| convert(py, &error))?;
    from_value(py, &value)
}

/// What an engine may bound more tightly (`max_logprobs`) is the engine's to refuse.
fn limits() -> Limits {
    Limits {
        logprobs_max: u32::MAX,
        ..Limits::default()
    }
}

/// Refuses a text that is only echoed (a caller's own id) and is none that may be.
#[pyfunction]
pub(crate) fn check_label(name: &str, label: &Bound<'_, PyAny>) -> PyResult<()> {
    let text = to_text(name, label)?;
    let fault = Limits::default().label_fault(&text);
    fault.map_or(Ok(()), |fault| Err(refuse(label.py(), name, &fault)))
}

/// The known option nearest to an unknown name.
#[pyfunction]
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    tokenmill::option::nearest(name)
}
