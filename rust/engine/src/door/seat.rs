//! A place in the engine, and the memory that comes with it: taken before a request is queued, given back
//! when it has ended. What the seats hold together never passes the bounds of the engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokenmill_core::{SamplingParams, TokenId, TokenLogprob, TokenLogprobs};

use crate::door::Capacity;
use crate::error::{Error, Result};
use crate::primitives::AtomicU64;
use crate::stats::Stats;

/// Memory that a request asks for, each with the option that asks for the most of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub logprobs: (&'static str, u64),
    pub lists: (&'static str, u64),
}

/// One request's place.
#[derive(Debug)]
pub(crate) struct Seat {
    stats: Arc<Stats>,
    logprob_bytes: u64,
    list_bytes: u64,
}

impl Seat {
    /// Takes a place for a request, with the memory that it asks for; or says which bound is reached.
    pub fn take(stats: &Arc<Stats>, capacity: &Capacity, asked: Asked) -> Result<Self> {
        let (param, needed) = asked.logprobs;
        if needed > capacity.logprobs_bytes {
            let limit = capacity.logprobs_bytes;
            return Err(Error::LogprobBytes {
                param,
                needed,
                limit,
            });
        }
        let (param, needed) = asked.lists;
        if needed > capacity.lists_bytes {
            let limit = capacity.lists_bytes;
            return Err(Error::ListBytes {
                param,
                needed,
                limit,
            });
        }
        let limit = capacity.requests_max;
        let refused = |error| {
            Stats::add(&stats.requests_refused, 1);
            Err(error)
        };
        if let Err(live) = take(&stats.requests_live, 1, limit as u64) {
            let live = live as usize;
            return refused(Error::Overloaded { live, limit });
        }
        // From here on dropping the seat gives all of it back.
        let mut seat = Self {
            stats: stats.clone(),
            logprob_bytes: 0,
            list_bytes: 0,
        };
        let limit = capacity.logprobs_bytes;
        if let Err(held) = take(&stats.logprob_bytes, asked.logprobs.1, limit) {
            return refused(Error::LogprobsOverloaded { held, limit });
        }
        seat.logprob_bytes = asked.logprobs.1;
        let limit = capacity.lists_bytes;
        if let Err(held) = take(&stats.list_bytes, asked.lists.1, limit) {
            return refused(Error::ListsOverloaded { held, limit });
        }
        seat.list_bytes = asked.lists.1;
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
        let bytes = self.list_bytes;
        self.stats.list_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.stats.requests_live.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Adds to a figure unless it would pass the limit; then the figure as it is.
fn take(figure: &AtomicU64, amount: u64, limit: u64) -> std::result::Result<u64, u64> {
    figure.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
        let sum = held.checked_add(amount)?;
        (sum <= limit).then_some(sum)
    })
}

/// Bytes of a request's token lists: those of its parameters, and a copy in the state of each sample, which holds
/// them sorted for its steps.
pub(crate) fn list_bytes(params: &SamplingParams) -> (&'static str, u64) {
    let lists = params.token_ids();
    let ids: usize = lists.iter().map(|(_, ids)| ids.len()).sum();
    let longest = lists.iter().max_by_key(|(_, ids)| ids.len());
    let copies = 1 + u64::from(params.samples().max(params.branches()));
    let bytes = (ids * size_of::<TokenId>()) as u64 * copies;
    (longest.map_or("", |(name, _)| *name), bytes)
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
    // A search keeps what its beams and its finished outputs have behind them, and as much again between two
    // clearings of its tree (`decode`'s `Trail`, with its slack).
    let held = params
        .beams
        .width
        .map_or((params.samples(), 0), |width| (4 * width, 1024));
    let tokens = u64::from(held.0) * output_len_max as u64 + held.1;
    // Samples that are ranked carry an entry a token, asked for or not.
    let ranked = params.is_ranked().then_some(0);
    let of_output = by_id
        .or(by_count)
        .or(ranked)
        .map_or(0, |asked| bytes(tokens, asked));
    let param = match by_id {
        _ if of_prompt > of_output => "prompt_logprobs",
        Some(_) => "logprob_token_ids",
        None if by_count.is_none() && params.is_ranked() => "best_of",
        None => "logprobs",
    };
    (param, of_prompt + of_output)
}
