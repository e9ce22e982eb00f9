//! A program in f64, one operation after another, straight from the definitions in `program`.

use tokenmill_model::*;

use super::programs::Source;

/// Logits of every token of one sequence.
pub(super) fn logits(program: &Program, source: &Source, tokens: &[u32]) -> Vec<Vec<f64>> {
    let mut state = State {
        program,
        source,
        regs: program
            .regs
            .iter()
            .map(|width| vec![vec![0.0; *width]; tokens.len()])
            .collect(),
        k: vec![Vec::new(); program.shape.kv.len()],
        v: vec![Vec::new(); program.shape.kv.len()],
        logits: Vec::new(),
    };
    program.ops.iter().for_each(|op| state.op(op, tokens));
    state.logits
}

type Rows = Vec<Vec<f64>>;

struct State<'a> {
    program: &'a Program,
    source: &'a Source,
    regs: Vec<Rows>,
    k: Vec<Rows>,
    v: Vec<Rows>,
    logits: Rows,
}

impl State<'_> {
    fn reg(&mut self, Reg(reg): Reg) -> &mut Rows {
        &mut self.regs[usize::from(reg)]
    }

    fn read(&self, Reg(reg): Reg) -> Rows {
        self.regs[usize::from(reg)].clone()
    }

    fn row(&self, table: WeightId, row: usize) -> Vec<f64> {
        let width = self.program.weights[table.0 as usize].shape[1];
        self.source.values(table)[row * width..][..width].to_vec()
    }

    fn affine(&self, affine: Affine, input: &Rows) -> Rows {
        let weight = self.source.values(affine.weight);
        let bias = affine.bias.map(|bias| self.source.values(bias));
        let product = |x: &Vec<f64>| {
            let mut out: Vec<f64> = weight
                .chunks(x.len())
                .map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum())
                .collect();
            if let Some(bias) = &bias {
                out.iter_mut()
                    .zip(bias)
                    .for_each(|(out, bias)| *out += bias);
            }
            out
        };
        input.iter().map(product).collect()
    }

    fn op(&mut self, op: &Op, tokens: &[u32]) {
        match op {
            Op::Embed(embed) => {
                for (position, token) in tokens.iter().enumerate() {
                    let mut x = self.row(embed.table, *token as usize);
                    for x in &mut x {
                        *x *= f64::from(embed.scale);
                    }
                    if let Some(positions) = embed.positions {
                        let learned = self.row(positions, position + embed.position_offset);
                        x.iter_mut()
                            .zip(learned)
                            .for_each(|(x, learned)| *x += learned);
                    }
                    self.reg(embed.out)[position] = x;
                }
            }
            Op::Norm(norm) => {
                let mut rows = self.read(norm.input);
                for row in &mut rows {
                    self.norm(norm, row);
                }
                *self.reg(norm.out) = rows;
            }
            Op::Qkv(qkv) => self.qkv(qkv),
            Op::Attention(attention) => self.attention(attention),
            Op::Linear(linear) => {
                *self.reg(linear.out) = self.affine(linear.affine, &self.read(linear.input));
            }
            Op::Mlp(mlp) => {
                let input = self.read(mlp.input);
                *self.reg(mlp.out) = self.mlp(mlp, &input);
            }
            Op::Moe(moe) => self.moe(moe),
            Op::Exit(_) => {}
            Op::Add(add) => {
                let from = self.read(add.from);
                for (to, from) in self.reg(add.to).iter_mut().zip(from) {
                    to.iter_mut()
                        .zip(from)
                        .for_each(|(to, from)| *to += f64::from(add.scale) * from);
                }
            }
            Op::Logits(logits) => {
                let cap = |x: f64| {
                    let x = x * f64::from(logits.scale);
                    logits
                        .soft_cap
                        .map_or(x, |cap| f64::from(cap) * (x / f64::from(cap)).tanh())
                };
                let rows = self.affine(logits.head, &self.read(logits.input));
                self.logits = rows
                    .into_iter()
                    .map(|row| row.into_iter().map(cap).collect())
                    .collect();
            }
        }
    }

    fn norm(&self, norm: &Norm, row: &mut [f64]) {
        let n = row.len() as f64;
        if norm.kind == NormKind::Layer {
            let mean = row.iter().sum::<f64>() / n;
            for x in row.iter_mut() {
                *x -= mean;
            }
        }
        rms(
            row,
            &self.source.values(norm.weight),
            norm.weight_offset,
            norm.eps,
        );
        if let Some(bias) = norm.bias {
            row.iter_mut()
                .zip(self.source.values(bias))
                .for_each(|(x, bias)| *x += bias);
        }
    }

    fn qkv(&mut self, qkv: &Qkv) {
        let input = self.read(qkv.input);
        let head_dim = self.program.shape.kv[qkv.layer].head_dim;
        let parts = [
            (qkv.q, &qkv.q_norm, true),
            (qkv.k, &qkv.k_norm, true),
            (qkv.v, &None, false),
        ];
        let [q, k, v] = parts.map(|(affine, norm, is_rotated)| {
            let mut rows = self.affine(affine, &input);
            for (position, row) in rows.iter_mut().enumerate() {
                if let Some(norm) = norm {
                    let weight = self.source.values(norm.weight);
                    let len = if norm.is_whole { row.len() } else { head_dim };
                    row.chunks_mut(len)
                        .for_each(|x| rms(x, &weight, norm.weight_offset, norm.eps));
                }
                if let Some(clip) = qkv.clip {
                    for x in row.iter_mut() {
                        *x = x.clamp(-f64::from(clip), f64::from(clip));
                    }
                }
                if let (Some(rope), true) = (qkv.rope, is_rotated) {
                    row.chunks_mut(head_dim)
                        .for_each(|head| rotate(&self.program.ropes[rope], position, head));
                }
            }
            rows
        });
        *self.reg(qkv.out) = q;
        self.k[qkv.layer] = k;
        self.v[qkv.layer] = v;
    }

    fn attention(&mut self, attention: &Attention) {
        let KvShape {
            heads: kv_heads,
            head_dim,
        } = self.program.shape.kv[attention.layer];
        let group = attention.heads / kv_heads;
        let (k, v) = (&self.k[attention.layer], &self.v[attention.layer]);
        let mut out = self.read(attention.input);
        for (row, q) in self.read(attention.input).iter().enumerate() {
            for (head, q) in q.chunks(head_dim).enumerate() {
                let at = head / group * head_dim..(head / group + 1) * head_dim;
                let first = attention
                    .window
                    .map_or(0, |window| (row + 1).saturating_sub(window));
                let score = |token: usize| {
                    let dot: f64 = q
                        .iter()
                        .zip(&k[token][at.clone()])
                        .map(|(q, k)| q * k)
                        .sum();
                    let score = dot * f64::from(attention.scale);
                    attention.soft_cap.map_or(score, |cap| {
                        f64::from(cap) * (score / f64::from(cap)).tanh()
                    })
                };
                let weights: Vec<f64> = (first..=row).map(|token| score(token).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for (i, column) in at.clone().enumerate() {
                    let mixed: f64 = (first..=row)
                        .zip(&weights)
                        .map(|(token, w)| w * v[token][column])
                        .sum();
                    out[row][head * head_dim + i] = mixed / sum;
                }
            }
        }
        *self.reg(attention.out) = out;
    }

    /// All experts on all rows, and then the chosen ones.
    fn moe(&mut self, moe: &Moe) {
        let input = self.read(moe.input);
        let router = Affine {
            weight: moe.router,
            bias: None,
        };
        let logits = self.affine(router, &input);
        let results: Vec<Rows> = moe
            .experts
            .iter()
            .map(|expert| self.mlp(expert, &input))
            .collect();
        for (row, logits) in logits.iter().enumerate() {
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
            let chosen = &order[..moe.active];
            let counted = if moe.is_renormalised { chosen } else { &order };
            let sum: f64 = counted.iter().map(|expert| logits[*expert].exp()).sum();
            let out = &mut self.reg(moe.out)[row];
            out.fill(0.0);
            for expert in chosen {
                let weight = logits[*expert].exp() / sum;
                for (out, x) in out.iter_mut().zip(&results[*expert][row]) {
                    *out += weight * x;
                }
            }
        }
    }

    fn mlp(&self, mlp: &Mlp, input: &Rows) -> Rows {
        let up = self.affine(mlp.up, input);
        let mut inner = mlp
            .gate
            .map_or_else(|| up.clone(), |gate| self.affine(gate, input));
        for (row, up) in inner.iter_mut().zip(&up) {
            for (x, up) in row.iter_mut().zip(up) {
                *x = activation(mlp.activation, *x) * if mlp.gate.is_some() { *up } else { 1.0 };
            }
        }
        self.affine(mlp.down, &inner)
    }
}

fn rms(row: &mut [f64], weight: &[f64], offset: f32, eps: f32) {
    let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
    let factor = 1.0 / (mean + f64::from(eps)).sqrt();
    row.iter_mut()
        .zip(weight)
        .for_each(|(x, weight)| *x *= factor * (weight + f64::from(offset)));
}

fn rotate(rope: &Rope, position: usize, head: &mut [f64]) {
    let (pairs, factor) = (rope.inv_freq.len(), f64::from(rope.attention_factor));
    for i in 0..pairs {
        let (sin, cos) = f64::from(position as f32 * rope.inv_freq[i]).sin_cos();
        let (a, b) = (head[i], head[i + pairs]);
        head[i] = factor * (a * cos - b * sin);
        head[i + pairs] = factor * (b * cos + a * sin);
    }
}

fn activation(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
        Activation::GeluTanh => {
            0.5 * x
                * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
    }
}

/// By its series of positive terms.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-18 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}
