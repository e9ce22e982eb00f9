//! Admission from the queue: in its order, with blocks for the whole prompt above the reserve, because a
//! half-admitted prompt that cannot finish is a livelock. The first that does not fit ends the scan, but
//! a few smaller ones may pass it; each pass counts against those passed, up to `bypass_max`.

use super::{Ask, Budget};
use crate::scheduler::Scheduler;
use crate::sequence::{Group, GroupIx};

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
        while self.seats < self.config.running_max && left.rows > 0 {
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

    fn pass_over(&self, ix: GroupIx, scan: &mut Scan) {
        scan.at += 1;
        scan.blocked += 1;
        scan.least = scan.least.min(self.total_need(ix));
        scan.may_pass &= self.lets_pass(ix);
    }

    /// The protected let nobody pass.
    fn lets_pass(&self, ix: GroupIx) -> bool {
        let group = &self.arena[ix];
        !group.is_protected && group.bypassed < self.config.bypass_max
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
        if self.seats >= self.config.running_max {
            return false;
        }
        let head = self
            .waiting
            .iter()
            .skip(skip)
            .find(|&ix| !self.arena[ix].is_paused);
        head.is_some_and(|ix| self.fits(ix))
    }

    /// Blocks that a waiter must find for all its members.
    fn total_need(&self, ix: GroupIx) -> usize {
        let group = &self.arena[ix];
        if group.is_protected {
            return self.full_need(group);
        }
        (0..group.members.len())
            .map(|at| self.blocks.needed(self.target_len(group, at)))
            .sum()
    }

    /// Tokens of a member for which a waiter must find blocks: its prompt, and after a preemption one step more. A
    /// protected group needs all it can ever use, so that it never gives way again.
    fn target_len(&self, group: &Group, at: usize) -> usize {
        let known = group.members[at].known() + usize::from(group.was_resident);
        known.min(self.context_len)
    }

    /// Looks the prefix of a waiter's first member up, into `found`, and says whether its seats and blocks are there.
    fn fits(&mut self, ix: GroupIx) -> bool {
        if self.seats + self.arena[ix].seats() > self.config.running_max {
            return false;
        }
        self.look_up(ix, 0);
        let fresh = self.total_need(ix).saturating_sub(self.found.len());
        let unused = self
            .found
            .iter()
            .filter(|&&block| self.blocks.pool.count(block) == 0)
            .count();
        fresh + unused + self.config.block_reserve + self.promised_to_starting()
            <= self.headroom(ix)
    }

    /// Blocks that seated groups still lack for members that have not begun. Nobody is admitted into them.
    fn promised_to_starting(&self) -> usize {
        let seats = self.running.iter().map(|&ix| &self.arena[ix]);
        seats
            .filter(|group| group.is_running && group.looked_up < group.members.len())
            .flat_map(|group| (group.looked_up..group.members.len()).map(move |at| (group, at)))
            .map(|(group, at)| self.blocks.needed(self.target_len(group, at)))
            .sum()
    }

    /// Collects the cached blocks that a member can start from.
    fn look_up(&mut self, ix: GroupIx, at: usize) {
        self.found.clear();
        let group = &mut self.arena[ix];
        if self.config.prefix_caching && group.may_read_cache(at) {
            let (scope, found) = (&group.scope, &mut self.found);
            group.members[at].find_prefix(scope, &mut self.key_maker, &mut self.blocks, found);
        }
    }

    /// Seats the waiter at `at`, whose first prefix was just looked up; false if the budget gives it no row.
    fn seat(&mut self, at: usize, left: &mut Budget) -> bool {
        let Some(ix) = self.waiting.get(at) else {
            return false;
        };
        let group = &self.arena[ix];
        let first = group.first();
        let computed = self.found_len(first.known());
        let missing = first.known() - computed;
        let ask = Ask {
            missing,
            scored_from: first.scored,
            scored_end: first.score_end,
        };
        let is_one = group.members.len() == 1;
        if is_one && self.logits_share(ask, *left).fit(missing, ask) == 0 {
            return false;
        }
        self.waiting.remove_at(at);
        let open = self.open_prompts();
        self.take_seat(ix);
        let has_rival = missing > 1 && (open > 0 || self.head_fits(at));
        let cap = if missing > 1 {
            self.chunk_cap(has_rival)
        } else {
            1
        };
        let budget = self.logits_share(ask, *left);
        let rows = budget.fit(cap.min(self.arena[ix].chunk_len(0, self.context_len)), ask);
        self.enter(ix, 0, rows, left);
        true
    }

    /// Tokens that the last lookup spares. A prompt wholly in the cache still runs its last row, which reads and
    /// does not write.
    fn found_len(&self, known: usize) -> usize {
        (self.found.len() * self.blocks.block_size).min(known - 1)
    }

    /// Moves a group to `running`; its first member shares what was found and takes the rest of its blocks.
    fn take_seat(&mut self, ix: GroupIx) {
        let computed = self.begin(ix, 0);
        let group = &mut self.arena[ix];
        group.is_running = true;
        if !group.was_resident {
            group.cached = computed;
        }
        let is_protected = group.is_protected;
        self.plan.admitted.push(group.id());
        self.seats += group.seats();
        self.running.push(ix);
        if is_protected {
            self.protected.push(ix);
        }
        let known = self.arena[ix].first().known().min(self.context_len);
        self.extend_table(ix, 0, self.blocks.needed(known) - self.found.len());
    }

    /// Looks up where a later member of a seated group starts.
    pub(crate) fn begin_late(&mut self, ix: GroupIx, at: usize) {
        self.look_up(ix, at);
        // What nobody uses may be promised to others.
        let mut room = self.headroom(ix);
        let pool = &self.blocks.pool;
        let fitting = self.found.iter().take_while(|&&block| {
            let is_used = pool.count(block) > 0;
            let fits = is_used || room > 0;
            room = room.saturating_sub(usize::from(!is_used));
            fits
        });
        let len = fitting.count();
        self.found.truncate(len);
        self.begin(ix, at);
    }

    /// A member starts from the blocks that were found; returns the tokens they hold.
    fn begin(&mut self, ix: GroupIx, at: usize) -> usize {
        for &block in &self.found {
            self.blocks.pool.share(block);
        }
        let is_looked_up = self.config.prefix_caching && self.arena[ix].may_read_cache(at);
        let computed = self.found_len(self.arena[ix].members[at].known());
        let group = &mut self.arena[ix];
        group.looked_up = at + 1;
        let member = &mut group.members[at];
        member.table.extend_from_slice(&self.found);
        member.published = self.found.len();
        member.computed = computed;
        member.read_only = self.found.len() * self.blocks.block_size;
        self.entries += self.found.len();
        if is_looked_up {
            self.stats.cache_lookup_tokens += member.known().min(self.context_len) as u64;
            self.stats.cache_hit_tokens += computed as u64;
        }
        computed
    }
}
