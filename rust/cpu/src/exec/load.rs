//! The loaded model: packed matrices, vectors and rotary tables. Reads and packs with as many threads as a step
//! has, largest matrix first, each straight into its place in one arena.
//!
//! Invariant: after `Model::load` no file is needed any more, and every weight that a phase names is there.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokenmill_model::{Program, Result, Rope, Tensor, WeightId};

use super::internal;
use crate::arena::{Arena, LINE_BYTES, Region};
use crate::lanes::LANES;
use crate::pack::PackedMatrix;
use crate::plan::{MatrixId, MatrixSpec, Phase, Plan, RowOp, WeightSource};

/// What a step reads and never writes.
pub(crate) struct Model {
    matrices: Vec<PackedMatrix>,
    /// By single weight: the matrix that embeddings gather from.
    tables: HashMap<WeightId, MatrixId>,
    vectors: HashMap<WeightId, Vector>,
    pub(crate) ropes: Vec<Rope>,
}

/// A bias or the scale of a norm, offset included, padded with zeros to whole vectors.
struct Vector {
    values: Vec<f32>,
    offset: f32,
}

impl Model {
    /// Reads, packs and checks everything that `plan` names.
    pub(crate) fn load(
        program: &Program,
        source: &dyn WeightSource,
        plan: &Plan,
        threads: usize,
    ) -> Result<Self> {
        let mut tables = HashMap::new();
        for (i, spec) in plan.matrices.iter().enumerate() {
            if let [weight] = spec.parts[..] {
                tables.insert(weight, MatrixId(i));
            }
        }
        let mut model = Self {
            matrices: load_matrices(&plan.matrices, source, threads)?,
            tables,
            vectors: HashMap::new(),
            ropes: program.ropes.clone(),
        };
        for phase in &plan.phases {
            for (weight, offset) in vectors_of(phase) {
                model.load_vector(source, weight, offset)?;
            }
        }
        Ok(model)
    }

    /// A packed matrix.
    pub(crate) fn matrix(&self, id: MatrixId) -> &PackedMatrix {
        &self.matrices[id.0]
    }

    /// The matrix of one weight alone.
    pub(crate) fn table(&self, weight: WeightId) -> &PackedMatrix {
        self.matrix(self.tables[&weight])
    }

    /// A loaded vector.
    pub(crate) fn vector(&self, weight: WeightId) -> *const f32 {
        self.vectors[&weight].values.as_ptr()
    }

    /// Bytes of all matrices.
    pub(crate) fn bytes(&self) -> usize {
        self.matrices.iter().map(PackedMatrix::bytes).sum()
    }

    fn load_vector(
        &mut self,
        source: &dyn WeightSource,
        weight: WeightId,
        offset: f32,
    ) -> Result<()> {
        if let Some(known) = self.vectors.get(&weight) {
            let is_same = known.offset == offset;
            return if is_same {
                Ok(())
            } else {
                Err(internal("a norm weight with two offsets"))
            };
        }
        let mut values = source.tensor(weight)?.to_f32()?;
        for value in &mut values {
            *value += offset;
        }
        values.resize(values.len().next_multiple_of(LANES), 0.0);
        self.vectors.insert(weight, Vector { values, offset });
        Ok(())
    }
}

/// The vectors of a phase, and what is added to each.
fn vectors_of(phase: &Phase) -> Vec<(WeightId, f32)> {
    let plain = |weights: &[Option<WeightId>]| -> Vec<(WeightId, f32)> {
        weights
            .iter()
            .flatten()
            .map(|weight| (*weight, 0.0))
            .collect()
    };
    match phase {
        Phase::Rows(ops) => ops
            .iter()
            .filter_map(|op| match op {
                RowOp::Norm(norm) => Some(norm),
                _ => None,
            })
            .flat_map(|norm| {
                std::iter::once((norm.weight, norm.weight_offset))
                    .chain(norm.bias.map(|bias| (bias, 0.0)))
            })
            .collect(),
        Phase::Project(project) => vectors_of_heads(&project.heads),
        Phase::Finish(finish) => vectors_of_heads(&finish.heads),
        Phase::Products(products) | Phase::ExpertProducts(products) => plain(
            &products
                .iter()
                .map(|product| product.bias)
                .collect::<Vec<_>>(),
        ),
        Phase::Gate(gate) => plain(&[gate.bias, gate.up_bias]),
        Phase::ExpertGates(gates) => gates
            .iter()
            .flat_map(|gate| plain(&[gate.bias, gate.up_bias]))
            .collect(),
        Phase::Head(head) => plain(&[head.bias]),
        Phase::Attend(_) | Phase::Sort(_) => Vec::new(),
    }
}

fn vectors_of_heads(heads: &crate::plan::Heads) -> Vec<(WeightId, f32)> {
    let biases = heads.biases.iter().flatten().map(|weight| (*weight, 0.0));
    let norms = heads
        .norms
        .iter()
        .flatten()
        .map(|norm| (norm.weight, norm.weight_offset));
    biases.chain(norms).collect()
}

fn load_matrices(
    specs: &[MatrixSpec],
    source: &dyn WeightSource,
    threads: usize,
) -> Result<Vec<PackedMatrix>> {
    let bytes = specs
        .iter()
        .map(|spec| spec.pack.bytes().next_multiple_of(LINE_BYTES))
        .sum();
    let arena = Arena::new(bytes)?;
    let mut order: Vec<usize> = (0..specs.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(specs[*i].pack.bytes()));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<PackedMatrix>)>> =
        Mutex::new(Vec::with_capacity(specs.len()));
    let work = || {
        while let Some(&i) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let matrix = arena
                .take(specs[i].pack.bytes())
                .and_then(|region| load_matrix(&specs[i], source, region));
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((i, matrix));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 1..threads.min(cores) {
            // Where there is no room for another thread, those that are there do its part.
            drop(std::thread::Builder::new().spawn_scoped(scope, work));
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, matrix)| matrix).collect()
}

fn load_matrix(
    spec: &MatrixSpec,
    source: &dyn WeightSource,
    mut region: Region,
) -> Result<PackedMatrix> {
    let tensors = spec
        .parts
        .iter()
        .map(|id| source.tensor(*id))
        .collect::<Result<Vec<Tensor>>>()?;
    let parts: Vec<&Tensor> = tensors.iter().collect();
    spec.pack
        .fill(&parts, 0..spec.pack.blocks(), region.as_mut_slice())?;
    Ok(spec.pack.finish(region))
}
