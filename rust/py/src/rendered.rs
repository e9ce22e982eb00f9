//! What a chat template made, for Python: a value to submit, whose text can be read.

use pyo3::prelude::*;

/// Text of a chat template, with the caller's words told apart from its control tokens.
#[pyclass(frozen, module = "tokenmill._tokenmill")]
pub(crate) struct Rendered(pub(crate) tokenmill::Rendered);

#[pymethods]
impl Rendered {
    /// Text that is the operator's own throughout.
    #[new]
    fn new(text: String) -> Self {
        Self(tokenmill::Rendered::trusted(text))
    }

    /// The text.
    #[getter]
    fn text(&self) -> String {
        self.0.text().into_owned()
    }
}
