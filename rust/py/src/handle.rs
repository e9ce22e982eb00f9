//! The caller's end of a request, for Python: waits without the GIL, wakes for signals, cancels when
//! dropped. Events become dicts of plain values.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tokenmill::{Event, Received, StopReason, TokenLogprobs};

use crate::bell::Bell;
use crate::convert::{from_params, from_value};
use crate::errors::{built, convert};

/// How long a wait may hold signals back.
const SIGNAL_PERIOD: Duration = Duration::from_millis(50);

/// One accepted request.
#[pyclass(frozen, module = "tokenmill._tokenmill")]
pub(crate) struct Handle {
    inner: std::sync::Arc<tokenmill::Handle>,
    request_id: u64,
    prompt: Vec<u32>,
    seed: i64,
    effective: Py<PyDict>,
}

impl Handle {
    pub(crate) fn new(py: Python<'_>, inner: tokenmill::Handle) -> PyResult<Self> {
        Ok(Self {
            request_id: inner.id().0,
            prompt: inner.prompt_tokens().to_vec(),
            seed: inner.seed(),
            effective: from_params(py, inner.params())?.unbind(),
            inner: std::sync::Arc::new(inner),
        })
    }
}

#[pymethods]
impl Handle {
    /// The engine's number for this request.
    #[getter]
    fn request_id(&self) -> u64 {
        self.request_id
    }

    /// The prompt as the model sees it.
    #[getter]
    fn prompt_token_ids(&self) -> Vec<u32> {
        self.prompt.clone()
    }

    /// The seed in use.
    #[getter]
    fn seed(&self) -> i64 {
        self.seed
    }

    /// The sampling parameters after defaults.
    #[getter]
    fn effective<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.effective.bind(py).copy()
    }

    /// The next event, or None when every sample has ended; TimeoutError after `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn next<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let forked = self.inner.refuse_forked();
        forked.map_err(|error| convert(py, &error))?;
        let limit = timeout.map(Duration::try_from_secs_f64).transpose();
        let limit = limit.map_err(|_| {
            PyValueError::new_err("timeout must be a number of seconds, at least 0")
        })?;
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let inner = self.inner.clone();
        loop {
            let left = deadline.map_or(SIGNAL_PERIOD, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            match py.detach(|| inner.receive(Some(left.min(SIGNAL_PERIOD)))) {
                Received::Event(event) => {
                    return built(py, || event_dict(py, &event)).map(Some);
                }
                Received::Ended => return Ok(None),
                Received::TimedOut => {
                    py.check_signals()?;
                    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        return Err(PyTimeoutError::new_err("no event within the time given"));
                    }
                }
            }
        }
    }

    /// (whether there is an answer, the next event or None at the end). Without an answer `bell` rings with
    /// `key` when there may be one.
    fn poll<'py>(
        &self,
        py: Python<'py>,
        bell: &Bell,
        key: u64,
    ) -> PyResult<(bool, Option<Bound<'py, PyDict>>)> {
        let forked = self.inner.refuse_forked();
        forked.map_err(|error| convert(py, &error))?;
        let waker = bell.waker(key);
        match self.inner.poll_next(&mut Context::from_waker(&waker)) {
            Poll::Pending => Ok((false, None)),
            Poll::Ready(None) => Ok((true, None)),
            Poll::Ready(Some(event)) => Ok((true, Some(built(py, || event_dict(py, &event))?))),
        }
    }

    /// Ends the request; its blocks are freed at the engine's next plan.
    fn cancel(&self) {
        self.inner.cancel();
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        self.next(py, None)
    }
}

fn event_dict<'py>(py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("index", event.index)?;
    dict.set_item("tokens", PyList::new(py, &event.tokens)?)?;
    dict.set_item("text", &event.text)?;
    dict.set_item("logprobs", logprobs_list(py, &event.logprobs)?)?;
    dict.set_item(
        "prompt_logprobs",
        logprobs_list(py, &event.prompt_logprobs)?,
    )?;
    let explained = event.explained.iter();
    let explained = explained.map(|one| from_value(py, &one.to_value()));
    dict.set_item("explained", explained.collect::<PyResult<Vec<_>>>()?)?;
    dict.set_item("finish", finish_dict(py, event)?)?;
    Ok(dict)
}

fn logprobs_list<'py>(
    py: Python<'py>,
    positions: &[TokenLogprobs],
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for position in positions {
        let entries = position
            .iter()
            .map(|entry| (entry.token, entry.logprob, entry.rank));
        list.append(PyList::new(py, entries)?)?;
    }
    Ok(list)
}

fn finish_dict<'py>(py: Python<'py>, event: &Event) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(finish) = &event.finish else {
        return Ok(None);
    };
    let dict = PyDict::new(py);
    dict.set_item("reason", finish.reason.as_str())?;
    match &finish.stop {
        None => dict.set_item("stop_reason", py.None())?,
        Some(StopReason::Token(token)) => dict.set_item("stop_reason", token)?,
        Some(StopReason::Text(text)) => dict.set_item("stop_reason", text)?,
    }
    match &finish.error {
        None => dict.set_item("error", py.None())?,
        Some(failure) => {
            let parts = (
                format!("{:?}", failure.kind),
                failure.code,
                &failure.message,
            );
            dict.set_item("error", parts)?;
        }
    }
    dict.set_item("score", finish.score)?;
    dict.set_item("cached_tokens", finish.cached_tokens)?;
    dict.set_item("created_tokens", finish.created_tokens)?;
    dict.set_item("preemptions", finish.preemptions)?;
    dict.set_item("lifted", PyList::new(py, &finish.lifted)?)?;
    dict.set_item("score", finish.score)?;
    dict.set_item("cumulative_logprob", finish.cumulative_logprob)?;
    Ok(Some(dict))
}
