//! The forward and what follows it: copies, writes, reads, tokens, forks, ends.

use tokenmill_core::{SequenceId, TokenId};
use tokenmill_sched::{Forked, NO_SLOT, Plan};

use super::{World, chain, mix};

impl World {
    /// The forward: copies, writes, then every row reads all positions up to its own.
    pub(super) fn run(&mut self, plan: &Plan) {
        let block_size = self.block_size();
        for copy in &plan.copies {
            let from = copy.from.0 as usize * block_size + copy.from_slot as usize;
            let to = copy.to.0 as usize * block_size + copy.to_slot as usize;
            self.memory.copy_within(from..from + copy.len as usize, to);
        }
        for span in &plan.spans {
            let live = &self.live[&span.id.0];
            for row in span.row as usize..(span.row + span.rows) as usize {
                let position = plan.positions[row] as usize;
                if plan.slots[row] != NO_SLOT {
                    let hash = chain(live.ask.scope, &live.tokens[..=position]);
                    self.memory[plan.slots[row] as usize] = hash;
                }
            }
        }
        for span in &plan.spans {
            let live = &self.live[&span.id.0];
            let last = plan.positions[(span.row + span.rows) as usize - 1] as usize;
            for position in 0..=last {
                let block = plan.table(span)[position / block_size].0 as usize;
                let read = self.memory[block * block_size + position % block_size];
                let own = chain(live.ask.scope, &live.tokens[..=position]);
                assert_eq!(read, own, "position {position} holds what is not its own");
            }
        }
    }

    /// After the commit: what the rows computed counts.
    pub(super) fn settle(&mut self, plan: &Plan) {
        self.scheduler.check_full();
        let block_size = self.block_size();
        for span in &plan.spans {
            let live = self.live.get_mut(&span.id.0).expect("live");
            live.computed += span.rows as usize;
            live.scored = live.scored.max(live.computed.min(live.score_end()));
            for end in (block_size..=live.computed).step_by(block_size) {
                self.prefixes
                    .insert(chain(live.ask.scope, &live.tokens[..end]));
            }
        }
    }

    pub(super) fn sample(&mut self, plan: &Plan) {
        for (index, &id) in plan.sampled.iter().enumerate() {
            let row = plan.logits_rows[index];
            let span = plan
                .spans
                .iter()
                .find(|span| span.row + span.rows > row)
                .expect("a span");
            let position = plan.positions[row as usize] as usize;
            let block = plan.table(span)[position / self.block_size()].0 as usize;
            let read = self.memory[block * self.block_size() + position % self.block_size()];
            self.take_token(id, read);
        }
        self.scheduler.check_full();
        self.check_pool();
    }

    fn draw(&self, state: u64, sample: u64) -> TokenId {
        (mix(state, sample) % self.vocab) as TokenId
    }

    fn take_token(&mut self, id: SequenceId, read: u64) {
        let live = &self.live[&id.0];
        let (sample, scope) = (live.sample, live.ask.scope);
        let token = self.draw(read, sample);
        assert_eq!(
            token,
            self.draw(chain(scope, &live.tokens), sample),
            "a wrong token"
        );
        if live.is_cancelled {
            return;
        }
        assert_eq!(
            live.scored,
            live.score_end(),
            "sampled before all was scored"
        );
        if !live.forked {
            self.fork_samples(id, read);
        }
        let live = self.live.get_mut(&id.0).expect("live");
        self.scheduler.append(id, token);
        live.tokens.push(token);
        self.end_if_done(id.0);
    }

    fn fork_samples(&mut self, id: SequenceId, read: u64) {
        let parent = self.live.get_mut(&id.0).expect("live");
        parent.forked = true;
        let parent = parent.clone();
        let shared = parent.computed.div_ceil(self.block_size());
        for sample in 1..u64::from(parent.ask.n) {
            let child = self.next_id;
            let token = self.draw(read, sample);
            let forked = self
                .scheduler
                .fork(id, SequenceId(child), token)
                .expect("forkable");
            let mut tokens = parent.tokens.clone();
            tokens.push(token);
            self.insert(child, parent.ask.clone(), tokens, (parent.arrival, sample));
            if forked == Forked::Running {
                let live = self.live.get_mut(&child).expect("live");
                live.is_running = true;
                live.computed = parent.computed;
                live.table = parent.table[..shared].to_vec();
            }
            self.end_if_done(child);
        }
    }

    fn end_if_done(&mut self, id: u64) {
        let live = &self.live[&id];
        let made = live.tokens.len() - live.ask.prompt.len();
        let is_full = live.tokens.len() >= self.scheduler.context_len();
        let is_eos = self.has_eos && live.tokens.last() == Some(&0);
        if made >= live.ask.max_new || is_full || is_eos {
            self.finish(id);
        }
    }
}
