//! The middle of a step: plan to batch, batch to logits, logits to tokens, tokens to the scheduler and the
//! callers. When a step fails it is run again sequence by sequence: rows do not depend on their company,
//! so the innocent lose nothing and the guilty one is found.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenmill_core::{Event, Failure, FinishReason, Kind, SequenceId, TokenLogprobs};
use tokenmill_decode::{Choice, Sampler, Scratch, Vocabulary};
use tokenmill_model::{BlockCopy, Span, StepBatch};
use tokenmill_sched::Plan;

use crate::stats::Stats;
use crate::step::engine::Engine;
use crate::step::live::Live;
use crate::step::meter::Part;
use crate::step::sequence::Sequence;

/// What a step found out about one sequence.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Its next token, and the first tokens of the samples that fork off here.
    Drawn(SequenceId, Choice, Vec<Fork>),
    /// The log-probs of one of its prompt's tokens.
    Scored(SequenceId, TokenLogprobs),
    /// It failed; nothing it computed in this step counts.
    Failed(SequenceId, Failure),
}

/// A sample that forks off: its index, sampler and first token.
type Fork = (u32, Sampler, Choice);

impl Engine {
    /// Plans and runs a step; false if there was nothing to run.
    pub(crate) fn run_plan(&mut self) -> bool {
        self.meter.start();
        self.scheduler.plan();
        self.meter.end(Part::Plan, &self.shared.stats);
        if self.scheduler.planned().is_empty() {
            return false;
        }
        self.outcomes.clear();
        self.copy_blocks();
        let spans = self.scheduler.planned().spans.len();
        if self.execute(0, spans).is_err() {
            Stats::add(&self.shared.stats.steps_isolated, 1);
            self.outcomes.clear();
            self.isolate(spans);
        }
        self.settle();
        true
    }

    fn copy_blocks(&mut self) {
        let plan = self.scheduler.planned();
        if plan.copies.is_empty() {
            return;
        }
        let copies: Vec<BlockCopy> = plan
            .copies
            .iter()
            .map(|copy| BlockCopy {
                from: copy.from,
                to: copy.to,
                from_slot: copy.from_slot,
                to_slot: copy.to_slot,
                len: copy.len,
            })
            .collect();
        if let Err(error) = self.backend.copy_blocks(&copies) {
            panic!("the backend could not copy blocks: {error}");
        }
    }

    /// Runs every span of the plan alone.
    fn isolate(&mut self, spans: usize) {
        for span in 0..spans {
            if let Err(failure) = self.execute(span, span + 1) {
                let id = self.scheduler.planned().spans[span].id;
                self.outcomes.push(Outcome::Failed(id, failure));
            }
        }
    }

    /// Runs spans `from..to` of the plan and samples their tokens.
    // hop 4.1: the plan becomes one ragged batch; its rows come back as logits and are sampled
    fn execute(&mut self, from: usize, to: usize) -> Result<(), Failure> {
        self.meter.start();
        fill(&mut self.batch, self.scheduler.planned(), from, to);
        let ran = catch_unwind(AssertUnwindSafe(|| self.backend.run(&self.batch)));
        let ticket = match ran {
            Ok(Ok(ticket)) => ticket,
            Ok(Err(error)) => return Err(Failure::of(&error)),
            Err(_) => {
                let message = "the backend panicked on this request";
                return Err(Failure::new(Kind::Internal, message));
            }
        };
        self.meter.end(Part::Model, &self.shared.stats);
        self.meter.count(&self.batch, &self.shared.stats);
        let mut rows = LogitsRows::new(self.scheduler.planned(), from);
        for (index, &row) in self.batch.logits_rows.iter().enumerate() {
            let (id, scored) = rows.next(self.scheduler.planned(), row);
            let logits = self
                .backend
                .logits(ticket, index)
                .map_err(|error| Failure::of(&error))?;
            let Some(sequence) = self.sequences.get_mut(&id) else {
                continue;
            };
            let Some(live) = self.lives.get(&sequence.request) else {
                continue;
            };
            let (vocabulary, scratch) = (&self.vocabulary, &mut self.scratch);
            let drawn = catch_unwind(AssertUnwindSafe(|| {
                if let Some(position) = scored {
                    return score(sequence, live, logits, position, scratch)
                        .map(|entries| Outcome::Scored(id, entries));
                }
                draw(sequence, live, logits, vocabulary, scratch)
                    .map(|(choice, forks)| Outcome::Drawn(id, choice, forks))
            }));
            self.outcomes.push(match drawn {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(error)) => Outcome::Failed(id, Failure::of(&error)),
                Err(_) => {
                    let message = "sampling panicked on this request";
                    Outcome::Failed(id, Failure::new(Kind::Internal, message))
                }
            });
        }
        self.meter.end(Part::Sample, &self.shared.stats);
        Ok(())
    }

    /// Tells the scheduler and the callers what the step found out.
    fn settle(&mut self) {
        self.meter.start();
        let outcomes = std::mem::take(&mut self.outcomes);
        // Failed sequences leave before the commit: what they computed must not be published.
        for outcome in &outcomes {
            if let Outcome::Failed(id, failure) = outcome
                && let Some(sequence) = self.sequences.get(id)
            {
                let request = sequence.request;
                self.end_request(request, FinishReason::Error, Some(failure));
            }
        }
        self.scheduler.commit();
        let mut outcomes = outcomes;
        for outcome in outcomes.drain(..) {
            match outcome {
                Outcome::Drawn(id, choice, forks) => {
                    for (index, sampler, choice) in forks {
                        self.settle_fork(id, index, sampler, choice);
                    }
                    self.settle_token(id, choice);
                }
                Outcome::Scored(id, entries) => self.settle_score(id, entries),
                Outcome::Failed(..) => {}
            }
        }
        self.outcomes = outcomes;
        self.scheduler.check();
        Stats::add(&self.shared.stats.steps, 1);
        self.meter.end(Part::Publish, &self.shared.stats);
    }

    fn settle_score(&mut self, id: SequenceId, entries: TokenLogprobs) {
        let live = self
            .sequences
            .get(&id)
            .and_then(|sequence| self.lives.get_mut(&sequence.request));
        if let Some(live) = live {
            live.prompt_logprobs.push(entries);
        }
    }

    fn settle_token(&mut self, id: SequenceId, choice: Choice) {
        let Some(sequence) = self.sequences.get_mut(&id) else {
            return;
        };
        let Some(live) = self.lives.get_mut(&sequence.request) else {
            return;
        };
        sequence.forks_due = 0;
        let token = choice.token;
        let mut event = sequence.commit(choice, live, self.vocabulary.eos(), self.faults);
        if event.index == 0 {
            event.prompt_logprobs = std::mem::take(&mut live.prompt_logprobs);
        }
        Stats::add(&self.shared.stats.tokens, 1);
        let request = sequence.request;
        if event.finish.is_some() {
            self.add_figures(id, &mut event);
            self.scheduler.finish(id);
            self.sequences.remove(&id);
        } else {
            self.scheduler.append(id, token);
        }
        self.send(request, event);
    }

    fn settle_fork(&mut self, parent: SequenceId, index: u32, sampler: Sampler, choice: Choice) {
        let Some(from) = self.sequences.get(&parent) else {
            return;
        };
        let request = from.request;
        let Some(live) = self.lives.get(&request) else {
            return;
        };
        let mut child = Sequence::new(request, index, sampler, live, &self.shared.lexicon);
        let token = choice.token;
        let mut event = child.commit(choice, live, self.vocabulary.eos(), self.faults);
        Stats::add(&self.shared.stats.tokens, 1);
        if event.finish.is_some() {
            self.add_figures(parent, &mut event);
        } else {
            let id = self.next_sequence_id();
            let forked = self.scheduler.fork(parent, id, token);
            forked.expect("a sequence that was just sampled can be forked");
            self.sequences.insert(id, child);
        }
        self.send(request, event);
    }

    fn add_figures(&self, id: SequenceId, event: &mut Event) {
        if let Some(finish) = &mut event.finish {
            finish.cached_tokens = self.scheduler.cached_tokens(id).unwrap_or(0) as u32;
            finish.created_tokens = self.scheduler.created_tokens(id).unwrap_or(0) as u32;
            finish.preemptions = self.scheduler.preemptions(id).unwrap_or(0);
        }
    }

    fn send(&mut self, request: tokenmill_core::RequestId, event: Event) {
        let Some(live) = self.lives.get_mut(&request) else {
            return;
        };
        live.outbox.send(event);
        if live.outbox.is_done() {
            self.lives.remove(&request);
        }
    }
}

/// The log-probs of the prompt's token behind the row at `position`.
fn score(
    sequence: &Sequence,
    live: &Live,
    logits: &[f32],
    position: u32,
    scratch: &mut Scratch,
) -> tokenmill_decode::Result<TokenLogprobs> {
    let next = position + 1;
    let token = live.prompt[next as usize];
    sequence.sampler.score(logits, token, next, scratch)
}

/// Whose the rows with logits are, one after another: sampled rows and scored ones are both ascending.
struct LogitsRows {
    /// First row of the batch, in the plan.
    first_row: u32,
    /// Next entry of `sampled`.
    sampled: usize,
    /// Next entry of `scored_rows`.
    scored: usize,
}

impl LogitsRows {
    /// Those of the spans from `span` on.
    fn new(plan: &Plan, span: usize) -> Self {
        let first_row = plan.spans[span].row;
        Self {
            first_row,
            sampled: plan.logits_rows.partition_point(|&row| row < first_row),
            scored: plan.scored_rows.partition_point(|&row| row < first_row),
        }
    }

    /// The sequence of the batch's `row`, and its position where it scores a prompt.
    fn next(&mut self, plan: &Plan, row: u32) -> (SequenceId, Option<u32>) {
        let row = self.first_row + row;
        if plan.scored_rows.get(self.scored) != Some(&row) {
            self.sampled += 1;
            return (plan.sampled[self.sampled - 1], None);
        }
        self.scored += 1;
        let span = plan
            .spans
            .partition_point(|span| span.row + span.rows <= row);
        let position = plan.positions[row as usize];
        (plan.spans[span].id, Some(position))
    }
}

/// Samples a sequence's token, and the first tokens of the samples that fork off here.
fn draw(
    sequence: &mut Sequence,
    live: &Live,
    logits: &[f32],
    vocabulary: &Vocabulary,
    scratch: &mut Scratch,
) -> tokenmill_decode::Result<(Choice, Vec<Fork>)> {
    let position = sequence.sampler.prefix_len();
    let mask = sequence.constraint.mask(position)?;
    let choice = sequence.sampler.sample_within(logits, mask, scratch)?;
    let mut forks = Vec::new();
    for index in 1..=sequence.forks_due {
        let sampler = live.sampler(index, vocabulary)?;
        let choice = sampler.sample_within(logits, mask, scratch)?;
        forks.push((index, sampler, choice));
    }
    Ok((choice, forks))
}

/// Copies spans `from..to` of a plan into a batch whose rows start at 0.
fn fill(batch: &mut StepBatch, plan: &Plan, from: usize, to: usize) {
    batch.clear();
    let (first, last) = (&plan.spans[from], &plan.spans[to - 1]);
    let rows = first.row as usize..(last.row + last.rows) as usize;
    let tables = first.table as usize..(last.table + last.table_len) as usize;
    batch.tokens.extend_from_slice(&plan.tokens[rows.clone()]);
    batch
        .positions
        .extend_from_slice(&plan.positions[rows.clone()]);
    batch.slots.extend_from_slice(&plan.slots[rows.clone()]);
    batch.tables.extend_from_slice(&plan.tables[tables.clone()]);
    batch
        .spans
        .extend(plan.spans[from..to].iter().map(|span| Span {
            row: span.row - first.row,
            rows: span.rows,
            table: span.table - first.table,
            table_len: span.table_len,
            scope: span.scope,
        }));
    let wanted = plan
        .logits_rows
        .iter()
        .filter(|row| rows.contains(&(**row as usize)));
    batch.logits_rows.extend(wanted.map(|row| row - first.row));
    if !plan.scored_rows.is_empty() {
        let scored = plan.scored_rows.iter();
        let wanted = scored.filter(|row| rows.contains(&(**row as usize)));
        batch.logits_rows.extend(wanted.map(|row| row - first.row));
        batch.logits_rows.sort_unstable();
    }
}
