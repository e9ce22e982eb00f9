//! A place in the engine, and the memory that comes with it: taken before a request is queued, given back
//! when it has ended. What the seats hold together never passes the bounds of the engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokenmill_core::{SamplingParams, TokenLogprob, TokenLogprobs};

use crate::door::Capacity;
use crate::error::{Error, Result};
use crate::stats::Stats;

/// One request's place.
#[derive(Debug)]
pub(crate) struct Seat {
    stats: Arc<Stats>,
    logprob_bytes: u64,
}

impl Seat {
    /// Takes a place for a request whose log-probs and hidden states, which the named option asks for, take so many
    /// bytes; or says which bound is reached.
    pub fn take(
        stats: &Arc<Stats>,
        capacity: &Capacity,
        asked: (&'static str, u64),
    ) -> Result<Self> {
        let (param, logprob_bytes) = asked;
        let limit_bytes = capacity.logprobs_bytes;
        if logprob_bytes > limit_bytes {
            return Err(Error::LogprobBytes {
                param,
                needed: logprob_bytes,
                limit: limit_bytes,
            });
        }
        let limit = capacity.requests_max;
        let live = &stats.requests_live;
        let taken = live.fetch_update(Ordering::AcqRel, Ordering::Acquire, |live| {
            ((live as usize) < limit).then_some(live + 1)
        });
        if let Err(live) = taken {
            Stats::add(&stats.requests_refused, 1);
            let live = live as usize;
            return Err(Error::Overloaded { live, limit });
        }
        // From here on dropping the seat gives both back.
        let mut seat = Self {
            stats: stats.clone(),
            logprob_bytes: 0,
        };
        let held = &stats.logprob_bytes;
        let taken = held.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
            (held + logprob_bytes <= limit_bytes).then_some(held + logprob_bytes)
        });
        if let Err(held) = taken {
            Stats::add(&stats.requests_refused, 1);
            let limit = limit_bytes;
            return Err(Error::LogprobsOverloaded { held, limit });
        }
        seat.logprob_bytes = logprob_bytes;
        Ok(seat)
    }

    /// The figures that count it.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let bytes = self.logprob_bytes;
        self.stats.logprob_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.stats.requests_live.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Bytes that a request may come to hold beside its blocks, and the option that asks for the most of them: the
/// log-probs of its prompt and samples, if nobody reads them before the end, and the hidden states of a search.
pub(crate) fn held_bytes(
    params: &SamplingParams,
    prompt_len: usize,
    output_len_max: usize,
    capacity: &Capacity,
) -> (&'static str, u64) {
    let tokens = (prompt_len + output_len_max) as u64;
    let of_logprobs = logprob_bytes(params, prompt_len, output_len_max, capacity.vocab_len);
    let of_states = state_bytes(params, tokens, capacity.hidden as u64);
    let param = if of_states > of_logprobs.1 {
        "penalty_alpha"
    } else {
        of_logprobs.0
    };
    (param, of_logprobs.1.saturating_add(of_states))
}

/// A search keeps the hidden state of every token, with its norm, and one for each candidate.
fn state_bytes(params: &SamplingParams, tokens: u64, hidden: u64) -> u64 {
    if !params.is_contrastive_search() {
        return 0;
    }
    let state = hidden * size_of::<f32>() as u64;
    tokens * (state + size_of::<f64>() as u64) + u64::from(params.top_k) * state
}

fn logprob_bytes(
    params: &SamplingParams,
    prompt_len: usize,
    output_len_max: usize,
    vocab_len: usize,
) -> (&'static str, u64) {
    let bytes = |tokens: u64, asked: usize| {
        let entries = asked.min(vocab_len) + 1;
        let token = size_of::<TokenLogprobs>() + entries * size_of::<TokenLogprob>();
        tokens * token as u64
    };
    let of_prompt = params
        .prompt_logprobs
        .map_or(0, |asked| bytes(prompt_len as u64 - 1, asked as usize));
    let by_id = params.logprob_token_ids.as_ref().map(Vec::len);
    let by_count = params.logprobs.map(|asked| asked as usize);
    // A search keeps what its beams and its finished outputs have behind them.
    let outputs = params.beams.width.map_or(params.n, |width| 2 * width);
    let tokens = u64::from(outputs) * output_len_max as u64;
    let of_output = by_id.or(by_count).map_or(0, |asked| bytes(tokens, asked));
    let param = match by_id {
        _ if of_prompt > of_output => "prompt_logprobs",
        Some(_) => "logprob_token_ids",
        None => "logprobs",
    };
    (param, of_prompt + of_output)
}
