//! Stop strings on streamed text. The string whose last character comes first wins, equal ends go by the
//! order of the list; what may still become a stop string is held back, and nothing else is. One
//! Knuth-Morris-Pratt automaton per string, over bytes: UTF-8 synchronises itself, so a byte match is a
//! character match, and an automaton's state is the length of the prefix that must be held.

use crate::detokenizer::Detokenizer;
use crate::tokenizer::Tokenizer;

/// A stop string found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopMatch {
    /// Which one, by its place in the list.
    pub index: usize,
    /// Where its last byte ends in the text just scanned.
    pub end: usize,
}

/// One stop string with its automaton.
#[derive(Clone, Debug)]
struct Pattern {
    bytes: Vec<u8>,
    /// `fallback[n]`: length of the longest proper prefix that is a suffix of the first n + 1 bytes.
    fallback: Vec<usize>,
    /// Bytes matched so far, less than the whole.
    matched: usize,
}

impl Pattern {
    fn new(stop: &str) -> Self {
        let bytes = stop.as_bytes().to_vec();
        let mut fallback = vec![0; bytes.len()];
        let mut length = 0;
        for index in 1..bytes.len() {
            while length > 0 && bytes[index] != bytes[length] {
                length = fallback[length - 1];
            }
            length += usize::from(bytes[index] == bytes[length]);
            fallback[index] = length;
        }
        Self {
            bytes,
            fallback,
            matched: 0,
        }
    }

    /// Takes one byte; true if it completes the string.
    fn step(&mut self, byte: u8) -> bool {
        while self.matched > 0 && self.bytes[self.matched] != byte {
            self.matched = self.fallback[self.matched - 1];
        }
        self.matched += usize::from(self.bytes[self.matched] == byte);
        let is_complete = self.matched == self.bytes.len();
        if is_complete {
            self.matched = self.fallback[self.matched - 1];
        }
        is_complete
    }
}

/// Finds the first of several strings in a text that comes in pieces.
#[derive(Clone, Debug)]
pub struct StopScanner {
    patterns: Vec<Pattern>,
}

impl StopScanner {
    /// Empty strings are never found: they have no last character.
    pub fn new(stops: &[String]) -> Self {
        Self {
            patterns: stops.iter().map(|stop| Pattern::new(stop)).collect(),
        }
    }

    /// Scans the next piece. With `may_stop` false the text counts but no match in it does.
    pub fn scan(&mut self, text: &str, may_stop: bool) -> Option<StopMatch> {
        for (position, &byte) in text.as_bytes().iter().enumerate() {
            let mut found = None;
            for (index, pattern) in self.patterns.iter_mut().enumerate() {
                let is_complete = !pattern.bytes.is_empty() && pattern.step(byte);
                if is_complete && found.is_none() {
                    found = Some(StopMatch {
                        index,
                        end: position + 1,
                    });
                }
            }
            if found.is_some() && may_stop {
                return found;
            }
        }
        None
    }

    /// Bytes at the end of the text that are a proper prefix of some stop string: the longest such run.
    pub fn held_bytes(&self) -> usize {
        self.patterns
            .iter()
            .map(|pattern| pattern.matched)
            .max()
            .unwrap_or(0)
    }

    fn len_bytes(&self, index: usize) -> usize {
        self.patterns[index].bytes.len()
    }
}

/// What one token brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Text that is final now.
    pub text: String,
    /// The stop string that ended the text, by its place in the list.
    pub stopped: Option<usize>,
}

/// Detokeniser, stop strings and their minimum for one sequence.
#[derive(Clone, Debug)]
pub struct TextStream {
    detokenizer: Detokenizer,
    scanner: StopScanner,
    include_stop: bool,
    /// Whether the rest of the token that completed it stays too.
    is_uncut: bool,
    /// Matches that end in the text of the first so many tokens do not count.
    min_tokens: usize,
    token_count: usize,
    /// Text not yet final.
    held: String,
    stopped: Option<usize>,
}

impl TextStream {
    /// A stream at its start. `stops` has been validated: no empty string.
    pub fn new(
        stops: &[String],
        include_stop: bool,
        skip_special: bool,
        min_tokens: usize,
    ) -> Self {
        Self {
            detokenizer: Detokenizer::new(skip_special),
            scanner: StopScanner::new(stops),
            include_stop,
            is_uncut: false,
            min_tokens,
            token_count: 0,
            held: String::new(),
            stopped: None,
        }
    }

    /// The same stream, but a stop string ends it behind the whole token that completed the string.
    #[must_use]
    pub fn uncut(mut self) -> Self {
        self.is_uncut = true;
        self
    }

    /// Takes the next token. After a stop nothing more comes out.
    pub fn push(&mut self, tok: &Tokenizer, id: u32) -> Progress {
        if self.stopped.is_some() {
            return Progress {
                text: String::new(),
                stopped: self.stopped,
            };
        }
        let begin = self.held.len();
        self.detokenizer.push(tok, id, &mut self.held);
        self.token_count += 1;
        let may_stop = self.token_count > self.min_tokens;
        let Some(found) = self.scanner.scan(&self.held[begin..], may_stop) else {
            let keep = self.scanner.held_bytes();
            let tail = self.held.split_off(self.held.len() - keep);
            return Progress {
                text: std::mem::replace(&mut self.held, tail),
                stopped: None,
            };
        };
        let end = begin + found.end;
        let cut = if self.is_uncut {
            self.held.len()
        } else if self.include_stop {
            end
        } else {
            end - self.scanner.len_bytes(found.index)
        };
        self.held.truncate(cut);
        self.stopped = Some(found.index);
        Progress {
            text: std::mem::take(&mut self.held),
            stopped: self.stopped,
        }
    }

    /// Ends the stream. Where no stop string did, what was held back is text after all, and an unfinished code
    /// point becomes a replacement character.
    pub fn finish(&mut self) -> String {
        if self.stopped.is_none() || self.is_uncut {
            self.detokenizer.finish(&mut self.held);
        }
        std::mem::take(&mut self.held)
    }
}
