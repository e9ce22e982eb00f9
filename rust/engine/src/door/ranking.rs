//! The best of several samples: holds what they grow to, and hands out those with the highest log-prob per token when
//! all have ended. What it holds was priced with the request's log-probs. Ties go to the sample with the lower number;
//! one that failed comes first, so that its caller learns of it.

use tokenmill_core::{Event, FinishReason, SamplingParams};

/// The samples of one request.
#[derive(Debug)]
pub(crate) struct Ranking {
    handed_out: usize,
    /// Whether the caller asked for log-probs, too.
    wants_logprobs: bool,
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    event: Event,
    logprob_sum: f64,
    tokens: usize,
}

impl Ranking {
    /// None where every sample is handed out.
    pub fn of(params: &SamplingParams) -> Option<Self> {
        let held = (0..params.samples()).map(|index| Held {
            event: Event::new(index),
            logprob_sum: 0.0,
            tokens: 0,
        });
        params.is_ranked().then(|| Self {
            handed_out: params.n as usize,
            wants_logprobs: params.wants_logprobs(),
            held: held.collect(),
        })
    }

    /// Takes the next event of a sample.
    pub fn hold(&mut self, mut event: Event) {
        let held = &mut self.held[event.index as usize];
        for (token, entries) in event.tokens.iter().zip(&event.logprobs) {
            let own = entries.iter().find(|entry| entry.token == *token);
            held.logprob_sum += own.map_or(f64::NEG_INFINITY, |entry| f64::from(entry.logprob));
        }
        held.tokens += event.tokens.len();
        if !self.wants_logprobs {
            event.logprobs.clear();
        }
        held.event.absorb(event);
    }

    /// The best samples, numbered anew from the best one on.
    pub fn best(&mut self) -> Vec<Event> {
        let mut held = std::mem::take(&mut self.held);
        let prompt_logprobs = held
            .first_mut()
            .map(|first| std::mem::take(&mut first.event.prompt_logprobs));
        // Stable: of equals the lower number stays first.
        held.sort_by(|a, b| {
            b.rank()
                .partial_cmp(&a.rank())
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        held.truncate(self.handed_out);
        let mut events: Vec<Event> = held.into_iter().map(|held| held.event).collect();
        for (index, event) in (0..).zip(&mut events) {
            event.index = index;
        }
        if let (Some(first), Some(scored)) = (events.first_mut(), prompt_logprobs) {
            first.prompt_logprobs = scored;
        }
        events
    }
}

impl Held {
    fn rank(&self) -> f64 {
        let finish = self.event.finish.as_ref();
        match finish.map(|finish| finish.reason) {
            Some(FinishReason::Error) => f64::INFINITY,
            _ => self.logprob_sum / self.tokens.max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokenmill_core::TokenLogprob;
    use tokenmill_core::event::Finish;

    use super::*;

    fn ranking(n: u32, best_of: u32, logprobs: Option<u32>) -> Ranking {
        let params = SamplingParams {
            n,
            best_of: Some(best_of),
            logprobs,
            ..SamplingParams::default()
        };
        Ranking::of(&params).expect("more drawn than handed out")
    }

    fn event(index: u32, logprobs: &[f32], reason: Option<FinishReason>) -> Event {
        let mut event = Event::new(index);
        event.tokens = vec![index; logprobs.len()];
        let entry = |&logprob: &f32| {
            let (token, rank) = (index, 1);
            vec![TokenLogprob {
                token,
                logprob,
                rank,
            }]
        };
        event.logprobs = logprobs.iter().map(entry).collect();
        event.finish = reason.map(Finish::new);
        event
    }

    #[test]
    fn the_highest_log_prob_per_token_comes_first_and_the_sum_does_not_decide() {
        let mut ranking = ranking(2, 4, None);
        let end = Some(FinishReason::Stop);
        ranking.hold(event(0, &[-1.0], end));
        ranking.hold(event(1, &[-0.4, -0.4], None));
        ranking.hold(event(2, &[-2.0, -2.0], end));
        ranking.hold(event(1, &[-0.4], end));
        ranking.hold(event(3, &[-0.4, -0.4, -0.4], end));
        let best = ranking.best();
        let drawn: Vec<u32> = best.iter().map(|event| event.tokens[0]).collect();
        // The sums are -1, -1.2, -4 and -1.2; of equals the lower number comes first.
        assert_eq!(drawn, [1, 3]);
        assert_eq!([best[0].index, best[1].index], [0, 1]);
        assert!(best[0].tokens.len() == 3 && best[0].logprobs.is_empty());
    }

    #[test]
    fn a_failed_sample_is_told_and_log_probs_stay_where_they_were_asked_for() {
        let mut ranking = ranking(1, 2, Some(1));
        ranking.hold(event(0, &[-0.1], Some(FinishReason::Stop)));
        ranking.hold(event(1, &[-0.9], Some(FinishReason::Error)));
        let best = ranking.best();
        assert_eq!(
            (best.len(), best[0].tokens[0], best[0].logprobs.len()),
            (1, 1, 1)
        );
    }
}
