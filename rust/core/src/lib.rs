//! Ids, parameters, limits, error kinds and keyed noise shared by every part of Tokenmill.
//! No I/O, no threads, none of our other crates.

pub mod error;
pub mod event;
pub mod id;
pub mod kind;
pub mod limits;
pub mod noise;
pub mod option;
pub mod params;
pub mod request;

pub use error::{Error, Result};
pub use event::explain;
pub use event::{Event, Failure, FinishReason, StopReason, TokenLogprob, TokenLogprobs};
pub use explain::Explanation;
pub use id::{BlockId, RequestId, SequenceId, TokenId};
pub use kind::{HasKind, Kind};
pub use limits::Limits;
pub use params::{
    Action, Adaptive, Beams, Callable, Callback, Contrastive, ContrastiveMode, Divergence, Dola,
    DolaLayers, Dry, EarlyStopping, Edit, Guidance, LengthDecay, LengthPenaltyKind, LogprobsMode,
    Mirostat, MirostatVariant, NamedPipeline, OutputConstraint, OutputKind, PipelineChoice,
    Processor, RepetitionDetection, SamplingParams, Step, StructuredOutputs, Thinking, Xtc,
};
pub use request::{Prompt, Rendered, Request};
