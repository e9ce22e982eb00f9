//! The tokens of a SentencePiece vocabulary (`tokenizer.ggml.model` `llama`). It joins the pair with the best
//! score first, and of equals the leftmost; that is a byte-pair model whose merges are all the ways in which
//! a piece is made of two, in the order of the scores. What no piece spells becomes byte tokens.

use std::collections::HashMap;

use super::{GgufTokens, GgufVocabulary, TokenKind, bad_tokens};
use crate::error::{Error, Result, quote};

/// What stands for a blank in a piece.
pub(super) const BLANK: char = '\u{2581}';

/// Most byte comparisons to find the merges: the sum of the squares of the pieces' lengths.
const WORK_MAX: usize = 1 << 30;

/// Two pieces that make a third.
struct Merge<'a> {
    left: &'a str,
    right: &'a str,
    score: f32,
}

impl GgufTokens {
    /// Pieces with their scores.
    pub(super) fn sentence_piece(v: &GgufVocabulary) -> Result<Self> {
        check_scores(v)?;
        let mut sorted = Self::default();
        let mut pieces: HashMap<&str, u32> = HashMap::with_capacity(v.tokens.len());
        for (id, token) in (0u32..).zip(&v.tokens) {
            let kind = v.kind(id)?;
            let bytes = match kind {
                TokenKind::Byte => vec![byte_of(token).ok_or_else(|| {
                    bad_tokens(format!("token {id}, {:?}, is no byte", quote(token)))
                })?],
                TokenKind::Normal => token.replace(BLANK, " ").into_bytes(),
                TokenKind::Control | TokenKind::UserDefined => token.as_bytes().to_vec(),
            };
            sorted.push((id, token), kind, &bytes, !kind.is_cut_out())?;
            if kind == TokenKind::Normal {
                pieces.insert(token, id);
            }
        }
        for merge in merges(v, &pieces)? {
            let added = sorted.model.add_merge(merge.left, merge.right);
            added.map_err(bad_tokens)?;
        }
        Ok(sorted)
    }
}

fn check_scores(v: &GgufVocabulary) -> Result<()> {
    let problem = if v.scores.len() != v.tokens.len() {
        format!("expected one per token, got {}", v.scores.len())
    } else if let Some(id) = v.scores.iter().position(|score| !score.is_finite()) {
        format!("that of token {id} is not finite")
    } else {
        return Ok(());
    };
    Err(Error::BadVocabulary {
        key: "tokenizer.ggml.scores",
        problem,
    })
}

/// Every way to make a piece of two others, best score first.
fn merges<'a>(v: &'a GgufVocabulary, pieces: &HashMap<&str, u32>) -> Result<Vec<Merge<'a>>> {
    let work: usize = v.tokens.iter().map(|token| token.len() * token.len()).sum();
    if work > WORK_MAX {
        return Err(bad_tokens("too many long tokens".to_owned()));
    }
    let mut merges = Vec::new();
    for (token, &score) in v.tokens.iter().zip(&v.scores) {
        if !pieces.contains_key(token.as_str()) {
            continue;
        }
        let cuts = token
            .char_indices()
            .skip(1)
            .map(|(at, _)| token.split_at(at));
        let known =
            cuts.filter(|(left, right)| pieces.contains_key(left) && pieces.contains_key(right));
        merges.extend(known.map(|(left, right)| Merge { left, right, score }));
    }
    // Stable: the ways to make one piece stay in the order of their cuts.
    merges.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(merges)
}

/// The byte of a token `<0xNN>`.
fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then_some(())?;
    u8::from_str_radix(digits, 16).ok()
}
