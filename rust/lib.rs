//! Tokenmill: decode, serve and compress large language models. This crate is the facade: re-exports only.
//!
//! A service loads a model once, clones the [`Door`] into its threads or tasks, submits requests and reads events:
//!
//! ```
//! use std::path::Path;
//! use tokenmill::{EngineOptions, Request, SamplingParams, load};
//!
//! fn tell(model: &Path, prompt: &str) -> tokenmill::Result<String> {
//!     // A GGUF file, or a folder with safetensors. The engine runs on a thread of its own.
//!     let (host, _info) = load(model, &EngineOptions::default())?;
//!     let params = SamplingParams {
//!         max_tokens: Some(32),
//!         ..SamplingParams::default()
//!     };
//!     // Requests run together in one batch; whoever has a clone of the door may submit.
//!     let handle = host.door().submit(Request::new(prompt, params))?;
//!     let mut story = String::new();
//!     for event in handle {
//!         story.push_str(&event.text);
//!         if let Some(finish) = event.finish {
//!             story.push_str(&format!(" [{}]", finish.reason.as_str()));
//!         }
//!     }
//!     Ok(story)
//! }
//! # mod tiny { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models/tiny_gguf.rs")); }
//! # let folder = tempfile::tempdir().unwrap();
//! # let model = folder.path().join("tiny.gguf");
//! # std::fs::write(&model, tiny::gguf()).unwrap();
//! # let story = tell(&model, "The sky is").unwrap();
//! # assert!(story.len() > 10 && story.ends_with(']'), "{story}");
//! ```
//!
//! # The path of a service
//!
//! 1. [`load`] reads a model and starts its engine. [`inspect`] says beforehand what it would hold; [`check_text`],
//!    run in a process of its own under limits, tries the tokenizer and the template of a file that a stranger made.
//! 2. [`Door::submit`] validates and queues a [`Request`], or refuses it: an [`Error`] says its [`Kind`], the field
//!    and the bound. A full queue is [`Kind::Overloaded`]: try again later. [`Door::params`] makes parameters from
//!    named values, over the model's own defaults; [`Lexicon::render`] writes a conversation.
//! 3. [`Handle`] gives one [`Event`] a step and sample, by iterating, with a time limit ([`Handle::receive`]) or
//!    awaited ([`Handle::next_event`], under any executor). The last event of a sample carries a [`Finish`].
//! 4. [`Handle::cancel`], or dropping the handle, ends a request: its memory is free after the engine's next step.
//! 5. [`Host::drain`] waits for what is running and takes nothing new; [`Host::close`], or dropping the host, ends it.
//!
//! Two engines may live in one process. A slow reader holds nobody up: its events coalesce. A forked child must load
//! its own engine. `rust/examples/service.rs` is a small service over TCP built so.
//!
//! # Features
//!
//! `cpu` (kernels chosen at run time), `reference` (float32, slow, for comparisons) and `text` (tokenizers and
//! templates; without it prompts and outputs are token ids) are on by default.
//!
//! # What is promised
//!
//! Versions follow Semantic Versioning for what this crate names. Structs that callers fill in ([`SamplingParams`],
//! [`EngineOptions`], [`RenderOptions`]) gain fields, so end them with `..Default::default()`; events, finishes,
//! failures and requests are `#[non_exhaustive]`. Enums of options may gain variants in a minor version. The variants
//! of [`Error`] may change: branch on `kind()`, `param()` and `code()`, methods of [`HasKind`] and of the error.
//! [`Door::submit`], [`Host::drain`] and [`Host::close`] block: call them from a thread that may.

#[doc(inline)]
pub use tokenmill_core::event::Finish;
#[doc(inline)]
pub use tokenmill_core::explain::{self, Explanation};
#[doc(inline)]
pub use tokenmill_core::kind::KindRow;
#[doc(inline)]
pub use tokenmill_core::option::{self, EngineOptions};
#[doc(inline)]
pub use tokenmill_core::{
    Action, Adaptive, Beams, Callable, Callback, Contrastive, ContrastiveMode, Divergence, Dola,
    DolaLayers, Dry, EarlyStopping, Edit, Event, Failure, FinishReason, Guidance, HasKind, Kind,
    LengthDecay, LengthPenaltyKind, Limits, LogprobsMode, Mirostat, MirostatVariant, NamedPipeline,
    OutputConstraint, OutputKind, PipelineChoice, Processor, Prompt, Rendered, RepetitionDetection,
    Request, RequestId, SamplingParams, Step, StopReason, StructuredOutputs, Thinking, TokenId,
    TokenLogprob, TokenLogprobs, Xtc,
};
#[cfg(feature = "cpu")]
#[doc(inline)]
pub use tokenmill_engine::measure_machine;
#[doc(inline)]
pub use tokenmill_engine::{
    AmateurCapacity, Capacity, Door, Error, Handle, Host, Info, Lexicon, Received, Result, Stats,
    check_text, inspect, load,
};
#[cfg(feature = "text")]
#[doc(inline)]
pub use tokenmill_engine::{Date, Message, RenderOptions};
