//! The one door into an engine: every front end submits here, and the one validator stands behind it.
//! Order: bounds in bytes, tokenizer, bounds in tokens, price in blocks, then a seat, a number and a seed. All of
//! it runs on the caller's thread; the engine thread receives only what it can run.

mod explain;
pub(crate) mod handle;
pub(crate) mod mailbox;
pub(crate) mod outbox;
mod pace;
mod price;
mod ranking;
pub(crate) mod seat;
mod source;
mod words;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokenmill_core::noise::philox4x32;
use tokenmill_core::option::{TEXT_NEEDS, Value};
use tokenmill_core::{Limits, Prompt, Rendered, Request, RequestId, SamplingParams, TokenId};

use tokenmill_sched::{Policy, SchedConfig};

use crate::constraint::{Compiled, Compiler};
use crate::door::handle::Handle;
use crate::door::mailbox::Mailbox;
use crate::door::outbox::Outbox;
use crate::door::seat::Seat;
use crate::error::{Error, Result};
use crate::lexicon::Lexicon;
use crate::primitives::{AtomicBool, AtomicU8, AtomicU64, SyncSender};
use crate::stats::Stats;
use crate::step::meter::Clock;

/// What the engine thread is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// A request that passed the validator.
    Submit(Box<Admitted>),
    /// Something changed elsewhere (a handle was dropped, the state turned). At most one is under way.
    Wake,
}

/// A validated request.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub id: RequestId,
    pub prompt: Arc<[TokenId]>,
    /// The other prompt of a guided request.
    pub negative: Option<Vec<TokenId>>,
    pub params: Arc<SamplingParams>,
    pub seed: i64,
    /// Most output tokens, with the context already considered.
    pub output_len_max: usize,
    pub priority: i32,
    pub cache_salt: Option<String>,
    /// When its time is over, on the engine's clock.
    pub deadline_ns: Option<u64>,
    /// What its output must be.
    pub compiled: Compiled,
    /// How many tokens of each stage are explained.
    pub explain: Option<u32>,
    pub outbox: Outbox,
}

/// What an engine can hold, fixed at start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Capacity {
    /// Longest sequence, in tokens.
    pub context_len: usize,
    /// KV blocks of the pool that a request may use.
    pub blocks: usize,
    /// Tokens per block.
    pub block_size: usize,
    /// Most sequences that one request may have in a step.
    pub group_max: usize,
    /// Rows of the vocabulary.
    pub vocab_len: usize,
    /// Width of a hidden state; 0: this backend gives none.
    pub hidden: usize,
    /// Layers that rows may leave early from; 0: this backend gives none.
    pub exits: usize,
    /// The weaker model, where there is one.
    pub amateur: Option<AmateurCapacity>,
    /// Requests running or waiting.
    pub requests_max: usize,
    /// Bytes of log-probs, and of the hidden states of searches, that live requests may come to hold together.
    pub logprobs_bytes: u64,
    /// Bytes of token lists that live requests may hold together.
    pub lists_bytes: u64,
    /// Whether the scheduler looks at priorities.
    pub has_priorities: bool,
}

impl Capacity {
    /// What the scheduler's pool and policy say; the rest is 0.
    pub(crate) fn of_pool(sched: &SchedConfig) -> Self {
        let blocks = sched.blocks - sched.block_reserve;
        Self {
            context_len: sched.context_len.min(blocks * sched.block_size),
            blocks,
            block_size: sched.block_size,
            group_max: sched
                .running_max
                .min(sched.tokens_per_step)
                .min(sched.logits_rows_max),
            vocab_len: 0,
            hidden: 0,
            exits: 0,
            amateur: None,
            requests_max: 0,
            logprobs_bytes: 0,
            lists_bytes: 0,
            has_priorities: sched.policy == Policy::Priority,
        }
    }
}

pub use source::AmateurCapacity;

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

pub(crate) struct Shared {
    pub commands: SyncSender<Command>,
    pub stats: Arc<Stats>,
    pub lexicon: Arc<Lexicon>,
    pub compiler: Compiler,
    pub capacity: Capacity,
    pub limits: Limits,
    /// Monotonic time.
    pub clock: Clock,
    /// Key of the seeds of requests that give none.
    pub seed: Option<i64>,
    /// Sampling fields that the model's own file fills in where a request leaves them out.
    pub defaults: Vec<(String, Value)>,
    pub phase: AtomicU8,
    /// The process that has the engine's thread. One that was forked from it has only copies, with locks as
    /// they were at the fork.
    pub owner: u32,
    pub next_id: AtomicU64,
    /// A `Wake` is in the channel and has not been obeyed.
    pub is_waking: AtomicBool,
    /// The prefix cache is to be forgotten before the next step.
    pub is_reset_due: AtomicBool,
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

    /// Whether this is a forked copy, whose engine will never answer.
    pub fn is_forked(&self) -> bool {
        std::process::id() != self.owner
    }

    /// Moves forward only: a dead engine is never merely closed.
    pub fn advance(&self, to: Phase) {
        #[cfg(loom)]
        if crate::primitives::has(crate::primitives::Bug::WakeBeforeTheNews) {
            self.wake();
            self.phase.fetch_max(to as u8, Ordering::AcqRel);
            return;
        }
        self.phase.fetch_max(to as u8, Ordering::AcqRel);
        self.wake();
    }

    /// Makes an idle engine look around. Never blocks: the channel has room for one wake-up beside every seat.
    pub fn wake(&self) {
        if !self.is_waking.swap(true, Ordering::AcqRel) {
            let _ = self.commands.try_send(Command::Wake);
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("phase", &self.phase())
            .finish_non_exhaustive()
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
    // hop 2.1: the one validator; what passes has a seat, a number and a seed
    pub fn submit(&self, request: Request) -> Result<Handle> {
        let shared = &self.shared;
        self.refuse_unless_open()?;
        // From here on, so that reading a long prompt counts.
        let deadline_ns = request
            .params
            .deadline_ms
            .map(|ms| (shared.clock)().saturating_add(u64::from(ms) * 1_000_000));
        let mut params = request.params;
        let text = match &request.prompt {
            Prompt::Text(text) if params.echo => Some(text.clone()),
            _ => None,
        };
        let prompt = self.prompt_tokens(request.prompt)?;
        self.check_params(&mut params)?;
        self.check_scope(request.priority, request.cache_salt.as_deref())?;
        let negative = self.negative_tokens(&prompt, &params)?;
        let second_len = negative.as_ref().map(Vec::len);
        let output_len_max = self.price(prompt.len(), second_len, &params)?;
        let echo = self.echo(text, &prompt, &params)?;
        let capacity = &shared.capacity;
        let sizes = (prompt.len(), output_len_max);
        let asked = self.asked(request.explain, sizes, &params)?;
        // Numbered after it has its seat: a refused request must not change the seeds of later ones.
        let seat = Seat::take(&shared.stats, capacity, asked)?;
        // With the seat, so that no more are compiled at once than are taken.
        let compiled = shared.compiler.compile(&params, &shared.stats)?;
        let id = RequestId(shared.next_id.fetch_add(1, Ordering::Relaxed));
        let seed = match (params.seed, shared.seed) {
            (Some(seed), _) => seed,
            (None, Some(seed)) => derived_seed(seed, id),
            (None, None) => i64::from_ne_bytes(random()?),
        };
        let mailbox = Mailbox::new(params.outputs(), shared.limits.stream_events_max);
        let params = Arc::new(params);
        let admitted = Admitted {
            id,
            prompt: prompt.clone(),
            negative,
            params: params.clone(),
            seed,
            output_len_max,
            priority: request.priority,
            cache_salt: request.cache_salt,
            deadline_ns,
            compiled,
            explain: request.explain,
            outbox: Outbox::new(mailbox.clone(), &params, seat).with_echo(echo),
        };
        shared.stats.handles_open.fetch_add(1, Ordering::Relaxed);
        let handle = Handle {
            id,
            mailbox,
            shared: shared.clone(),
            prompt,
            params,
            seed,
            is_cancelled: AtomicBool::new(false),
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
        self.shared.is_reset_due.store(true, Ordering::Release);
        self.shared.wake();
        Ok(())
    }

    /// Takes no more requests; the running ones finish.
    pub fn drain(&self) {
        if self.shared.is_forked() {
            return;
        }
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

    /// Refuses a process that was forked from the one that loaded the engine.
    pub fn refuse_forked(&self) -> Result<()> {
        if self.shared.is_forked() {
            return Err(Error::Forked);
        }
        Ok(())
    }

    fn refuse_unless_open(&self) -> Result<()> {
        self.refuse_forked()?;
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
    fn check_params(&self, params: &mut SamplingParams) -> Result<()> {
        params.validate(&self.shared.limits)?;
        for need in TEXT_NEEDS.iter().filter(|need| (need.is_asked)(params)) {
            self.refuse_without_tokenizer(need.name)?;
        }
        self.read_texts(params)?;
        self.check_word_tokens(&params.bad_word_tokens)?;
        if let Some((step, reason)) = params.pipeline.fault(params) {
            return Err(Error::Field {
                param: "pipeline",
                fault: format!("{} {reason}", step.name()),
            });
        }
        for (name, ids) in params.token_ids() {
            self.check_vocabulary(name, ids.into_iter())?;
        }
        self.check_source(params)?;
        Ok(())
    }

    /// Refuses an option that reads text where there is none.
    fn refuse_without_tokenizer(&self, what: &'static str) -> Result<()> {
        if self.shared.lexicon.has_tokenizer() {
            return Ok(());
        }
        Err(Error::Unsupported {
            what,
            reason: "the model was loaded without a tokenizer".into(),
        })
    }

    /// What a request says of its place among others.
    fn check_scope(&self, priority: i32, cache_salt: Option<&str>) -> Result<()> {
        if priority != 0 && !self.shared.capacity.has_priorities {
            return Err(Error::Unsupported {
                what: "priority",
                reason: "the engine runs under scheduling_policy fcfs".into(),
            });
        }
        let fault = cache_salt.and_then(|salt| self.shared.limits.label_fault(salt));
        fault.map_or(Ok(()), |fault| {
            let param = "cache_salt";
            Err(Error::Field { param, fault })
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
