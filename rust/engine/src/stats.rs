//! Live figures of one engine: plain atomics, written by the engine thread, read by anyone. Phases are
//! wall time of the engine thread; bytes and FLOPs are counted from the program, not estimated.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokenmill_model::OpTimes;

use crate::primitives::AtomicU64;

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The figures. Counters only grow; gauges say so.
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[$doc])* pub(crate) $name: AtomicU64,)*
            /// Nanoseconds of `model_ns` by kind of operation, under the option `profile`.
            pub(crate) op_times: Option<Arc<OpTimes>>,
        }

        impl Stats {
            /// Every figure with its name, in the order of the struct; times of operations where they are counted.
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                let figures = [$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*];
                let of_ops = self.op_times.iter().flat_map(|times| times.snapshot());
                figures.into_iter().chain(of_ops).collect()
            }

            /// One figure by its name; `None`: there is none of this name.
            pub fn figure(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => Some(self.$name.load(Ordering::Relaxed)),)*
                    _ => None,
                }
            }
        }
    };
}

figures! {
    /// Steps run.
    steps,
    /// Rows computed.
    rows,
    /// Tokens sampled.
    tokens,
    /// Gauge: rows of the last step.
    step_rows,
    /// Gauge: sequences of the last step.
    step_sequences,
    /// Gauge: rows of the last step with logits: sampled from, or scoring a prompt.
    step_logits_rows,
    /// Requests accepted.
    requests_accepted,
    /// Requests refused because the queue was full.
    requests_refused,
    /// Requests ended, for any reason.
    requests_ended,
    /// Requests ended by an error of their own.
    requests_failed,
    /// Gauge: requests accepted and not ended.
    requests_live,
    /// Gauge: bytes of log-probs that live requests may come to hold.
    logprob_bytes,
    /// Gauge: bytes of token lists that live requests hold.
    list_bytes,
    /// Gauge: handles not dropped.
    handles_open,
    /// Gauge: sequences running.
    sequences_running,
    /// Gauge: sequences waiting.
    sequences_waiting,
    /// Gauge: blocks in use.
    blocks_used,
    /// Gauge: blocks that hold a cached prefix nobody uses.
    blocks_cached,
    /// Gauge: free blocks.
    blocks_free,
    /// Prompt tokens found in the prefix cache.
    cached_tokens,
    /// Sequences preempted.
    preemptions,
    /// Steps that failed and were run again sequence by sequence.
    steps_isolated,
    /// Nanoseconds planning.
    plan_ns,
    /// Nanoseconds in the backend.
    model_ns,
    /// Nanoseconds sampling.
    sample_ns,
    /// Nanoseconds publishing.
    publish_ns,
    /// Floating-point operations, counted from the program (a multiply-add is two).
    flops,
    /// Bytes of weights read.
    weight_bytes,
    /// Bytes of KV read and written.
    kv_bytes,
}

impl Stats {
    pub(crate) fn add(figure: &AtomicU64, by: u64) {
        figure.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn set(figure: &AtomicU64, to: u64) {
        figure.store(to, Ordering::Relaxed);
    }
}
