//! Random tiny programs written by hand, beyond what the known architectures need: a `Sketch` says what a
//! program should have, `Tiny` is the program with a checkpoint of random weights in memory.

use tokenmill_formats::{Checkpoint, Config, Encoding};
use tokenmill_model::{Activation, NormKind, Program};

use crate::pen::Pen;

/// Rows of the embedding of every sketch.
pub const VOCAB: usize = 40;
/// Longest context of every sketch.
pub const CONTEXT: usize = 2048;

/// How q and k are normalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QkNorm {
    /// Not.
    None,
    /// Each head.
    Heads,
    /// The whole vector.
    Whole,
}

/// The feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feed {
    /// down(act(gate) * up).
    Gated(Activation),
    /// down(act(up)).
    Plain(Activation),
    /// `active` of `experts`.
    Experts {
        /// How many there are.
        experts: usize,
        /// How many a row uses.
        active: usize,
        /// Softmax over the chosen only.
        is_renormalised: bool,
    },
}

/// What a program should have.
#[derive(Clone, Debug)]
pub struct Sketch {
    pub seed: u64,
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub inner: usize,
    pub norm: NormKind,
    pub norm_offset: f32,
    pub has_biases: bool,
    pub qk_norm: QkNorm,
    pub clip: Option<f32>,
    pub has_rope: bool,
    /// Offset of learned positions, where there are such.
    pub positions: Option<usize>,
    pub embed_scale: f32,
    pub window: Option<usize>,
    pub attention_cap: Option<f32>,
    pub logits_cap: Option<f32>,
    pub logits_scale: f32,
    pub residual_scale: f32,
    /// Attention and MLP read one norm and add to the residual together.
    pub is_parallel: bool,
    /// Norms behind attention and MLP, too.
    pub has_post_norms: bool,
    pub feed: Feed,
    pub is_tied: bool,
    pub encoding: Encoding,
}

impl Default for Sketch {
    /// A small llama.
    fn default() -> Self {
        Self {
            seed: 1,
            layers: 2,
            hidden: 32,
            heads: 4,
            kv_heads: 2,
            head_dim: 8,
            inner: 48,
            norm: NormKind::Rms,
            norm_offset: 0.0,
            has_biases: false,
            qk_norm: QkNorm::None,
            clip: None,
            has_rope: true,
            positions: None,
            embed_scale: 1.0,
            window: None,
            attention_cap: None,
            logits_cap: None,
            logits_scale: 1.0,
            residual_scale: 1.0,
            is_parallel: false,
            has_post_norms: false,
            feed: Feed::Gated(Activation::Silu),
            is_tied: true,
            encoding: Encoding::F32,
        }
    }
}

/// A program and its weights.
pub struct Tiny {
    /// The program.
    pub program: Program,
    /// The weights.
    pub checkpoint: Checkpoint,
}

impl Sketch {
    /// Writes the program and draws the weights.
    pub fn draw(&self) -> Tiny {
        self.draw_with(|_, _| {})
    }

    /// The same, with the bytes of each tensor changed by its index.
    pub fn draw_with(&self, change: impl Fn(usize, &mut [u8])) -> Tiny {
        let mut pen = Pen::new(self);
        pen.write();
        for (index, (.., bytes)) in pen.tensors.iter_mut().enumerate() {
            change(index, bytes);
        }
        let config = Config::Json {
            config: serde_json::Map::new(),
            generation: None,
        };
        Tiny {
            program: pen.program,
            checkpoint: Checkpoint::from_memory(config, pen.tensors).expect("headers agree"),
        }
    }
}
