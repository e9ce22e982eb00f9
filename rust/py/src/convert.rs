//! Python values to option values and back. It accepts what behaves like an int, a float, a string or a
//! sequence (numpy scalars included) and bounds depth and length, since lists may contain themselves.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};
use tokenmill::option::Value;
use tokenmill::{SamplingParams, TokenId};

const DEPTH_MAX: usize = 4;

/// The value of option `name`.
pub(crate) fn to_value(name: &str, any: &Bound<'_, PyAny>) -> PyResult<Value> {
    value_at(name, any, 0)
}

fn value_at(name: &str, any: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    if depth > DEPTH_MAX {
        return Err(PyValueError::new_err(format!(
            "{name} is nested too deeply"
        )));
    }
    if any.is_none() {
        return Ok(Value::Null);
    }
    if any.is_instance_of::<PyBool>() {
        return Ok(Value::Bool(any.is_truthy()?));
    }
    if any.is_instance_of::<PyInt>() {
        return Ok(int_value(any));
    }
    if any.is_instance_of::<PyFloat>() {
        return Ok(Value::Float(any.extract()?));
    }
    if any.is_instance_of::<PyString>() {
        return Ok(Value::Text(any.extract()?));
    }
    if any.is_instance_of::<PyBytes>() {
        return Err(PyTypeError::new_err(format!("{name} must not be bytes")));
    }
    if let Ok(dict) = any.cast::<PyDict>() {
        let at = |value: &Bound<'_, PyAny>| value_at(name, value, depth + 1);
        let pairs = dict.iter().map(|(key, value)| Ok((at(&key)?, at(&value)?)));
        return Ok(Value::Map(pairs.collect::<PyResult<_>>()?));
    }
    // An array is a list first, though it may also offer to be one number; one of no dimension is a number.
    if let Ok(items) = any.try_iter() {
        let items = items.map(|item| value_at(name, &item?, depth + 1));
        return Ok(Value::List(items.collect::<PyResult<_>>()?));
    }
    number_value(name, any)
}

/// What behaves like an int or a float (numpy scalars).
fn number_value(name: &str, any: &Bound<'_, PyAny>) -> PyResult<Value> {
    if let Ok(int) = any.call_method0("__index__") {
        return Ok(int_value(&int));
    }
    if any.hasattr("__float__")? {
        return Ok(Value::Float(any.call_method0("__float__")?.extract()?));
    }
    let kind = any.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "{name} must not be of type {kind}"
    )))
}

/// An int; one beyond 64 bits becomes a float, which every integer option refuses with its bound.
fn int_value(any: &Bound<'_, PyAny>) -> Value {
    match any.extract::<i64>() {
        Ok(int) => Value::Int(int),
        Err(_) => Value::Float(any.extract::<f64>().unwrap_or(f64::INFINITY)),
    }
}

/// Named values in the dict's order.
pub(crate) fn to_values(dict: &Bound<'_, PyDict>) -> PyResult<Vec<(String, Value)>> {
    dict.iter()
        .map(|(key, value)| {
            let name = key.extract::<String>()?;
            let value = to_value(&name, &value)?;
            Ok((name, value))
        })
        .collect()
}

/// Token ids from any sequence of ints.
pub(crate) fn to_tokens(any: &Bound<'_, PyAny>) -> PyResult<Vec<TokenId>> {
    let mut tokens = Vec::new();
    for (index, item) in any.try_iter()?.enumerate() {
        let item = item?;
        let refuse = || {
            PyValueError::new_err(format!(
                "prompt must hold ids of 0 to 4294967295, at index {index} it does not"
            ))
        };
        if item.is_instance_of::<PyBool>()
            || !(item.is_instance_of::<PyInt>() || item.hasattr("__index__")?)
        {
            return Err(PyTypeError::new_err(format!(
                "prompt must hold ints, got {} at index {index}",
                item.get_type().name()?
            )));
        }
        tokens.push(item.extract::<TokenId>().map_err(|_| refuse())?);
    }
    Ok(tokens)
}

/// Back to Python.
pub(crate) fn from_value<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(flag) => PyBool::new(py, *flag).to_owned().into_any(),
        Value::Int(int) => int.into_pyobject(py)?.into_any(),
        Value::Float(float) => float.into_pyobject(py)?.into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::List(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(from_value(py, item)?)?;
            }
            list.into_any()
        }
        Value::Map(pairs) => {
            let dict = PyDict::new(py);
            for (key, value) in pairs {
                dict.set_item(from_value(py, key)?, from_value(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

/// Parameters as a dict of the option names.
pub(crate) fn from_params<'py>(
    py: Python<'py>,
    params: &SamplingParams,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in params.to_values() {
        dict.set_item(name, from_value(py, &value)?)?;
    }
    Ok(dict)
}
