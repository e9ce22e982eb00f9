//! Words: the stretches that merges never cross. Steps in order, each splitting what the one before
//! left; the last ones may rewrite a stretch into the byte alphabet.
//! A pattern that runs into its step limit is an error, never a shorter split.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use fancy_regex::Regex;

use super::stretch::{Behavior, Stretch, stretches};
use crate::alphabet;
use crate::error::{Error, Result};

/// Longest time that any text may take to be split, and the time that each MiB of it adds: ten times what a
/// sane pattern takes. Unoptimised dependencies are slower by as much.
const SPLIT_TIME_MAX: Duration = Duration::from_millis(1000 * SLOWNESS);
const SPLIT_TIME_PER_MIB: Duration = Duration::from_millis(1000 * SLOWNESS);
const SLOWNESS: u64 = if cfg!(debug_assertions) { 3 } else { 1 };

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

/// Takes the words, in order.
type Emit<'e> = dyn FnMut(&str) -> Result<()> + 'e;

/// When to give up on a file's own pattern: its step limit holds for one match, not for a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    allowed: Duration,
}

impl Deadline {
    /// Counts from now, for a text of this length.
    pub(crate) fn start(len_bytes: usize) -> Self {
        let allowed =
            SPLIT_TIME_MAX + SPLIT_TIME_PER_MIB.mul_f64(len_bytes as f64 / f64::from(1 << 20));
        Self {
            at: Instant::now() + allowed,
            allowed,
        }
    }

    fn check(self) -> Result<()> {
        if Instant::now() <= self.at {
            return Ok(());
        }
        Err(Error::SplitTooSlow {
            max_ms: self.allowed.as_millis() as u64,
        })
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

impl Work<'_> {
    /// The same stretch, rewritten.
    fn with(self, text: &str) -> Work<'_> {
        Work {
            text,
            is_first: self.is_first,
            deadline: self.deadline,
        }
    }
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
        Step::Digits { individual } => run_each(rest, work, digits(text, *individual), emit),
        Step::PrefixSpace if text.starts_with(' ') => run(rest, work, emit),
        Step::PrefixSpace => run(rest, work.with(&format!(" {text}")), emit),
        Step::ByteAlphabet => run(rest, work.with(&alphabet::spell(text.as_bytes())), emit),
        Step::Metaspace {
            mark,
            scheme,
            split,
        } => {
            let marked = add_mark(text, *mark, *scheme, work.is_first);
            let work = work.with(&marked);
            if *split {
                run_each(rest, work, at_marks(&marked, *mark), emit)
            } else {
                run(rest, work, emit)
            }
        }
    }
}

/// Numeric characters and what lies between them.
fn digits(text: &str, individual: bool) -> Vec<Stretch> {
    let digits = text.char_indices().filter(|(_, c)| c.is_numeric());
    let Ok(stretches) = stretches(
        text,
        digits.map(|(at, c)| Ok::<_, Infallible>((at, at + c.len_utf8()))),
    );
    let behavior = if individual {
        Behavior::Isolated
    } else {
        Behavior::Contiguous
    };
    behavior.join(stretches, false)
}

/// Words that begin at a mark.
fn at_marks(text: &str, mark: char) -> Vec<Stretch> {
    let marks = text
        .match_indices(mark)
        .map(|(at, found)| Ok::<_, Infallible>((at, at + found.len())));
    let Ok(stretches) = stretches(text, marks);
    Behavior::MergedWithNext.join(stretches, false)
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
    let found = regex.find_iter(work.text).map(|found| {
        // At every match: one may take as long as its step limit allows.
        work.deadline.check()?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::PreTokenizerWrapper;
    use tokenizers::pre_tokenizers::digits::Digits;
    use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme as LibraryScheme};
    use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
    use tokenizers::{
        OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior,
    };

    use super::{Behavior, Deadline, PrependScheme, Splitter, Step, compile};

    fn words(step: Step, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        let splitter = Splitter { steps: vec![step] };
        splitter
            .split(text, true, Deadline::start(text.len()), &mut |word| {
                words.push(word.to_owned());
                Ok(())
            })
            .unwrap();
        words
    }

    fn library_words(step: &PreTokenizerWrapper, text: &str) -> Vec<String> {
        let mut text = PreTokenizedString::from(text);
        step.pre_tokenize(&mut text).unwrap();
        let splits = text.get_splits(OffsetReferential::Original, OffsetType::None);
        splits
            .into_iter()
            .map(|(word, ..)| word.to_owned())
            .collect()
    }

    const BEHAVIORS: [(Behavior, SplitDelimiterBehavior); 5] = [
        (Behavior::Removed, SplitDelimiterBehavior::Removed),
        (Behavior::Isolated, SplitDelimiterBehavior::Isolated),
        (
            Behavior::MergedWithPrevious,
            SplitDelimiterBehavior::MergedWithPrevious,
        ),
        (
            Behavior::MergedWithNext,
            SplitDelimiterBehavior::MergedWithNext,
        ),
        (Behavior::Contiguous, SplitDelimiterBehavior::Contiguous),
    ];

    proptest! {
        #[test]
        fn words_are_those_of_the_library(text in "[ab, .▁1½²٣é]{0,20}", pattern in prop::sample::select(vec!["a+", ",", "[ .]", "a", "(?:ab)*", r"\s+(?!\S)", r"\b", r"\p{N}", "[^a]+", "x"])) {
            let regex = compile(pattern).unwrap();
            for (behavior, library) in BEHAVIORS {
                for invert in [false, true] {
                    let ours = Step::Pattern { regex: regex.clone(), behavior, invert };
                    let theirs = Split::new(SplitPattern::Regex(pattern.to_owned()), library, invert).unwrap();
                    prop_assert_eq!(words(ours, &text), library_words(&theirs.into(), &text));
                }
            }
            for individual in [false, true] {
                let theirs = Digits::new(individual);
                prop_assert_eq!(words(Step::Digits { individual }, &text), library_words(&theirs.into(), &text));
            }
            for (scheme, library) in [
                (PrependScheme::Always, LibraryScheme::Always),
                (PrependScheme::First, LibraryScheme::First),
                (PrependScheme::Never, LibraryScheme::Never),
            ] {
                for split in [false, true] {
                    let theirs = Metaspace::new('▁', library, split);
                    let ours = Step::Metaspace { mark: '▁', scheme, split };
                    prop_assert_eq!(words(ours, &text), library_words(&theirs.into(), &text));
                }
            }
        }
    }
}
