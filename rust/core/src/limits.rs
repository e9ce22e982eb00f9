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
    /// Most ids of `allowed_token_ids`.
    pub allowed_token_ids_len_max: usize,
    /// Most ids of `suppress_tokens` and of `begin_suppress_tokens`.
    pub suppress_tokens_len_max: usize,
    /// Most ids of `logprob_token_ids`; each costs a pass over the row to find its rank.
    pub logprob_token_ids_len_max: usize,
    /// Most words of `bad_words`.
    pub bad_words_count_max: usize,
    /// Longest of them, in bytes.
    pub bad_word_len_max_bytes: usize,
    /// Longest pattern and most copies of `repetition_detection`: its cost per token is their product at most.
    pub repetition_max: u32,
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
            allowed_token_ids_len_max: 32_768,
            suppress_tokens_len_max: 1024,
            logprob_token_ids_len_max: 128,
            bad_words_count_max: 128,
            bad_word_len_max_bytes: 256,
            repetition_max: 1024,
            cache_salt_len_max_bytes: 256,
            stream_events_max: 256,
            prompt_len_max_bytes: 4 << 20,
        }
    }
}
