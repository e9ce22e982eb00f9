//! Identifiers. Token ids are plain `u32` because tensors and files hold them so; the others are
//! newtypes, made by the engine and never taken from a caller.

use serde::{Deserialize, Serialize};

/// A row of the vocabulary, `0..vocab_len`.
pub type TokenId = u32;

/// One request, as the engine numbered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// One sequence of tokens being grown for a request (`n` > 1: several per request).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SequenceId(pub u64);

/// One block of KV memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockId(pub u32);
