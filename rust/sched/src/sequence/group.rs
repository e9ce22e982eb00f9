//! The unit of decision: one sequence, the beams of a request, or each of them with its second source of logits.
//! A group is queued, seated, preempted and ended whole, and all its members sample in the same step. It owns the
//! seat and the place in the queue; tokens and tables are its members'.

use tokenmill_core::{SequenceId, TokenId};

use super::{Place, Sequence};
use crate::blocks::Scope;

/// A sequence as the engine hands it in: the first of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSequence {
    /// Its id, used for nothing else while it lives. The whole group answers to it.
    pub id: SequenceId,
    /// The prompt, at least one token.
    pub tokens: Vec<TokenId>,
    /// Most tokens of output; absent: the rest of the context.
    pub max_new: Option<usize>,
    /// Most sequences that it may branch into (`Scheduler::branch`), at least 1.
    pub width: usize,
    /// The prompt of a second source of logits, which gets the same output tokens. Every branch has one.
    pub second: Option<Vec<TokenId>>,
    /// Smaller is more important. Read under `Policy::Priority` only.
    pub priority: i32,
    /// Whose cached blocks it may read, and who may read its own.
    pub scope: Scope,
    /// False for what needs more than KV (prompt log-probs, hidden states): it publishes, but computes all.
    pub read_cache: bool,
    /// Whether every row of the prompt wants logits, not its last alone. It cannot read the cache.
    pub scores_prompt: bool,
}

/// Sequences that share a seat. Branch b has the members b * lanes .. (b + 1) * lanes.
#[derive(Clone, Default)]
pub(crate) struct Group {
    pub(crate) id: SequenceIdOrNone,
    pub(crate) members: Vec<Sequence>,
    /// Most branches.
    pub(crate) width: usize,
    /// Sequences of a branch: 1, or 2 with a second source.
    pub(crate) lanes: usize,
    pub(crate) scope: Scope,
    pub(crate) read_cache: bool,
    /// Tokens found in the cache at its first admission.
    pub(crate) cached: usize,
    pub(crate) priority: i32,
    pub(crate) place: Place,
    pub(crate) forks: u32,
    pub(crate) preemptions: u32,
    /// Later groups that were admitted ahead of it.
    pub(crate) bypassed: u32,
    pub(crate) is_running: bool,
    pub(crate) is_paused: bool,
    pub(crate) is_cancelled: bool,
    pub(crate) is_protected: bool,
    /// It had blocks before, so it comes back only with room for one more step.
    pub(crate) was_resident: bool,
    /// Members before this one looked their prefixes up since the group has its seat.
    pub(crate) looked_up: usize,
}

/// The id of a live group; a vacant place of the arena has none.
pub(crate) type SequenceIdOrNone = Option<SequenceId>;

impl Group {
    pub(crate) fn id(&self) -> SequenceId {
        self.id.expect("a vacant place of the arena was used")
    }

    /// Its first sequence, the only one of most groups.
    pub(crate) fn first(&self) -> &Sequence {
        &self.members[0]
    }

    /// Seats it counts for: those of its width, because it may branch at any step.
    pub(crate) fn seats(&self) -> usize {
        self.width * self.lanes
    }

    /// Whether every member is one row short of its next token, so that all can sample.
    pub(crate) fn is_decoding(&self) -> bool {
        self.members.iter().all(|member| member.missing() == 1)
    }

    /// Whether rows of it may be planned at all.
    pub(crate) fn is_runnable(&self) -> bool {
        self.is_running && !self.is_paused && !self.is_cancelled
    }

    /// Whether a lookup may spare member `at` rows.
    pub(crate) fn may_read_cache(&self, at: usize) -> bool {
        self.read_cache && !self.members[at].owes_scores()
    }

    /// Most rows that member `at` may run apart from a step in which all members sample. A group of one has no
    /// need to wait for others.
    pub(crate) fn chunk_len(&self, at: usize, context_len: usize) -> usize {
        let member = &self.members[at];
        let runnable = member.runnable(context_len);
        if self.members.len() == 1 {
            runnable
        } else {
            runnable.min(member.missing().saturating_sub(1))
        }
    }

    /// Forgets its seat: the tables must be empty already.
    pub(crate) fn leave(&mut self) {
        for member in &mut self.members {
            member.leave();
        }
        self.is_running = false;
        self.was_resident = true;
        self.looked_up = 0;
    }
}
