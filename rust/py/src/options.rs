//! The option table for Python and the command line: read, never repeated.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tokenmill::{Limits, SamplingParams};

use crate::convert::{from_params, to_values};
use crate::errors::convert;

/// Every option: name, group, type, default, bound, nullable, doc, flag, env, status, reason.
#[pyfunction]
pub(crate) fn options(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for row in tokenmill::option::OPTIONS {
        let dict = PyDict::new(py);
        for (key, text) in row.describe() {
            dict.set_item(key, text)?;
        }
        dict.set_item("nullable", row.is_nullable)?;
        list.append(dict)?;
    }
    Ok(list)
}

/// Sampling values checked and completed with the defaults. What an engine may bound more tightly
/// (`max_logprobs`) is the engine's to refuse.
#[pyfunction]
pub(crate) fn check_sampling<'py>(
    py: Python<'py>,
    values: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let values = to_values(values)?;
    let limits = Limits {
        logprobs_max: u32::MAX,
        ..Limits::default()
    };
    let params =
        SamplingParams::from_values(&values, &limits).map_err(|error| convert(py, &error))?;
    from_params(py, &params)
}

/// The known option nearest to an unknown name.
#[pyfunction]
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    tokenmill::option::nearest(name)
}
