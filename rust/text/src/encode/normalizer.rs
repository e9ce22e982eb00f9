//! What happens to a text before it is split into words. Each step is one that we know to be linear and
//! of bounded growth; the loader multiplies the growths and refuses a file whose product is too large.

use std::borrow::Cow;

use tokenizers::NormalizedString;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NormalStep {
    /// Canonical composition.
    Nfc,
    /// Canonical decomposition.
    Nfd,
    /// Compatibility composition.
    Nfkc,
    /// Compatibility decomposition.
    Nfkd,
    /// Unicode lower case.
    Lowercase,
    /// Put before a text that is not empty.
    Prepend(String),
    /// Every `pattern` becomes `content`; the pattern is not empty.
    Replace {
        /// Literal text.
        pattern: String,
        /// What it becomes.
        content: String,
    },
}

impl NormalStep {
    /// Upper bound of output bytes per input byte.
    pub(crate) fn growth(&self) -> usize {
        match self {
            // Unicode's own tables of worst cases (UAX 15): factors for UTF-8.
            Self::Nfc | Self::Nfd | Self::Lowercase => 3,
            Self::Nfkc | Self::Nfkd => 11,
            // A text of one byte grows most.
            Self::Prepend(text) => 1 + text.len(),
            Self::Replace { pattern, content } => {
                content.len().div_ceil(pattern.len().max(1)).max(1)
            }
        }
    }

    fn apply(&self, text: &str) -> String {
        match self {
            Self::Nfc | Self::Nfd | Self::Nfkc | Self::Nfkd if text.is_ascii() => text.to_owned(),
            Self::Nfc => NormalizedString::from(text).nfc().get().to_owned(),
            Self::Nfd => NormalizedString::from(text).nfd().get().to_owned(),
            Self::Nfkc => NormalizedString::from(text).nfkc().get().to_owned(),
            Self::Nfkd => NormalizedString::from(text).nfkd().get().to_owned(),
            Self::Lowercase => NormalizedString::from(text).lowercase().get().to_owned(),
            Self::Prepend(_) if text.is_empty() => String::new(),
            Self::Prepend(prefix) => format!("{prefix}{text}"),
            Self::Replace { pattern, content } => text.replace(pattern.as_str(), content),
        }
    }
}

/// Steps in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Normalizer {
    /// Applied one after another.
    pub(crate) steps: Vec<NormalStep>,
}

impl Normalizer {
    /// The normalised text.
    pub(crate) fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for step in &self.steps {
            text = Cow::Owned(step.apply(&text));
        }
        text
    }

    /// Upper bound of output bytes per input byte.
    pub(crate) fn growth(&self) -> usize {
        self.steps
            .iter()
            .fold(1, |product, step| product.saturating_mul(step.growth()))
    }
}
