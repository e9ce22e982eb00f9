//! The contrastive search of one request while it grows: the candidates for its next token stand in the batch as
//! branches of one group, and the one that is likely and unlike what came before is committed.
//! Source: Su et al., "A contrastive framework for neural text generation" (2022).

use tokenmill_core::explain::{ContrastCandidate, Pick, Stage};
use tokenmill_core::{Event, Explanation, TokenId};
use tokenmill_decode::source::{Candidate, Mixed, Past, choose, weigh};
use tokenmill_decode::{Choice, Result, Scratch};

use crate::step::growth::sequence::Sequence;
use crate::step::live::Live;
use crate::step::planted::{Faults, Planted};

/// A growing search.
#[derive(Debug)]
pub(crate) struct Search {
    pub sequence: Sequence,
    /// Hidden states of the prompt and of every committed token.
    past: Past,
    /// The candidates in the batch; none while the prompt is computed.
    candidates: Vec<(Candidate, Choice)>,
    /// The hidden state of each.
    states: Vec<Vec<f32>>,
    /// How the candidates came to be, where that is explained; and those of the next step, until it is settled.
    stages: Vec<Stage>,
    next_stages: Vec<Stage>,
}

/// What a step of a search decided.
#[derive(Debug)]
pub(crate) struct Found {
    /// The candidate that is committed; absent behind the prompt.
    chosen: Option<(usize, Choice)>,
    /// The candidates behind it, if any token may stand there.
    next: Result<Vec<(Candidate, Choice)>>,
}

impl Search {
    /// A search with hidden states of this width.
    pub fn new(sequence: Sequence, hidden: usize) -> Self {
        Self {
            sequence,
            past: Past::new(hidden),
            candidates: Vec::new(),
            states: Vec::new(),
            stages: Vec::new(),
            next_stages: Vec::new(),
        }
    }

    /// Whether the state of the token at `position` is still unknown.
    pub fn wants(&self, position: u32) -> bool {
        position as usize >= self.past.len()
    }

    /// Takes the state of the token at `position` of a member.
    pub fn learn(
        &mut self,
        (member, position): (u32, u32),
        state: &[f32],
        faults: Faults,
    ) -> Result<()> {
        if self.candidates.is_empty() {
            self.past.truncate(position as usize);
            return self.past.push(state);
        }
        self.states.resize(self.candidates.len(), Vec::new());
        let mut place = member as usize;
        if faults.has(Planted::NeighboursState) {
            place = (place + 1) % self.candidates.len();
        }
        let own = &mut self.states[place];
        own.clear();
        own.extend_from_slice(state);
        Ok(())
    }

    /// Decides over the rows of the candidates, or over that of the prompt's last token.
    pub fn advance(
        &mut self,
        rows: &[Mixed<'_>],
        live: &Live,
        scratch: &mut Scratch,
    ) -> Result<Found> {
        if self.candidates.is_empty() {
            let next = self.find(rows[0], None, live, scratch)?;
            return Ok(Found {
                chosen: None,
                next: Ok(next),
            });
        }
        let resemblances: Result<Vec<f32>> = self
            .states
            .iter()
            .map(|state| self.past.resemblance(state))
            .collect();
        let resemblances = resemblances?;
        let candidates: Vec<Candidate> = self.candidates.iter().map(|(own, _)| *own).collect();
        let index = choose(&candidates, &resemblances, live.params.penalty_alpha);
        let index = index.expect("a search in the batch has candidates");
        let choice = self.candidates[index].1.clone();
        if live.explain.is_some() {
            self.explain(&choice, &resemblances, live.params.penalty_alpha);
        }
        let next = self.find(rows[index], Some(&choice), live, scratch);
        let chosen = Some((index, choice));
        Ok(Found { chosen, next })
    }

    /// Writes down how the candidate that comes next was chosen.
    fn explain(&mut self, choice: &Choice, resemblances: &[f32], alpha: f32) {
        let candidates = self.candidates.iter().zip(resemblances);
        let candidates = candidates.map(|((own, _), &resemblance)| ContrastCandidate {
            token: own.token,
            probability: own.probability,
            resemblance,
            score: weigh(own, resemblance, alpha),
        });
        let pick = Pick::Contrast {
            token: choice.token,
            alpha,
            candidates: candidates.collect(),
        };
        let position = self.sequence.sampler.prefix_len() as u32;
        let mut explanation = Explanation::new(position, self.stages.clone(), pick);
        explanation.lifted = choice.lifted.iter().map(|step| step.name()).collect();
        self.sequence.explained = Some(explanation);
    }

    /// The best tokens by a row, behind `choice`.
    fn find(
        &mut self,
        row: Mixed<'_>,
        choice: Option<&Choice>,
        live: &Live,
        scratch: &mut Scratch,
    ) -> Result<Vec<(Candidate, Choice)>> {
        let mut sampler = self.sequence.sampler.clone();
        let mut place = self.sequence.constraint.clone();
        if let Some(choice) = choice {
            sampler.commit(choice);
            place.advance(choice.token);
        }
        let row = row.within(place.mask(sampler.prefix_len())?);
        let count = live.params.top_k;
        let (candidates, lifted) = sampler.candidates(row, count, scratch)?;
        if let Some(top) = live.explain {
            self.next_stages = sampler.explain_candidates(row, top, scratch)?;
        }
        let is_reported = live.params.wants_logprobs();
        let with_choice = |candidate: Candidate| {
            let token = candidate.token;
            let choice = if is_reported {
                sampler.chosen(row, token, scratch)?
            } else {
                Choice {
                    token,
                    logprobs: None,
                    lifted: lifted.clone(),
                    observed: None,
                }
            };
            Ok((candidate, choice))
        };
        candidates
            .into_iter()
            .take(count as usize)
            .map(with_choice)
            .collect()
    }

    /// Commits what a step found: the event of the chosen token, if there is one, and the branches that go on.
    pub fn settle(
        &mut self,
        found: Found,
        live: &Live,
        eos: &[TokenId],
        faults: Faults,
    ) -> (Option<Event>, Result<Vec<(u32, TokenId)>>) {
        let (parent, event) = match found.chosen {
            Some((index, choice)) => {
                if faults.has(Planted::ForgottenState) {
                    self.past.truncate(live.prompt.len());
                }
                // The states were checked when they were learnt.
                let state = &self.states[index];
                let learnt = self.past.push(state);
                learnt.expect("a state that was compared can be kept");
                let event = self.sequence.commit(choice, live, eos, faults);
                (index as u32, Some(event))
            }
            None => (0, None),
        };
        let children = found.next.map(|next| {
            let children = next.iter().map(|(own, _)| (parent, own.token)).collect();
            self.candidates = next;
            self.stages = std::mem::take(&mut self.next_stages);
            children
        });
        (event, children)
    }
}
