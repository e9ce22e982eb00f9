//! One sample of a request while it grows: its sampler state and text, moved whole. It decides when the
//! sample ends; it knows no block.

use tokenmill_core::event::Finish;
use tokenmill_core::{
    Event, Explanation, FinishReason, NamedPipeline, RequestId, StopReason, TokenId,
};
use tokenmill_decode::{Choice, Sampler};

use crate::constraint::Constraint;
use crate::lexicon::{Lexicon, Transcript};
use crate::step::live::Live;
use crate::step::planted::{Faults, Planted};

/// A growing sample.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub request: RequestId,
    /// Which of the request's samples.
    pub index: u32,
    pub sampler: Sampler,
    /// Its place in the request's grammar.
    pub constraint: Constraint,
    pub transcript: Transcript,
    /// Tokens generated so far.
    pub output_len: usize,
    /// Samples that fork off at the first token; 0 once they did.
    pub forks_due: u32,
    /// Soft bans that were lifted at some step, each once.
    pub lifted: Vec<&'static str>,
    /// Its output, where loops are looked for in it.
    pub output: Vec<TokenId>,
    /// How its next token came to be, between the choice and the commit.
    pub explained: Option<Explanation>,
}

impl Sequence {
    /// Sample `index` of a request, before its first token.
    pub fn new(
        request: RequestId,
        index: u32,
        sampler: Sampler,
        live: &Live,
        lexicon: &Lexicon,
    ) -> Self {
        Self {
            request,
            index,
            sampler,
            constraint: Constraint::new(&live.compiled),
            transcript: Transcript::new(lexicon, &live.params, live.output_len_min),
            output_len: 0,
            forks_due: 0,
            lifted: Vec::new(),
            output: Vec::new(),
            explained: None,
        }
    }

    /// Whether a token is one of the stop ids and may end the output here. transformers' minimum length does
    /// not ban them, so there they are ordinary tokens until it is reached.
    fn is_stop_id(&self, token: TokenId, live: &Live) -> bool {
        let params = &live.params;
        let is_early = params.pipeline.meaning() == NamedPipeline::Hf
            && self.output_len <= live.output_len_min;
        !is_early && params.stop_token_ids.contains(&token)
    }

    /// Whether the output has fallen into the loop that the request describes.
    fn has_loop(&mut self, token: TokenId, live: &Live) -> bool {
        let Some(detection) = live.params.repetition_detection else {
            return false;
        };
        self.output.push(token);
        self.output_len >= live.output_len_min && detection.finds(&self.output)
    }

    /// The only event of a sample whose request scores its prompt and nothing else.
    fn without_output(&self) -> Event {
        let mut event = Event::new(self.index);
        event.finish = Some(Finish::new(FinishReason::Length));
        event
    }

    /// Commits a sampled token: advances the sampler and the text, and says what to tell the caller. The
    /// event carries a finish without figures; the engine adds them.
    // hop 6.1: the token enters the text; decided is what of it is final and whether it ends
    pub fn commit(
        &mut self,
        choice: Choice,
        live: &Live,
        eos: &[TokenId],
        faults: Faults,
    ) -> Event {
        if live.output_len_max == 0 {
            return self.without_output();
        }
        let token = choice.token;
        self.output_len += 1;
        if !(faults.has(Planted::StaleMask) && self.output_len.is_multiple_of(5)) {
            self.sampler.commit(&choice);
            self.constraint.advance(token);
        }
        for step in &choice.lifted {
            if !self.lifted.contains(&step.name()) {
                self.lifted.push(step.name());
            }
        }
        let params = &live.params;
        let is_eos = !params.ignore_eos && eos.contains(&token);
        let is_stop_id = self.is_stop_id(token, live);
        let has_loop = self.has_loop(token, live);
        let is_hidden = (is_eos || is_stop_id) && !params.include_stop_str_in_output;
        let (mut text, stopped) = if is_hidden {
            (String::new(), None)
        } else {
            self.transcript.push(token)
        };
        let stopped = stopped.map(|index| StopReason::Text(params.stop[index].clone()));
        let stop_id = is_stop_id.then_some(StopReason::Token(token));
        let end = if is_eos {
            Some((FinishReason::Stop, None))
        } else if let Some(stop) = stop_id.or(stopped) {
            Some((FinishReason::Stop, Some(stop)))
        } else if self.output_len >= live.output_len_max {
            Some((FinishReason::Length, None))
        } else if has_loop {
            Some((FinishReason::Repetition, None))
        } else {
            None
        };
        if end.is_some() {
            text.push_str(&self.transcript.finish());
        }
        let finish = end.map(|(reason, stop)| {
            let mut finish = Finish::new(reason);
            finish.stop = stop;
            finish.lifted = std::mem::take(&mut self.lifted);
            finish
        });
        let mut tokens = vec![token];
        if finish.is_some() && faults.has(Planted::DropLastToken) {
            tokens.clear();
        }
        if self.output_len.is_multiple_of(7) && faults.has(Planted::RepeatToken) {
            tokens.push(token);
        }
        let mut event = Event::new(self.index);
        event.tokens = tokens;
        event.text = text;
        event.logprobs = choice.logprobs.into_iter().collect();
        event.explained = self.explained.take().into_iter().collect();
        event.finish = finish;
        event
    }
}
