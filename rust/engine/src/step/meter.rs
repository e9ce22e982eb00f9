//! Time and traffic of a step. Time comes from the clock the engine was given; bytes and FLOPs from the
//! program's cost functions, over the rows of the real batch.

use std::sync::Arc;

use tokenmill_model::cost::{OpCost, SpanShape, StepShape, WeightBytes, step_cost};
use tokenmill_model::{KvFormat, Program, StepBatch};

use crate::stats::Stats;

/// Nanoseconds from any origin, never going back.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A clock that reads the system's monotonic time.
pub fn monotonic() -> Clock {
    let origin = std::time::Instant::now();
    Arc::new(move || u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// A part of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Plan,
    Model,
    Sample,
    Publish,
}

/// Counts steps.
pub(crate) struct Meter {
    program: Program,
    weights: WeightBytes,
    shape: StepShape,
    clock: Clock,
    since_ns: u64,
}

impl Meter {
    pub fn new(program: Program, weights: WeightBytes, kv_format: KvFormat, clock: Clock) -> Self {
        let shape = StepShape {
            spans: Vec::new(),
            logits_rows: 0,
            exit_rows: 0,
            kv_element_bytes: kv_format.element_bytes(),
            activation_bytes: 4,
            is_square: false,
        };
        let since_ns = clock();
        Self {
            program,
            weights,
            shape,
            clock,
            since_ns,
        }
    }

    /// Starts a part.
    pub fn start(&mut self) {
        self.since_ns = (self.clock)();
    }

    /// Ends a part and starts the next.
    pub fn end(&mut self, part: Part, stats: &Stats) {
        let now_ns = (self.clock)();
        let figure = match part {
            Part::Plan => &stats.plan_ns,
            Part::Model => &stats.model_ns,
            Part::Sample => &stats.sample_ns,
            Part::Publish => &stats.publish_ns,
        };
        Stats::add(figure, now_ns.saturating_sub(self.since_ns));
        self.since_ns = now_ns;
    }

    /// Counts the rows, FLOPs and bytes of a batch that was run.
    pub fn count(&mut self, batch: &StepBatch, stats: &Stats) {
        self.shape.spans.clear();
        let spans = batch.spans.iter().map(|span| SpanShape {
            rows: span.rows as usize,
            offset: batch.positions[span.row as usize] as usize,
        });
        self.shape.spans.extend(spans);
        self.shape.logits_rows = batch.logits_rows.len();
        self.shape.exit_rows = batch.exit_rows.len();
        let cost: OpCost = step_cost(&self.program, &self.weights, &self.shape)
            .into_iter()
            .sum();
        Stats::add(&stats.rows, batch.rows() as u64);
        Stats::set(&stats.step_rows, batch.rows() as u64);
        Stats::set(&stats.step_sequences, batch.spans.len() as u64);
        Stats::set(&stats.step_logits_rows, batch.logits_rows.len() as u64);
        Stats::add(&stats.flops, cost.flops);
        Stats::add(&stats.weight_bytes, cost.weight_bytes);
        Stats::add(&stats.kv_bytes, cost.kv_read_bytes + cost.kv_write_bytes);
    }
}
