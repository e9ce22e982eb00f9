//! The machine's own limits, for shares of them: measured, never assumed.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::detached;

/// Read bandwidth (bytes/s) and peaks (operations/s) of `threads` threads, each measured for about
/// `seconds`.
#[pyfunction]
pub(crate) fn measure_machine(
    py: Python<'_>,
    seconds: f64,
    threads: usize,
) -> PyResult<Bound<'_, PyDict>> {
    if !(seconds > 0.0 && seconds <= 60.0) {
        return Err(PyValueError::new_err(
            "seconds must be above 0 and at most 60",
        ));
    }
    if !(1..=1024).contains(&threads) {
        return Err(PyValueError::new_err("threads must be 1 to 1024"));
    }
    let each = std::time::Duration::from_secs_f64(seconds);
    let figures = detached(py, || tokenmill::measure_machine(each, threads))?;
    let dict = PyDict::new(py);
    for (name, figure) in figures {
        dict.set_item(name, figure)?;
    }
    Ok(dict)
}
