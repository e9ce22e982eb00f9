//! What a tokenizer makes of the texts that break a stretch for DRY. A token may hold more than a breaker, or only its
//! beginning with the rest in the tokens behind it, so every token of the vocabulary is looked at.

use tokenmill_core::TokenId;
use tokenmill_text::{Encode, Tokenizer};

use crate::error::Result;

/// Most tokens that are compared behind the first one.
const REST_LEN_MAX: usize = 20;

/// The token sequences in which a breaker may stand: one token that holds it, or one that ends in a beginning of it
/// and the tokens of what is missing.
pub(crate) fn sequences(tokenizer: &Tokenizer, breakers: &[String]) -> Result<Vec<Vec<TokenId>>> {
    const PLAIN: Encode = Encode {
        add_bos: false,
        allow_control: false,
    };
    let mut sequences = Vec::new();
    for breaker in breakers {
        let bytes = breaker.as_bytes();
        // Where the missing part begins: the tokens of each are made once.
        let mut rests = Vec::new();
        for (start, _) in breaker.char_indices().skip(1) {
            let mut rest = tokenizer.encode(&breaker[start..], PLAIN)?;
            rest.truncate(REST_LEN_MAX);
            rests.push((start, rest));
        }
        for id in 0..tokenizer.vocab_len() as TokenId {
            let Some(token) = tokenizer.token_bytes(id) else {
                continue;
            };
            if token.windows(bytes.len()).any(|part| part == bytes) {
                sequences.push(vec![id]);
                continue;
            }
            let begun = rests
                .iter()
                .filter(|(start, _)| token.ends_with(&bytes[..*start]));
            sequences.extend(begun.map(|(_, rest)| [&[id], &rest[..]].concat()));
        }
    }
    sequences.sort_unstable();
    sequences.dedup();
    Ok(sequences)
}
