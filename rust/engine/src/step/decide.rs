//! From the rows of a group to what comes next of it: reads the model's rows, has second rows mixed in, and lets the
//! group grow. A group that fails, or whose sampling panics, fails alone.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use smallvec::SmallVec;
use tokenmill_core::{Failure, Kind, SequenceId};
use tokenmill_decode::source::Mixed;
use tokenmill_model::{Hidden, Ticket};

use crate::step::engine::Engine;
use crate::step::growth::{Growth, Outcome};
use crate::step::rows::Turn;
use crate::step::source::AskedRow;

impl Engine {
    /// Reads the rows of a turn and decides over them. Searches go on in place, so from the first turn of a step on a
    /// row that cannot be read fails its own group, and the step is never run again.
    pub(super) fn take_turn(&mut self, ticket: Ticket, turn: Turn) {
        let (id, decided) = match turn {
            Turn::Score {
                id,
                index,
                position,
            } => (id, self.score(ticket, id, index, position)),
            Turn::Sample(id, rows) => (id, self.grow(ticket, id, rows)),
        };
        self.outcomes.extend(match decided {
            Ok(outcome) => outcome,
            Err(failure) => Some(Outcome::Failed(id, failure)),
        });
    }

    /// The log-probs of a prompt's token: by the model's own row.
    fn score(
        &mut self,
        ticket: Ticket,
        id: SequenceId,
        index: usize,
        position: u32,
    ) -> Result<Option<Outcome>, Failure> {
        let Some(growth) = self.sequences.get(&id) else {
            return Ok(None);
        };
        let Some(live) = self.lives.get(&growth.request()) else {
            return Ok(None);
        };
        let row = self.backend.logits(ticket, index);
        let row = row.map_err(|error| Failure::of(&error))?;
        let scratch = &mut self.scratch;
        guarded(|| growth.score(row, position, live, scratch))
            .map(|entries| Some(Outcome::Scored(id, entries)))
    }

    /// Lets a group grow over the rows of all its members.
    fn grow(
        &mut self,
        ticket: Ticket,
        id: SequenceId,
        rows: Range<usize>,
    ) -> Result<Option<Outcome>, Failure> {
        let Some(growth) = self.sequences.get_mut(&id) else {
            return Ok(None);
        };
        let Some(live) = self.lives.get(&growth.request()) else {
            return Ok(None);
        };
        let lanes = live.source.lanes();
        let branches = rows.len() / lanes;
        let asked = |index: usize, growth: &Growth| AskedRow {
            ticket,
            index,
            position: growth.position(live),
        };
        let (vocabulary, scratch) = (&self.vocabulary, &mut self.scratch);
        let from = (&live.source, &*live.params);
        if branches == 1 {
            // One row is read where it lies.
            let asked = (&self.batch, asked(rows.start, growth));
            let mixed = self.sources.read(&mut *self.backend, asked, from)?;
            let grown = guarded(|| growth.grow(&[mixed], live, vocabulary, scratch));
            return grown.map(|grown| Some(Outcome::Grown(id, grown)));
        }
        // A backend gives no two rows at once, so those of several branches are copied.
        self.group_rows.clear();
        for index in rows.step_by(lanes) {
            let asked = (&self.batch, asked(index, growth));
            let mixed = self.sources.read(&mut *self.backend, asked, from)?;
            self.group_rows.extend_from_slice(mixed.scores);
        }
        let rows = self.group_rows.chunks_exact(vocabulary.len());
        let rows: SmallVec<[Mixed<'_>; 16]> = rows.map(Mixed::plain).collect();
        let grown = guarded(|| growth.grow(&rows, live, vocabulary, scratch));
        grown.map(|grown| Some(Outcome::Grown(id, grown)))
    }

    /// Hands the hidden states that the batch asked for to those that compare them. `first`: the first span of the
    /// plan that is in the batch.
    pub(super) fn learn_states(&mut self, ticket: Ticket, first: usize) -> Result<(), Failure> {
        let (plan, faults) = (self.scheduler.planned(), self.faults);
        let mut spans = self.batch.spans.iter().zip(&plan.spans[first..]);
        let mut span = spans.next();
        for (entry, &row) in self.batch.hidden_rows.iter().enumerate() {
            while span.is_some_and(|(span, _)| span.row + span.rows <= row) {
                span = spans.next();
            }
            let Some((_, planned)) = span else {
                break;
            };
            let state = self.backend.hidden(ticket, Hidden::State(entry));
            let state = state.map_err(|error| Failure::of(&error))?;
            let position = self.batch.positions[row as usize];
            if let Some(Growth::Search(search)) = self.sequences.get_mut(&planned.id) {
                let learnt = search.learn((planned.member, position), state, faults);
                learnt.map_err(|error| Failure::of(&error))?;
            }
        }
        Ok(())
    }

    /// Asks for the hidden states of the rows of contrastive searches that were not seen before.
    pub(super) fn ask_states(&mut self, first: usize) {
        let plan = self.scheduler.planned();
        for (span, planned) in self.batch.spans.iter().zip(&plan.spans[first..]) {
            let Some(Growth::Search(search)) = self.sequences.get(&planned.id) else {
                continue;
            };
            let rows = span.row..span.row + span.rows;
            let is_new = |row: &u32| search.wants(self.batch.positions[*row as usize]);
            self.batch.hidden_rows.extend(rows.filter(is_new));
        }
    }
}

/// Runs what reads a request's own wishes: its panic is its own too.
fn guarded<T>(work: impl FnOnce() -> tokenmill_decode::Result<T>) -> Result<T, Failure> {
    let Ok(done) = catch_unwind(AssertUnwindSafe(work)) else {
        let message = "sampling panicked on this request";
        return Err(Failure::new(Kind::Internal, message));
    };
    done.map_err(|error| Failure::of(&error))
}
