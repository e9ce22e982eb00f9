//! Tokens and text for Tokenmill: tokenizers, chat templates, streaming detokeniser, stop strings.
