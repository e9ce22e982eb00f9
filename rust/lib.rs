//! Tokenmill: decode, serve and compress large language models. This crate is the facade: re-exports only.
