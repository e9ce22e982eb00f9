//! One search: beams that are alive, hypotheses, and whether a beam can still beat them. The steps are those of
//! transformers, in f32 and to the letter: what ends is not taken out of the running beams but pushed below all
//! others, and only candidates among the first as many as there are beams become hypotheses.

use std::cmp::Reverse;
use std::sync::Arc;

use super::hypothesis::{EndReason, Entry, Finished};
use super::rules::Rules;
use super::scoring::Scoring;
use super::trail::{Leaf, ROOT, Trail};
use super::{Candidate, NONE_SCORE};
use crate::error::Result;
use crate::sampler::Sampler;
use crate::scratch::Scratch;
use crate::source::Mixed;
use crate::warper::order;

/// A beam.
#[derive(Clone, Debug)]
pub(super) struct Beam {
    pub(super) score: f32,
    pub(super) leaf: Leaf,
    /// Shared until the beams that have it differ.
    pub(super) sampler: Arc<Sampler>,
}

/// One search.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The number of its first beam in the whole search.
    number: u32,
    width: usize,
    pub(super) running: Vec<Beam>,
    pub(super) finished: Finished,
    /// Whether a running beam may still beat a hypothesis. Once none may, it stays so.
    is_open: bool,
    pub(super) is_done: bool,
}

impl Group {
    /// All beams start at the prompt; but one count for nothing, so that the first step takes different tokens.
    pub(super) fn new(number: u32, width: usize, sampler: &Arc<Sampler>) -> Self {
        let beam = |index| Beam {
            score: if index == 0 { 0.0 } else { NONE_SCORE },
            leaf: ROOT,
            sampler: sampler.clone(),
        };
        Self {
            number,
            width,
            running: (0..width).map(beam).collect(),
            finished: Finished::new(width),
            is_open: true,
            is_done: false,
        }
    }

    /// Steps 1 and 2: the first K of the sums. `rows`: one for each beam, or, before the first token, one for all.
    pub(super) fn candidates(
        &self,
        rows: &[Mixed<'_>],
        mut scoring: Scoring<'_>,
        scratch: &mut Scratch,
    ) -> Result<Vec<Candidate>> {
        let len = self.running.len().div_ceil(rows.len());
        let runs = self.running.chunks(len).zip((self.number..).step_by(len));
        for ((beams, number), row) in runs.zip(rows) {
            scoring.meet(beams, number, *row, scratch)?;
        }
        let Scoring {
            rules,
            len: output_len,
            top,
            mut reports,
            ..
        } = scoring;
        let sums = top.sorted();
        let candidates = sums.iter().map(|sum| {
            let place = (sum.beam, sum.token);
            let mut reports = reports.iter_mut();
            let report = reports.find(|(beam, token, _)| (*beam, *token) == place);
            let beam = sum.beam - self.number;
            Candidate {
                parent: beam / len as u32,
                token: sum.token,
                score: sum.score,
                is_eos: rules.is_eos(sum.token),
                is_stop_id: rules.is_stop_id(sum.token, output_len),
                beam,
                logprobs: report.map(|report| std::mem::take(&mut report.2)),
            }
        });
        let candidates: Vec<Candidate> = candidates.collect();
        scratch.beam.sums = sums;
        Ok(candidates)
    }

    /// Steps 3 to 7. Returns which candidates go on, in order.
    pub(super) fn select(
        &mut self,
        rules: &Rules,
        candidates: &[Candidate],
        stopped: &[bool],
        trail: &mut Trail,
    ) -> Vec<usize> {
        let len = self.running.first().map_or(0, |beam| trail.len(beam.leaf)) + 1;
        let is_last = len >= rules.output_len_max;
        let ends = candidates.iter().zip(stopped);
        let ends = ends.map(|(candidate, &is_stopped)| candidate.end(is_stopped, is_last));
        let ends: Vec<Option<EndReason>> = ends.collect();
        let children = self.children(candidates, &ends, trail);
        self.take_in(rules, candidates, &ends, trail);
        let places: Vec<usize> = children.iter().map(|(place, _)| *place).collect();
        self.running = children.into_iter().map(|(_, beam)| beam).collect();
        let best = self.running.first().map_or(f32::NEG_INFINITY, |beam| {
            rules.weighed(beam.score, rules.hoped_len(len))
        });
        let is_real = self
            .running
            .first()
            .is_some_and(|beam| !super::is_phantom(beam.score));
        self.is_open &= self.finished.loses_to(best, is_real);
        let is_full = rules.stops_when_full() && self.finished.is_full();
        self.is_done = !self.is_open || is_full || ends.iter().all(Option::is_some);
        if !self.is_done {
            // Their parents are gone: where a sampler has one child, it is moved on in place.
            for ((beam, &place), number) in self.running.iter_mut().zip(&places).zip(self.number..)
            {
                let sampler = Arc::make_mut(&mut beam.sampler);
                sampler.move_as_beam(candidates[place].token, number);
            }
        }
        places
    }

    /// Step 4: the first of what goes on; what ended comes behind all that did not.
    fn children(
        &self,
        candidates: &[Candidate],
        ends: &[Option<EndReason>],
        trail: &mut Trail,
    ) -> Vec<(usize, Beam)> {
        let score = |place: usize| match ends[place] {
            Some(_) => candidates[place].score + NONE_SCORE,
            None => candidates[place].score,
        };
        let mut places: Vec<usize> = (0..candidates.len()).collect();
        places.sort_by_key(|&place| Reverse(order::key(score(place))));
        places.truncate(self.width);
        let child = |place: usize| {
            let candidate = &candidates[place];
            let parent = &self.running[candidate.beam as usize];
            let beam = Beam {
                score: score(place),
                leaf: trail.push(parent.leaf, candidate.token, candidate.logprobs.clone()),
                sampler: parent.sampler.clone(),
            };
            (place, beam)
        };
        places.into_iter().map(child).collect()
    }

    /// Step 5: hypotheses are what ended among the first as many candidates as there are beams. The others are put
    /// below every place, where only empty ones are.
    fn take_in(
        &mut self,
        rules: &Rules,
        candidates: &[Candidate],
        ends: &[Option<EndReason>],
        trail: &mut Trail,
    ) {
        let is_full = rules.stops_when_full() && self.finished.is_full();
        let mut entries = Vec::with_capacity(candidates.len());
        for (place, (candidate, end)) in candidates.iter().zip(ends).enumerate() {
            let parent = self.running[candidate.beam as usize].leaf;
            let is_done = end.is_some() && place < self.width;
            let mut score = rules.weighed(candidate.score, trail.len(parent) + 1);
            for is_below in [is_full, !self.is_open, !is_done] {
                score += if is_below { NONE_SCORE } else { 0.0 };
            }
            let leaf = if is_done {
                trail.push(parent, candidate.token, candidate.logprobs.clone())
            } else {
                ROOT
            };
            entries.push(Entry {
                score,
                sum: candidate.score,
                leaf,
                reason: end.unwrap_or(EndReason::Length),
                is_done,
            });
        }
        self.finished.merge(entries);
    }
}
