//! Which weights become which packed matrix. Owns sharing (a tied head is packed once) and the choice of
//! arithmetic per matrix; the layouts are `pack`'s.

use std::collections::HashMap;

use tokenmill_formats::Encoding;
use tokenmill_model::{Activations, ComputeDtype, Error, Program, Result, Tensor, WeightId};

use super::MatrixId;
use crate::isa::Level;
use crate::pack::{FloatMath, IntMath, Layout, PackPlan, PartShape, WeightForm};

/// Where weights come from: a checkpoint, or a test's memory.
pub(crate) trait WeightSource: Sync {
    /// How the weight is encoded.
    fn encoding(&self, id: WeightId) -> Result<Encoding>;
    /// The weight itself.
    fn tensor(&self, id: WeightId) -> Result<Tensor>;
}

impl WeightSource for tokenmill_model::Weights<'_> {
    fn encoding(&self, id: WeightId) -> Result<Encoding> {
        Self::encoding(self, id)
    }

    fn tensor(&self, id: WeightId) -> Result<Tensor> {
        Self::tensor(self, id)
    }
}

/// What the user asked of the arithmetic, and what the machine has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arithmetic {
    /// Of unquantised weights.
    pub(crate) dtype: ComputeDtype,
    /// Of integer weights.
    pub(crate) activations: Activations,
    /// Instructions.
    pub(crate) level: Level,
}

impl Arithmetic {
    /// The arithmetic of a matrix of these encodings.
    fn form(self, encodings: &[Encoding]) -> WeightForm {
        let is_half = |encoding: &Encoding| matches!(encoding, Encoding::Bf16 | Encoding::F16);
        let is_bf16 = match self.dtype {
            ComputeDtype::Float32 => false,
            ComputeDtype::Bfloat16 => true,
            ComputeDtype::Auto => self.level >= Level::Avx512Bf16 && encodings.iter().all(is_half),
        };
        WeightForm {
            floats: if is_bf16 {
                FloatMath::Bf16
            } else {
                FloatMath::F32
            },
            integers: match self.activations {
                Activations::Auto | Activations::Int8 => IntMath::Int8,
                Activations::Exact => IntMath::Exact,
            },
        }
    }
}

/// One packed matrix before its bytes are read.
#[derive(Debug)]
pub(crate) struct MatrixSpec {
    /// The weights whose outputs it holds.
    pub(crate) parts: Vec<WeightId>,
    /// Layout and size.
    pub(crate) pack: PackPlan,
    form: WeightForm,
}

/// Two matrices of one input whose keys are equal take the same activations.
pub(crate) type ActKey = (Layout, [bool; 2], usize);

/// The matrices of a plan.
pub(crate) struct MatrixTable<'a> {
    program: &'a Program,
    source: &'a dyn WeightSource,
    arithmetic: Arithmetic,
    specs: Vec<MatrixSpec>,
    known: HashMap<(Vec<WeightId>, bool), MatrixId>,
}

impl<'a> MatrixTable<'a> {
    /// No matrix yet.
    pub(crate) fn new(
        program: &'a Program,
        source: &'a dyn WeightSource,
        arithmetic: Arithmetic,
    ) -> Self {
        Self {
            program,
            source,
            arithmetic,
            specs: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// The matrix of these weights, one after another or interleaved by blocks of 16.
    pub(crate) fn matrix(&mut self, parts: &[WeightId], is_interleaved: bool) -> Result<MatrixId> {
        let key = (parts.to_vec(), is_interleaved);
        if let Some(id) = self.known.get(&key) {
            return Ok(*id);
        }
        let form = self.arithmetic.form(&self.encodings(parts)?);
        let shapes = parts
            .iter()
            .map(|id| self.part_shape(*id))
            .collect::<Result<Vec<_>>>()?;
        let pack = PackPlan::new(&shapes, is_interleaved, form)?;
        let id = MatrixId(self.specs.len());
        self.specs.push(MatrixSpec {
            parts: parts.to_vec(),
            pack,
            form,
        });
        self.known.insert(key, id);
        Ok(id)
    }

    /// Whether one matrix can hold all of these weights.
    pub(crate) fn can_stack(&self, parts: &[WeightId]) -> Result<bool> {
        let encodings = self.encodings(parts)?;
        Ok(PackPlan::can_stack(
            &encodings,
            self.arithmetic.form(&encodings),
        ))
    }

    /// What the activations of a matrix depend on.
    pub(crate) fn act_key(&self, id: MatrixId) -> ActKey {
        let spec = &self.specs[id.0];
        let shape = spec.pack.writer().shape;
        let form = [
            spec.form.floats == FloatMath::Bf16,
            spec.form.integers == IntMath::Int8,
        ];
        (shape.layout, form, shape.k)
    }

    /// Inputs that are made ready together: 1, or those under one scale.
    pub(crate) fn act_group(&self, id: MatrixId) -> usize {
        let spec = &self.specs[id.0];
        match (spec.pack.writer().shape.layout, spec.form.integers) {
            (Layout::Int(grouped), IntMath::Int8) => grouped.act_group(),
            _ => 1,
        }
    }

    /// Outputs of a weight.
    pub(crate) fn outputs(&self, id: WeightId) -> usize {
        self.program.weights[id.0 as usize]
            .shape
            .first()
            .copied()
            .unwrap_or(0)
    }

    /// The matrices, by id.
    pub(crate) fn into_specs(self) -> Vec<MatrixSpec> {
        self.specs
    }

    fn encodings(&self, parts: &[WeightId]) -> Result<Vec<Encoding>> {
        parts.iter().map(|id| self.source.encoding(*id)).collect()
    }

    fn part_shape(&self, id: WeightId) -> Result<PartShape> {
        let spec = &self.program.weights[id.0 as usize];
        match spec.shape[..] {
            [n, k] => Ok(PartShape {
                encoding: self.source.encoding(id)?,
                n,
                k,
            }),
            _ => Err(Error::Internal {
                backend: "cpu",
                what: format!(
                    "{} is used as a matrix and has shape {:?}",
                    spec.name, spec.shape
                ),
            }),
        }
    }
}
