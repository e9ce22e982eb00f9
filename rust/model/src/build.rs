//! Writes the program of a known architecture: the plain decoder (embedding; per layer norm, attention,
//! add, norm, MLP, add; norm, head) with the departures that the table lists. It reads no weight data
//! except the rotary factors of a GGUF file, which belong to the rotary table.

use std::collections::HashMap;

use tokenmill_formats::{Checkpoint, blocks};

use crate::architecture::ROPE_FACTORS;
use crate::config::rope::{divide, rope};
use crate::config::{LayerConfig, ModelConfig};
use crate::error::{Error, Result};
use crate::program::{
    Add, Affine, Attention, Embed, HeadNorm, KvShape, Linear, Logits, Mlp, ModelShape, Norm,
    NormKind, Op, Program, Qkv, Reg, RowOrder, WeightId, WeightSpec,
};

/// The program of a checkpoint, from its configuration. Whether the weights fit it, `Weights::new` checks.
pub fn build(checkpoint: &Checkpoint) -> Result<Program> {
    let config = ModelConfig::read(checkpoint)?;
    let mut program = config.program();
    if config.is_gguf {
        apply_rope_factors(&mut program, checkpoint)?;
    }
    Ok(program)
}

impl ModelConfig {
    /// The program of this configuration, without the rotary factors that a GGUF file may add.
    pub fn program(&self) -> Program {
        let mut writer = Writer::new(self);
        writer.write();
        writer.program
    }
}

/// Divides the frequencies of every table by `rope_freqs.weight`, where the file has it.
fn apply_rope_factors(program: &mut Program, checkpoint: &Checkpoint) -> Result<()> {
    let Some(info) = checkpoint.tensor(ROPE_FACTORS) else {
        return Ok(());
    };
    let pairs = program.ropes.first().map_or(0, |rope| rope.inv_freq.len());
    let problem = |expected: String| Error::Tensors {
        architecture: program.architecture.to_owned(),
        problems: format!("{ROPE_FACTORS} is {:?}, expected {expected}", info.shape),
    };
    if info.shape != [pairs] {
        return Err(problem(format!("[{pairs}]")));
    }
    let (mut bytes, mut factors) = (Vec::new(), vec![0.0; pairs]);
    checkpoint.read(ROPE_FACTORS, &mut bytes)?;
    blocks::dequantize(info.encoding, &bytes, &mut factors)?;
    if factors
        .iter()
        .any(|factor| !(factor.is_finite() && *factor > 0.0))
    {
        return Err(problem("positive numbers".to_owned()));
    }
    for rope in &mut program.ropes {
        divide(rope, &factors);
    }
    Ok(())
}

struct Writer<'a> {
    config: &'a ModelConfig,
    program: Program,
    weight_ids: HashMap<String, WeightId>,
    /// Registers by purpose and width: layers of one width share theirs.
    regs: HashMap<(Purpose, usize), Reg>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Purpose {
    Residual,
    Normed,
    Branch,
    Query,
    Attended,
}

impl<'a> Writer<'a> {
    fn new(config: &'a ModelConfig) -> Self {
        let head_dim = config.layers.first().map_or(2, |layer| layer.head_dim);
        let kv = config
            .layers
            .iter()
            .map(|layer| KvShape {
                heads: layer.kv_heads,
                head_dim: layer.head_dim,
            })
            .collect();
        Self {
            config,
            program: Program {
                architecture: config.architecture.name,
                shape: ModelShape {
                    vocab_len: config.vocab_len,
                    hidden: config.hidden,
                    context_len: config.context_len,
                    kv,
                },
                regs: Vec::new(),
                weights: Vec::new(),
                ropes: vec![rope(head_dim, config.rope.theta, &config.rope.scaling)],
                ops: Vec::new(),
            },
            weight_ids: HashMap::new(),
            regs: HashMap::new(),
        }
    }

    fn write(&mut self) {
        let (config, names) = (self.config, self.config.names());
        let residual = self.reg(Purpose::Residual, config.hidden);
        let normed = self.reg(Purpose::Normed, config.hidden);
        let embed = self.weight(names.embed, &[config.vocab_len, config.hidden]);
        self.program.ops.push(Op::Embed(Embed {
            table: embed,
            positions: None,
            position_offset: 0,
            scale: 1.0,
            out: residual,
        }));
        for (index, layer) in config.layers.iter().enumerate() {
            let prefix = names.layer.replace("{}", &index.to_string());
            self.write_attention(&prefix, index, layer);
            self.write_mlp(&prefix, layer);
        }
        self.norm(names.final_norm, residual, normed);
        let head = if config.is_tied {
            embed
        } else {
            self.weight(names.head, &[config.vocab_len, config.hidden])
        };
        self.program.ops.push(Op::Logits(Logits {
            head: Affine {
                weight: head,
                bias: None,
            },
            scale: 1.0,
            soft_cap: None,
            input: normed,
        }));
    }

    fn write_attention(&mut self, prefix: &str, index: usize, layer: &LayerConfig) {
        let (config, names) = (self.config, self.config.names());
        let (q_width, kv_width) = (
            layer.heads * layer.head_dim,
            layer.kv_heads * layer.head_dim,
        );
        let residual = self.reg(Purpose::Residual, config.hidden);
        let normed = self.reg(Purpose::Normed, config.hidden);
        let query = self.reg(Purpose::Query, q_width);
        let attended = self.reg(Purpose::Attended, q_width);
        let branch = self.reg(Purpose::Branch, config.hidden);
        let order = if config.is_gguf && config.architecture.is_gguf_paired {
            RowOrder::RopePairs {
                head_dim: layer.head_dim,
            }
        } else {
            RowOrder::Plain
        };
        let qkv = |width, order| Matrix {
            shape: [width, config.hidden],
            has_bias: config.has_qkv_bias,
            order,
        };
        self.norm(
            &format!("{prefix}{}", names.attention_norm),
            residual,
            normed,
        );
        let qkv = Qkv {
            layer: index,
            input: normed,
            q: self.affine(&format!("{prefix}{}", names.q), &qkv(q_width, order)),
            k: self.affine(&format!("{prefix}{}", names.k), &qkv(kv_width, order)),
            v: self.affine(
                &format!("{prefix}{}", names.v),
                &qkv(kv_width, RowOrder::Plain),
            ),
            clip: None,
            q_norm: self.head_norm(&format!("{prefix}{}", names.q_norm), layer.head_dim),
            k_norm: self.head_norm(&format!("{prefix}{}", names.k_norm), layer.head_dim),
            rope: Some(0),
            heads: layer.heads,
            out: query,
        };
        self.program.ops.push(Op::Qkv(qkv));
        self.program.ops.push(Op::Attention(Attention {
            layer: index,
            input: query,
            heads: layer.heads,
            scale: 1.0 / (layer.head_dim as f32).sqrt(),
            soft_cap: None,
            window: layer.window,
            out: attended,
        }));
        let out = Matrix {
            shape: [config.hidden, q_width],
            has_bias: config.has_out_bias,
            order: RowOrder::Plain,
        };
        let affine = self.affine(&format!("{prefix}{}", names.out), &out);
        self.program.ops.push(Op::Linear(Linear {
            affine,
            input: attended,
            out: branch,
        }));
        self.add(branch, residual);
    }

    fn write_mlp(&mut self, prefix: &str, layer: &LayerConfig) {
        let (config, names) = (self.config, self.config.names());
        let residual = self.reg(Purpose::Residual, config.hidden);
        let normed = self.reg(Purpose::Normed, config.hidden);
        let branch = self.reg(Purpose::Branch, config.hidden);
        let matrix = |outputs, inputs| Matrix {
            shape: [outputs, inputs],
            has_bias: config.has_mlp_bias,
            order: RowOrder::Plain,
        };
        self.norm(&format!("{prefix}{}", names.mlp_norm), residual, normed);
        let widen = matrix(layer.inner, config.hidden);
        let narrow = matrix(config.hidden, layer.inner);
        let mlp = Mlp {
            gate: Some(self.affine(&format!("{prefix}{}", names.gate), &widen)),
            up: self.affine(&format!("{prefix}{}", names.up), &widen),
            down: self.affine(&format!("{prefix}{}", names.down), &narrow),
            activation: config.activation,
            input: normed,
            out: branch,
        };
        self.program.ops.push(Op::Mlp(mlp));
        self.add(branch, residual);
    }

    fn add(&mut self, from: Reg, to: Reg) {
        self.program.ops.push(Op::Add(Add {
            from,
            to,
            scale: 1.0,
        }));
    }

    fn norm(&mut self, name: &str, input: Reg, out: Reg) {
        let weight = self.weight(name, &[self.config.hidden]);
        self.program.ops.push(Op::Norm(Norm {
            kind: NormKind::Rms,
            weight,
            bias: None,
            weight_offset: 0.0,
            eps: self.config.norm_eps,
            input,
            out,
        }));
    }

    fn head_norm(&mut self, name: &str, head_dim: usize) -> Option<HeadNorm> {
        self.config.architecture.has_head_norms.then(|| HeadNorm {
            weight: self.weight(name, &[head_dim]),
            weight_offset: 0.0,
            eps: self.config.norm_eps,
            is_whole: false,
        })
    }

    fn affine(&mut self, name: &str, matrix: &Matrix) -> Affine {
        let weight = self.tensor(&format!("{name}.weight"), &matrix.shape, matrix.order);
        let bias = matrix
            .has_bias
            .then(|| self.tensor(&format!("{name}.bias"), &matrix.shape[..1], matrix.order));
        Affine { weight, bias }
    }

    fn weight(&mut self, name: &str, shape: &[usize]) -> WeightId {
        self.tensor(&format!("{name}.weight"), shape, RowOrder::Plain)
    }

    /// The id of a tensor; the first use decides its place in the program's list.
    fn tensor(&mut self, name: &str, shape: &[usize], order: RowOrder) -> WeightId {
        if let Some(&id) = self.weight_ids.get(name) {
            return id;
        }
        let id = WeightId(self.program.weights.len() as u32);
        self.program.weights.push(WeightSpec {
            name: name.to_owned(),
            shape: shape.to_vec(),
            rows: None,
            order,
            is_transposed: false,
        });
        self.weight_ids.insert(name.to_owned(), id);
        id
    }

    fn reg(&mut self, purpose: Purpose, width: usize) -> Reg {
        let regs = &mut self.program.regs;
        *self.regs.entry((purpose, width)).or_insert_with(|| {
            regs.push(width);
            Reg((regs.len() - 1) as u16)
        })
    }
}

/// A matrix of a layer.
struct Matrix {
    shape: [usize; 2],
    has_bias: bool,
    order: RowOrder,
}
