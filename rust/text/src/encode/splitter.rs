//! Words: the stretches that merges never cross. Steps in order, each splitting what the one before
//! left; the last ones may rewrite a stretch into the byte alphabet. Known GGUF names map to steps here.
//! A pattern that runs into its step limit is an error, never a shorter split.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use fancy_regex::Regex;

use crate::alphabet;
use crate::error::{Error, Result};

/// GPT-2's pattern.
pub(crate) const GPT2_PATTERN: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Llama 3's: up to three digits together.
const LLAMA3_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Qwen 2's: as Llama 3's with each digit alone.
const QWEN2_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Mistral's Tekken: words split where lower case meets upper case.
const TEKKEN_PATTERN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Longest time that a text may take to be split; the longest text takes a tenth of it with a sane pattern.
const SPLIT_TIME_MAX: Duration = Duration::from_secs(30);

/// Matches between two looks at the clock.
const MATCHES_PER_LOOK: usize = 16;

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

/// Where a Metaspace step adds its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrependScheme {
    /// Before the text only.
    First,
    /// Nowhere.
    Never,
    /// Before every stretch between added tokens.
    Always,
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Matches are delimiters (or, inverted, what lies between them is).
    Pattern {
        /// The pattern.
        regex: Regex,
        /// What becomes of delimiters.
        behavior: Behavior,
        /// Whether the roles are exchanged.
        invert: bool,
    },
    /// Numeric characters apart, each alone or in runs.
    Digits {
        /// Each alone.
        individual: bool,
    },
    /// A blank before a stretch that does not begin with one.
    PrefixSpace,
    /// Bytes to the byte alphabet.
    ByteAlphabet,
    /// Blanks to a mark, words begin at a mark.
    Metaspace {
        /// The mark.
        mark: char,
        /// Where one is added.
        scheme: PrependScheme,
        /// Whether words are made at all.
        split: bool,
    },
}

/// Steps in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Splitter {
    /// Applied one after another.
    pub(crate) steps: Vec<Step>,
}

/// Compiles a pattern; the message is the pattern engine's, cut by the caller.
pub(crate) fn compile(pattern: &str) -> std::result::Result<Regex, String> {
    Regex::new(pattern).map_err(|error| error.to_string())
}

/// What a GGUF splitter name means.
pub(crate) struct NamedSplitter {
    /// The steps.
    pub(crate) splitter: Splitter,
    /// Whether a word that is a token is taken whole, whatever the merges say.
    pub(crate) takes_whole_words: bool,
    /// Whether the beginning token is added where the file does not say.
    pub(crate) adds_bos: bool,
}

/// The names known, for messages.
pub(crate) const KNOWN_NAMES: &str = "smollm, gpt-2, llama-bpe, qwen2 or tekken";

impl NamedSplitter {
    /// The splitter called `name` in `tokenizer.ggml.pre`. llama.cpp's aliases are known by their own names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let (pattern, individual_digits, takes_whole_words, adds_bos) = match name {
            "smollm" => (GPT2_PATTERN, true, false, false),
            "gpt-2" | "gpt2" => (GPT2_PATTERN, false, false, false),
            "llama-bpe" | "llama3" | "llama-v3" => (LLAMA3_PATTERN, false, true, true),
            "qwen2" | "deepseek-r1-qwen" => (QWEN2_PATTERN, false, false, false),
            "tekken" => (TEKKEN_PATTERN, false, true, false),
            _ => return None,
        };
        let mut steps = Vec::new();
        if individual_digits {
            steps.push(Step::Digits { individual: true });
        }
        let regex = compile(pattern).expect("our own patterns compile");
        steps.push(Step::Pattern {
            regex,
            behavior: Behavior::Isolated,
            invert: false,
        });
        steps.push(Step::ByteAlphabet);
        Some(Self {
            splitter: Splitter { steps },
            takes_whole_words,
            adds_bos,
        })
    }
}

/// Takes the words, in order.
type Emit<'e> = dyn FnMut(&str) -> Result<()> + 'e;

/// When to give up on a file's own pattern: its step limit holds for one match, not for a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Counts from now.
    pub(crate) fn start() -> Self {
        Self(Instant::now() + SPLIT_TIME_MAX)
    }
}

impl Splitter {
    /// Hands the words of `text` to `emit`; `is_first` says that the whole text begins here.
    pub(crate) fn split(
        &self,
        text: &str,
        is_first: bool,
        deadline: Deadline,
        emit: &mut Emit<'_>,
    ) -> Result<()> {
        run(
            &self.steps,
            Work {
                text,
                is_first,
                deadline,
            },
            emit,
        )
    }
}

/// A stretch to be split further.
#[derive(Clone, Copy)]
struct Work<'t> {
    text: &'t str,
    is_first: bool,
    deadline: Deadline,
}

fn run(steps: &[Step], work: Work<'_>, emit: &mut Emit<'_>) -> Result<()> {
    let text = work.text;
    if text.is_empty() {
        return Ok(());
    }
    let Some((step, rest)) = steps.split_first() else {
        return emit(text);
    };
    match step {
        Step::Pattern {
            regex,
            behavior,
            invert,
        } => run_each(
            rest,
            work,
            behavior.join(matches(regex, work)?, *invert),
            emit,
        ),
        Step::Digits { individual } => {
            let digits = text.char_indices().filter(|(_, c)| c.is_numeric());
            let Ok(stretches) = stretches(
                text,
                digits.map(|(at, c)| Ok::<_, Infallible>((at, at + c.len_utf8()))),
            );
            let behavior = if *individual {
                Behavior::Isolated
            } else {
                Behavior::Contiguous
            };
            run_each(rest, work, behavior.join(stretches, false), emit)
        }
        Step::PrefixSpace if text.starts_with(' ') => run(rest, work, emit),
        Step::PrefixSpace => run(
            rest,
            Work {
                text: &format!(" {text}"),
                ..work
            },
            emit,
        ),
        Step::ByteAlphabet => run(
            rest,
            Work {
                text: &alphabet::spell(text.as_bytes()),
                ..work
            },
            emit,
        ),
        Step::Metaspace {
            mark,
            scheme,
            split,
        } => {
            let marked = add_mark(text, *mark, *scheme, work.is_first);
            let work = Work {
                text: &marked,
                ..work
            };
            if !split {
                return run(rest, work, emit);
            }
            let marks = marked
                .match_indices(*mark)
                .map(|(at, found)| Ok::<_, Infallible>((at, at + found.len())));
            let Ok(stretches) = stretches(&marked, marks);
            run_each(
                rest,
                work,
                Behavior::MergedWithNext.join(stretches, false),
                emit,
            )
        }
    }
}

fn run_each(
    steps: &[Step],
    work: Work<'_>,
    words: Vec<Stretch>,
    emit: &mut Emit<'_>,
) -> Result<()> {
    for word in words {
        let is_first = work.is_first && word.begin == 0;
        run(
            steps,
            Work {
                text: &work.text[word.begin..word.end],
                is_first,
                ..work
            },
            emit,
        )?;
    }
    Ok(())
}

/// A pattern's matches and what lies between them.
fn matches(regex: &Regex, work: Work<'_>) -> Result<Vec<Stretch>> {
    let found = regex
        .find_iter(work.text)
        .enumerate()
        .map(|(index, found)| {
            if index % MATCHES_PER_LOOK == 0 && Instant::now() > work.deadline.0 {
                return Err(Error::TextNotSplit);
            }
            found
                .map(|found| (found.start(), found.end()))
                .map_err(|_| Error::TextNotSplit)
        });
    stretches(work.text, found)
}

/// The text with blanks as marks, and one more before it where the scheme says so.
fn add_mark(text: &str, mark: char, scheme: PrependScheme, is_first: bool) -> String {
    let mut marked = String::with_capacity(text.len() + mark.len_utf8());
    let wants_mark = match scheme {
        PrependScheme::Always => true,
        PrependScheme::First => is_first,
        PrependScheme::Never => false,
    };
    if wants_mark && !text.starts_with([' ', mark]) {
        marked.push(mark);
    }
    marked.extend(text.chars().map(|c| if c == ' ' { mark } else { c }));
    marked
}

/// A stretch of a text by byte, and whether it is a delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    begin: usize,
    end: usize,
    is_delimiter: bool,
}

/// Delimiters and what lies between them, covering the text.
fn stretches<E>(
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
    fn join(self, mut stretches: Vec<Stretch>, invert: bool) -> Vec<Stretch> {
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
