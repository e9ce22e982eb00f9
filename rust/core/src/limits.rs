//! The one table of limits. Each is a field with its default; what it protects stands beside it.

/// Bounds that hold for every door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most samples of one request.
    pub n_max: u32,
    /// Most stop strings of one request.
    pub stop_count_max: usize,
    /// Longest stop string, in bytes.
    pub stop_len_max_bytes: usize,
    /// Most entries of `logit_bias`.
    pub logit_bias_len_max: usize,
    /// Most alternatives reported for a token.
    pub logprobs_max: u32,
    /// Most messages of one conversation.
    pub messages_max: usize,
    /// Most ids of `stop_token_ids`.
    pub stop_token_ids_len_max: usize,
    /// Longest `cache_salt`, in bytes.
    pub cache_salt_len_max_bytes: usize,
    /// Most events waiting in one request's channel; in a full one the newest absorb what comes.
    pub stream_events_max: usize,
    /// Longest prompt text, in bytes (encoding is linear in it, and its cost is charged at the door).
    pub prompt_len_max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            n_max: 16,
            stop_count_max: 16,
            stop_len_max_bytes: 256,
            logit_bias_len_max: 300,
            logprobs_max: 20,
            messages_max: 1024,
            stop_token_ids_len_max: 1024,
            cache_salt_len_max_bytes: 256,
            stream_events_max: 256,
            prompt_len_max_bytes: 4 << 20,
        }
    }
}
