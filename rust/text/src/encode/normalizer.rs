//! What happens to a text before it is split into words. Each step is one that we know to be linear and
//! of bounded growth; the loader multiplies the growths and refuses a file whose product is too large, and
//! no step writes more than its caller allows. The forms are those of the crate that `tokenizers` uses,
//! without its sixteen bytes of alignment per byte of text.

use std::borrow::Cow;

use unicode_normalization_alignments::UnicodeNormalization;

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

    /// The text after this step; `None` if it would be longer than `len_max`.
    fn apply(&self, text: &str, len_max: usize) -> Option<String> {
        let forms =
            |chars: &mut dyn Iterator<Item = (char, isize)>| gather(chars.map(|(c, _)| c), len_max);
        match self {
            Self::Nfc | Self::Nfd | Self::Nfkc | Self::Nfkd if text.is_ascii() => {
                (text.len() <= len_max).then(|| text.to_owned())
            }
            Self::Nfc => forms(&mut text.nfc()),
            Self::Nfd => forms(&mut text.nfd()),
            Self::Nfkc => forms(&mut text.nfkc()),
            Self::Nfkd => forms(&mut text.nfkd()),
            Self::Lowercase => gather(text.chars().flat_map(char::to_lowercase), len_max),
            Self::Prepend(_) if text.is_empty() => Some(String::new()),
            Self::Prepend(prefix) => {
                (prefix.len() + text.len() <= len_max).then(|| format!("{prefix}{text}"))
            }
            Self::Replace { pattern, content } => {
                let found = text.matches(pattern.as_str()).count();
                let len = text.len() - found * pattern.len() + found * content.len();
                (len <= len_max).then(|| text.replace(pattern.as_str(), content))
            }
        }
    }
}

/// The characters as a text, unless it has more than `len_max` bytes.
fn gather(chars: impl Iterator<Item = char>, len_max: usize) -> Option<String> {
    let mut text = String::new();
    for c in chars {
        text.push(c);
        if text.len() > len_max {
            return None;
        }
    }
    Some(text)
}

/// Steps in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Normalizer {
    /// Applied one after another.
    pub(crate) steps: Vec<NormalStep>,
}

impl Normalizer {
    /// The normalised text; `None` if it is longer than `len_max` bytes, or was on the way.
    pub(crate) fn apply<'a>(&self, text: &'a str, len_max: usize) -> Option<Cow<'a, str>> {
        let mut text = Cow::Borrowed(text);
        for step in &self.steps {
            text = Cow::Owned(step.apply(&text, len_max)?);
        }
        Some(text)
    }

    /// Upper bound of output bytes per input byte.
    pub(crate) fn growth(&self) -> usize {
        self.steps
            .iter()
            .fold(1, |product, step| product.saturating_mul(step.growth()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokenizers::NormalizedString;

    use super::NormalStep;

    fn replace(pattern: &str, content: &str) -> NormalStep {
        NormalStep::Replace {
            pattern: pattern.to_owned(),
            content: content.to_owned(),
        }
    }

    proptest! {
        #[test]
        fn forms_are_those_of_the_library(text in "\\PC{0,20}|[aA\u{e9}\u{301}\u{130}\u{3a3}\u{fb01}\u{fdfa}\u{ac00}\u{1100}\u{1161}]{0,20}") {
            let library = || NormalizedString::from(text.as_str());
            for (step, expected) in [
                (NormalStep::Nfc, library().nfc().get().to_owned()),
                (NormalStep::Nfd, library().nfd().get().to_owned()),
                (NormalStep::Nfkc, library().nfkc().get().to_owned()),
                (NormalStep::Nfkd, library().nfkd().get().to_owned()),
                (NormalStep::Lowercase, library().lowercase().get().to_owned()),
            ] {
                prop_assert_eq!(step.apply(&text, usize::MAX), Some(expected));
            }
        }
    }

    #[test]
    fn no_step_writes_more_than_it_may() {
        let cases = [
            (NormalStep::Nfc, "aé", 3),
            (NormalStep::Nfd, "é", 3),
            (NormalStep::Nfkc, "\u{fdfa}", 33),
            (NormalStep::Nfkd, "\u{fdfa}", 33),
            (NormalStep::Nfkd, "ab", 2),
            (NormalStep::Lowercase, "\u{130}", 3),
            (NormalStep::Prepend("▁".to_owned()), "a", 4),
            (replace("a", "bcd"), "xaa", 7),
            (replace("aa", "b"), "aaa", 2),
        ];
        for (step, text, len) in cases {
            let written = step.apply(text, len).map(|text| text.len());
            assert_eq!(written, Some(len), "{step:?}");
            assert_eq!(step.apply(text, len - 1), None, "{step:?}");
        }
    }
}
