//! Writes the program of a known architecture: the plain decoder (embedding; per layer norm, attention,
//! add, norm, MLP, add; norm, head) with the departures that the table lists. It reads no weight data
//! except the rotary factors of a GGUF file, which belong to the rotary table.

mod experts;
mod tensors;

use std::collections::HashMap;

use tokenmill_formats::{Checkpoint, blocks};

use tensors::Matrix;

use crate::architecture::{HeadNorms, LONG_ROPE_FACTORS, NormPlacement, ROPE_FACTORS};
use crate::config::rope::{divide, rope};
use crate::config::{LayerConfig, ModelConfig};
use crate::error::{Error, Result};
use crate::program::{
    Add, Affine, Attention, Embed, Exit, HeadNorm, KvShape, Linear, Logits, Mlp, ModelShape, Norm,
    NormKind, Op, Program, Qkv, Reg, RowOrder, WeightId,
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
    /// What is added to the weights of norms.
    fn norm_offset(&self) -> f32 {
        if self.is_gguf {
            0.0
        } else {
            self.architecture.norm_offset
        }
    }

    /// The program of this configuration, without the rotary factors that a GGUF file may add.
    pub fn program(&self) -> Program {
        let mut writer = Writer::new(self);
        writer.write();
        writer.program
    }
}

/// Divides the frequencies by the factors that a GGUF file holds as tensors, where it has them.
fn apply_rope_factors(program: &mut Program, checkpoint: &Checkpoint) -> Result<()> {
    if let Some(factors) = rope_factors(program, checkpoint, ROPE_FACTORS)? {
        for rope in &mut program.ropes {
            divide(&mut rope.inv_freq, &factors);
        }
    }
    let [short, long] =
        LONG_ROPE_FACTORS.map(|name| rope_factors(program, checkpoint, name).transpose());
    let (short, long) = match (short, long) {
        (None, None) => return Ok(()),
        (Some(short), Some(long)) => (short?, long?),
        _ => {
            return Err(Error::Tensors {
                architecture: program.architecture.to_owned(),
                problems: format!("only one of {}", LONG_ROPE_FACTORS.join(" and ")),
            });
        }
    };
    for rope in &mut program.ropes {
        divide(&mut rope.inv_freq, &short);
        if let Some(other) = &mut rope.long {
            divide(&mut other.inv_freq, &long);
        }
    }
    Ok(())
}

/// A tensor of positive factors, one per pair.
fn rope_factors(
    program: &Program,
    checkpoint: &Checkpoint,
    name: &str,
) -> Result<Option<Vec<f32>>> {
    let Some(info) = checkpoint.tensor(name) else {
        return Ok(None);
    };
    let pairs = program.ropes.first().map_or(0, |rope| rope.inv_freq.len());
    let problem = |expected: String| Error::Tensors {
        architecture: program.architecture.to_owned(),
        problems: format!("{name} is {:?}, expected {expected}", info.shape),
    };
    if info.shape != [pairs] {
        return Err(problem(format!("[{pairs}]")));
    }
    let (mut bytes, mut factors) = (Vec::new(), vec![0.0; pairs]);
    checkpoint.read(name, &mut bytes)?;
    blocks::dequantize(info.encoding, &bytes, &mut factors)?;
    if factors
        .iter()
        .any(|factor| !(factor.is_finite() && *factor > 0.0))
    {
        return Err(problem("positive numbers".to_owned()));
    }
    Ok(Some(factors))
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
                ropes: config
                    .ropes
                    .iter()
                    .map(|it| rope(config.rotated, it.theta, &it.scaling))
                    .collect(),
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
        let base = config.base;
        let embed = format!("{base}{}", names.embed);
        let embed = self.weight(&embed, &[config.vocab_len, config.hidden]);
        let first_position = config.architecture.first_position;
        let positions = first_position.map(|first| {
            let rows = config.context_len + first;
            self.weight(
                &format!("{base}{}", names.positions),
                &[rows, config.hidden],
            )
        });
        self.program.ops.push(Op::Embed(Embed {
            table: embed,
            positions,
            position_offset: first_position.unwrap_or(0),
            scale: config.factors.embed,
            out: residual,
        }));
        for (index, layer) in config.layers.iter().enumerate() {
            let exit = Exit {
                layer: index,
                input: residual,
            };
            self.program.ops.push(Op::Exit(exit));
            let prefix = format!("{base}{}", names.layer.replace("{}", &index.to_string()));
            self.write_attention(&prefix, index, layer);
            match layer.experts {
                Some(mixture) => self.write_experts(&prefix, mixture),
                None => self.write_mlp(&prefix, layer),
            }
        }
        self.norm(&format!("{base}{}", names.final_norm), residual, normed);
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
            scale: config.factors.logits,
            soft_cap: config.factors.logits_cap,
            input: normed,
        }));
    }

    fn write_attention(&mut self, prefix: &str, index: usize, layer: &LayerConfig) {
        let (config, names) = (self.config, self.config.names());
        let q_width = layer.heads * layer.head_dim;
        let residual = self.reg(Purpose::Residual, config.hidden);
        let query = self.reg(Purpose::Query, q_width);
        let attended = self.reg(Purpose::Attended, q_width);
        let branch = self.reg(Purpose::Branch, config.hidden);
        self.write_qkv(prefix, index, layer);
        self.program.ops.push(Op::Attention(Attention {
            layer: index,
            input: query,
            heads: layer.heads,
            scale: config.factors.attention,
            soft_cap: config.factors.attention_cap,
            window: layer.window,
            out: attended,
        }));
        let out = Matrix {
            shape: [config.hidden, q_width],
            run: config.hidden,
            has_bias: config.has_out_bias,
            order: RowOrder::Plain,
        };
        let [affine] = self.projections(prefix, names.out, [out]);
        self.program.ops.push(Op::Linear(Linear {
            affine,
            input: attended,
            out: branch,
        }));
        if config.is_parallel {
            // The MLP reads the stream as attention found it.
            self.branch_input(prefix, names.mlp_norm, residual);
        }
        self.add_branch(prefix, names.post_attention_norm, branch, residual);
    }

    /// The norm before attention, and q, k and v.
    fn write_qkv(&mut self, prefix: &str, index: usize, layer: &LayerConfig) {
        let (config, names) = (self.config, self.config.names());
        let [q_width, kv_width] = [layer.heads, layer.kv_heads].map(|heads| heads * layer.head_dim);
        let residual = self.reg(Purpose::Residual, config.hidden);
        let order = if config.is_gguf && config.architecture.is_gguf_paired {
            RowOrder::RopePairs {
                head_dim: layer.head_dim,
            }
        } else {
            RowOrder::Plain
        };
        let matrix = |width, order| Matrix {
            shape: [width, config.hidden],
            run: layer.head_dim,
            has_bias: config.has_qkv_bias,
            order,
        };
        let matrices = [
            matrix(q_width, order),
            matrix(kv_width, order),
            matrix(kv_width, RowOrder::Plain),
        ];
        let input = self.branch_input(prefix, names.attention_norm, residual);
        let [q, k, v] = self.projections(prefix, names.qkv, matrices);
        let qkv = Qkv {
            layer: index,
            input,
            q,
            k,
            v,
            clip: config.clip_qkv,
            q_norm: self.head_norm(&format!("{prefix}{}", names.q_norm), q_width, layer),
            k_norm: self.head_norm(&format!("{prefix}{}", names.k_norm), kv_width, layer),
            rope: layer.rope,
            heads: layer.heads,
            out: self.reg(Purpose::Query, q_width),
        };
        self.program.ops.push(Op::Qkv(qkv));
    }

    fn write_mlp(&mut self, prefix: &str, layer: &LayerConfig) {
        let (config, names) = (self.config, self.config.names());
        let residual = self.reg(Purpose::Residual, config.hidden);
        let branch = self.reg(Purpose::Branch, config.hidden);
        let matrix = |outputs, inputs| Matrix {
            shape: [outputs, inputs],
            run: outputs,
            has_bias: config.has_mlp_bias,
            order: RowOrder::Plain,
        };
        let input = if config.is_parallel {
            self.reg(Purpose::Normed, config.hidden)
        } else {
            self.branch_input(prefix, names.mlp_norm, residual)
        };
        let widen = || matrix(layer.inner, config.hidden);
        let narrow = matrix(config.hidden, layer.inner);
        let (gate, up) = if names.gate_up.is_single() {
            let [up] = self.projections(prefix, names.gate_up, [widen()]);
            (None, up)
        } else {
            let [gate, up] = self.projections(prefix, names.gate_up, [widen(), widen()]);
            (Some(gate), up)
        };
        let [down] = self.projections(prefix, names.down, [narrow]);
        let mlp = Mlp {
            gate,
            up,
            down,
            activation: config.activation,
            input,
            out: branch,
        };
        self.program.ops.push(Op::Mlp(mlp));
        self.add_branch(prefix, names.post_mlp_norm, branch, residual);
    }

    /// What a branch reads: the stream, normalised where the norm stands before the branch.
    fn branch_input(&mut self, prefix: &str, norm: &str, residual: Reg) -> Reg {
        if self.config.architecture.norms == NormPlacement::After {
            return residual;
        }
        let normed = self.reg(Purpose::Normed, self.config.hidden);
        self.norm(&format!("{prefix}{norm}"), residual, normed);
        normed
    }

    /// Adds a branch to the stream, normalised where the norm stands behind the branch.
    fn add_branch(&mut self, prefix: &str, norm: &str, branch: Reg, residual: Reg) {
        if self.config.architecture.norms != NormPlacement::Before {
            self.norm(&format!("{prefix}{norm}"), branch, branch);
        }
        self.program.ops.push(Op::Add(Add {
            from: branch,
            to: residual,
            scale: self.config.factors.residual,
        }));
    }

    fn norm(&mut self, name: &str, input: Reg, out: Reg) {
        let kind = self.config.architecture.norm_kind;
        let width = [self.config.hidden];
        let weight = self.weight(name, &width);
        let bias = (kind == NormKind::Layer)
            .then(|| self.tensor(&format!("{name}.bias"), &width, RowOrder::Plain));
        self.program.ops.push(Op::Norm(Norm {
            kind,
            weight,
            bias,
            weight_offset: self.config.norm_offset(),
            eps: self.config.norm_eps,
            input,
            out,
        }));
    }

    fn head_norm(&mut self, name: &str, width: usize, layer: &LayerConfig) -> Option<HeadNorm> {
        let (width, is_whole) = match self.config.architecture.head_norms {
            HeadNorms::None => return None,
            HeadNorms::PerHead => (layer.head_dim, false),
            HeadNorms::Whole => (width, true),
        };
        Some(HeadNorm {
            weight: self.weight(name, &[width]),
            weight_offset: self.config.norm_offset(),
            eps: self.config.norm_eps,
            is_whole,
        })
    }
}
