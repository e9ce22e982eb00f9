//! Texts looked for in the whole vocabulary: what breaks a stretch, what a processor matches, what begins and ends a
//! model's thinking. A search reads every token's bytes, so answers are kept, at most so many, for the requests that
//! ask the same again. Knows no request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokenmill_core::TokenId;
use tokenmill_text::{Encode, Tokenizer};

use super::breaker;
use crate::error::{Error, Result};

/// Answers that are kept: a service has a handful of settings, and one takes up to a few hundred kilobytes.
const ANSWERS_MAX: usize = 32;

/// The marks that models put around their thinking.
const THINKING_MARKS: [(&str, &str); 5] = [
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<seed:think>", "</seed:think>"),
    ("<thought>", "</thought>"),
];

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    Breaker(String),
    Matching(String),
}

type Answer = Arc<Vec<Vec<TokenId>>>;

/// Answers, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<VecDeque<(Question, Answer)>>);

impl Answers {
    /// The token sequences in which texts that break a stretch may stand.
    pub fn breakers(
        &self,
        tokenizer: &Tokenizer,
        breakers: &[String],
    ) -> Result<Vec<Vec<TokenId>>> {
        let mut sequences = Vec::new();
        for text in breakers {
            let found = self.kept(Question::Breaker(text.clone()), || {
                breaker::sequences(tokenizer, std::slice::from_ref(text))
            })?;
            sequences.extend_from_slice(&found);
        }
        sequences.sort_unstable();
        sequences.dedup();
        Ok(sequences)
    }

    /// The tokens whose text holds this one, ascending.
    pub fn matching(&self, tokenizer: &Tokenizer, text: &str) -> Result<Arc<[TokenId]>> {
        let found = self.kept(Question::Matching(text.to_owned()), || {
            let holds = |&id: &TokenId| {
                let bytes = tokenizer.token_bytes(id).unwrap_or_default();
                bytes
                    .windows(text.len())
                    .any(|part| part == text.as_bytes())
            };
            let ids = (0..tokenizer.vocab_len() as TokenId).filter(holds);
            Ok(vec![ids.collect()])
        })?;
        Ok(found.concat().into())
    }

    fn kept(
        &self,
        question: Question,
        search: impl FnOnce() -> Result<Vec<Vec<TokenId>>>,
    ) -> Result<Answer> {
        // A panic while the lock is held can only be an allocation failure; every answer is whole.
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().iter().find(|(asked, _)| *asked == question).cloned();
        if let Some((_, answer)) = known {
            return Ok(answer);
        }
        // Searched outside the lock: two callers may both do it, and nobody waits.
        let answer = Arc::new(search()?);
        let mut answers = lock();
        answers.push_back((question, answer.clone()));
        if answers.len() > ANSWERS_MAX {
            answers.pop_front();
        }
        Ok(answer)
    }
}

/// The tokens that begin and end a model's thinking: those of two texts, or of the first known pair of marks that
/// the vocabulary has as tokens of their own.
pub(crate) fn thinking_marks(
    tokenizer: &Tokenizer,
    start: Option<&str>,
    end: Option<&str>,
) -> Result<Option<(Vec<TokenId>, Vec<TokenId>)>> {
    let encode = |text: &str| {
        let how = Encode {
            add_bos: false,
            allow_control: true,
        };
        tokenizer.encode(text, how)
    };
    match (start, end) {
        (Some(start), Some(end)) => Ok(Some((encode(start)?, encode(end)?))),
        (None, None) => {
            let marks = THINKING_MARKS.into_iter().find_map(|(start, end)| {
                let ids = tokenizer.id_of(start).zip(tokenizer.id_of(end));
                ids.map(|(start, end)| (vec![start], vec![end]))
            });
            Ok(marks)
        }
        (start, _) => {
            let [name, other] = ["reasoning_start_str", "reasoning_end_str"];
            let (name, other) = if start.is_some() {
                (name, other)
            } else {
                (other, name)
            };
            Err(Error::Option(tokenmill_core::Error::Conflict {
                name: name.into(),
                other: other.into(),
                reason: "thinking has a beginning and an end: give both".into(),
            }))
        }
    }
}
