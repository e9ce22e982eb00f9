//! Counters of one scheduler, as numbers to show. Decides nothing.

/// A snapshot. Counts of the pool add up: free + cached + used = total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sequences with a seat.
    pub running: usize,
    /// Sequences without one.
    pub waiting: usize,
    /// Blocks of the pool.
    pub blocks_total: usize,
    /// Blocks without content.
    pub blocks_free: usize,
    /// Blocks nobody uses whose content can be found again.
    pub blocks_cached: usize,
    /// Blocks named by at least one table.
    pub blocks_used: usize,
    /// Plans made.
    pub steps: u64,
    /// Sequences sent back to the queue so far.
    pub preemptions: u64,
    /// Tokens looked up in the prefix cache at admissions so far.
    pub cache_lookup_tokens: u64,
    /// Tokens found there and not computed again.
    pub cache_hit_tokens: u64,
    /// Cached blocks that were overwritten so far.
    pub cache_evictions: u64,
    /// Keys that met other tokens: always 0 unless a hash collided or a bug is at work.
    pub cache_mismatches: u64,
}
