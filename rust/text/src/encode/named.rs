//! Splitters that GGUF files only name: the patterns behind the names, as the models were trained with
//! them. An unknown name has no default, because a wrong splitter gives plausible, wrong ids.

use super::splitter::{Splitter, Step, compile};
use super::stretch::Behavior;

/// GPT-2's pattern.
pub(crate) const GPT2_PATTERN: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Llama 3's: up to three digits together.
const LLAMA3_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Qwen 2's: as Llama 3's with each digit alone.
const QWEN2_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Mistral's Tekken: words split where lower case meets upper case.
const TEKKEN_PATTERN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

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
pub(crate) const KNOWN_NAMES: &str = "smollm, refact, starcoder, command-r, gpt-2, phi-2, \
    olmo, mpt, llama-bpe, dbrx, smaug-bpe, qwen2, stablelm2 or tekken";

impl NamedSplitter {
    /// The splitter called `name` in `tokenizer.ggml.pre`. llama.cpp's aliases are known by their own names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let (pattern, individual_digits, takes_whole_words, adds_bos) = match name {
            "smollm" | "refact" | "starcoder" | "command-r" => (GPT2_PATTERN, true, false, false),
            "gpt-2" | "gpt2" | "phi-2" | "olmo" | "mpt" => (GPT2_PATTERN, false, false, false),
            "llama-bpe" | "llama3" | "llama-v3" => (LLAMA3_PATTERN, false, true, true),
            "dbrx" | "smaug-bpe" => (LLAMA3_PATTERN, false, false, false),
            "qwen2" | "deepseek-r1-qwen" | "stablelm2" => (QWEN2_PATTERN, false, false, false),
            "tekken" => (TEKKEN_PATTERN, false, true, true),
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

#[cfg(test)]
mod tests {
    use super::{KNOWN_NAMES, NamedSplitter};
    use crate::encode::Deadline;

    /// Words, whether whole ones are taken, whether the begin token is added.
    fn behaviour(name: &str) -> (Vec<String>, bool, bool) {
        const TEXT: &str = "It's 12345 fooBar\n\n  CAN'T x1 \u{e9}t\u{e9}! \t\u{6c34}\u{bd}";
        let named = NamedSplitter::named(name).unwrap_or_else(|| panic!("{name} is not known"));
        let mut words = Vec::new();
        let split = named
            .splitter
            .split(TEXT, true, Deadline::start(TEXT.len()), &mut |word| {
                words.push(word.to_owned());
                Ok(())
            });
        split.unwrap();
        (words, named.takes_whole_words, named.adds_bos)
    }

    /// Groups of names that llama.cpp treats alike; compared with it on 2,074 lines each when they were added.
    #[test]
    fn names_of_a_group_behave_alike_and_groups_differ() {
        let groups: [&[&str]; 6] = [
            &["smollm", "refact", "starcoder", "command-r"],
            &["gpt-2", "gpt2", "phi-2", "olmo", "mpt"],
            &["llama-bpe", "llama3", "llama-v3"],
            &["dbrx", "smaug-bpe"],
            &["qwen2", "deepseek-r1-qwen", "stablelm2"],
            &["tekken"],
        ];
        let firsts: Vec<_> = groups.iter().map(|group| behaviour(group[0])).collect();
        for (index, group) in groups.iter().enumerate() {
            for name in *group {
                assert_eq!(behaviour(name), firsts[index], "{name}");
            }
            assert!(!firsts[..index].contains(&firsts[index]), "{}", group[0]);
            assert!(KNOWN_NAMES.contains(group[0]), "{}", group[0]);
        }
        assert!(NamedSplitter::named("default").is_none());
    }
}
