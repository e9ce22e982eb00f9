//! The one door into an engine: every front end submits here, and the one validator stands behind it.
//! Order: bounds in bytes, tokenizer, bounds in tokens, price in blocks, then a seat in the queue. All of
//! it runs on the caller's thread; the engine thread receives only what it can run.

pub(crate) mod handle;
pub(crate) mod mailbox;
pub(crate) mod outbox;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use std::sync::mpsc::SyncSender;
use tokenmill_core::noise::philox4x32;
use tokenmill_core::option::Value;
use tokenmill_core::{Limits, Prompt, Rendered, Request, RequestId, SamplingParams, TokenId};

use crate::door::handle::Handle;
use crate::door::mailbox::Mailbox;
use crate::door::outbox::Outbox;
use crate::error::{Error, Result};
use crate::lexicon::Lexicon;
use crate::stats::Stats;

/// What the engine thread is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// A request that passed the validator.
    Submit(Box<Admitted>),
    /// Forget every cached prefix.
    ResetPrefixCache,
    /// Something changed elsewhere (a handle was dropped, the state turned).
    Wake,
}

/// A validated request.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub id: RequestId,
    pub prompt: Arc<[TokenId]>,
    pub params: Arc<SamplingParams>,
    pub seed: i64,
    /// Most output tokens, with the context already considered.
    pub output_len_max: usize,
    pub priority: i32,
    pub cache_salt: Option<String>,
    pub outbox: Outbox,
}

/// What an engine can hold, fixed at start.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// Longest sequence, in tokens.
    pub context_len: usize,
    /// KV blocks of the pool that a request may use.
    pub blocks: usize,
    /// Tokens per block.
    pub block_size: usize,
    /// Rows of the vocabulary.
    pub vocab_len: usize,
    /// Requests running or waiting.
    pub requests_max: usize,
}

/// Whether requests are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Open = 0,
    /// No new requests; running ones finish.
    Draining = 1,
    /// No new requests; running ones are ended now.
    Closing = 2,
    /// The engine thread is gone.
    Closed = 3,
    /// An invariant broke.
    Dead = 4,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub commands: SyncSender<Command>,
    pub stats: Arc<Stats>,
    pub lexicon: Arc<Lexicon>,
    pub capacity: Capacity,
    pub limits: Limits,
    /// Key of the seeds of requests that give none.
    pub seed: Option<i64>,
    /// Sampling fields that the model's own file fills in where a request leaves them out.
    pub defaults: Vec<(String, Value)>,
    pub phase: AtomicU8,
    pub next_id: AtomicU64,
}

impl Shared {
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Open,
            1 => Phase::Draining,
            2 => Phase::Closing,
            3 => Phase::Closed,
            _ => Phase::Dead,
        }
    }

    /// Moves forward only: a dead engine is never merely closed.
    pub fn advance(&self, to: Phase) {
        self.phase.fetch_max(to as u8, Ordering::AcqRel);
        let _ = self.commands.try_send(Command::Wake);
    }
}

/// A cloneable way in.
#[derive(Clone, Debug)]
pub struct Door {
    pub(crate) shared: Arc<Shared>,
}

impl Door {
    /// Sampling parameters from named values over the model's defaults, over ours.
    pub fn params(&self, values: &[(String, Value)]) -> Result<SamplingParams> {
        let mut all: Vec<(String, Value)> = self.shared.defaults.clone();
        all.retain(|(name, _)| !values.iter().any(|(given, _)| given == name));
        all.extend_from_slice(values);
        Ok(SamplingParams::from_values(&all, &self.shared.limits)?)
    }

    /// What the engine can hold.
    pub fn capacity(&self) -> &Capacity {
        &self.shared.capacity
    }

    /// Live figures.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Tokenizer and template.
    pub fn lexicon(&self) -> &Lexicon {
        &self.shared.lexicon
    }

    /// The model's own sampling defaults.
    pub fn defaults(&self) -> &[(String, Value)] {
        &self.shared.defaults
    }

    /// Validates and queues a request.
    pub fn submit(&self, request: Request) -> Result<Handle> {
        let shared = &self.shared;
        self.refuse_unless_open()?;
        let prompt = self.prompt_tokens(request.prompt)?;
        let params = request.params;
        self.check_params(&params)?;
        let output_len_max = self.price(prompt.len(), &params)?;
        let id = RequestId(shared.next_id.fetch_add(1, Ordering::Relaxed));
        let seed = match (params.seed, shared.seed) {
            (Some(seed), _) => seed,
            (None, Some(seed)) => derived_seed(seed, id),
            (None, None) => i64::from_ne_bytes(random()?),
        };
        let mailbox = Mailbox::new(params.n, shared.limits.stream_events_max);
        let params = Arc::new(params);
        self.take_seat()?;
        let admitted = Admitted {
            id,
            prompt: prompt.clone(),
            params: params.clone(),
            seed,
            output_len_max,
            priority: request.priority,
            cache_salt: request.cache_salt,
            outbox: Outbox::new(mailbox.clone(), params.n, shared.stats.clone()),
        };
        shared.stats.handles_open.fetch_add(1, Ordering::Relaxed);
        let handle = Handle {
            id,
            mailbox,
            commands: shared.commands.clone(),
            prompt,
            params,
            seed,
            stats: shared.stats.clone(),
        };
        // Counted first: a request must never be seen to end before it was accepted.
        Stats::add(&shared.stats.requests_accepted, 1);
        if shared
            .commands
            .send(Command::Submit(Box::new(admitted)))
            .is_err()
        {
            return Err(self.closed());
        }
        Ok(handle)
    }

    /// Forgets every cached prefix that nobody uses, before the next step.
    pub fn reset_prefix_cache(&self) -> Result<()> {
        self.refuse_unless_open()?;
        self.shared
            .commands
            .send(Command::ResetPrefixCache)
            .map_err(|_| self.closed())
    }

    /// Takes no more requests; the running ones finish.
    pub fn drain(&self) {
        self.shared.advance(Phase::Draining);
    }

    fn closed(&self) -> Error {
        match self.shared.phase() {
            Phase::Dead => Error::Internal {
                what: "an invariant broke earlier".into(),
            },
            Phase::Closed => Error::Closed,
            _ => Error::Draining,
        }
    }

    fn refuse_unless_open(&self) -> Result<()> {
        if self.shared.phase() == Phase::Open {
            Ok(())
        } else {
            Err(self.closed())
        }
    }

    fn prompt_tokens(&self, prompt: Prompt) -> Result<Arc<[TokenId]>> {
        let tokens = match prompt {
            Prompt::Tokens(tokens) => tokens,
            Prompt::Text(text) | Prompt::Rendered(Rendered { marked: text, .. })
                if text.len() > self.shared.limits.prompt_len_max_bytes =>
            {
                let limit_bytes = self.shared.limits.prompt_len_max_bytes;
                return Err(Error::PromptBytes {
                    limit_bytes,
                    len_bytes: text.len(),
                });
            }
            Prompt::Text(text) => {
                self.shared
                    .lexicon
                    .encode(&text, self.shared.lexicon.adds_bos(), false)?
            }
            Prompt::Rendered(rendered) => self.shared.lexicon.encode_rendered(&rendered)?,
        };
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        self.check_vocabulary("prompt", tokens.iter().copied())?;
        Ok(tokens.into())
    }

    fn check_vocabulary(
        &self,
        param: &'static str,
        ids: impl Iterator<Item = TokenId>,
    ) -> Result<()> {
        let vocab_len = self.shared.capacity.vocab_len;
        for (index, token) in ids.enumerate() {
            if token as usize >= vocab_len {
                return Err(Error::TokenId {
                    param,
                    index,
                    token,
                    vocab_len,
                });
            }
        }
        Ok(())
    }

    /// Every bound again, whoever built the value, then the checks that need the model.
    fn check_params(&self, params: &SamplingParams) -> Result<()> {
        params.validate(&self.shared.limits)?;
        self.check_vocabulary("stop_token_ids", params.stop_token_ids.iter().copied())?;
        self.check_vocabulary(
            "logit_bias",
            params.logit_bias.iter().map(|(token, _)| *token),
        )?;
        if !params.stop.is_empty() && !self.shared.lexicon.has_tokenizer() {
            return Err(Error::Unsupported {
                what: "stop",
                reason: "the model was loaded without a tokenizer".into(),
            });
        }
        Ok(())
    }

    /// Output tokens that fit, or a refusal with the numbers.
    fn price(&self, prompt_len: usize, params: &SamplingParams) -> Result<usize> {
        let Capacity {
            context_len,
            blocks,
            block_size,
            ..
        } = self.shared.capacity;
        let asked = params.max_tokens.map_or(1, |tokens| tokens as usize);
        let total = prompt_len.saturating_add(asked);
        if total > context_len {
            return Err(Error::ContextLen {
                context_len,
                prompt_len,
                max_tokens: asked,
            });
        }
        let output_len_max = params
            .max_tokens
            .map_or(context_len - prompt_len, |tokens| tokens as usize);
        // The last token is never fed back, so it needs no slot.
        let needed = (prompt_len + output_len_max - 1).div_ceil(block_size);
        if needed > blocks {
            return Err(Error::Blocks {
                needed,
                total: blocks,
                block_size,
            });
        }
        Ok(output_len_max)
    }

    fn take_seat(&self) -> Result<()> {
        let limit = self.shared.capacity.requests_max;
        let live = &self.shared.stats.requests_live;
        let taken = live.fetch_update(Ordering::AcqRel, Ordering::Acquire, |live| {
            ((live as usize) < limit).then_some(live + 1)
        });
        taken.map(|_| ()).map_err(|live| {
            Stats::add(&self.shared.stats.requests_refused, 1);
            Error::Overloaded {
                live: live as usize,
                limit,
            }
        })
    }
}

/// The seed of the request numbered `id` under an engine seed: a word of Philox, so that neighbours share
/// no noise.
fn derived_seed(seed: i64, id: RequestId) -> i64 {
    let words = philox4x32(
        [id.0 as u32, (id.0 >> 32) as u32, 0, u32::MAX],
        [seed as u32, (seed >> 32) as u32],
    );
    (i64::from(words[1]) << 32) | i64::from(words[0])
}

/// Bytes from the system's randomness.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::Internal {
        what: format!("the system gave no random bytes: {error}"),
    })?;
    Ok(bytes)
}
