//! The public door of `tokenmill-text`: tokenizers made in the tests, streams, templates, hostile files.
//! The real model's vectors stand in the facade's tests, which may use the reader of its file too.

mod cases;
mod encoding;
mod fence;
mod grammar;
mod hostile_template;
mod hostile_tokenizer;
mod sentence_piece;
mod stream;
mod template;
mod tiny;
