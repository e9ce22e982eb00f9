//! Python's face of the ten kinds: one exception each under `TokenmillError`, also a subclass of the
//! built-in that callers already catch. Each carries `kind` and `param`.

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use tokenmill::{HasKind, Kind};

static CLASSES: PyOnceLock<Vec<Py<PyType>>> = PyOnceLock::new();

/// The built-in that a kind's exception also is.
fn builtin(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::InvalidRequest | Kind::Unsupported | Kind::Corrupt => Some("ValueError"),
        Kind::NotFound => Some("LookupError"),
        Kind::Overloaded | Kind::Draining | Kind::Internal => Some("RuntimeError"),
        Kind::Deadline => Some("TimeoutError"),
        Kind::Io => Some("OSError"),
        Kind::Cancelled => None,
    }
}

fn create(py: Python<'_>) -> PyResult<(Bound<'_, PyType>, Vec<Py<PyType>>)> {
    let base_name = CString::new("tokenmill.TokenmillError")?;
    let base = PyErr::new_type(
        py,
        &base_name,
        Some(c"Base of every error that tokenmill raises."),
        Some(&py.get_type::<PyException>()),
        None,
    )?
    .into_bound(py);
    let builtins = py.import("builtins")?;
    let mut classes = Vec::with_capacity(Kind::TABLE.len());
    for row in Kind::TABLE {
        let mut bases = vec![base.clone().into_any()];
        if let Some(name) = builtin(row.kind) {
            bases.push(builtins.getattr(name)?);
        }
        let namespace = PyDict::new(py);
        namespace.set_item("__module__", "tokenmill")?;
        namespace.set_item("kind", format!("{:?}", row.kind))?;
        namespace.set_item("param", py.None())?;
        namespace.set_item("exit_code", row.exit_code)?;
        let class =
            builtins
                .getattr("type")?
                .call1((row.python, PyTuple::new(py, bases)?, namespace))?;
        classes.push(class.cast_into::<PyType>()?.unbind());
    }
    Ok((base, classes))
}

/// Adds the classes to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let (base, classes) = create(py)?;
    module.add("TokenmillError", base)?;
    for (row, class) in Kind::TABLE.iter().zip(&classes) {
        module.add(row.python, class.clone_ref(py))?;
    }
    // A second import in the same process keeps the first classes.
    let _ = CLASSES.set(py, classes);
    Ok(())
}

/// The exception of a kind.
pub(crate) fn raise(py: Python<'_>, kind: Kind, message: String, param: Option<&str>) -> PyErr {
    let class = CLASSES
        .get(py)
        .and_then(|classes| classes.get(kind as usize));
    let made = class.map(|class| {
        let error = class.bind(py).call1((message.clone(),))?;
        error.setattr("param", param)?;
        Ok::<_, PyErr>(PyErr::from_value(error))
    });
    match made {
        Some(Ok(error) | Err(error)) => error,
        None => PyException::new_err(message),
    }
}

/// Runs `work` without the GIL. Its error becomes an exception, and so does a panic: it is a fault of ours,
/// and PyO3's own exception for it would pass every `except Exception`.
pub(crate) fn detached<T: Send, E: HasKind + std::fmt::Display + Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> PyResult<T> {
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(convert(py, &error)),
        Err(_) => {
            let message = "the engine failed; standard error says where".to_owned();
            Err(raise(py, Kind::Internal, message, None))
        }
    }
}

/// Makes Python values. Where the interpreter has no memory for one, PyO3 panics; that is a `MemoryError` here,
/// which `except Exception` sees.
pub(crate) fn built<T>(py: Python<'_>, work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let told = PyErr::take(py);
        Err(told.unwrap_or_else(|| PyMemoryError::new_err("no memory for what came back")))
    })
}

/// The exception of one of our errors.
pub(crate) fn convert<E: HasKind + std::fmt::Display>(py: Python<'_>, error: &E) -> PyErr {
    raise(py, error.kind(), error.to_string(), error.param())
}
