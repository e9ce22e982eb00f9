//! The beam search of one request while it grows: the search itself, what its beams spell, and what of it was sent.
//! It knows no block: the children that it names are the scheduler's to fork.

use smallvec::SmallVec;
use tokenmill_core::event::Finish;
use tokenmill_core::explain::{BeamCandidate, Fate, Pick};
use tokenmill_core::{Event, Explanation, FinishReason, RequestId, StopReason, TokenId};
use tokenmill_decode::source::Mixed;
use tokenmill_decode::{
    BeamSearch, Candidate, EndReason, Hypothesis, Sampler, Scratch, Selection, Vocabulary,
};

use crate::constraint::Constraint;
use crate::lexicon::{Lexicon, Transcript};
use crate::step::live::Live;

/// A growing search.
#[derive(Debug)]
pub(crate) struct Beams {
    pub request: RequestId,
    search: BeamSearch,
    /// Scores prompts; the beams have samplers of their own.
    scorer: Sampler,
    /// What each live beam spells, where stop strings are looked for in it; else empty.
    spelled: Vec<Transcript>,
    /// The place of each in the request's grammar.
    places: Vec<Constraint>,
    /// What every output begins with, as text.
    settled: Transcript,
    /// The same before the first token.
    blank: Transcript,
    /// Tokens of it that were sent.
    sent: usize,
    /// How every step went, where that is explained.
    explained: Vec<Explanation>,
}

impl Beams {
    /// The search behind a request's prompt.
    pub fn new(
        request: RequestId,
        live: &Live,
        vocabulary: &Vocabulary,
        lexicon: &Lexicon,
    ) -> tokenmill_decode::Result<Self> {
        let (params, seed) = (&live.params, live.seed);
        let settled = Transcript::new(lexicon, params, live.output_len_min);
        let is_spelled = !params.stop.is_empty();
        Ok(Self {
            request,
            search: BeamSearch::new(params, seed, vocabulary, &live.prompt, live.output_len_max)?,
            scorer: live.sampler(0, vocabulary)?,
            spelled: is_spelled.then(|| settled.clone()).into_iter().collect(),
            places: vec![Constraint::new(&live.compiled)],
            blank: settled.clone(),
            settled,
            sent: 0,
            explained: Vec::new(),
        })
    }

    /// Output tokens of every live beam.
    pub fn output_len(&self) -> usize {
        self.search.output_len()
    }

    pub fn scorer(&self) -> &Sampler {
        &self.scorer
    }

    /// One step of the search over the rows of the live beams.
    pub fn advance(
        &mut self,
        rows: &[Mixed<'_>],
        live: &Live,
        scratch: &mut Scratch,
    ) -> tokenmill_decode::Result<Selection> {
        let selection = self.select(rows, live, scratch)?;
        self.spell(&selection);
        Ok(selection)
    }

    fn select(
        &mut self,
        rows: &[Mixed<'_>],
        live: &Live,
        scratch: &mut Scratch,
    ) -> tokenmill_decode::Result<Selection> {
        let position = live.prompt.len() + self.output_len();
        let mut masked: SmallVec<[Mixed<'_>; 16]> = SmallVec::new();
        for (row, place) in rows.iter().zip(&mut self.places) {
            masked.push(row.within(place.mask(position)?));
        }
        let len = self.search.output_len() + 1;
        let mut met = Vec::new();
        loop {
            let candidates = self.search.candidates_mixed(&masked, scratch)?;
            let is_stopped = |parent: u32, token: TokenId| {
                let beam = self.spelled.get(parent as usize);
                beam.is_some_and(|beam| beam.clone().push(token).1.is_some())
            };
            let stopped: Vec<bool> = candidates
                .iter()
                .map(|candidate| {
                    let is_text = live.params.include_stop_str_in_output
                        || !(candidate.is_eos || candidate.is_stop_id);
                    is_text && is_stopped(candidate.parent, candidate.token)
                })
                .collect();
            if live.explain.is_some() {
                met.push(mark(candidates, &stopped, live, len));
            }
            if let Some(selection) = self.search.select(&stopped) {
                if let Some(top) = live.explain {
                    let candidates = told(met, &selection, top as usize);
                    let pick = Pick::Beams(candidates);
                    let told = Explanation::new(position as u32, Vec::new(), pick);
                    self.explained.push(told);
                }
                return Ok(selection);
            }
        }
    }

    /// The live beams' texts, and their places in the grammar, are those of the children now.
    fn spell(&mut self, selection: &Selection) {
        let behind = |&(parent, token): &(u32, TokenId)| {
            let mut place = self.places[parent as usize].clone();
            place.advance(token);
            place
        };
        self.places = selection.children.iter().map(behind).collect();
        if self.spelled.is_empty() {
            return;
        }
        let child = |&(parent, token): &(u32, TokenId)| {
            let mut text = self.spelled[parent as usize].clone();
            text.push(token);
            text
        };
        self.spelled = selection.children.iter().map(child).collect();
    }

    /// What every output begins with and was not sent yet, as an event of the first, which there is in any case; the
    /// others come at the end. The last token that is known of it stays back, since it may be one that ends an output and is none of its text.
    pub fn settled_events(&mut self) -> Vec<Event> {
        let settled = self.search.settled();
        let end = settled.len().saturating_sub(1);
        if end <= self.sent {
            return Vec::new();
        }
        let mut event = Event::new(0);
        event.tokens = settled[self.sent..end].to_vec();
        for &token in &event.tokens {
            event.text.push_str(&self.settled.push(token).0);
        }
        let logprobs = self.search.settled_logprobs();
        event.logprobs = logprobs.get(self.sent..end).unwrap_or_default().to_vec();
        self.sent = end;
        vec![event]
    }

    /// The ends of all outputs: what was not sent of each.
    pub fn finish(self: Box<Self>, live: &Live, eos: &[TokenId]) -> Vec<Event> {
        let lifted: Vec<&'static str> = self
            .search
            .lifted()
            .iter()
            .map(|step| step.name())
            .collect();
        let Self {
            search,
            settled,
            blank,
            sent,
            explained,
            ..
        } = *self;
        let mut events: Vec<Event> = search
            .finish()
            .into_iter()
            .zip(0..)
            .map(|(hypothesis, index)| {
                let so_far = if index == 0 {
                    (sent, settled.clone())
                } else {
                    (0, blank.clone())
                };
                let mut event = end(&hypothesis, so_far, live, eos);
                event.index = index;
                event
            })
            .collect();
        // Where the constraints leave fewer outputs than were asked for, the rest end without any.
        for index in events.len() as u32..live.params.outputs() {
            let mut event = Event::new(index);
            event.finish = Some(Finish::new(FinishReason::Absent));
            events.push(event);
        }
        events[0].explained = explained;
        if let Some(finish) = &mut events[0].finish {
            finish.lifted = lifted;
        }
        events
    }
}

/// What a group's candidates are before it is known which go on: those that ended, as hypotheses only among the first as
/// many as there are beams.
fn mark(candidates: &[Candidate], stopped: &[bool], live: &Live, len: usize) -> Vec<BeamCandidate> {
    let beams = &live.params.beams;
    let width = beams.width.unwrap_or(1) / beams.num_beam_groups.max(1);
    let marked = candidates.iter().zip(stopped).zip(0..);
    let marked = marked.filter(|((candidate, _), _)| candidate.is_real());
    let marked = marked.map(|((candidate, &is_stopped), place)| {
        let is_end = candidate.is_eos || candidate.is_stop_id || is_stopped;
        let fate = if (is_end || len >= live.output_len_max) && place < width {
            Fate::Ended
        } else {
            Fate::Dropped
        };
        BeamCandidate {
            parent: candidate.parent,
            token: candidate.token,
            score: candidate.score,
            fate,
        }
    });
    marked.collect()
}

/// All groups' candidates with what became of them: at most `top` of a group go no further.
fn told(met: Vec<Vec<BeamCandidate>>, selection: &Selection, top: usize) -> Vec<BeamCandidate> {
    let mut children = (0..).zip(&selection.children).collect::<Vec<_>>();
    let mut told = Vec::new();
    for group in met {
        let mut dropped = 0;
        for mut candidate in group {
            let child = (candidate.parent, candidate.token);
            let beam = children.iter().position(|(_, other)| **other == child);
            if candidate.fate == Fate::Dropped
                && let Some(place) = beam
            {
                candidate.fate = Fate::Kept(children.remove(place).0);
            }
            dropped += usize::from(candidate.fate == Fate::Dropped);
            if candidate.fate != Fate::Dropped || dropped <= top {
                told.push(candidate);
            }
        }
    }
    told
}

/// The last event of one output, of which `sent` tokens are known to the caller and stand in `text`.
fn end(
    hypothesis: &Hypothesis,
    (sent, mut text): (usize, Transcript),
    live: &Live,
    eos: &[TokenId],
) -> Event {
    let params = &live.params;
    let mut event = Event::new(0);
    event.tokens = hypothesis.tokens[sent..].to_vec();
    event.logprobs = hypothesis.logprobs.get(sent..).unwrap_or_default().to_vec();
    let (mut stop, mut last) = (None, None);
    for (&token, place) in event.tokens.iter().zip(sent + 1..) {
        let is_last = place == hypothesis.tokens.len();
        let is_end = !params.ignore_eos && eos.contains(&token);
        let is_hidden = is_last
            && hypothesis.reason != EndReason::Length
            && (is_end || params.stop_token_ids.contains(&token))
            && !params.include_stop_str_in_output;
        last = Some(token);
        if !is_hidden {
            let (more, stopped) = text.push(token);
            event.text.push_str(&more);
            stop = stopped;
        }
    }
    event.text.push_str(&text.finish());
    let (reason, stop) = match hypothesis.reason {
        EndReason::Length => (FinishReason::Length, None),
        EndReason::Eos => (FinishReason::Stop, None),
        EndReason::Stop => {
            let text = stop.map(|index| StopReason::Text(params.stop[index].clone()));
            (FinishReason::Stop, text.or(last.map(StopReason::Token)))
        }
    };
    let mut finish = Finish::new(reason);
    finish.stop = stop;
    finish.score = Some(hypothesis.score);
    finish.cumulative_logprob = Some(hypothesis.cumulative_logprob);
    event.finish = Some(finish);
    event
}
