//! Matrix products, by candle. Rows are multiplied in tiles of a fixed number, the last padded with
//! zeros: every product of a weight then has one shape, and so one order of summation, whatever the number
//! of rows in the step. That is what makes a row's result independent of its company here.

use candle_core::{Device, Tensor};
use tokenmill_model::{Affine, Result, WeightId, Weights};

use crate::backend::internal;

/// Rows per product: few enough that one row alone is cheap, enough to read a weight seldom.
const TILE_ROWS: usize = 8;

/// A matrix of `rows` by `width` f32, row-major.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    /// Elements per row.
    pub width: usize,
    /// Rows, one after another.
    pub data: Vec<f32>,
}

impl Matrix {
    /// Zeros.
    pub fn zeros(rows: usize, width: usize) -> Self {
        Self {
            width,
            data: vec![0.0; rows * width],
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.data.len().checked_div(self.width).unwrap_or(0)
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.width..(row + 1) * self.width]
    }

    /// One row, to change.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.width..(row + 1) * self.width]
    }
}

/// All weights of a program in f32.
#[derive(Debug)]
pub struct Parameters(Vec<Tensor>);

impl Parameters {
    /// Reads and decodes every weight.
    pub fn read(weights: &Weights<'_>) -> Result<Self> {
        let ids = (0..weights.program().weights.len()).map(|index| WeightId(index as u32));
        ids.map(|id| {
            let tensor = weights.tensor(id)?;
            let elements = tensor.to_f32()?;
            Tensor::from_vec(elements, &*tensor.shape, &Device::Cpu).map_err(internal)
        })
        .collect::<Result<_>>()
        .map(Self)
    }

    /// What they take.
    pub fn bytes(&self) -> u64 {
        let elements: usize = self.0.iter().map(Tensor::elem_count).sum();
        (elements * size_of::<f32>()) as u64
    }

    /// The elements of a vector, or of a matrix row by row.
    pub fn elements(&self, id: WeightId) -> Result<Vec<f32>> {
        let flat = self.get(id).flatten_all().map_err(internal)?;
        flat.to_vec1().map_err(internal)
    }

    /// Row `row` of a table.
    pub fn table_row(&self, id: WeightId, row: usize) -> Result<Vec<f32>> {
        let row = self.get(id).get(row).map_err(internal)?;
        row.to_vec1().map_err(internal)
    }

    /// `input * weight^T (+ bias)`.
    pub fn apply(&self, affine: &Affine, input: &Matrix) -> Result<Matrix> {
        let weight = self.get(affine.weight);
        let outputs = weight.dim(0).map_err(internal)?;
        let mut data = Vec::with_capacity(input.rows() * outputs);
        for tile in input.data.chunks(TILE_ROWS * input.width) {
            data.extend(tile_product(tile, input.width, weight).map_err(internal)?);
        }
        let mut out = Matrix {
            width: outputs,
            data,
        };
        if let Some(bias) = affine.bias {
            let bias = self.elements(bias)?;
            for row in 0..out.rows() {
                add(out.row_mut(row), &bias);
            }
        }
        Ok(out)
    }

    fn get(&self, id: WeightId) -> &Tensor {
        &self.0[id.0 as usize]
    }
}

fn tile_product(tile: &[f32], width: usize, weight: &Tensor) -> candle_core::Result<Vec<f32>> {
    let rows = tile.len() / width;
    let mut padded = tile.to_vec();
    padded.resize(TILE_ROWS * width, 0.0);
    let input = Tensor::from_vec(padded, (TILE_ROWS, width), &Device::Cpu)?;
    let product = input.matmul(&weight.t()?)?;
    product.narrow(0, 0, rows)?.flatten_all()?.to_vec1()
}

/// `to += from`, element by element.
pub fn add(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}
