//! Admission from the queue: in its order, with blocks for the whole prompt above the reserve, because a
//! half-admitted prompt that cannot finish is a livelock. The first that does not fit ends the scan, but
//! a few smaller ones may pass it; each pass counts against those passed, up to `bypass_max`.

use super::{Ask, Budget};
use crate::scheduler::Scheduler;
use crate::sequence::{SeqIx, Sequence};

/// How many waiters behind a blocked head are weighed in one plan.
const LOOKAHEAD: usize = 32;

/// A scan along the queue.
struct Scan {
    at: usize,
    /// Waiters passed over so far.
    blocked: usize,
    /// The smallest need among them: only what needs less may pass.
    least: usize,
    /// Whether all of them still let others pass.
    may_pass: bool,
    /// Prefix lookups left behind the first of them.
    looks_left: u32,
}

impl Scheduler {
    pub(crate) fn admit(&mut self, left: &mut Budget) {
        let looks_left = self.config.bypass_max;
        let mut scan = Scan {
            at: 0,
            blocked: 0,
            least: usize::MAX,
            may_pass: true,
            looks_left,
        };
        while self.running.len() < self.config.running_max && left.rows > 0 {
            let next = self.waiting.get(scan.at).filter(|_| scan.may_pass);
            let Some(ix) = next.filter(|_| scan.blocked <= LOOKAHEAD) else {
                return;
            };
            if self.arena[ix].is_paused {
                scan.at += 1;
                continue;
            }
            if scan.blocked > 0 && self.total_need(ix) < scan.least {
                if scan.looks_left == 0 {
                    return;
                }
                scan.looks_left -= 1;
            }
            if self.total_need(ix) >= scan.least || !self.fits(ix) {
                self.pass_over(ix, &mut scan);
                continue;
            }
            if !self.seat(scan.at, left) {
                return;
            }
            scan.may_pass = self.count_passes(scan.at);
        }
    }

    fn pass_over(&self, ix: SeqIx, scan: &mut Scan) {
        scan.at += 1;
        scan.blocked += 1;
        scan.least = scan.least.min(self.total_need(ix));
        scan.may_pass &= self.lets_pass(ix);
    }

    /// The protected let nobody pass.
    fn lets_pass(&self, ix: SeqIx) -> bool {
        let sequence = &self.arena[ix];
        !sequence.is_protected && sequence.bypassed < self.config.bypass_max
    }

    /// Counts an admission against the waiters before `at`; false if one of them lets no more pass.
    fn count_passes(&mut self, at: usize) -> bool {
        let mut may_pass = true;
        for other in self.waiting.iter().take(at) {
            if !self.arena[other].is_paused {
                self.arena[other].bypassed += 1;
                may_pass &= self.lets_pass(other);
            }
        }
        may_pass
    }

    /// Whether the waiter behind `skip` others could get a seat and its blocks now.
    pub(crate) fn head_fits(&mut self, skip: usize) -> bool {
        if self.running.len() >= self.config.running_max {
            return false;
        }
        let head = self
            .waiting
            .iter()
            .skip(skip)
            .find(|&ix| !self.arena[ix].is_paused);
        head.is_some_and(|ix| self.fits(ix))
    }

    fn total_need(&self, ix: SeqIx) -> usize {
        self.blocks.needed(self.target_len(&self.arena[ix]))
    }

    /// Tokens for which a waiter must find blocks: its prompt; after a preemption one step more; and once
    /// protected all it can ever need, so that it never gives way again.
    fn target_len(&self, sequence: &Sequence) -> usize {
        let target = if sequence.is_protected {
            sequence.limit_len
        } else {
            sequence.known() + usize::from(sequence.was_resident)
        };
        target.min(self.context_len)
    }

    /// Looks a waiter's prefix up, into `found`, and says whether its blocks are there.
    fn fits(&mut self, ix: SeqIx) -> bool {
        self.found.clear();
        if self.config.prefix_caching && self.arena[ix].may_read_cache() {
            self.arena[ix].find_prefix(&mut self.key_maker, &mut self.blocks, &mut self.found);
        }
        let fresh = self.total_need(ix).saturating_sub(self.found.len());
        let unused = self
            .found
            .iter()
            .filter(|&&block| self.blocks.pool.count(block) == 0)
            .count();
        fresh + unused + self.config.block_reserve <= self.headroom(ix)
    }

    /// Seats the waiter at `at`, whose prefix was just looked up; false if the budget gives it no row.
    fn seat(&mut self, at: usize, left: &mut Budget) -> bool {
        let Some(ix) = self.waiting.get(at) else {
            return false;
        };
        let known = self.arena[ix].known();
        let found_len = self.found.len() * self.blocks.block_size;
        // A prompt wholly in the cache still runs its last row, which reads and does not write.
        let computed = found_len.min(known - 1);
        let missing = known - computed;
        let ask = Ask {
            missing,
            scored_from: self.arena[ix].scored,
            scored_end: self.arena[ix].score_end,
        };
        if self.logits_share(ask, *left).fit(missing, ask) == 0 {
            return false;
        }
        self.waiting.remove_at(at);
        let open = self.open_prompts();
        self.take_seat(ix, computed);
        let has_rival = missing > 1 && (open > 0 || self.head_fits(at));
        let cap = if missing > 1 {
            self.chunk_cap(has_rival)
        } else {
            1
        };
        let budget = self.logits_share(ask, *left);
        let rows = budget.fit(cap.min(self.arena[ix].runnable(self.context_len)), ask);
        self.enter(ix, rows, left);
        true
    }

    /// Moves a sequence to `running`: shares what was found, takes the rest of its prompt's blocks.
    fn take_seat(&mut self, ix: SeqIx, computed: usize) {
        let found_len = self.found.len() * self.blocks.block_size;
        for &block in &self.found {
            self.blocks.pool.share(block);
        }
        let is_looked_up = self.config.prefix_caching && self.arena[ix].may_read_cache();
        let sequence = &mut self.arena[ix];
        sequence.table.extend_from_slice(&self.found);
        sequence.published = self.found.len();
        sequence.computed = computed;
        sequence.read_only = found_len;
        sequence.is_running = true;
        if !sequence.was_resident {
            sequence.cached = computed;
        }
        let known = sequence.known().min(self.context_len);
        let is_protected = sequence.is_protected;
        self.plan.admitted.push(sequence.id());
        self.entries += self.found.len();
        self.running.push(ix);
        if is_protected {
            self.protected.push(ix);
        }
        if is_looked_up {
            self.stats.cache_lookup_tokens += known as u64;
            self.stats.cache_hit_tokens += computed as u64;
        }
        self.extend_table(ix, self.blocks.needed(known) - self.found.len());
    }
}
