//! Tiny random programs and their weights.

use half::f16;
use tokenmill_formats::Encoding;
use tokenmill_model::*;

use crate::plan::WeightSource;

/// What a tiny program is made of.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) hidden: usize,
    pub(super) inner: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) layers: usize,
    pub(super) vocab: usize,
    pub(super) norm: NormKind,
    pub(super) norm_offset: f32,
    pub(super) has_biases: bool,
    pub(super) clip: Option<f32>,
    /// Norms of q and k: whether over all heads.
    pub(super) head_norm: Option<bool>,
    /// Pairs and attention factor.
    pub(super) rope: Option<(usize, f32)>,
    pub(super) window: Option<usize>,
    pub(super) soft_cap: Option<f32>,
    pub(super) activation: Activation,
    pub(super) is_gated: bool,
    /// Experts, active ones, and whether the weights of these sum to 1.
    pub(super) experts: Option<(usize, usize, bool)>,
    pub(super) positions: Option<usize>,
    pub(super) embed_scale: f32,
    pub(super) residual_scale: f32,
    pub(super) is_parallel: bool,
    pub(super) has_post_norms: bool,
    pub(super) logits: (f32, Option<f32>),
    pub(super) is_tied: bool,
    pub(super) encoding: Encoding,
    /// Encoding of value, up and down projections.
    pub(super) other_encoding: Encoding,
}

impl Recipe {
    /// A small Llama.
    pub(super) fn llama() -> Self {
        Self {
            hidden: 64,
            inner: 96,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            layers: 2,
            vocab: 50,
            norm: NormKind::Rms,
            norm_offset: 0.0,
            has_biases: false,
            clip: None,
            head_norm: None,
            rope: Some((8, 1.0)),
            window: None,
            soft_cap: None,
            activation: Activation::Silu,
            is_gated: true,
            experts: None,
            positions: None,
            embed_scale: 1.0,
            residual_scale: 1.0,
            is_parallel: false,
            has_post_norms: false,
            logits: (1.0, None),
            is_tied: true,
            encoding: Encoding::F32,
            other_encoding: Encoding::F32,
        }
    }

    /// Recipes that together use every option of every operation.
    pub(super) fn all() -> Vec<(&'static str, Self)> {
        let llama = Self::llama;
        vec![
            ("llama", llama()),
            (
                "one kv head, biases, qwen2",
                Self {
                    kv_heads: 1,
                    has_biases: true,
                    ..llama()
                },
            ),
            (
                "head norms, qwen3",
                Self {
                    head_norm: Some(false),
                    head_dim: 32,
                    rope: Some((16, 1.0)),
                    ..llama()
                },
            ),
            (
                "whole norms, olmo 2",
                Self {
                    head_norm: Some(true),
                    has_post_norms: true,
                    ..llama()
                },
            ),
            (
                "clip and partial rotation",
                Self {
                    clip: Some(0.4),
                    rope: Some((3, 1.3)),
                    ..llama()
                },
            ),
            (
                "odd heads",
                Self {
                    head_dim: 13,
                    rope: Some((6, 1.0)),
                    has_biases: true,
                    clip: Some(0.5),
                    ..llama()
                },
            ),
            (
                "odd heads with norms",
                Self {
                    head_dim: 9,
                    rope: Some((4, 1.0)),
                    head_norm: Some(false),
                    ..llama()
                },
            ),
            (
                "odd sizes",
                Self {
                    hidden: 37,
                    inner: 53,
                    vocab: 41,
                    ..llama()
                },
            ),
            (
                "window",
                Self {
                    window: Some(7),
                    ..llama()
                },
            ),
            (
                "gemma",
                Self {
                    soft_cap: Some(2.0),
                    embed_scale: 8.0,
                    norm_offset: 1.0,
                    has_post_norms: true,
                    activation: Activation::GeluTanh,
                    logits: (1.0, Some(3.0)),
                    ..llama()
                },
            ),
            (
                "gpt 2",
                Self {
                    norm: NormKind::Layer,
                    has_biases: true,
                    rope: None,
                    is_gated: false,
                    activation: Activation::Gelu,
                    positions: Some(2),
                    kv_heads: 4,
                    ..llama()
                },
            ),
            (
                "opt-like, untied, relu",
                Self {
                    is_gated: false,
                    activation: Activation::Relu,
                    is_tied: false,
                    positions: Some(0),
                    ..llama()
                },
            ),
            (
                "parallel residual",
                Self {
                    is_parallel: true,
                    norm: NormKind::Layer,
                    has_biases: true,
                    ..llama()
                },
            ),
            (
                "granite scales, gated biases",
                Self {
                    residual_scale: 0.3,
                    embed_scale: 3.0,
                    logits: (0.25, None),
                    has_biases: true,
                    ..llama()
                },
            ),
            (
                "no rotation",
                Self {
                    rope: None,
                    ..llama()
                },
            ),
            (
                "mixed encodings",
                Self {
                    encoding: Encoding::Q8_0,
                    other_encoding: Encoding::Q4_1,
                    ..llama()
                },
            ),
            (
                "mixtral",
                Self {
                    experts: Some((4, 2, true)),
                    ..llama()
                },
            ),
            (
                "many narrow experts, olmoe",
                Self {
                    experts: Some((11, 3, false)),
                    inner: 24,
                    hidden: 37,
                    clip: Some(0.9),
                    head_norm: Some(true),
                    ..llama()
                },
            ),
            (
                "experts with biases and without gates",
                Self {
                    experts: Some((3, 3, true)),
                    has_biases: true,
                    is_gated: false,
                    activation: Activation::Relu,
                    ..llama()
                },
            ),
            (
                "experts of mixed encodings",
                Self {
                    experts: Some((4, 2, false)),
                    encoding: Encoding::Q8_0,
                    other_encoding: Encoding::Q4_1,
                    has_biases: true,
                    ..llama()
                },
            ),
            (
                "experts of integers",
                Self {
                    experts: Some((5, 2, true)),
                    encoding: Encoding::Q8_0,
                    other_encoding: Encoding::Q8_0,
                    ..llama()
                },
            ),
            (
                "float over integers",
                Self {
                    encoding: Encoding::F32,
                    other_encoding: Encoding::Q4_0,
                    ..llama()
                },
            ),
        ]
    }

    /// The program and its weights.
    pub(super) fn build(&self) -> (Program, Source) {
        let mut builder = Builder {
            recipe: self,
            specs: Vec::new(),
            encodings: Vec::new(),
        };
        let program = builder.program();
        let source = Source::random(&program, builder.encodings);
        (program, source)
    }
}

/// Weights in memory.
pub(super) struct Source {
    tensors: Vec<Tensor>,
}

impl WeightSource for Source {
    fn encoding(&self, id: WeightId) -> Result<Encoding> {
        Ok(self.tensors[id.0 as usize].encoding)
    }

    fn tensor(&self, id: WeightId) -> Result<Tensor> {
        Ok(self.tensors[id.0 as usize].clone())
    }
}

impl Source {
    fn random(program: &Program, encodings: Vec<Encoding>) -> Self {
        let mut random = Random(99);
        let specs = program.weights.iter().zip(encodings);
        Self {
            tensors: specs
                .map(|(spec, encoding)| random.tensor(spec, encoding))
                .collect(),
        }
    }

    /// A weight in f64.
    pub(super) fn values(&self, id: WeightId) -> Vec<f64> {
        self.tensors[id.0 as usize]
            .to_f32()
            .unwrap()
            .into_iter()
            .map(f64::from)
            .collect()
    }

    /// Makes a row of an f32 weight NaN.
    pub(super) fn poison_row(&mut self, id: WeightId, row: usize) {
        let tensor = &mut self.tensors[id.0 as usize];
        let row_bytes = tensor.shape[1] * 4;
        tensor.bytes[row * row_bytes..][..row_bytes].fill(0xFF);
    }
}

/// A small generator.
pub(super) struct Random(pub(super) u32);

impl Random {
    pub(super) fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }

    fn float(&mut self) -> f32 {
        self.bits() as f32 / 8_388_608.0 - 1.0
    }

    fn tensor(&mut self, spec: &WeightSpec, encoding: Encoding) -> Tensor {
        let len: usize = spec.shape.iter().product();
        let inputs = *spec.shape.last().unwrap();
        // Vectors lie around 1 (norms and biases alike), matrices keep the size of what they multiply.
        let (centre, spread) = if spec.shape.len() == 1 {
            (0.5, 0.5)
        } else {
            (0.0, 1.7 / (inputs as f32).sqrt())
        };
        let mut bytes = Vec::new();
        match encoding {
            Encoding::F32 => {
                (0..len).for_each(|_| bytes.extend((centre + spread * self.float()).to_le_bytes()));
            }
            Encoding::Bf16 => (0..len).for_each(|_| {
                bytes.extend(
                    half::bf16::from_f32(centre + spread * self.float())
                        .to_bits()
                        .to_le_bytes(),
                );
            }),
            Encoding::Q4_0 | Encoding::Q4_1 | Encoding::Q8_0 => {
                let levels = if encoding == Encoding::Q8_0 {
                    127.0
                } else {
                    7.5
                };
                for _ in 0..len / encoding.block_len() {
                    let scale = spread / levels * (0.6 + 0.4 * self.float().abs());
                    bytes.extend(f16::from_f32(scale).to_le_bytes());
                    if encoding == Encoding::Q4_1 {
                        bytes.extend(
                            f16::from_f32(-spread * (0.8 + 0.2 * self.float())).to_le_bytes(),
                        );
                    }
                    let header = if encoding == Encoding::Q4_1 { 4 } else { 2 };
                    (header..encoding.block_bytes()).for_each(|_| bytes.push(self.bits() as u8));
                }
            }
            other => panic!("no random {other}"),
        }
        Tensor {
            encoding,
            shape: spec.shape.clone(),
            bytes,
        }
    }
}

struct Builder<'a> {
    recipe: &'a Recipe,
    specs: Vec<WeightSpec>,
    encodings: Vec<Encoding>,
}

const X: Reg = Reg(0);
const N: Reg = Reg(1);
const Q: Reg = Reg(2);
const A: Reg = Reg(3);
const O: Reg = Reg(4);
const M: Reg = Reg(5);
const CONTEXT: usize = 700;

impl Builder<'_> {
    fn weight(&mut self, shape: &[usize], encoding: Encoding) -> WeightId {
        let id = WeightId(self.specs.len() as u32);
        let (name, shape) = (format!("w{}", id.0), shape.to_vec());
        self.specs.push(WeightSpec {
            name,
            shape,
            rows: None,
            order: RowOrder::Plain,
            is_transposed: false,
        });
        self.encodings.push(encoding);
        id
    }

    fn affine(&mut self, n: usize, k: usize, encoding: Encoding) -> Affine {
        let weight = self.weight(&[n, k], encoding);
        let bias = self
            .recipe
            .has_biases
            .then(|| self.weight(&[n], Encoding::F32));
        Affine { weight, bias }
    }

    fn norm(&mut self, input: Reg, out: Reg) -> Op {
        let has_bias = self.recipe.norm == NormKind::Layer;
        Op::Norm(Norm {
            kind: self.recipe.norm,
            weight: self.weight(&[self.recipe.hidden], Encoding::F32),
            bias: has_bias.then(|| self.weight(&[self.recipe.hidden], Encoding::F32)),
            weight_offset: self.recipe.norm_offset,
            eps: 1e-5,
            input,
            out,
        })
    }

    fn qkv(&mut self, layer: usize) -> Op {
        let r = self.recipe.clone();
        let (width, kv_width) = (r.heads * r.head_dim, r.kv_heads * r.head_dim);
        let mut head_norm = |len: usize, is_whole| HeadNorm {
            weight: self.weight(&[if is_whole { len } else { r.head_dim }], Encoding::F32),
            weight_offset: r.norm_offset,
            eps: 1e-6,
            is_whole,
        };
        let q_norm = r.head_norm.map(|is_whole| head_norm(width, is_whole));
        let k_norm = r.head_norm.map(|is_whole| head_norm(kv_width, is_whole));
        Op::Qkv(Qkv {
            layer,
            input: N,
            q: self.affine(width, r.hidden, r.encoding),
            k: self.affine(kv_width, r.hidden, r.encoding),
            v: self.affine(kv_width, r.hidden, r.other_encoding),
            clip: r.clip,
            q_norm,
            k_norm,
            rope: r.rope.map(|_| 0),
            heads: r.heads,
            out: Q,
        })
    }

    fn layer(&mut self, layer: usize, ops: &mut Vec<Op>) {
        let r = self.recipe.clone();
        let add = |from| {
            Op::Add(Add {
                from,
                to: X,
                scale: r.residual_scale,
            })
        };
        ops.push(Op::Exit(Exit { layer, input: X }));
        ops.push(self.norm(X, N));
        ops.push(self.qkv(layer));
        ops.push(Op::Attention(Attention {
            layer,
            input: Q,
            heads: r.heads,
            scale: 1.0 / (r.head_dim as f32).sqrt(),
            soft_cap: r.soft_cap,
            // Layers take turns, as in Gemma 2.
            window: r.window.filter(|_| layer.is_multiple_of(2)),
            out: A,
        }));
        let affine = self.affine(r.hidden, r.heads * r.head_dim, r.encoding);
        ops.push(Op::Linear(Linear {
            affine,
            input: A,
            out: O,
        }));
        if r.has_post_norms {
            ops.push(self.norm(O, O));
        }
        if !r.is_parallel {
            ops.push(add(O));
            ops.push(self.norm(X, N));
        }
        ops.push(self.feed());
        if r.has_post_norms {
            ops.push(self.norm(M, M));
        }
        if r.is_parallel {
            ops.push(add(O));
        }
        ops.push(add(M));
    }

    fn feed(&mut self) -> Op {
        let r = self.recipe;
        let Some((experts, active, is_renormalised)) = r.experts else {
            return Op::Mlp(self.mlp());
        };
        Op::Moe(Moe {
            router: self.weight(&[experts, r.hidden], Encoding::F32),
            experts: (0..experts).map(|_| self.mlp()).collect(),
            active,
            is_renormalised,
            input: N,
            out: M,
        })
    }

    fn mlp(&mut self) -> Mlp {
        let r = self.recipe.clone();
        Mlp {
            gate: r
                .is_gated
                .then(|| self.affine(r.inner, r.hidden, r.encoding)),
            up: self.affine(r.inner, r.hidden, r.other_encoding),
            down: self.affine(
                r.hidden,
                r.inner,
                if r.inner.is_multiple_of(32) {
                    r.other_encoding
                } else {
                    r.encoding
                },
            ),
            activation: r.activation,
            input: N,
            out: M,
        }
    }

    fn program(&mut self) -> Program {
        let r = self.recipe.clone();
        let table = self.weight(&[r.vocab, r.hidden], r.encoding);
        let positions = r
            .positions
            .map(|offset| self.weight(&[CONTEXT + offset, r.hidden], Encoding::F32));
        let position_offset = r.positions.unwrap_or(0);
        let mut ops = vec![Op::Embed(Embed {
            table,
            positions,
            position_offset,
            scale: r.embed_scale,
            out: X,
        })];
        (0..r.layers).for_each(|layer| self.layer(layer, &mut ops));
        ops.push(self.norm(X, N));
        let head = if r.is_tied {
            Affine {
                weight: table,
                bias: None,
            }
        } else {
            self.affine(r.vocab, r.hidden, r.encoding)
        };
        ops.push(Op::Logits(Logits {
            head,
            scale: r.logits.0,
            soft_cap: r.logits.1,
            input: N,
        }));
        let pairs = |(pairs, attention_factor): (usize, f32)| Rope {
            inv_freq: (0..pairs)
                .map(|i| 1.0 / 100f32.powf(i as f32 / pairs as f32))
                .collect(),
            attention_factor,
            long: None,
        };
        Program {
            architecture: "tiny",
            shape: ModelShape {
                vocab_len: r.vocab,
                hidden: r.hidden,
                context_len: CONTEXT,
                kv: vec![
                    KvShape {
                        heads: r.kv_heads,
                        head_dim: r.head_dim
                    };
                    r.layers
                ],
            },
            regs: vec![
                r.hidden,
                r.hidden,
                r.heads * r.head_dim,
                r.heads * r.head_dim,
                r.hidden,
                r.hidden,
            ],
            weights: self.specs.clone(),
            ropes: r.rope.map(pairs).into_iter().collect(),
            ops,
        }
    }
}
