//! A program evaluated in float64 over all tokens of one sequence: no cache, no batch, no block, no
//! backend. It is the ground truth of the reference backend.

use tokenmill_core::TokenId;
use tokenmill_model::{
    Activation, Affine, Attention, HeadNorm, Logits, Mlp, Moe, NormKind, Op, Program, Qkv, Reg,
    WeightId, Weights,
};

type Rows = Vec<Vec<f64>>;

/// What positions give beside their logits.
#[derive(Default)]
pub struct Beside {
    /// Behind the final norm.
    pub states: Rows,
    /// The logits after each number of layers.
    pub exits: Vec<Rows>,
}

/// The logits of every position.
pub fn logits(weights: &Weights<'_>, tokens: &[TokenId]) -> Rows {
    evaluate(weights, tokens).0
}

/// Hidden states and early logits of every position.
pub fn beside(weights: &Weights<'_>, tokens: &[TokenId]) -> Beside {
    evaluate(weights, tokens).1
}

fn evaluate(weights: &Weights<'_>, tokens: &[TokenId]) -> (Rows, Beside) {
    let program = weights.program();
    let decoded = (0..program.weights.len()).map(|index| {
        let tensor = weights.tensor(WeightId(index as u32)).expect("is there");
        let elements = tensor.to_f32().expect("decodes");
        elements.into_iter().map(f64::from).collect()
    });
    let mut naive = Naive {
        program,
        weights: decoded.collect(),
        regs: vec![Vec::new(); program.regs.len()],
        keys: vec![Vec::new(); program.shape.kv.len()],
        values: vec![Vec::new(); program.shape.kv.len()],
    };
    let (mut out, mut beside) = (Vec::new(), Beside::default());
    let mut streams = Vec::new();
    for op in &program.ops {
        match op {
            Op::Exit(op) => streams.push(naive.get(op.input).clone()),
            Op::Logits(op) => {
                beside.states.clone_from(naive.get(op.input));
                let exits = streams.iter().map(|stream| naive.head(op, stream));
                beside.exits = exits.collect();
            }
            _ => {}
        }
        out = naive.op(op, tokens);
    }
    (out, beside)
}

struct Naive<'a> {
    program: &'a Program,
    weights: Rows,
    regs: Vec<Rows>,
    keys: Vec<Rows>,
    values: Vec<Rows>,
}

impl Naive<'_> {
    /// Runs one operation; what it returns are logits if it is the last.
    fn op(&mut self, op: &Op, tokens: &[TokenId]) -> Rows {
        match op {
            Op::Embed(op) => {
                let width = self.program.regs[op.out.0 as usize];
                let mut rows = Rows::new();
                for (position, &token) in tokens.iter().enumerate() {
                    let mut row = self.table_row(op.table, token as usize, width);
                    for x in &mut row {
                        *x *= f64::from(op.scale);
                    }
                    if let Some(table) = op.positions {
                        let learned = self.table_row(table, position + op.position_offset, width);
                        row.iter_mut().zip(learned).for_each(|(x, y)| *x += y);
                    }
                    rows.push(row);
                }
                self.set(op.out, rows);
            }
            Op::Norm(op) => {
                let mut rows = self.get(op.input).clone();
                for row in &mut rows {
                    normalise(op.kind, row, f64::from(op.eps));
                    for (index, x) in row.iter_mut().enumerate() {
                        *x *= self.weight(op.weight)[index] + f64::from(op.weight_offset);
                        *x += op.bias.map_or(0.0, |bias| self.weight(bias)[index]);
                    }
                }
                self.set(op.out, rows);
            }
            Op::Qkv(op) => self.qkv(op),
            Op::Attention(op) => self.attention(op),
            Op::Linear(op) => {
                let rows = self.product(&op.affine, self.get(op.input));
                self.set(op.out, rows);
            }
            Op::Mlp(op) => {
                let rows = self.mlp(op, self.get(op.input));
                self.set(op.out, rows);
            }
            Op::Moe(op) => self.moe(op),
            Op::Exit(_) => {}
            Op::Add(op) => {
                let from = self.get(op.from).clone();
                let to = &mut self.regs[op.to.0 as usize];
                for (to, from) in to.iter_mut().flatten().zip(from.iter().flatten()) {
                    *to += f64::from(op.scale) * from;
                }
            }
            Op::Logits(op) => return self.head(op, self.get(op.input)),
        }
        Rows::new()
    }

    fn head(&self, op: &Logits, input: &Rows) -> Rows {
        let mut rows = self.product(&op.head, input);
        for x in rows.iter_mut().flatten() {
            *x = cap(*x * f64::from(op.scale), op.soft_cap);
        }
        rows
    }

    fn get(&self, reg: Reg) -> &Rows {
        &self.regs[reg.0 as usize]
    }

    fn set(&mut self, reg: Reg, rows: Rows) {
        self.regs[reg.0 as usize] = rows;
    }

    fn weight(&self, id: WeightId) -> &[f64] {
        &self.weights[id.0 as usize]
    }

    fn table_row(&self, id: WeightId, row: usize, width: usize) -> Vec<f64> {
        self.weight(id)[row * width..(row + 1) * width].to_vec()
    }

    fn product(&self, affine: &Affine, input: &Rows) -> Rows {
        let weight = self.weight(affine.weight);
        let outputs = self.program.weights[affine.weight.0 as usize].shape[0];
        let product = |row: &Vec<f64>, output: usize| {
            let weights = &weight[output * row.len()..(output + 1) * row.len()];
            let sum: f64 = row.iter().zip(weights).map(|(x, w)| x * w).sum();
            sum + affine.bias.map_or(0.0, |bias| self.weight(bias)[output])
        };
        input
            .iter()
            .map(|row| (0..outputs).map(|output| product(row, output)).collect())
            .collect()
    }

    fn qkv(&mut self, op: &Qkv) {
        let head_dim = self.program.shape.kv[op.layer].head_dim;
        let [mut q, mut k, mut v] =
            [&op.q, &op.k, &op.v].map(|affine| self.product(affine, self.get(op.input)));
        for (rows, norm) in [(&mut q, &op.q_norm), (&mut k, &op.k_norm)] {
            if let Some(norm) = norm {
                self.head_norm(norm, head_dim, rows);
            }
        }
        if let Some(clip) = op.clip {
            let clip = f64::from(clip);
            let parts = [&mut q, &mut k, &mut v].into_iter().flatten().flatten();
            parts.for_each(|x| *x = x.clamp(-clip, clip));
        }
        for rows in [&mut q, &mut k] {
            if let Some(rope) = op.rope {
                self.rotate(rope, head_dim, rows);
            }
        }
        self.keys[op.layer] = k;
        self.values[op.layer] = v;
        self.set(op.out, q);
    }

    fn head_norm(&self, norm: &HeadNorm, head_dim: usize, rows: &mut Rows) {
        for row in rows {
            let group = if norm.is_whole { row.len() } else { head_dim };
            for values in row.chunks_mut(group) {
                normalise(NormKind::Rms, values, f64::from(norm.eps));
                for (index, x) in values.iter_mut().enumerate() {
                    *x *= self.weight(norm.weight)[index] + f64::from(norm.weight_offset);
                }
            }
        }
    }

    fn rotate(&self, rope: usize, head_dim: usize, rows: &mut Rows) {
        let rope = &self.program.ropes[rope];
        let pairs = rope.inv_freq.len();
        for (position, row) in rows.iter_mut().enumerate() {
            for head in row.chunks_mut(head_dim) {
                for (pair, freq) in rope.inv_freq.iter().enumerate() {
                    let (sine, cosine) = f64::from(position as f32 * freq).sin_cos();
                    let (low, high) = (head[pair], head[pair + pairs]);
                    let factor = f64::from(rope.attention_factor);
                    head[pair] = factor * (low * cosine - high * sine);
                    head[pair + pairs] = factor * (high * cosine + low * sine);
                }
            }
        }
    }

    fn attention(&mut self, op: &Attention) {
        let kv = self.program.shape.kv[op.layer];
        let (keys, values) = (&self.keys[op.layer], &self.values[op.layer]);
        let mut rows = Rows::new();
        for (position, query) in self.get(op.input).iter().enumerate() {
            let sees = |at: &usize| op.window.is_none_or(|window| at + window > position);
            let visible: Vec<usize> = (0..=position).filter(sees).collect();
            let mut row = Vec::new();
            for (head, query) in query.chunks(kv.head_dim).enumerate() {
                let first = head / (op.heads / kv.heads) * kv.head_dim;
                let column = first..first + kv.head_dim;
                let score = |at: &usize| {
                    let key = &keys[*at][column.clone()];
                    let dot: f64 = query.iter().zip(key).map(|(q, k)| q * k).sum();
                    cap(dot * f64::from(op.scale), op.soft_cap)
                };
                let weights = softmax(&visible.iter().map(score).collect::<Vec<_>>());
                for element in column.clone() {
                    let value = |at: &usize| values[*at][element];
                    row.push(
                        visible
                            .iter()
                            .map(value)
                            .zip(&weights)
                            .map(|(v, w)| v * w)
                            .sum(),
                    );
                }
            }
            rows.push(row);
        }
        self.set(op.out, rows);
    }

    fn mlp(&self, op: &Mlp, input: &Rows) -> Rows {
        let mut inner = self.product(&op.up, input);
        if let Some(gate) = &op.gate {
            let gate = self.product(gate, input);
            for (x, gate) in inner.iter_mut().flatten().zip(gate.iter().flatten()) {
                *x *= activate(op.activation, *gate);
            }
        } else {
            for x in inner.iter_mut().flatten() {
                *x = activate(op.activation, *x);
            }
        }
        self.product(&op.down, &inner)
    }

    fn moe(&mut self, op: &Moe) {
        let router = Affine {
            weight: op.router,
            bias: None,
        };
        let input = self.get(op.input);
        let logits = self.product(&router, input);
        let mut out = vec![vec![0.0; input[0].len()]; input.len()];
        for (row, logits) in logits.iter().enumerate() {
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
            let chosen = &order[..op.active];
            let all = softmax(logits);
            let total: f64 = if op.is_renormalised {
                chosen.iter().map(|&expert| all[expert]).sum()
            } else {
                1.0
            };
            for &expert in chosen {
                let result = self.mlp(&op.experts[expert], &vec![input[row].clone()]);
                for (sum, x) in out[row].iter_mut().zip(&result[0]) {
                    *sum += all[expert] / total * x;
                }
            }
        }
        self.set(op.out, out);
    }
}

fn cap(x: f64, cap: Option<f32>) -> f64 {
    cap.map_or(x, |cap| f64::from(cap) * (x / f64::from(cap)).tanh())
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

fn normalise(kind: NormKind, values: &mut [f64], eps: f64) {
    let count = values.len() as f64;
    let mean = match kind {
        NormKind::Rms => 0.0,
        NormKind::Layer => values.iter().sum::<f64>() / count,
    };
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    for x in values {
        *x = (*x - mean) / (variance + eps).sqrt();
    }
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Relu => x.max(0.0),
    }
}

/// The error function by its Taylor series, summed until terms vanish; enough for |x| < 5.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut index) = (x, x, 0.0);
    while term.abs() > 1e-18 {
        index += 1.0;
        term *= -x * x / index;
        sum += term / (2.0 * index + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}
