//! The engine for Python. Loading, encoding and waiting run without the GIL. A process that forked refuses
//! to use its parent's engine, whose threads it does not have.

use std::path::PathBuf;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use tokenmill::option::Value;
use tokenmill::{EngineOptions, Host, Prompt, Request};

use crate::convert::{
    from_value, refuse, to_priority, to_salt, to_text, to_tokens, to_top, to_values,
};
use crate::errors::{built, convert, detached, raise};
use crate::handle::Handle;
use crate::rendered::Rendered;

/// A loaded model.
#[pyclass(frozen, module = "tokenmill._tokenmill")]
pub(crate) struct Engine {
    host: Host,
    info: tokenmill::Info,
    vocab_len: i64,
}

impl Engine {
    fn refuse_forked(&self, py: Python<'_>) -> PyResult<()> {
        let forked = self.host.door().refuse_forked();
        forked.map_err(|error| convert(py, &error))
    }

    /// Queues what `complete` makes of a request.
    fn send(
        &self,
        py: Python<'_>,
        (prompt, sampling): (&Bound<'_, PyAny>, &Bound<'_, PyDict>),
        complete: impl FnOnce(&mut Request) + Send,
    ) -> PyResult<Handle> {
        self.refuse_forked(py)?;
        let values = to_values(sampling)?;
        let prompt = to_prompt(prompt)?;
        let door = self.host.door();
        let submitted = detached(py, || {
            let params = door.params(&values)?;
            let mut request = Request::new(prompt, params);
            complete(&mut request);
            door.submit(request)
        });
        Handle::new(py, submitted?)
    }
}

#[pymethods]
#[expect(
    clippy::needless_pass_by_value,
    reason = "PyO3 extracts owned arguments"
)]
impl Engine {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, options: &Bound<'_, PyDict>) -> PyResult<Self> {
        let options = to_options(py, options)?;
        let (host, info) = detached(py, || tokenmill::load(&path, &options))?;
        let vocab_len = (info.entries().iter()).find_map(|entry| match entry {
            ("vocab_len", Value::Int(len)) => Some(*len),
            _ => None,
        });
        Ok(Self {
            host,
            info,
            vocab_len: vocab_len.unwrap_or(0),
        })
    }

    /// Queues a request.
    // hop 1.2: Python values become Rust values, and the interpreter is let go
    #[pyo3(signature = (prompt, sampling, priority=0, cache_salt=None))]
    fn submit(
        &self,
        py: Python<'_>,
        prompt: &Bound<'_, PyAny>,
        sampling: &Bound<'_, PyDict>,
        #[pyo3(from_py_with = to_priority)] priority: i32,
        #[pyo3(from_py_with = to_salt)] cache_salt: Option<String>,
    ) -> PyResult<Handle> {
        self.send(py, (prompt, sampling), |request| {
            request.priority = priority;
            request.cache_salt = cache_salt;
        })
    }

    /// Queues a request whose events tell how every token came to be, with the `top` best tokens of each step.
    #[pyo3(signature = (prompt, sampling, top, cache_salt=None))]
    fn explain(
        &self,
        py: Python<'_>,
        prompt: &Bound<'_, PyAny>,
        sampling: &Bound<'_, PyDict>,
        #[pyo3(from_py_with = to_top)] top: u32,
        #[pyo3(from_py_with = to_salt)] cache_salt: Option<String>,
    ) -> PyResult<Handle> {
        self.send(py, (prompt, sampling), |request| {
            request.cache_salt = cache_salt;
            request.explain = Some(top);
        })
    }

    /// A conversation as the model's template writes it.
    #[pyo3(signature = (messages, add_generation_prompt=true))]
    fn render(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyList>,
        add_generation_prompt: bool,
    ) -> PyResult<Rendered> {
        self.refuse_forked(py)?;
        let limit = tokenmill::Limits::default().messages_max;
        if messages.is_empty() || messages.len() > limit {
            let message = format!(
                "messages must hold 1 to {limit} messages, got {}",
                messages.len()
            );
            return Err(raise(
                py,
                tokenmill::Kind::InvalidRequest,
                message,
                Some("messages"),
            ));
        }
        let messages = messages
            .iter()
            .map(|message| to_message(&message))
            .collect::<PyResult<Vec<_>>>()?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = now.map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
        let options = tokenmill::RenderOptions {
            add_generation_prompt,
            date: Some(tokenmill::Date::from_unix_seconds(seconds)),
            ..Default::default()
        };
        let door = self.host.door();
        detached(py, || door.lexicon().render(&messages, &options)).map(Rendered)
    }

    /// Text to ids.
    #[pyo3(signature = (text, add_bos=true, allow_control=false))]
    fn encode(
        &self,
        py: Python<'_>,
        text: &str,
        add_bos: bool,
        allow_control: bool,
    ) -> PyResult<Vec<u32>> {
        self.refuse_forked(py)?;
        let lexicon = self.host.door().lexicon();
        let add_bos = add_bos && lexicon.adds_bos();
        detached(py, || lexicon.encode(text, add_bos, allow_control))
    }

    /// Ids to text.
    #[pyo3(signature = (ids, skip_special_tokens=true))]
    fn decode(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        skip_special_tokens: bool,
    ) -> PyResult<String> {
        self.refuse_forked(py)?;
        let ids = to_tokens("ids", ids)?;
        let bound = self.vocab_len;
        if let Some(id) = ids.iter().find(|&&id| i64::from(id) >= bound) {
            let what = format!("must be below the vocabulary's {bound}, got {id}");
            return Err(refuse(py, "ids", &what));
        }
        let lexicon = self.host.door().lexicon();
        detached(py, || lexicon.decode(&ids, skip_special_tokens))
    }

    /// What was loaded, and the memory plan.
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_value(py, &self.info.to_value())
    }

    /// Live figures.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        built(py, || {
            let dict = PyDict::new(py);
            for (name, figure) in self.host.door().stats().snapshot() {
                dict.set_item(name, figure)?;
            }
            Ok(dict)
        })
    }

    /// Forgets every cached prefix that nobody uses.
    fn reset_prefix_cache(&self, py: Python<'_>) -> PyResult<()> {
        self.refuse_forked(py)?;
        self.host
            .door()
            .reset_prefix_cache()
            .map_err(|error| convert(py, &error))
    }

    /// Ends every request and frees the model. Later calls raise DrainingError.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.host.close());
    }
}

/// Refuses what no engine takes, before a model is looked for.
#[pyfunction]
pub(crate) fn check_engine(py: Python<'_>, options: &Bound<'_, PyDict>) -> PyResult<()> {
    to_options(py, options).map(drop)
}

/// What a model file holds, from its headers alone, and the memory of an engine under these options.
#[pyfunction]
#[expect(
    clippy::needless_pass_by_value,
    reason = "PyO3 extracts owned arguments"
)]
pub(crate) fn inspect<'py>(
    py: Python<'py>,
    path: PathBuf,
    options: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = to_options(py, options)?;
    let info = detached(py, || tokenmill::inspect(&path, &options))?;
    from_value(py, &info.to_value())
}

/// Reads tokenizer and chat template, and nothing else.
#[pyfunction]
#[expect(
    clippy::needless_pass_by_value,
    reason = "PyO3 extracts owned arguments"
)]
pub(crate) fn check_text(
    py: Python<'_>,
    path: PathBuf,
    options: &Bound<'_, PyDict>,
) -> PyResult<()> {
    let options = to_options(py, options)?;
    detached(py, || tokenmill::check_text(&path, &options))
}

fn to_options(py: Python<'_>, options: &Bound<'_, PyDict>) -> PyResult<EngineOptions> {
    EngineOptions::from_values(&to_values(options)?).map_err(|error| convert(py, &error))
}

fn to_prompt(prompt: &Bound<'_, PyAny>) -> PyResult<Prompt> {
    if prompt.is_instance_of::<PyString>() {
        return Ok(Prompt::Text(to_text("prompt", prompt)?));
    }
    if let Ok(rendered) = prompt.cast::<Rendered>() {
        return Ok(Prompt::Rendered(rendered.get().0.clone()));
    }
    if prompt.is_none() || prompt.is_instance_of::<PyBytes>() || prompt.is_instance_of::<PyDict>() {
        let kind = prompt.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "prompt must be a string or a list of token ids, got {kind}"
        )));
    }
    if !prompt.hasattr("__iter__")? {
        let kind = prompt.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "prompt must be a string or a list of token ids, got {kind}"
        )));
    }
    Ok(Prompt::Tokens(to_tokens("prompt", prompt)?))
}

fn to_message(message: &Bound<'_, PyAny>) -> PyResult<tokenmill::Message> {
    let dict = message
        .cast::<PyDict>()
        .map_err(|_| PyTypeError::new_err("a message must be a dict"))?;
    let text = |key: &str| -> PyResult<String> {
        let value = dict.get_item(key)?;
        let value = value
            .ok_or_else(|| PyTypeError::new_err(format!("a message must have the key {key}")))?;
        if !value.is_instance_of::<PyString>() {
            let message = format!("{key} of a message must be a string");
            return Err(PyTypeError::new_err(message));
        }
        to_text("messages", &value)
    };
    for key in dict.keys() {
        let key: String = key
            .extract()
            .map_err(|_| PyTypeError::new_err("the keys of a message must be strings"))?;
        if !matches!(key.as_str(), "role" | "content" | "name") {
            return Err(PyTypeError::new_err(format!(
                "a message has no key {key}; known are role, content and name"
            )));
        }
    }
    let mut made = tokenmill::Message::new(&text("role")?, &text("content")?);
    if dict.contains("name")? {
        made.extra.insert("name".to_owned(), text("name")?.into());
    }
    Ok(made)
}
