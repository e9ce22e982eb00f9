//! How a group grows: one sample at a time, or the beams of a search together. What a step reads from the rows of a
//! group, and what it says of it.

pub(crate) mod beams;
pub(crate) mod search;
pub(crate) mod sequence;

use tokenmill_core::{RequestId, SequenceId, TokenLogprobs};
use tokenmill_decode::source::Mixed;
use tokenmill_decode::{Choice, Sampler, Scratch, Selection, Vocabulary};

use crate::step::growth::beams::Beams;
use crate::step::growth::search::{Found, Search};
use crate::step::growth::sequence::Sequence;
use crate::step::live::Live;

/// What grows under one id of the scheduler.
#[derive(Debug)]
pub(crate) enum Growth {
    /// One sample of a request.
    Sample(Box<Sequence>),
    /// All beams of a request.
    Beams(Box<Beams>),
    /// The candidates of a contrastive search.
    Search(Box<Search>),
}

/// What a group's rows led to.
#[derive(Debug)]
pub(crate) enum Grown {
    /// The next token, and the first tokens of the samples that fork off here.
    Token(Choice, Vec<Fork>),
    /// The beams that go on.
    Beams(Selection),
    /// The candidate that is committed, and those behind it.
    Search(Found),
}

/// A sample that forks off: its index, sampler and first token.
pub(crate) type Fork = (u32, Sampler, Choice);

impl Growth {
    pub fn request(&self) -> RequestId {
        match self {
            Self::Sample(sequence) => sequence.request,
            Self::Beams(beams) => beams.request,
            Self::Search(search) => search.sequence.request,
        }
    }

    /// Position of the token that the next rows decide over.
    pub fn position(&self, live: &Live) -> u32 {
        match self {
            Self::Sample(sequence) => sequence.sampler.prefix_len() as u32,
            Self::Beams(beams) => (live.prompt.len() + beams.output_len()) as u32,
            Self::Search(search) => search.sequence.sampler.prefix_len() as u32,
        }
    }

    /// Decides over the rows of all members, in their order.
    pub fn grow(
        &mut self,
        rows: &[Mixed<'_>],
        live: &Live,
        vocabulary: &Vocabulary,
        scratch: &mut Scratch,
    ) -> tokenmill_decode::Result<Grown> {
        match self {
            Self::Sample(sequence) => draw(sequence, live, rows[0], vocabulary, scratch)
                .map(|(choice, forks)| Grown::Token(choice, forks)),
            Self::Beams(beams) => beams.advance(rows, live, scratch).map(Grown::Beams),
            Self::Search(search) => search.advance(rows, live, scratch).map(Grown::Search),
        }
    }

    /// The log-probs of the prompt's token behind the row at `position`.
    pub fn score(
        &self,
        logits: &[f32],
        position: u32,
        live: &Live,
        scratch: &mut Scratch,
    ) -> tokenmill_decode::Result<TokenLogprobs> {
        let next = position + 1;
        let token = live.prompt[next as usize];
        let sampler = match self {
            Self::Sample(sequence) => &sequence.sampler,
            Self::Beams(beams) => beams.scorer(),
            Self::Search(search) => &search.sequence.sampler,
        };
        sampler.score(logits, token, next, scratch)
    }
}

/// Samples a sequence's token, and the first tokens of the samples that fork off here.
fn draw(
    sequence: &mut Sequence,
    live: &Live,
    row: Mixed<'_>,
    vocabulary: &Vocabulary,
    scratch: &mut Scratch,
) -> tokenmill_decode::Result<(Choice, Vec<Fork>)> {
    if live.output_len_max == 0 {
        return nothing_to_draw(sequence, live, vocabulary);
    }
    let position = sequence.sampler.prefix_len();
    let row = row.within(sequence.constraint.mask(position)?);
    let choice = match live.explain {
        None => sequence.sampler.sample_mixed(row, scratch)?,
        Some(top) => {
            let (choice, explained) = sequence.sampler.explain(row, top, scratch)?;
            sequence.explained = Some(explained);
            choice
        }
    };
    let mut forks = Vec::new();
    for index in 1..=sequence.forks_due {
        let sampler = live.sampler(index, vocabulary)?;
        let choice = sampler.sample_mixed(row, scratch)?;
        forks.push((index, sampler, choice));
    }
    Ok((choice, forks))
}

/// Of a request that only scores its prompt: samples that end here, without a token.
fn nothing_to_draw(
    sequence: &Sequence,
    live: &Live,
    vocabulary: &Vocabulary,
) -> tokenmill_decode::Result<(Choice, Vec<Fork>)> {
    let fork = |index| Ok((index, live.sampler(index, vocabulary)?, Choice::none()));
    let forks = (1..=sequence.forks_due).map(fork);
    Ok((
        Choice::none(),
        forks.collect::<tokenmill_decode::Result<_>>()?,
    ))
}

/// What a step found out about one group.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It goes on, or ends.
    Grown(SequenceId, Grown),
    /// The log-probs of one of its prompt's tokens.
    Scored(SequenceId, TokenLogprobs),
    /// It failed; nothing it computed in this step counts.
    Failed(SequenceId, tokenmill_core::Failure),
}
