//! What an output must be as a text, turned into the tokens that may come next: a schema, a regular expression, a
//! choice or a grammar is compiled once by llguidance, under limits of ours and off the caller's thread, and then
//! followed token by token. Knows the tokenizer; knows no model row, no sampler and no request.
//! Invariants: a matcher is a function of its grammar and the tokens it was given; a control token or an end never
//! stands for text; nothing is fetched, whatever a schema refers to.

mod cache;
mod choice;
mod compile;
mod ebnf;
mod lark;
mod matcher;
mod schema;
mod source;
mod structural_tag;
mod trie;
mod worker;

pub use compile::{Grammar, Grammars};
pub use matcher::GrammarMatcher;
