//! Tokenmill: decode, serve and compress large language models. This crate is the facade: re-exports only.
//!
//! ```no_run
//! use tokenmill::{EngineOptions, Prompt, Request, SamplingParams, load};
//!
//! let path = std::path::Path::new("model.gguf");
//! let (host, _info) = load(path, &EngineOptions::default())?;
//! let params = SamplingParams { max_tokens: Some(32), ..SamplingParams::default() };
//! let prompt = Prompt::Text("The sky is".into());
//! let request = Request { prompt, params, priority: 0, cache_salt: None };
//! for event in host.door().submit(request)? {
//!     let _text: String = event.text;
//! }
//! # Ok::<(), tokenmill::Error>(())
//! ```

pub use tokenmill_core::option::{self, EngineOptions};
pub use tokenmill_core::{
    Event, FinishReason, HasKind, Kind, Limits, LogprobsMode, NamedPipeline, OutputKind,
    PipelineChoice, Prompt, Rendered, RepetitionDetection, Request, SamplingParams, Step,
    StopReason, TokenId, TokenLogprob, TokenLogprobs, event,
};
#[cfg(feature = "cpu")]
pub use tokenmill_engine::measure_machine;
pub use tokenmill_engine::{
    Capacity, Door, Error, Handle, Host, Info, Ledger, Received, Result, Stats, check_text,
    inspect, load,
};
#[cfg(feature = "text")]
pub use tokenmill_engine::{Date, Message, RenderOptions};
