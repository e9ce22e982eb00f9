//! Architectures as data for Tokenmill: config and weight names to a [`Program`], the [`Weights`] it
//! reads, what each of its operations costs, and the [`Backend`] trait that runs it.

#![forbid(unsafe_code)]

pub mod architecture;
pub mod backend;
pub mod batch;
mod build;
pub mod config;
pub mod cost;
pub mod error;
pub mod fields;
pub mod program;
pub mod timing;
pub mod weights;

pub use architecture::{Architecture, KNOWN, known_names};
pub use backend::{Activations, Backend, Caps, ComputeDtype, Hidden, KvFormat, MemoryPlan, Ticket};
pub use batch::{BlockCopy, ExitRow, NO_SLOT, Span, StepBatch};
pub use build::build;
pub use config::{ExpertConfig, LayerConfig, ModelConfig};
pub use error::{Error, Result};
pub use program::{
    Activation, Add, Affine, Attention, Embed, Exit, HeadNorm, KvShape, Linear, Logits, LongRope,
    Mlp, ModelShape, Moe, Norm, NormKind, Op, Program, Qkv, Reg, Rope, RowOrder, RowSlice,
    WeightId, WeightSpec,
};
pub use timing::{OpTimes, TimedPart};
pub use weights::{Tensor, Weights};
