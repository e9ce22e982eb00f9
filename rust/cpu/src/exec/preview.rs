//! What this backend would make of a program, from the encodings of its weights alone: the size of the packed
//! matrices and their arithmetic. It is the plan that `load` makes, so what it refuses, `load` refuses.

use tokenmill_formats::Encoding;
use tokenmill_model::{Activations, ComputeDtype, Program, Result, Weights};

use crate::isa::Level;
use crate::plan::{Arithmetic, WeightSource, plan};

/// A model as it would be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Bytes of the packed matrices.
    pub weights_bytes: usize,
    /// Encodings of matrices, each with its arithmetic in words; in the order of first use.
    pub arithmetic: Vec<(Encoding, &'static str)>,
}

impl Preview {
    pub(crate) fn new(
        program: &Program,
        weights: &Weights<'_>,
        (dtype, activations): (ComputeDtype, Activations),
        level: Level,
    ) -> Result<Self> {
        let arithmetic = Arithmetic {
            dtype,
            activations,
            level,
        };
        let mut preview = Self {
            weights_bytes: 0,
            arithmetic: Vec::new(),
        };
        for matrix in plan(program, weights, arithmetic)?.matrices {
            preview.weights_bytes += matrix.pack.bytes();
            for part in matrix.parts {
                let entry = (
                    WeightSource::encoding(weights, part)?,
                    matrix.pack.in_words(),
                );
                if !preview.arithmetic.contains(&entry) {
                    preview.arithmetic.push(entry);
                }
            }
        }
        Ok(preview)
    }
}
