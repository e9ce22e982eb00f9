//! The one table of limits. Each is a field with its default; what it protects stands beside it.

/// Bounds that hold for every door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most samples of one request.
    pub n_max: u32,
    /// Most beams of one search; each is a row of every step and holds blocks of its own.
    pub beam_width_max: u32,
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
    /// Most sequences of `bad_words_ids` and of `sequence_bias`; each is compared at every token.
    pub sequences_count_max: usize,
    /// Longest of them, in tokens.
    pub sequence_len_max_tokens: usize,
    /// Most texts of `dry_sequence_breakers`; each is looked for in the whole vocabulary once a request.
    pub dry_breakers_count_max: usize,
    /// Longest of them, in characters.
    pub dry_breaker_len_max_chars: usize,
    /// Most processors of `logits_processors`; each is looked at for every token.
    pub processors_count_max: usize,
    /// Most ids of one of them, in each of its lists.
    pub processor_tokens_len_max: usize,
    /// Longest text that one of them matches, in bytes; it is looked for in the whole vocabulary once a request.
    pub processor_text_len_max_bytes: usize,
    /// Longest pattern and most copies of `repetition_detection`: a token costs a few comparisons for each pattern
    /// length, and in an output that nearly loops as many as the output is long.
    pub repetition_max: u32,
    /// Most layers of `dola_layers`; each costs a product with the output head.
    pub dola_layers_len_max: usize,
    /// Most candidates of contrastive search; each is a row of every step.
    pub search_candidates_max: u32,
    /// Most output tokens of a request that explains them; each costs a sort of the vocabulary for every step.
    pub explain_tokens_max: u32,
    /// Most tokens that an explanation tells of a step.
    pub explain_top_max: u32,
    /// Bytes of token lists (masks, biases, words, what processors match) that live requests may hold together; a line of
    /// the memory ledger. A request may ask for a few megabytes.
    pub request_lists_bytes_max: u64,
    /// Longest JSON schema, grammar or structural tag, and all texts of a choice together, in bytes.
    pub schema_len_max_bytes: usize,
    /// Deepest nesting of a schema in a schema, and of brackets in a grammar.
    pub schema_depth_max: usize,
    /// Most properties of a schema, those of its parts included.
    pub schema_properties_max: usize,
    /// Longest regular expression of a request, in bytes.
    pub regex_len_max_bytes: usize,
    /// Longest time for which `submit` waits for a schema or a grammar to be compiled.
    pub grammar_compile_max_ms: u64,
    /// Most compiled grammars that are kept for the next request.
    pub grammar_cache_len_max: usize,
    /// Most bytes of them.
    pub grammar_cache_max_bytes: usize,
    /// Longest text that is only hashed or echoed (a salt, a caller's own id), in bytes.
    pub label_len_max_bytes: usize,
    /// Most events waiting in one request's channel; in a full one the newest absorb what comes.
    pub stream_events_max: usize,
    /// Longest prompt text, in bytes (encoding is linear in it, and its cost is charged at the door).
    pub prompt_len_max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            n_max: 16,
            beam_width_max: 16,
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
            sequences_count_max: 300,
            sequence_len_max_tokens: 256,
            dry_breakers_count_max: 16,
            dry_breaker_len_max_chars: 40,
            processors_count_max: 16,
            processor_tokens_len_max: 1024,
            processor_text_len_max_bytes: 256,
            repetition_max: 1024,
            dola_layers_len_max: 16,
            search_candidates_max: 64,
            explain_tokens_max: 256,
            explain_top_max: 50,
            request_lists_bytes_max: 32 << 20,
            schema_len_max_bytes: 64 << 10,
            schema_depth_max: 32,
            schema_properties_max: 2000,
            regex_len_max_bytes: 4 << 10,
            grammar_compile_max_ms: 250,
            grammar_cache_len_max: 64,
            grammar_cache_max_bytes: 64 << 20,
            label_len_max_bytes: 256,
            stream_events_max: 256,
            prompt_len_max_bytes: 4 << 20,
        }
    }
}

impl Limits {
    /// What is wrong with a text that is only hashed or echoed. It goes into logs, headers and paths of other
    /// systems, so it holds no control character and no slash; the text itself is not shown, since a salt is a
    /// secret.
    pub fn label_fault(&self, label: &str) -> Option<String> {
        let (len_bytes, limit) = (label.len(), self.label_len_max_bytes);
        if label.is_empty() {
            return Some("must not be empty".into());
        }
        if len_bytes > limit {
            return Some(format!("must be at most {limit} bytes, got {len_bytes}"));
        }
        let is_foreign = |letter: char| letter.is_control() || letter == '/';
        let place = label.find(is_foreign)?;
        Some(format!(
            "must hold no control character and no slash, got one at byte {place}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn a_label_is_short_and_plain() {
        let limits = Limits::default();
        for label in ["a", "tenant 7", "é", &"x".repeat(256), "a-_b=="] {
            assert_eq!(limits.label_fault(label), None, "{label}");
        }
        for (label, what) in [
            ("", "empty"),
            (&*"x".repeat(257), "at most 256 bytes, got 257"),
            ("a\nb", "at byte 1"),
            ("\0", "at byte 0"),
            ("ab\u{85}", "at byte 2"),
            ("a/b", "at byte 1"),
        ] {
            let fault = limits.label_fault(label).expect(what);
            assert!(fault.contains(what), "{fault}");
        }
    }
}
