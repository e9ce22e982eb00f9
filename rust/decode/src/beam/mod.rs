//! Beam search: the likeliest outputs by their whole log-probability, as transformers finds them. A pure state: rows
//! of log-probabilities in, tokens and parents out. Every beam has a sampler of its own, whose processors act on
//! log-probabilities here, and, where beams are drawn, its warpers. Refuses to know text, blocks and requests: the
//! caller says which candidates end by what they spell, and forks and reorders what belongs to the beams.
//! Invariant: beams, candidates and hypotheses stand in one order (value descending, beam ascending, token
//! ascending), so that nothing depends on the order of evaluation.

mod gather;
mod group;
mod hypothesis;
mod rules;
mod scoring;
mod top;
mod trail;

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;
use tokenmill_core::{SamplingParams, TokenId, TokenLogprobs};

use crate::error::{Error, Result};
use crate::pipeline::Step;
use crate::sampler::Sampler;
use crate::scratch::Scratch;
use crate::source::Mixed;
use crate::vocabulary::Vocabulary;
pub(crate) use gather::BeamBuffers;
use group::Group;
use hypothesis::Entry;
pub use hypothesis::{EndReason, Hypothesis};
use rules::Rules;
use scoring::Scoring;
use top::Top;
use trail::{Leaf, Trail};

/// What is added to the score of what must not win, and the score of what is not there.
const NONE_SCORE: f32 = -1e9;

/// Whether a sum of log-probabilities is that of a beam that only fills a place.
fn is_phantom(sum: f32) -> bool {
    sum < NONE_SCORE / 2.0
}

/// A beam with a token behind it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// Its beam, by the number of the row among those that were given.
    pub parent: u32,
    /// The token.
    pub token: TokenId,
    /// The sum of log-probabilities with it.
    pub score: f32,
    /// Whether it is one of the model's ends, and so none of the text.
    pub is_eos: bool,
    /// Whether it is one of the request's stop ids.
    pub is_stop_id: bool,
    /// The beam's number in its group.
    beam: u32,
    logprobs: Option<TokenLogprobs>,
}

impl Candidate {
    /// Whether it is more than what fills a place.
    pub fn is_real(&self) -> bool {
        !is_phantom(self.score)
    }

    /// Why it goes no further, if it does not.
    fn end(&self, is_stopped: bool, is_last: bool) -> Option<EndReason> {
        if self.is_eos {
            Some(EndReason::Eos)
        } else if self.is_stop_id || is_stopped {
            Some(EndReason::Stop)
        } else {
            is_last.then_some(EndReason::Length)
        }
    }
}

/// What a step decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The beams of the next step in order, each with its parent among the rows of this one and its new token.
    pub children: Vec<(u32, TokenId)>,
    /// Whether the search is over; there are no children then.
    pub is_done: bool,
}

/// One request's search. A step is `candidates`, then `select`; with groups one pair after the other over the same
/// rows, until `select` has a selection.
#[derive(Clone, Debug)]
pub struct BeamSearch {
    rules: Rules,
    groups: Vec<Group>,
    trail: Trail,
    /// Rows of the next step.
    live: usize,
    /// Output tokens of every beam.
    len: usize,
    step: Half,
    lifted: Vec<Step>,
    settled: Vec<TokenId>,
    settled_logprobs: Vec<TokenLogprobs>,
}

/// A step under way.
#[derive(Clone, Debug, Default)]
struct Half {
    /// The group whose turn it is.
    group: usize,
    /// The row of its first beam.
    row: usize,
    candidates: Vec<Candidate>,
    children: Vec<(u32, TokenId)>,
    /// How often each token was taken by groups before.
    taken: BTreeMap<TokenId, u32>,
}

impl BeamSearch {
    /// A search behind `prompt`, one beam so far. `seed` keys the noise where beams are drawn; `output_len_max`:
    /// tokens at which an output ends.
    pub fn new(
        params: &Arc<SamplingParams>,
        seed: i64,
        vocabulary: &Vocabulary,
        prompt: &[TokenId],
        output_len_max: usize,
    ) -> Result<Self> {
        let rules = Rules::new(params, seed, vocabulary, prompt.len(), output_len_max);
        let sampler = Sampler::new(params, seed, 0, vocabulary, prompt)?
            .with_output_len_max(output_len_max as u32)
            .with_kept_min(rules.kept_min());
        let sampler = Arc::new(sampler);
        let width = rules.width;
        let group = |number: u32| Group::new(number * width as u32, width, &sampler);
        let groups = params.beams.num_beam_groups.max(1);
        Ok(Self {
            groups: (0..groups).map(group).collect(),
            rules,
            trail: Trail::new(),
            live: 1,
            len: 0,
            step: Half::default(),
            lifted: Vec::new(),
            settled: Vec::new(),
            settled_logprobs: Vec::new(),
        })
    }

    /// Rows that the next step needs, in the order of the last selection's children: at first that of the prompt.
    /// 0: the search is over.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Output tokens of every live beam.
    pub fn output_len(&self) -> usize {
        self.len
    }

    /// Whether no beam goes on.
    pub fn is_done(&self) -> bool {
        self.live == 0
    }

    /// The best continuations of the beams (of one group), the best first; where beams are drawn, in the order of the
    /// draw. `rows`: the model's logits of every live beam, or what a second source made of them. Changes nothing that
    /// another call with the same rows would not. Panics on another number of rows: the caller's books are broken.
    pub fn candidates(&mut self, rows: &[&[f32]], scratch: &mut Scratch) -> Result<&[Candidate]> {
        let rows: SmallVec<[Mixed<'_>; 16]> = rows.iter().map(|row| Mixed::plain(row)).collect();
        self.candidates_mixed(&rows, scratch)
    }

    /// The same from scores that second rows were mixed into, and within what a grammar allows each beam.
    pub fn candidates_mixed(
        &mut self,
        rows: &[Mixed<'_>],
        scratch: &mut Scratch,
    ) -> Result<&[Candidate]> {
        assert_eq!(rows.len(), self.live, "one row for every live beam");
        assert!(self.live > 0, "a search that is over has no candidates");
        while self.groups[self.step.group].is_done {
            self.step.group += 1;
        }
        let group = &self.groups[self.step.group];
        let own = if self.len == 0 {
            rows
        } else {
            &rows[self.step.row..self.step.row + group.running.len()]
        };
        let penalty = self.rules.params.beams.diversity_penalty;
        let taken = self.step.taken.iter();
        let taken: Vec<(TokenId, f32)> = taken
            .map(|(&token, &count)| (token, penalty * count as f32))
            .collect();
        let sums = std::mem::take(&mut scratch.beam.sums);
        let scoring = Scoring {
            rules: &self.rules,
            len: self.len + 1,
            taken: &taken,
            top: Top::new(self.rules.candidates_max(), sums),
            reports: Vec::new(),
            lifted: &mut self.lifted,
        };
        self.step.candidates = group.candidates(own, scoring, scratch)?;
        // A group without any is over. So is a search whose groups all are, and it has failed if it found nothing.
        let mut others = (0..).zip(&self.groups);
        let is_last = others.all(|(place, group)| place == self.step.group || group.is_done);
        if self.step.candidates.is_empty() && is_last && self.best().is_empty() {
            let first = self.groups[self.step.group].running.first();
            let position = first.map_or(0, |beam| beam.sampler.prefix_len() as u32);
            return Err(Error::NoTokenAllowed { position });
        }
        for candidate in &mut self.step.candidates {
            candidate.parent += self.step.row as u32;
        }
        Ok(&self.step.candidates)
    }

    /// Decides over the last candidates, of which `stopped` end by what they spell. `None`: the next group's turn
    /// comes first. Panics on another number of candidates, or before there are any.
    pub fn select(&mut self, stopped: &[bool]) -> Option<Selection> {
        let candidates = std::mem::take(&mut self.step.candidates);
        assert_eq!(
            stopped.len(),
            candidates.len(),
            "one word for every candidate"
        );
        let group = &mut self.groups[self.step.group];
        // Before the first token all groups read the row of the prompt.
        let rows = if self.len == 0 {
            0
        } else {
            group.running.len()
        };
        let places = group.select(&self.rules, &candidates, stopped, &mut self.trail);
        for place in places {
            let Candidate { parent, token, .. } = candidates[place];
            *self.step.taken.entry(token).or_insert(0) += 1;
            if !group.is_done {
                self.step.children.push((parent, token));
            }
        }
        if group.is_done {
            group.running.clear();
        }
        self.step.row += rows;
        self.step.group += 1;
        let mut rest = self.groups[self.step.group..].iter();
        if rest.any(|group| !group.is_done) {
            return None;
        }
        let children = std::mem::take(&mut self.step).children;
        self.len += 1;
        self.live = children.len();
        self.settle();
        self.prune();
        Some(Selection {
            is_done: children.is_empty(),
            children,
        })
    }

    /// Tokens that every output of the search begins with, whatever comes.
    pub fn settled(&self) -> &[TokenId] {
        &self.settled
    }

    /// What is reported of them, where asked for.
    pub fn settled_logprobs(&self) -> &[TokenLogprobs] {
        &self.settled_logprobs
    }

    /// Soft bans that would have left nothing at some step, and forcing that was skipped.
    pub fn lifted(&self) -> &[Step] {
        &self.lifted
    }

    /// The outputs that are wanted, the best first; of a search that is cut short those that it has.
    pub fn finish(self) -> Vec<Hypothesis> {
        let hypothesis = |entry: &Entry| Hypothesis {
            tokens: self.trail.tokens(entry.leaf, 0),
            score: entry.score,
            cumulative_logprob: entry.sum,
            logprobs: self.trail.logprobs(entry.leaf, 0),
            reason: entry.reason,
        };
        self.best().into_iter().map(hypothesis).collect()
    }

    /// The best outputs of all groups, as many as are wanted.
    fn best(&self) -> Vec<&Entry> {
        let groups = self.groups.iter();
        let mut entries: Vec<&Entry> = groups
            .flat_map(|group| group.finished.real(usize::MAX))
            .collect();
        entries.sort_by(|a, b| b.score.total_cmp(&a.score));
        entries.truncate(self.rules.params.beams.returned() as usize);
        entries
    }

    /// Takes up what all that may still be an output has in common.
    fn settle(&mut self) {
        let returned = self.rules.params.beams.returned() as usize;
        let mut leaves: Vec<Leaf> = Vec::new();
        if self.is_done() {
            leaves.extend(self.best().into_iter().map(|entry| entry.leaf));
        } else {
            for group in &self.groups {
                let alive = group.running.iter().filter(|beam| !is_phantom(beam.score));
                leaves.extend(alive.map(|beam| beam.leaf));
                // A place never becomes a better one.
                leaves.extend(group.finished.real(returned).map(|entry| entry.leaf));
            }
        }
        let fork = |one, other| self.trail.fork(one, other);
        let Some(common) = leaves.into_iter().reduce(fork) else {
            return;
        };
        let from = self.settled.len();
        self.settled.extend(self.trail.tokens(common, from));
        self.settled_logprobs
            .extend(self.trail.logprobs(common, from));
    }

    fn prune(&mut self) {
        let mut held: Vec<&mut Leaf> = Vec::new();
        for group in &mut self.groups {
            held.extend(group.running.iter_mut().map(|beam| &mut beam.leaf));
            held.extend(group.finished.leaves());
        }
        self.trail.prune(&mut held);
    }
}
