//! The Python extension module of Tokenmill: converts arguments, releases the GIL, converts back.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod bell;
mod callback;
mod convert;
mod engine;
mod errors;
mod handle;
mod machine;
mod options;
mod rendered;

/// The module `tokenmill._tokenmill`.
#[pyo3::pymodule]
mod _tokenmill {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::bell::Bell;
    #[pymodule_export]
    use crate::engine::{Engine, check_engine, check_text, inspect};
    #[pymodule_export]
    use crate::handle::Handle;
    #[pymodule_export]
    use crate::machine::measure_machine;
    #[pymodule_export]
    use crate::options::{check_label, check_sampling, nearest, options, parse_text};
    #[pymodule_export]
    use crate::rendered::Rendered;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        crate::errors::add_to(module)
    }
}
