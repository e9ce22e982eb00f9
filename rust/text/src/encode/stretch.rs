//! A text cut at delimiters: the delimiters and what lies between them, and the ways in which the
//! `tokenizers` crate joins them to words. Byte ranges only; the text is never copied.

/// What becomes of a delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behavior {
    /// Dropped.
    Removed,
    /// A word of its own.
    Isolated,
    /// Joined to the stretch before it.
    MergedWithPrevious,
    /// Joined to the stretch after it.
    MergedWithNext,
    /// Neighbouring delimiters make one word.
    Contiguous,
}

/// A stretch of a text by byte, and whether it is a delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(super) begin: usize,
    pub(super) end: usize,
    is_delimiter: bool,
}

/// Delimiters and what lies between them, covering the text.
pub(super) fn stretches<E>(
    text: &str,
    delimiters: impl Iterator<Item = std::result::Result<(usize, usize), E>>,
) -> std::result::Result<Vec<Stretch>, E> {
    let mut all = Vec::new();
    let mut at = 0;
    for delimiter in delimiters {
        let (begin, end) = delimiter?;
        if at < begin {
            all.push(Stretch {
                begin: at,
                end: begin,
                is_delimiter: false,
            });
        }
        all.push(Stretch {
            begin,
            end,
            is_delimiter: true,
        });
        at = end;
    }
    if at < text.len() {
        all.push(Stretch {
            begin: at,
            end: text.len(),
            is_delimiter: false,
        });
    }
    Ok(all)
}

impl Behavior {
    /// Words out of stretches, as the `tokenizers` crate joins them.
    pub(super) fn join(self, mut stretches: Vec<Stretch>, invert: bool) -> Vec<Stretch> {
        for stretch in &mut stretches {
            stretch.is_delimiter ^= invert;
        }
        match self {
            Self::Isolated => {}
            Self::Removed => stretches.retain(|stretch| !stretch.is_delimiter),
            Self::Contiguous => join_neighbours(&mut stretches, |before, this| before == this),
            Self::MergedWithPrevious => {
                join_neighbours(&mut stretches, |before, this| this && !before);
            }
            Self::MergedWithNext => {
                stretches.reverse();
                join_neighbours(&mut stretches, |before, this| this && !before);
                stretches.reverse();
            }
        }
        stretches
    }
}

/// Joins a stretch to the word before it where `joins(was the one before a delimiter, is this one)`.
fn join_neighbours(stretches: &mut Vec<Stretch>, joins: impl Fn(bool, bool) -> bool) {
    let mut words: Vec<Stretch> = Vec::with_capacity(stretches.len());
    let mut before = false;
    for stretch in stretches.drain(..) {
        match words.last_mut() {
            Some(word) if joins(before, stretch.is_delimiter) => {
                word.begin = word.begin.min(stretch.begin);
                word.end = word.end.max(stretch.end);
            }
            _ => words.push(stretch),
        }
        before = stretch.is_delimiter;
    }
    *stretches = words;
}
