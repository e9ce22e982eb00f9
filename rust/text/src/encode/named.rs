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
