//! Callables of Python as the sampler's callbacks. They run on the engine's thread, under the GIL; an exception ends
//! the request that brought them and nothing else. The row is handed over as a copy in a `bytearray`, so that a view
//! which somebody keeps shows no memory of ours. No tensor library is imported unless the callable is of one.

use std::any::Any;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict, PyList, PyMemoryView};
use tokenmill::{Callable, Callback, TokenId};

/// How a callable is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    /// `f(output_ids, row)`.
    Output,
    /// `f(prompt_ids, output_ids, row)`.
    PromptAndOutput,
    /// transformers' `f(input_ids, scores)`, tensors of one sequence.
    Tensors,
}

/// A callable of Python.
#[derive(Debug)]
struct PyCallback {
    object: Py<PyAny>,
    name: String,
    face: Face,
}

/// The callable that a value of an option is.
pub(crate) fn wrapped(object: &Bound<'_, PyAny>) -> PyResult<Callable> {
    let face = if is_of_transformers(object)? {
        Face::Tensors
    } else if positional(object) >= 3 {
        Face::PromptAndOutput
    } else {
        Face::Output
    };
    let named = object
        .getattr("__qualname__")
        .or_else(|_| object.get_type().qualname().map(Bound::into_any));
    let name: String = named?.extract()?;
    let callback = PyCallback {
        object: object.clone().unbind(),
        name: name.chars().take(64).collect(),
        face,
    };
    Ok(Callable(Arc::new(callback)))
}

/// The object that was wrapped; None for a callback of another language.
pub(crate) fn object<'py>(py: Python<'py>, callable: &Callable) -> Bound<'py, PyAny> {
    let own = callable.0.as_any().downcast_ref::<PyCallback>();
    own.map_or_else(
        || py.None().into_bound(py),
        |own| own.object.bind(py).clone(),
    )
}

/// Whether it is one of transformers' processors, by its ancestors: asking transformers would import it.
fn is_of_transformers(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    for class in object.get_type().mro().iter() {
        let (module, name) = (class.getattr("__module__")?, class.getattr("__name__")?);
        let module = module.extract::<String>().unwrap_or_default();
        if name.extract::<String>()? == "LogitsProcessor" && module.starts_with("transformers.") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Positional parameters without a default; what hides its signature is taken to have two.
fn positional(object: &Bound<'_, PyAny>) -> usize {
    let count = || -> PyResult<usize> {
        let inspect = object.py().import("inspect")?;
        let signature = inspect.call_method1("signature", (object,))?;
        let empty = inspect.getattr("Parameter")?.getattr("empty")?;
        let mut count: usize = 0;
        for parameter in signature
            .getattr("parameters")?
            .call_method0("values")?
            .try_iter()?
        {
            let parameter = parameter?;
            let kind: i32 = parameter.getattr("kind")?.extract()?;
            let is_required = parameter.getattr("default")?.is(&empty);
            count = count.saturating_add(usize::from(kind <= 1 && is_required));
        }
        Ok(count)
    };
    count().unwrap_or(2)
}

impl PyCallback {
    fn call(
        &self,
        py: Python<'_>,
        prompt: &[TokenId],
        output: &[TokenId],
        row: &mut [f32],
    ) -> PyResult<()> {
        let len_bytes = size_of_val(row);
        let buffer = PyByteArray::new_with(py, len_bytes, |bytes| {
            let (words, _) = bytes.as_chunks_mut::<4>();
            for (word, value) in words.iter_mut().zip(&*row) {
                *word = value.to_ne_bytes();
            }
            Ok(())
        })?;
        let function = self.object.bind(py);
        if self.face == Face::Tensors {
            call_with_tensors(function, &[prompt, output].concat(), &buffer)?;
        } else {
            let view = PyMemoryView::from(&buffer)?.call_method1("cast", ("f",))?;
            let output = PyList::new(py, output)?;
            let result = if self.face == Face::Output {
                function.call1((output, &view))?
            } else {
                function.call1((PyList::new(py, prompt)?, output, &view))?
            };
            replace(&result, &view, row.len())?;
        }
        let bytes = buffer.to_vec();
        let (words, rest) = bytes.as_chunks::<4>();
        if words.len() != row.len() || !rest.is_empty() {
            return Err(PyValueError::new_err("the row was resized"));
        }
        for (value, word) in row.iter_mut().zip(words) {
            *value = f32::from_ne_bytes(*word);
        }
        Ok(())
    }
}

/// Calls one of transformers' processors on tensors that share the buffer's memory.
fn call_with_tensors(
    function: &Bound<'_, PyAny>,
    ids: &[TokenId],
    buffer: &Bound<'_, PyByteArray>,
) -> PyResult<()> {
    let py = function.py();
    let torch = py.import("torch")?;
    let ids = torch.call_method1("tensor", (vec![ids.to_vec()],))?;
    let kind = PyDict::new(py);
    kind.set_item("dtype", torch.getattr("float32")?)?;
    let row = torch.call_method("frombuffer", (buffer,), Some(&kind))?;
    // Its own copy: what a processor does in place and gives back otherwise must not mix.
    let scores = row.call_method0("clone")?.call_method1("unsqueeze", (0,))?;
    let scores = function.call1((ids, scores))?;
    row.call_method1("copy_", (scores.call_method1("reshape", (-1,))?,))?;
    Ok(())
}

/// What a callable gives back takes the place of the row; None: it changed the row itself.
fn replace(result: &Bound<'_, PyAny>, view: &Bound<'_, PyAny>, len: usize) -> PyResult<()> {
    if result.is_none() || result.is(view) {
        return Ok(());
    }
    let given = result.len()?;
    if given != len {
        let message = format!("gave {given} logits, {len} were expected");
        return Err(PyValueError::new_err(message));
    }
    // A tensor as a list is one call; as an iterator it would be a tensor for each number.
    let values = if result.hasattr("tolist")? {
        result.call_method0("tolist")?
    } else {
        result.clone()
    };
    for (index, value) in values.try_iter()?.enumerate() {
        view.set_item(index, value?.extract::<f32>()?)?;
    }
    Ok(())
}

/// An exception in one line, as a message shows it.
fn told(py: Python<'_>, error: &PyErr) -> String {
    let kind = error
        .get_type(py)
        .name()
        .map_or_else(|_| "an exception".into(), |name| name.to_string());
    let text: String = error.value(py).to_string().chars().take(200).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("raised {kind}: {text}")
}

impl Callback for PyCallback {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn process(
        &self,
        prompt: &[TokenId],
        output: &[TokenId],
        row: &mut [f32],
    ) -> Result<(), String> {
        Python::attach(|py| {
            self.call(py, prompt, output, row)
                .map_err(|error| told(py, &error))
        })
    }

    fn allowed(&self, prompt: &[TokenId], output: &[TokenId]) -> Result<Vec<TokenId>, String> {
        Python::attach(|py| {
            let call = || -> PyResult<Vec<TokenId>> {
                let ids = [prompt, output].concat();
                let ids = PyList::new(py, ids)?;
                self.object.bind(py).call1((0, ids))?.extract()
            };
            call().map_err(|error| told(py, &error))
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
