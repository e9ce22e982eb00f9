//! The MLP, gated or plain, and mixtures of gated experts.

use candle_core::{Device, Tensor};
use tokenmill_model::{Activation, Affine, Mlp, Moe, Result};

use crate::attention::softmax;
use crate::backend::internal;
use crate::product::{Matrix, Parameters};

/// `down(act(gate(x)) * up(x))`, or `down(act(up(x)))`.
pub fn mlp(op: &Mlp, parameters: &Parameters, input: &Matrix) -> Result<Matrix> {
    let mut inner = parameters.apply(&op.up, input)?;
    if let Some(gate) = &op.gate {
        let mut gate = parameters.apply(gate, input)?;
        activate(op.activation, &mut gate)?;
        for (inner, gate) in inner.data.iter_mut().zip(&gate.data) {
            *inner *= gate;
        }
    } else {
        activate(op.activation, &mut inner)?;
    }
    parameters.apply(&op.down, &inner)
}

fn activate(activation: Activation, matrix: &mut Matrix) -> Result<()> {
    let data = std::mem::take(&mut matrix.data);
    let len = data.len();
    let apply = |data: Vec<f32>| {
        let x = Tensor::from_vec(data, len, &Device::Cpu)?;
        let y = match activation {
            Activation::Silu => x.silu(),
            Activation::Gelu => x.gelu_erf(),
            Activation::GeluTanh => x.gelu(),
            Activation::Relu => x.relu(),
        };
        y?.to_vec1()
    };
    matrix.data = apply(data).map_err(internal)?;
    Ok(())
}

/// Each row goes through its best experts; their outputs are added in ascending expert number.
pub fn moe(op: &Moe, parameters: &Parameters, input: &Matrix) -> Result<Matrix> {
    let router = Affine {
        weight: op.router,
        bias: None,
    };
    let logits = parameters.apply(&router, input)?;
    let mut out = Matrix::zeros(input.rows(), input.width);
    for row in 0..input.rows() {
        let alone = Matrix {
            width: input.width,
            data: input.row(row).to_vec(),
        };
        for (expert, weight) in route(op, logits.row(row)) {
            let result = mlp(&op.experts[expert], parameters, &alone)?;
            for (sum, value) in out.row_mut(row).iter_mut().zip(&result.data) {
                *sum += weight * value;
            }
        }
    }
    Ok(out)
}

/// The chosen experts of a row, ascending, with their weights. Of equal logits the lower number wins.
fn route(op: &Moe, logits: &[f32]) -> Vec<(usize, f32)> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    let mut chosen = order[..op.active].to_vec();
    chosen.sort_unstable();
    let weights = if logits.iter().any(|logit| logit.is_nan()) {
        vec![f32::NAN; op.active]
    } else if op.is_renormalised {
        softmax(
            &chosen
                .iter()
                .map(|&expert| logits[expert])
                .collect::<Vec<_>>(),
        )
    } else {
        let all = softmax(logits);
        chosen.iter().map(|&expert| all[expert]).collect()
    };
    chosen.into_iter().zip(weights).collect()
}
