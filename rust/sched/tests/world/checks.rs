//! What must hold of every plan, seen from outside: rows, budgets, order of admission, and sets of blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokenmill_core::{BlockId, SequenceId};
use tokenmill_sched::{Plan, Policy};

use super::{Live, World, chain};

impl World {
    pub(super) fn plan_and_check(&mut self) {
        let before = self.live.clone();
        self.scheduler.plan();
        self.scheduler.check_full();
        self.live.retain(|_, live| !live.is_cancelled);
        let plan = self.scheduler.planned().clone();
        self.check_preempted(&plan, &before);
        self.check_admitted(&plan);
        self.check_rows(&plan);
        self.check_pool();
        let is_runnable = self.live.values().any(|live| !live.is_paused);
        assert!(
            !is_runnable || !plan.is_empty(),
            "something is runnable and nothing was scheduled"
        );
    }

    fn check_preempted(&mut self, plan: &Plan, before: &BTreeMap<u64, Live>) {
        let preempt_max = self.scheduler.config().preempt_max;
        for id in &plan.preempted {
            let live = self
                .live
                .get_mut(&id.0)
                .expect("a dead sequence was preempted");
            assert!(live.is_running, "a waiter was preempted");
            live.is_running = false;
            live.computed = 0;
            live.table.clear();
            let count = self.scheduler.preemptions(*id).expect("live");
            assert!(count <= preempt_max, "{count} preemptions of one sequence");
        }
        if self.scheduler.config().policy != Policy::Priority {
            return;
        }
        for id in &plan.preempted {
            let victim = &self.live[&id.0];
            for (other, live) in self.live.iter().filter(|(_, live)| live.is_running) {
                let is_protected =
                    self.scheduler.preemptions(SequenceId(*other)) >= Some(preempt_max);
                let gave_way = before.contains_key(other)
                    && !victim.is_paused
                    && !is_protected
                    && live.rank() > victim.rank();
                assert!(
                    !gave_way,
                    "a more important sequence was preempted for a lesser one"
                );
            }
        }
    }

    fn check_admitted(&mut self, plan: &Plan) {
        let block_size = self.block_size();
        let config = self.scheduler.config().clone();
        for id in &plan.admitted {
            let (was_running, need) = {
                let live = self
                    .live
                    .get_mut(&id.0)
                    .expect("a dead sequence was admitted");
                assert!(!live.is_running && !live.is_paused);
                live.is_running = true;
                (
                    std::mem::replace(&mut live.was_running, true),
                    live.need(block_size),
                )
            };
            if config.policy != Policy::Fcfs || was_running {
                continue;
            }
            let waiters = self.live.iter_mut().filter(|(other, live)| {
                !live.is_running && !live.is_paused && (live.was_running || **other < id.0)
            });
            for (other, waiter) in waiters {
                if plan.preempted.contains(&SequenceId(*other)) {
                    continue;
                }
                waiter.bypassed += 1;
                assert!(
                    waiter.bypassed <= config.bypass_max,
                    "a waiter was passed too often"
                );
                assert!(
                    need <= waiter.need(block_size),
                    "a larger sequence passed a smaller one"
                );
            }
        }
    }

    /// The rows are the next tokens of their sequences, within the budgets, and sample at the last token.
    fn check_rows(&mut self, plan: &Plan) {
        let block_size = self.block_size();
        let config = self.scheduler.config();
        assert!(plan.rows() <= config.tokens_per_step);
        assert!(plan.logits_rows.len() + plan.scored_rows.len() <= config.logits_rows_max);
        assert_eq!(plan.logits_rows.len(), plan.sampled.len());
        for copy in &plan.copies {
            let owners = plan
                .tables
                .iter()
                .filter(|&&block| block == copy.to)
                .count();
            assert_eq!(
                owners, 1,
                "a copy goes to a block that no row of the step reads"
            );
        }
        let mut seen = BTreeSet::new();
        let (mut due, mut scored) = (Vec::new(), Vec::new());
        for span in &plan.spans {
            assert!(seen.insert(span.id), "a sequence has two spans");
            let live = self
                .live
                .get_mut(&span.id.0)
                .expect("a dead sequence has rows");
            assert!(
                live.is_running && !live.is_paused,
                "a sequence without a seat has rows"
            );
            live.table = plan.table(span).to_vec();
            assert_eq!(span.scope, live.ask.scope);
            let rows = span.row as usize..(span.row + span.rows) as usize;
            let first = plan.positions[rows.start] as usize;
            if plan.admitted.contains(&span.id) {
                // Only what somebody computed can be found.
                let whole = (first + 1) / block_size * block_size;
                let found = if first.is_multiple_of(block_size) {
                    first
                } else {
                    whole
                };
                let may_read = live.ask.read_cache && live.scored >= live.score_end();
                assert!(found == 0 || may_read);
                for end in (block_size..=found).step_by(block_size) {
                    let prefix = chain(live.ask.scope, &live.tokens[..end]);
                    assert!(
                        self.prefixes.contains(&prefix),
                        "a prefix was found that nobody computed"
                    );
                }
                live.computed = first;
            }
            assert_eq!(first, live.computed, "rows were skipped or repeated");
            if let Some(most) = config.chunk_max {
                assert!(span.rows as usize <= most.max(1));
            }
            for (offset, row) in rows.clone().enumerate() {
                let position = first + offset;
                assert_eq!(plan.positions[row] as usize, position);
                assert_eq!(plan.tokens[row], live.tokens[position]);
                if (live.scored..live.score_end()).contains(&position) {
                    scored.push(row as u32);
                }
            }
            if first + span.rows as usize == live.tokens.len() {
                due.push((rows.end as u32 - 1, span.id));
            }
        }
        let sampled = plan
            .logits_rows
            .iter()
            .copied()
            .zip(plan.sampled.iter().copied());
        assert!(
            sampled.eq(due),
            "sampled rows are not the last known tokens"
        );
        assert_eq!(
            plan.scored_rows, scored,
            "not each row of a prompt is scored once"
        );
    }

    /// The set model: used = blocks named by tables; tables that share a block agree on what is in it.
    pub(super) fn check_pool(&self) {
        let mut named: HashMap<BlockId, (usize, u64)> = HashMap::new();
        for live in self.live.values().filter(|live| live.is_running) {
            for (index, &block) in live.table.iter().enumerate() {
                let filled = live.computed.min((index + 1) * self.block_size());
                let start = index * self.block_size();
                let before = chain(live.ask.scope, &live.tokens[..start.min(filled)]);
                let other = named.insert(block, (index, before));
                let agrees = other.is_none_or(|other| other == (index, before));
                assert!(agrees, "two tables name one block for different prefixes");
            }
        }
        let stats = self.scheduler.stats();
        assert_eq!(
            stats.blocks_used,
            named.len(),
            "blocks are used that no table names, or not used"
        );
        assert_eq!(
            stats.blocks_free + stats.blocks_cached + stats.blocks_used,
            stats.blocks_total
        );
        assert_eq!(
            stats.running,
            self.live.values().filter(|live| live.is_running).count()
        );
    }
}
