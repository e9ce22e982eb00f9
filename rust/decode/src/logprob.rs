//! Log-probabilities of a step: the sampled token's entry and the best alternatives, in the total order,
//! two tokens never sharing a rank. Raw ones come from the model's row, processed ones from what was drawn
//! from, with -inf for what was dropped. Sums are the fixed-point ones; the logarithm is taken in f64.
//! Reference: f64 log-softmax in the tests.

use tokenmill_core::{LogprobsMode, TokenId, TokenLogprob, TokenLogprobs};

use crate::row::{CHUNK, NotAScore, Row, scan, valid};
use crate::warper::order::{self, Candidate};
use crate::warper::select::{Goal, SelectBuffers, keep_prefix};
use crate::warper::{Scores, kth_largest, mass};

/// Memory of reports, kept between steps.
#[derive(Debug, Default)]
pub(crate) struct ReportBuffers {
    values: Vec<f32>,
    maxima: Vec<f32>,
    order: Vec<f32>,
    best: Vec<Candidate>,
    select: SelectBuffers,
}

/// Which tokens are reported besides the one that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    /// So many of the best; more than the vocabulary has: all.
    Best(usize),
    /// These.
    Tokens(&'a [TokenId]),
}

/// What is reported of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report<'a> {
    pub(crate) wanted: Wanted<'a>,
    pub(crate) mode: LogprobsMode,
}

impl Report<'_> {
    /// Of a greedy choice from a row.
    pub(crate) fn of_row(
        self,
        row: &Row<'_>,
        token: TokenId,
        buffers: &mut ReportBuffers,
    ) -> TokenLogprobs {
        if self.is_raw() || row.is_own() {
            return self.of_model(row, token, buffers);
        }
        let mut values = std::mem::take(&mut buffers.values);
        values.clear();
        (0..row.maxima().len()).for_each(|index| values.extend_from_slice(row.chunk(index)));
        let entries = self.of_values(&values, token, buffers);
        buffers.values = values;
        entries
    }

    /// Of a draw from scores.
    pub(crate) fn of_scores(
        self,
        scores: &Scores<'_, '_>,
        token: TokenId,
        buffers: &mut ReportBuffers,
    ) -> TokenLogprobs {
        let row = scores.row();
        if self.is_raw() {
            return self.of_model(row, token, buffers);
        }
        let mut values = std::mem::take(&mut buffers.values);
        values.clear();
        if let Some(kept) = scores.kept() {
            values.resize(row.len(), f32::NEG_INFINITY);
            for candidate in kept {
                values[candidate.token as usize] = candidate.score;
            }
        } else {
            for index in 0..row.maxima().len() {
                values.extend(row.chunk(index).iter().map(|&logit| scores.score(logit)));
            }
        }
        // Scores are counted from the best one, which log-probs do not see and logits must not lose.
        let entries = self.of_shifted(&values, scores.shift(), token, buffers);
        buffers.values = values;
        entries
    }

    fn is_raw(self) -> bool {
        matches!(
            self.mode,
            LogprobsMode::RawLogprobs | LogprobsMode::RawLogits
        )
    }

    fn is_normalised(self) -> bool {
        matches!(
            self.mode,
            LogprobsMode::RawLogprobs | LogprobsMode::ProcessedLogprobs
        )
    }

    /// Of the model's own values.
    fn of_model(self, row: &Row<'_>, token: TokenId, buffers: &mut ReportBuffers) -> TokenLogprobs {
        if row.is_broken() {
            return self.of_cleaned(row.own(), token, buffers);
        }
        self.of_values(row.own(), token, buffers)
    }

    /// Of values among which NaN and +inf may be, which count as what replaces them.
    pub(crate) fn of_cleaned(
        self,
        values: &[f32],
        token: TokenId,
        buffers: &mut ReportBuffers,
    ) -> TokenLogprobs {
        let clean = values.iter().map(|&value| valid(value, f32::NEG_INFINITY));
        let clean: Vec<f32> = clean.collect();
        self.of_values(&clean, token, buffers)
    }

    /// Of a given token, from a row that was not looked at yet.
    pub(crate) fn of_given(
        self,
        logits: &[f32],
        token: TokenId,
        buffers: &mut ReportBuffers,
    ) -> Result<TokenLogprobs, NotAScore> {
        scan(logits, &mut buffers.maxima)?;
        Ok(self.of_values(logits, token, buffers))
    }

    /// The entries of a dense row, in which at least one value is finite.
    fn of_values(
        self,
        values: &[f32],
        token: TokenId,
        buffers: &mut ReportBuffers,
    ) -> TokenLogprobs {
        self.of_shifted(values, 0.0, token, buffers)
    }

    /// The same, of values to each of which `shift` belongs; the order is theirs without it.
    fn of_shifted(
        self,
        values: &[f32],
        shift: f32,
        token: TokenId,
        buffers: &mut ReportBuffers,
    ) -> TokenLogprobs {
        // The row's values were checked when it came and after every edit.
        let _ = scan(values, &mut buffers.maxima);
        let max = buffers
            .maxima
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max);
        let ln_sum = self
            .is_normalised()
            .then(|| mass::ln(total_mass(values, &buffers.maxima, max)));
        let report = |value: f32| match ln_sum {
            Some(ln_sum) => (f64::from(value) - f64::from(max) - ln_sum) as f32,
            None => value + shift,
        };
        let mut entries = match self.wanted {
            Wanted::Best(count) => {
                select_best(values, count, buffers);
                let mut entries = TokenLogprobs::with_capacity(buffers.best.len() + 1);
                let ranked = buffers.best.iter().zip(1..);
                entries.extend(ranked.map(|(candidate, rank)| TokenLogprob {
                    token: candidate.token,
                    logprob: report(candidate.score),
                    rank,
                }));
                entries
            }
            Wanted::Tokens(tokens) => {
                let mut entries = TokenLogprobs::with_capacity(tokens.len() + 1);
                let ranked = ranks_of(values, tokens);
                entries.extend(ranked.into_iter().map(|(candidate, rank)| TokenLogprob {
                    token: candidate.token,
                    logprob: report(candidate.score),
                    rank,
                }));
                entries
            }
        };
        if entries.iter().all(|entry| entry.token != token) {
            let logprob = report(values[token as usize]);
            entries.push(TokenLogprob {
                token,
                logprob,
                rank: rank_of(values, token),
            });
        }
        if matches!(self.wanted, Wanted::Tokens(_)) {
            entries.sort_unstable_by_key(|entry| entry.rank);
        }
        entries
    }
}

/// Sum of the masses of values above `max`, which is the largest of `maxima`.
pub(crate) fn total_mass(values: &[f32], maxima: &[f32], max: f32) -> u64 {
    let (chunks, rest) = values.as_chunks::<CHUNK>();
    let heavy = chunks
        .iter()
        .zip(maxima)
        .filter(|&(_, &maximum)| maximum - max >= mass::SCORE_MIN);
    let sum: u64 = heavy
        .map(|(chunk, _)| mass::sum_chunk(&chunk.map(|value| value - max)))
        .sum();
    sum + rest.iter().map(|&value| mass::of(value - max)).sum::<u64>()
}

/// Tokens in their total order, each with its rank among all: one pass over the row, however many they are.
fn ranks_of(values: &[f32], tokens: &[TokenId]) -> Vec<(Candidate, u32)> {
    let candidate = |token: TokenId| Candidate {
        token,
        score: values[token as usize],
    };
    let mut listed: Vec<Candidate> = tokens.iter().map(|&token| candidate(token)).collect();
    listed.sort_unstable_by(|a, b| order::compare(*a, *b));
    let Some(last) = listed.last().map(|last| last.score) else {
        return Vec::new();
    };
    // Per place in the list: values that come before it and not before the place above it.
    let mut ahead = vec![0_u32; listed.len() + 1];
    for (token, &score) in (0..).zip(values) {
        if score >= last {
            let own = Candidate { token, score };
            let place = listed.partition_point(|one| order::compare(*one, own).is_lt());
            let is_listed = listed.get(place).is_some_and(|one| one.token == token);
            ahead[place + usize::from(is_listed)] += 1;
        }
    }
    let mut rank = 1;
    let ranked = listed.into_iter().zip(ahead).map(|(one, ahead)| {
        rank += ahead;
        (one, rank)
    });
    ranked.collect()
}

/// 1 + the number of tokens before this one in the total order.
fn rank_of(values: &[f32], token: TokenId) -> u32 {
    let own = values[token as usize];
    let (before, after) = values.split_at(token as usize);
    let ahead_before: u32 = before.iter().map(|&value| u32::from(value >= own)).sum();
    let ahead_after: u32 = after.iter().map(|&value| u32::from(value > own)).sum();
    1 + ahead_before + ahead_after
}

/// Leaves the first `count` tokens of the total order, in it, in `buffers.best`.
fn select_best(values: &[f32], count: usize, buffers: &mut ReportBuffers) {
    let ReportBuffers {
        maxima,
        order,
        best,
        select,
        ..
    } = buffers;
    best.clear();
    if count == 0 {
        return;
    }
    let bound = kth_largest(maxima, count, order);
    let chunks = (0..)
        .step_by(CHUNK)
        .zip(values.chunks(CHUNK))
        .zip(maxima.iter());
    for ((first, chunk), _) in chunks.filter(|&(_, &maximum)| maximum >= bound) {
        let candidates = (first..).zip(chunk).filter(|&(_, &score)| score >= bound);
        best.extend(candidates.map(|(token, &score)| Candidate { token, score }));
    }
    keep_prefix(best, Goal::Count(count as u64), select);
    best.sort_unstable_by(|a, b| order::compare(*a, *b));
}
