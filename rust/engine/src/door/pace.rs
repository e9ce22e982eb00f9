//! How often a caller hears of a growing sample: gathers events until there are enough new tokens. The first
//! event and the last pass at once; where only the end is wanted, the last alone. What it holds is what the
//! request was priced for.

use tokenmill_core::{Event, OutputKind, SamplingParams};

/// One request's events on their way.
#[derive(Debug)]
pub(crate) struct Pace {
    tokens_min: usize,
    only_last: bool,
    samples: Vec<Held>,
}

/// What one sample has said and its caller has not heard.
#[derive(Debug, Default)]
struct Held {
    event: Option<Event>,
    has_begun: bool,
}

impl Pace {
    /// None where every event passes at once.
    pub fn of(params: &SamplingParams) -> Option<Self> {
        let only_last = params.output_kind == OutputKind::FinalOnly;
        let tokens_min = params.stream_interval.unwrap_or(1) as usize;
        (only_last || tokens_min > 1).then(|| Self {
            tokens_min,
            only_last,
            samples: (0..params.outputs()).map(|_| Held::default()).collect(),
        })
    }

    /// Takes an event; gives back what is due.
    pub fn pass(&mut self, event: Event) -> Option<Event> {
        let held = &mut self.samples[event.index as usize];
        let whole = match held.event.take() {
            Some(mut whole) => {
                whole.absorb(event);
                whole
            }
            None => event,
        };
        let is_enough = !held.has_begun || whole.tokens.len() >= self.tokens_min;
        if whole.finish.is_some() || (is_enough && !self.only_last) {
            held.has_begun = true;
            return Some(whole);
        }
        held.event = Some(whole);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use tokenmill_core::event::Finish;
    use tokenmill_core::{Event, FinishReason, OutputKind, SamplingParams};

    fn lengths(params: &SamplingParams, tokens: u32) -> Vec<usize> {
        let mut pace = Pace::of(params).expect("a pace");
        let event = |token| {
            let mut event = Event::new(0);
            event.tokens.push(token);
            event.text = token.to_string();
            event.finish = (token + 1 == tokens).then_some(Finish::new(FinishReason::Length));
            event
        };
        let passed: Vec<Event> = (0..tokens)
            .filter_map(|token| pace.pass(event(token)))
            .collect();
        let all: Vec<u32> = passed
            .iter()
            .flat_map(|event| event.tokens.clone())
            .collect();
        assert_eq!(all, (0..tokens).collect::<Vec<u32>>());
        let text: String = passed.iter().map(|event| event.text.as_str()).collect();
        assert_eq!(
            text.len(),
            all.iter()
                .map(|token| token.to_string().len())
                .sum::<usize>()
        );
        passed.iter().map(|event| event.tokens.len()).collect()
    }

    #[test]
    fn the_first_and_the_last_pass_at_once_and_the_rest_in_bundles() {
        let every = |interval| SamplingParams {
            stream_interval: Some(interval),
            ..SamplingParams::default()
        };
        assert!(Pace::of(&every(1)).is_none());
        assert_eq!(lengths(&every(3), 9), [1, 3, 3, 2]);
        assert_eq!(lengths(&every(100), 9), [1, 8]);
        assert_eq!(lengths(&every(2), 1), [1]);
    }

    #[test]
    fn where_only_the_end_is_wanted_there_is_one_event() {
        let params = SamplingParams {
            output_kind: OutputKind::FinalOnly,
            ..SamplingParams::default()
        };
        assert_eq!(lengths(&params, 9), [9]);
        assert!(Pace::of(&SamplingParams::default()).is_none());
    }
}
