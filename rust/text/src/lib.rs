//! Tokens and text for Tokenmill: tokenizers, chat templates, streaming detokeniser, stop strings, grammars.
//! Knows no model, no request and no file: bytes and parsed metadata come in, ids and text go out.

#![forbid(unsafe_code)]

mod alphabet;
mod detokenizer;
mod encode;
mod error;
mod grammar;
mod json;
mod stop;
mod table;
mod template;
mod tokenizer;
mod vocabulary;

pub use detokenizer::{Detokenizer, decode};
pub use error::{Error, Result};
pub use grammar::{Grammar, GrammarMatcher, Grammars};
pub use stop::{Progress, StopMatch, StopScanner, TextStream};
pub use template::{ChatTemplate, Date, Message, RenderOptions};
pub use tokenizer::{Encode, Tokenizer};
pub use vocabulary::GgufVocabulary;
