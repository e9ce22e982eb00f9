//! Everything this crate refuses, with the data that says what, where and what was expected. It never
//! quotes a prompt; pieces of model files are quoted up to `QUOTE_CHARS_MAX` characters.

use tokenmill_core::{HasKind, Kind};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Most characters of a file's own text in one message.
const QUOTE_CHARS_MAX: usize = 64;

/// A refused tokenizer, text or template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The vocabulary of a GGUF file contradicts itself.
    #[error("{key}: {problem}")]
    BadVocabulary {
        /// The metadata key.
        key: &'static str,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// `tokenizer.json` or `tokenizer_config.json` contradicts itself or its format.
    #[error("{file}: {place}: {problem}")]
    BadFile {
        /// Which file.
        file: &'static str,
        /// The field, as a path of keys.
        place: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// A well-formed tokenizer that this crate does not model.
    #[error("{what} is not supported: expected {expected}")]
    Unsupported {
        /// The component and its name.
        what: String,
        /// What is known.
        expected: String,
    },
    /// The text is longer than one encode may be.
    #[error("the text has {len_bytes} bytes, at most {max_bytes} can be encoded at once")]
    TextTooLong {
        /// Its length.
        len_bytes: usize,
        /// The bound.
        max_bytes: usize,
    },
    /// The normaliser makes too much of the text.
    #[error("the tokenizer's normaliser makes more than {max_bytes} bytes of this text")]
    NormalTooLong {
        /// The bound.
        max_bytes: usize,
    },
    /// The splitting pattern takes too long for this text.
    #[error("the tokenizer's pattern does not split this text within {max_ms} ms")]
    SplitTooSlow {
        /// The bound.
        max_ms: u64,
    },
    /// The splitting pattern gave up on this text.
    #[error("the tokenizer's pattern cannot split this text within its step limit")]
    TextNotSplit,
    /// The tokenizer library panicked or failed on this text.
    #[error("the tokenizer failed on this text")]
    EncodeFailed,
    /// The chat template does not parse or uses what is refused.
    #[error("chat template, line {line}: {problem}")]
    BadTemplate {
        /// One-based line, 0 where none applies.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The chat template ran into a limit or failed while rendering.
    #[error("chat template, line {line}: {problem}")]
    RenderFailed {
        /// One-based line, 0 where none applies.
        line: usize,
        /// What happened.
        problem: String,
    },
    /// The template called `raise_exception`.
    #[error("the chat template refused the messages: {message}")]
    TemplateRaised {
        /// Its own text, cut.
        message: String,
    },
    /// A field of the request is outside its bound.
    #[error("{param}: {problem}")]
    BadField {
        /// The field.
        param: &'static str,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// All threads for grammars are at work.
    #[error("other grammars are being compiled: try again later")]
    GrammarsBusy,
    /// No thread could be started to render on.
    #[error("no thread could be started to render the chat template")]
    NoThread,
}

impl Error {
    /// A tokenizer that puts its end token after every text: a prompt would be over before its answer.
    pub(crate) fn adds_eos(key: &str) -> Self {
        Self::Unsupported {
            what: format!("{key} = true"),
            expected: "false: a prompt is continued".to_owned(),
        }
    }
}

impl HasKind for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::BadVocabulary { .. } | Self::BadFile { .. } | Self::BadTemplate { .. } => {
                Kind::Corrupt
            }
            Self::Unsupported { .. } => Kind::Unsupported,
            Self::TextTooLong { .. }
            | Self::NormalTooLong { .. }
            | Self::SplitTooSlow { .. }
            | Self::TextNotSplit
            | Self::EncodeFailed
            | Self::RenderFailed { .. }
            | Self::TemplateRaised { .. }
            | Self::BadField { .. } => Kind::InvalidRequest,
            Self::NoThread | Self::GrammarsBusy => Kind::Overloaded,
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::TextTooLong { .. }
            | Self::NormalTooLong { .. }
            | Self::SplitTooSlow { .. }
            | Self::TextNotSplit
            | Self::EncodeFailed => Some("prompt"),
            Self::RenderFailed { .. } | Self::TemplateRaised { .. } => Some("messages"),
            Self::BadField { param, .. } => Some(param),
            _ => None,
        }
    }
}

/// Text of a model file as a message may show it: cut, control characters escaped.
pub(crate) fn quote(text: &str) -> String {
    let mut shown = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == QUOTE_CHARS_MAX {
            shown.push_str("...");
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_quote_is_cut_and_shows_no_control_character() {
        assert_eq!(quote("a\nb"), "a\\nb");
        assert_eq!(quote(&"x".repeat(65)), format!("{}...", "x".repeat(64)));
        assert_eq!(quote(&"x".repeat(64)), "x".repeat(64));
    }
}
