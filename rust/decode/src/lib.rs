//! From logits to tokens: processor pipeline, sampler and log-probs of Tokenmill.
