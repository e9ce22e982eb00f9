//! The frame of `tokenizer.json`: its keys, the vocabulary, the merges and the added tokens, bounded while
//! they are read. Components stay JSON values until their own modules read them.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::config::Config;
use super::{FILE, corrupt, unsupported};
use crate::encode::{ADDED_TOKEN_LEN_MAX_BYTES, AddedToken};
use crate::error::{Error, Result, quote};
use crate::vocabulary::{TOKEN_LEN_MAX_BYTES, VOCAB_LEN_MAX, split_merge};

/// Largest file.
const FILE_LEN_MAX_BYTES: usize = 64 << 20;

/// Most merges.
const MERGES_LEN_MAX: usize = 1 << 22;

/// Most added tokens.
const ADDED_LEN_MAX: usize = 1 << 17;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default, rename = "version")]
    _version: IgnoredAny,
    #[serde(default, rename = "truncation")]
    _truncation: IgnoredAny,
    #[serde(default, rename = "padding")]
    _padding: IgnoredAny,
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedEntry>,
    pub(super) normalizer: Option<Value>,
    pub(super) pre_tokenizer: Option<Value>,
    pub(super) post_processor: Option<Value>,
    pub(super) decoder: Option<Value>,
    pub(super) model: Model,
}

/// The model: byte-pair merges.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    #[serde(default, rename = "type")]
    _type: IgnoredAny,
    dropout: Option<f32>,
    pub(super) unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(super) fuse_unk: bool,
    #[serde(default)]
    pub(super) byte_fallback: bool,
    #[serde(default)]
    pub(super) ignore_merges: bool,
    pub(super) vocab: VocabMap,
    pub(super) merges: MergeList,
}

/// One added token.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddedEntry {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default)]
    pub(super) special: bool,
}

impl AddedEntry {
    /// As the cutter looks for it.
    pub(super) fn to_added(&self, content: String) -> AddedToken {
        AddedToken {
            id: self.id,
            content,
            is_control: self.special,
            single_word: self.single_word,
            lstrip: self.lstrip,
            rstrip: self.rstrip,
        }
    }
}

/// Only what tells a model that we do not read from one that is broken.
#[derive(Deserialize)]
struct Peek {
    model: PeekModel,
}

#[derive(Deserialize)]
struct PeekModel {
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl File {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > FILE_LEN_MAX_BYTES {
            return Err(corrupt(
                "size",
                format!(
                    "{} bytes, at most {FILE_LEN_MAX_BYTES} are allowed",
                    bytes.len()
                ),
            ));
        }
        let broken = |error: serde_json::Error| Error::BadFile {
            file: FILE,
            place: format!("line {} column {}", error.line(), error.column()),
            problem: quote(&error.to_string()),
        };
        let peek: Peek = serde_json::from_slice(bytes).map_err(broken)?;
        if let Some(kind) = peek.model.kind.filter(|kind| kind != "BPE") {
            return Err(unsupported(format!("model {:?}", quote(&kind)), "BPE"));
        }
        let file: Self = serde_json::from_slice(bytes).map_err(broken)?;
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Result<()> {
        if self.model.dropout.is_some_and(|dropout| dropout != 0.0) {
            return Err(unsupported("model.dropout", "null: ids would be random"));
        }
        let affixes = [
            &self.model.continuing_subword_prefix,
            &self.model.end_of_word_suffix,
        ];
        if let Some(unk) = self
            .model
            .unk_token
            .as_ref()
            .filter(|unk| !self.model.vocab.0.contains_key(*unk))
        {
            return Err(corrupt(
                "model.unk_token",
                format!("{:?} is not in the vocabulary", quote(unk)),
            ));
        }
        if affixes
            .iter()
            .any(|affix| affix.as_ref().is_some_and(|affix| !affix.is_empty()))
        {
            return Err(unsupported(
                "model with a subword prefix or word suffix",
                "neither",
            ));
        }
        if self.added_tokens.len() > ADDED_LEN_MAX {
            let problem = format!(
                "at most {ADDED_LEN_MAX} are allowed, got {}",
                self.added_tokens.len()
            );
            return Err(corrupt("added_tokens", problem));
        }
        let mut contents = HashSet::new();
        let mut ids = HashSet::new();
        for token in &self.added_tokens {
            token.check()?;
            let is_new = contents.insert(&token.content) && ids.insert(token.id);
            if !is_new {
                let problem = format!(
                    "{:?}, id {}, is there twice",
                    quote(&token.content),
                    token.id
                );
                return Err(corrupt("added_tokens", problem));
            }
        }
        Ok(())
    }

    /// Makes the tokens that `tokenizer_config.json` names for a role control tokens, as transformers does.
    pub(super) fn add_named(&mut self, config: &Config) -> Result<()> {
        for (key, name) in [("bos_token", &config.bos), ("eos_token", &config.eos)] {
            let Some(name) = name else { continue };
            if let Some(token) = self
                .added_tokens
                .iter_mut()
                .find(|token| token.content == *name)
            {
                token.special = true;
                continue;
            }
            let Some(&id) = self.model.vocab.0.get(name) else {
                let problem = format!("{:?} is not in the vocabulary", quote(name));
                return Err(Error::BadFile {
                    file: "tokenizer_config.json",
                    place: key.to_owned(),
                    problem,
                });
            };
            let added = AddedEntry {
                id,
                content: name.clone(),
                single_word: false,
                lstrip: false,
                rstrip: false,
                normalized: false,
                special: true,
            };
            added.check()?;
            self.added_tokens.push(added);
        }
        Ok(())
    }
}

impl AddedEntry {
    fn check(&self) -> Result<()> {
        let len = self.content.len();
        if len == 0 || len > ADDED_TOKEN_LEN_MAX_BYTES {
            let problem = format!(
                "expected 1 to {ADDED_TOKEN_LEN_MAX_BYTES} bytes for id {}, got {len}",
                self.id
            );
            return Err(corrupt("added_tokens", problem));
        }
        if self.id as usize >= VOCAB_LEN_MAX {
            return Err(corrupt(
                "added_tokens",
                format!("expected ids below {VOCAB_LEN_MAX}, got {}", self.id),
            ));
        }
        Ok(())
    }
}

/// Tokens to ids; no token twice.
pub(super) struct VocabMap(pub(super) HashMap<String, u32>);

impl<'de> Deserialize<'de> for VocabMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = VocabMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tokens and ids")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<VocabMap, A::Error> {
                let mut ids = HashMap::new();
                while let Some((token, id)) = map.next_entry::<String, u32>()? {
                    if id as usize >= VOCAB_LEN_MAX || ids.len() >= VOCAB_LEN_MAX {
                        return Err(A::Error::custom(format!(
                            "expected ids below {VOCAB_LEN_MAX}, got {id}"
                        )));
                    }
                    if token.len() > TOKEN_LEN_MAX_BYTES {
                        return Err(A::Error::custom(format!(
                            "token {id} is longer than {TOKEN_LEN_MAX_BYTES} bytes"
                        )));
                    }
                    if let Some(first) = ids.insert(token, id) {
                        return Err(A::Error::custom(format!(
                            "a token has the ids {first} and {id}"
                        )));
                    }
                }
                Ok(VocabMap(ids))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Merges in rank order, as "a b" or as pairs.
pub(super) struct MergeList(pub(super) Vec<(String, String)>);

#[derive(Deserialize)]
#[serde(untagged)]
enum MergeEntry {
    Text(String),
    Pair(String, String),
}

impl<'de> Deserialize<'de> for MergeList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = MergeList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<MergeList, A::Error> {
                let mut merges = Vec::new();
                while let Some(entry) = seq.next_element::<MergeEntry>()? {
                    if merges.len() >= MERGES_LEN_MAX {
                        return Err(A::Error::custom(format!(
                            "at most {MERGES_LEN_MAX} merges are allowed"
                        )));
                    }
                    merges.push(match entry {
                        MergeEntry::Pair(a, b) => (a, b),
                        MergeEntry::Text(text) => {
                            let pair =
                                split_merge(&text).map(|(a, b)| (a.to_owned(), b.to_owned()));
                            pair.ok_or_else(|| {
                                A::Error::custom("a merge is two tokens with a blank between")
                            })?
                        }
                    });
                }
                Ok(MergeList(merges))
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}
