//! Python values to option values and back. It accepts what behaves like an int, a float, a string or a
//! sequence (numpy scalars included) and bounds depth and length, since lists may contain themselves.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};
use tokenmill::option::Value;
use tokenmill::{Kind, Limits, SamplingParams, TokenId};

use crate::callback;
use crate::errors::{built, raise};

/// Deepest nesting of one option.
const DEPTH_MAX: usize = 5;

/// The same where a schema may stand: one within its bound, and what is around it.
const SCHEMA_DEPTH_MAX: usize = 80;

/// Most values in one option, so that an endless iterator ends; every option's own bound is far below.
const NODES_MAX: usize = 100_000;

/// The options that take callables.
const CALLABLES: [&str; 2] = ["logits_processors", "prefix_allowed_tokens_fn"];

/// The value of option `name`.
pub(crate) fn to_value(name: &str, any: &Bound<'_, PyAny>) -> PyResult<Value> {
    let mut reader = Reader {
        name,
        nodes_left: NODES_MAX,
    };
    let depth_max = match name {
        "structured_outputs" => SCHEMA_DEPTH_MAX,
        _ => DEPTH_MAX,
    };
    reader.value(any, depth_max)
}

/// The error of a value that cannot be what `name` asks for.
pub(crate) fn refuse(py: Python<'_>, name: &str, what: &str) -> PyErr {
    let message = format!("{name} {what}");
    raise(py, Kind::InvalidRequest, message, Some(name))
}

/// A string; one with a lone surrogate is refused, since no text is written so.
pub(crate) fn to_text(name: &str, any: &Bound<'_, PyAny>) -> PyResult<String> {
    let is_text = any.is_instance_of::<PyString>();
    any.extract().map_err(|_| {
        let what = if is_text {
            "must be text, and has a lone surrogate"
        } else {
            "must be text"
        };
        refuse(any.py(), name, what)
    })
}

/// Reads one option's value, and stops when it has seen too much.
struct Reader<'a> {
    name: &'a str,
    nodes_left: usize,
}

impl Reader<'_> {
    fn value(&mut self, any: &Bound<'_, PyAny>, levels_left: usize) -> PyResult<Value> {
        let py = any.py();
        let below = levels_left
            .checked_sub(1)
            .ok_or_else(|| refuse(py, self.name, "is nested too deeply"))?;
        self.nodes_left = self.nodes_left.checked_sub(1).ok_or_else(|| {
            let what = format!("holds more than {NODES_MAX} values");
            refuse(py, self.name, &what)
        })?;
        if any.is_none() {
            return Ok(Value::Null);
        }
        // A list of transformers' processors is callable, too, and is a list.
        if CALLABLES.contains(&self.name) && any.is_callable() && !any.is_instance_of::<PyList>() {
            return callback::wrapped(any).map(Value::Callable);
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
            return Ok(Value::Text(to_text(self.name, any)?));
        }
        if any.is_instance_of::<PyBytes>() {
            return Err(refuse(py, self.name, "must not be bytes"));
        }
        if let Ok(dict) = any.cast::<PyDict>() {
            let mut pairs = Vec::with_capacity(dict.len());
            for (key, value) in dict.iter() {
                pairs.push((self.value(&key, below)?, self.value(&value, below)?));
            }
            return Ok(Value::Map(pairs));
        }
        // An array is a list first, though it may also offer to be one number; one of no dimension is a number.
        if let Ok(items) = any.try_iter() {
            let mut list = Vec::new();
            for item in items {
                list.push(self.value(&item?, below)?);
            }
            return Ok(Value::List(list));
        }
        self.number(any)
    }

    /// What behaves like an int or a float (numpy scalars).
    fn number(&self, any: &Bound<'_, PyAny>) -> PyResult<Value> {
        if any.hasattr("__index__")? {
            return Ok(int_value(&any.call_method0("__index__")?));
        }
        if any.hasattr("__float__")? {
            return Ok(Value::Float(any.call_method0("__float__")?.extract()?));
        }
        let kind = any.get_type().name()?;
        let what = format!("must not be of type {kind}");
        Err(refuse(any.py(), self.name, &what))
    }
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
            let name = to_text("an option's name", &key)?;
            let value = to_value(&name, &value)?;
            Ok((name, value))
        })
        .collect()
}

/// Whether this is an integer, Python's or another library's; a bool is none.
fn is_integer(any: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(!any.is_instance_of::<PyBool>()
        && (any.is_instance_of::<PyInt>() || any.hasattr("__index__")?))
}

/// Token ids from any sequence of ints, as many as a text may have bytes; `name` is what a caller calls it.
pub(crate) fn to_tokens(name: &str, any: &Bound<'_, PyAny>) -> PyResult<Vec<TokenId>> {
    let len_max = Limits::default().prompt_len_max_bytes;
    let mut tokens = Vec::new();
    for (index, item) in any.try_iter()?.enumerate() {
        let item = item?;
        if index >= len_max {
            let what = format!("must hold at most {len_max} token ids");
            return Err(refuse(any.py(), name, &what));
        }
        if !is_integer(&item)? {
            return Err(PyTypeError::new_err(format!(
                "{name} must hold ints, got {} at index {index}",
                item.get_type().name()?
            )));
        }
        tokens.push(item.extract::<TokenId>().map_err(|_| {
            let what = format!("must hold ids of 0 to 4294967295, at index {index} it does not");
            refuse(any.py(), name, &what)
        })?);
    }
    Ok(tokens)
}

/// A request's priority.
pub(crate) fn to_priority(any: &Bound<'_, PyAny>) -> PyResult<i32> {
    let number = if is_integer(any)? {
        any.extract().ok()
    } else {
        None
    };
    number.ok_or_else(|| {
        let what = format!("must be an integer from {} to {}", i32::MIN, i32::MAX);
        refuse(any.py(), "priority", &what)
    })
}

/// How many tokens of each step are explained.
pub(crate) fn to_top(any: &Bound<'_, PyAny>) -> PyResult<u32> {
    let number = if is_integer(any)? {
        any.extract().ok()
    } else {
        None
    };
    let most = Limits::default().explain_top_max;
    number.ok_or_else(|| {
        let what = format!("must be an integer from 1 to {most}");
        refuse(any.py(), "top", &what)
    })
}

/// A request's salt, if it has one.
pub(crate) fn to_salt(any: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if any.is_none() {
        return Ok(None);
    }
    to_text("cache_salt", any).map(Some)
}

/// Back to Python.
pub(crate) fn from_value<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    built(py, || python_value(py, value))
}

fn python_value<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(flag) => PyBool::new(py, *flag).to_owned().into_any(),
        Value::Int(int) => int.into_pyobject(py)?.into_any(),
        Value::Float(float) => float.into_pyobject(py)?.into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::Callable(callable) => callback::object(py, callable),
        Value::List(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(python_value(py, item)?)?;
            }
            list.into_any()
        }
        Value::Map(pairs) => {
            let dict = PyDict::new(py);
            for (key, value) in pairs {
                dict.set_item(python_value(py, key)?, python_value(py, value)?)?;
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
    built(py, || {
        let dict = PyDict::new(py);
        for (name, value) in params.to_values() {
            dict.set_item(name, python_value(py, &value)?)?;
        }
        Ok(dict)
    })
}
