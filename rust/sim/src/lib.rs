//! The simulated backend of Tokenmill: the next token is a hash of the prefix read from the KV blocks.
