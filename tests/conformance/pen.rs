//! Writes the program of a `Sketch` operation by operation, and draws its weights, each by its encoding.

use tokenmill_formats::Encoding;
use tokenmill_model::{
    Activation, Add, Affine, Attention, Embed, Exit, HeadNorm, KvShape, Linear, Logits, Mlp,
    ModelShape, Moe, Norm, NormKind, Op, Program, Qkv, Reg, Rope, RowOrder, WeightId, WeightSpec,
};

use crate::random::Random;
use crate::sketch::{CONTEXT, Feed, QkNorm, Sketch, VOCAB};

const RESIDUAL: Reg = Reg(0);
const NORMED: Reg = Reg(1);
const BRANCH: Reg = Reg(2);
const QUERY: Reg = Reg(3);
const ATTENDED: Reg = Reg(4);
const SECOND: Reg = Reg(5);

/// A tensor as `Checkpoint::from_memory` takes it.
type Drawn = (String, Encoding, Vec<usize>, Vec<u8>);

/// A program being written.
pub struct Pen<'a> {
    sketch: &'a Sketch,
    random: Random,
    pub program: Program,
    pub tensors: Vec<Drawn>,
}

impl<'a> Pen<'a> {
    /// An empty page.
    pub fn new(sketch: &'a Sketch) -> Self {
        let kv = KvShape {
            heads: sketch.kv_heads,
            head_dim: sketch.head_dim,
        };
        let q_width = sketch.heads * sketch.head_dim;
        let pairs = sketch.head_dim / 2;
        let inv_freq = (0..pairs).map(|pair| 0.1_f32.powf(2.0 * pair as f32 / pairs as f32));
        Self {
            sketch,
            random: Random::new(sketch.seed),
            program: Program {
                architecture: "sketch",
                shape: ModelShape {
                    vocab_len: VOCAB,
                    hidden: sketch.hidden,
                    context_len: CONTEXT,
                    kv: vec![kv; sketch.layers],
                },
                regs: vec![
                    sketch.hidden,
                    sketch.hidden,
                    sketch.hidden,
                    q_width,
                    q_width,
                    sketch.hidden,
                ],
                weights: Vec::new(),
                ropes: vec![Rope {
                    inv_freq: inv_freq.collect(),
                    attention_factor: 1.0,
                    long: None,
                }],
                ops: Vec::new(),
            },
            tensors: Vec::new(),
        }
    }

    /// Writes it all.
    pub fn write(&mut self) {
        let sketch = self.sketch;
        let table = self.matrix(VOCAB, sketch.hidden);
        let positions = sketch
            .positions
            .map(|offset| self.floats(&[CONTEXT + offset, sketch.hidden], 0.0, 0.7));
        self.program.ops.push(Op::Embed(Embed {
            table,
            positions,
            position_offset: sketch.positions.unwrap_or(0),
            scale: sketch.embed_scale,
            out: RESIDUAL,
        }));
        for layer in 0..sketch.layers {
            let input = RESIDUAL;
            self.program.ops.push(Op::Exit(Exit { layer, input }));
            self.norm(RESIDUAL, NORMED);
            self.attend(layer);
            if sketch.has_post_norms {
                self.norm(BRANCH, BRANCH);
            }
            if !sketch.is_parallel {
                self.add(BRANCH);
                self.norm(RESIDUAL, NORMED);
            }
            self.feed();
            if sketch.has_post_norms {
                self.norm(SECOND, SECOND);
            }
            if sketch.is_parallel {
                self.add(BRANCH);
            }
            self.add(SECOND);
        }
        self.norm(RESIDUAL, NORMED);
        let head = Affine {
            weight: if sketch.is_tied {
                table
            } else {
                self.matrix(VOCAB, sketch.hidden)
            },
            bias: (sketch.has_biases && !sketch.is_tied).then(|| self.floats(&[VOCAB], 0.0, 0.5)),
        };
        self.program.ops.push(Op::Logits(Logits {
            head,
            scale: sketch.logits_scale,
            soft_cap: sketch.logits_cap,
            input: NORMED,
        }));
    }

    fn attend(&mut self, layer: usize) {
        let sketch = self.sketch;
        let (q_width, kv_width) = (
            sketch.heads * sketch.head_dim,
            sketch.kv_heads * sketch.head_dim,
        );
        let qkv = Qkv {
            layer,
            input: NORMED,
            q: self.affine(q_width, sketch.hidden),
            k: self.affine(kv_width, sketch.hidden),
            v: self.affine(kv_width, sketch.hidden),
            clip: sketch.clip,
            q_norm: self.qk_norm(q_width),
            k_norm: self.qk_norm(kv_width),
            rope: sketch.has_rope.then_some(0),
            heads: sketch.heads,
            out: QUERY,
        };
        self.program.ops.push(Op::Qkv(qkv));
        self.program.ops.push(Op::Attention(Attention {
            layer,
            input: QUERY,
            heads: sketch.heads,
            scale: 1.0 / (sketch.head_dim as f32).sqrt(),
            soft_cap: sketch.attention_cap,
            window: sketch.window,
            out: ATTENDED,
        }));
        let affine = self.affine(sketch.hidden, q_width);
        self.program.ops.push(Op::Linear(Linear {
            affine,
            input: ATTENDED,
            out: BRANCH,
        }));
    }

    fn feed(&mut self) {
        let op = match self.sketch.feed {
            Feed::Gated(activation) => Op::Mlp(self.mlp(activation, true)),
            Feed::Plain(activation) => Op::Mlp(self.mlp(activation, false)),
            Feed::Experts {
                experts,
                active,
                is_renormalised,
            } => Op::Moe(Moe {
                router: self.floats(&[experts, self.sketch.hidden], 0.0, 0.5),
                experts: (0..experts)
                    .map(|_| self.mlp(Activation::Silu, true))
                    .collect(),
                active,
                is_renormalised,
                input: NORMED,
                out: SECOND,
            }),
        };
        self.program.ops.push(op);
    }

    fn mlp(&mut self, activation: Activation, is_gated: bool) -> Mlp {
        let (hidden, inner) = (self.sketch.hidden, self.sketch.inner);
        Mlp {
            gate: is_gated.then(|| self.affine(inner, hidden)),
            up: self.affine(inner, hidden),
            down: self.affine(hidden, inner),
            activation,
            input: NORMED,
            out: SECOND,
        }
    }

    fn add(&mut self, from: Reg) {
        self.program.ops.push(Op::Add(Add {
            from,
            to: RESIDUAL,
            scale: self.sketch.residual_scale,
        }));
    }

    fn norm(&mut self, input: Reg, out: Reg) {
        let sketch = self.sketch;
        let low = 0.5 - sketch.norm_offset;
        let weight = self.floats(&[sketch.hidden], low, low + 1.0);
        let bias =
            (sketch.norm == NormKind::Layer).then(|| self.floats(&[sketch.hidden], 0.0, 0.3));
        self.program.ops.push(Op::Norm(Norm {
            kind: sketch.norm,
            weight,
            bias,
            weight_offset: sketch.norm_offset,
            eps: 1e-5,
            input,
            out,
        }));
    }

    fn qk_norm(&mut self, width: usize) -> Option<HeadNorm> {
        let (len, is_whole) = match self.sketch.qk_norm {
            QkNorm::None => return None,
            QkNorm::Heads => (self.sketch.head_dim, false),
            QkNorm::Whole => (width, true),
        };
        let low = 1.0 - self.sketch.norm_offset;
        Some(HeadNorm {
            weight: self.floats(&[len], low, low + 1.0),
            weight_offset: self.sketch.norm_offset,
            eps: 1e-5,
            is_whole,
        })
    }

    fn affine(&mut self, outputs: usize, inputs: usize) -> Affine {
        Affine {
            weight: self.matrix(outputs, inputs),
            bias: self
                .sketch
                .has_biases
                .then(|| self.floats(&[outputs], 0.0, 0.5)),
        }
    }

    fn matrix(&mut self, outputs: usize, inputs: usize) -> WeightId {
        let encoding = self.sketch.encoding;
        let scale = 1.5 / (inputs as f32).sqrt();
        let bytes = if encoding.is_quantised() {
            let blocks = outputs * inputs / encoding.block_len();
            (0..blocks)
                .flat_map(|_| self.block(encoding, scale))
                .collect()
        } else {
            (0..outputs * inputs)
                .flat_map(|_| number(encoding, self.random.normal(scale)))
                .collect()
        };
        self.tensor(encoding, &[outputs, inputs], bytes)
    }

    /// A block of random codes under scales of the right size.
    fn block(&mut self, encoding: Encoding, scale: f32) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..encoding.block_bytes())
            .map(|_| self.random.bits() as u8)
            .collect();
        let wobble = scale * self.random.uniform(0.7, 1.3);
        for &(at, share) in scale_places(encoding) {
            bytes[at..at + 2].copy_from_slice(&half_bits(wobble * share).to_le_bytes());
        }
        if encoding == Encoding::Mxfp4 {
            bytes[0] = (128.0 + (wobble / 5.9).log2().round()) as u8;
        }
        bytes
    }

    /// f32 weights: around zero with deviation `high` where `low` is zero, else uniform between the two.
    fn floats(&mut self, shape: &[usize], low: f32, high: f32) -> WeightId {
        let len: usize = shape.iter().product();
        let bytes = (0..len)
            .flat_map(|_| {
                if low == 0.0 {
                    self.random.normal(high).to_le_bytes()
                } else {
                    self.random.uniform(low, high).to_le_bytes()
                }
            })
            .collect();
        self.tensor(Encoding::F32, shape, bytes)
    }

    fn tensor(&mut self, encoding: Encoding, shape: &[usize], bytes: Vec<u8>) -> WeightId {
        let name = format!("w{}", self.tensors.len());
        self.program.weights.push(WeightSpec {
            name: name.clone(),
            shape: shape.to_vec(),
            rows: None,
            order: RowOrder::Plain,
            is_transposed: false,
        });
        self.tensors.push((name, encoding, shape.to_vec(), bytes));
        WeightId(self.tensors.len() as u32 - 1)
    }
}

/// Where the halves of a block stand that scale its codes (formats, section 7.2), and the share of the
/// weights' deviation that each has to be, for codes of all values alike.
fn scale_places(encoding: Encoding) -> &'static [(usize, f32)] {
    match encoding {
        Encoding::Q4_0 => &[(0, 1.0 / 4.6)],
        Encoding::Q4_1 => &[(0, 1.0 / 4.6), (2, -1.63)],
        Encoding::Q5_0 => &[(0, 1.0 / 9.2)],
        Encoding::Q5_1 => &[(0, 1.0 / 9.2), (2, -1.68)],
        Encoding::Q8_0 => &[(0, 1.0 / 74.0)],
        Encoding::Q2K => &[(80, 1.0 / 14.0), (82, 1.0 / 9.3)],
        Encoding::Q3K => &[(108, 1.0 / 43.0)],
        Encoding::Q4K => &[(0, 1.0 / 145.0), (2, 1.0 / 20.0)],
        Encoding::Q5K => &[(0, 1.0 / 523.0), (2, 1.0 / 33.7)],
        Encoding::Q6K => &[(208, 1.0 / 1370.0)],
        Encoding::Iq4Nl => &[(0, 1.0 / 67.0)],
        Encoding::Iq4Xs => &[(0, 1.0 / 1240.0)],
        Encoding::Tq2_0 => &[(64, 1.0 / 1.2)],
        Encoding::Mxfp4 => &[],
        other => panic!("no random blocks of {other}"),
    }
}

fn number(encoding: Encoding, value: f32) -> Vec<u8> {
    match encoding {
        Encoding::F32 => value.to_le_bytes().to_vec(),
        Encoding::F16 => half_bits(value).to_le_bytes().to_vec(),
        Encoding::Bf16 => ((value.to_bits() >> 16) as u16).to_le_bytes().to_vec(),
        other => panic!("no random numbers of {other}"),
    }
}

/// An IEEE half near `value`: the mantissa is cut.
fn half_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let exponent = (bits >> 23 & 0xFF) as i32 - 127 + 15;
    assert!(exponent < 31, "{value} is too large for a half");
    let sign = (bits >> 16 & 0x8000) as u16;
    if exponent <= 0 {
        // Below the smallest normal half, numbers are counts of 2^-24.
        return sign | (value.abs() * (1 << 24) as f32) as u16;
    }
    sign | (exponent as u16) << 10 | (bits >> 13 & 0x3FF) as u16
}
