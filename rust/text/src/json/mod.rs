//! `tokenizer.json`, read by an allow-list: each component that we model, with the fields that it may
//! have, and a refusal by name of every other. Nothing of the file is handed to the `tokenizers` crate's
//! own deserialisers, which panic or run out of memory on crafted files; sizes and growth are bounded
//! before anything is built. Truncation and padding are read past: the engine does neither.

mod config;
mod decoder;
mod file;
mod normalizer;
mod post;
mod splitter;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tokenizers::models::bpe::BPE;

use crate::encode::{ADDED_TOKEN_LEN_MAX_BYTES, Cutters, Normalizer, Pipeline};
use crate::error::{Error, Result, quote};
use crate::table::{TABLE_LEN_MAX_BYTES, TokenTable};
use crate::tokenizer::Tokenizer;
use crate::vocabulary::bpe::MergeModel;
use config::Config;
use decoder::Decoder;
use file::{AddedEntry, File};

/// How messages name the file.
const FILE: &str = "tokenizer.json";

/// Most output bytes of the normaliser per input byte: a compatibility form and a mark for each blank.
const GROWTH_MAX: usize = 36;

fn corrupt(place: &str, problem: impl Into<String>) -> Error {
    Error::BadFile {
        file: FILE,
        place: place.to_owned(),
        problem: problem.into(),
    }
}

fn unsupported(what: impl Into<String>, expected: &str) -> Error {
    Error::Unsupported {
        what: format!("{FILE}: {}", what.into()),
        expected: expected.to_owned(),
    }
}

/// Reads a component's own fields; an unknown field is refused, because ignoring it could change ids.
fn fields<T: serde::de::DeserializeOwned>(place: &str, component: &Value) -> Result<T> {
    let mut component = component.clone();
    if let Some(object) = component.as_object_mut() {
        object.remove("type");
    }
    serde_json::from_value(component).map_err(|error| corrupt(place, quote(&error.to_string())))
}

/// The component's `type`.
fn type_of<'v>(place: &str, component: &'v Value) -> Result<&'v str> {
    component
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| corrupt(place, "expected an object with a type"))
}

/// A component as a list: the members of a `Sequence`, or itself alone. `key` names the members.
fn members<'v>(place: &str, component: Option<&'v Value>, key: &str) -> Result<Vec<&'v Value>> {
    let Some(component) = component else {
        return Ok(Vec::new());
    };
    if type_of(place, component)? != "Sequence" {
        return Ok(vec![component]);
    }
    let list = component.get(key).and_then(Value::as_array);
    let list = list.ok_or_else(|| corrupt(place, format!("a Sequence has a list {key}")))?;
    if list.len() > MEMBERS_MAX {
        return Err(corrupt(
            place,
            format!(
                "at most {MEMBERS_MAX} members are allowed, got {}",
                list.len()
            ),
        ));
    }
    Ok(list.iter().collect())
}

/// Most members of a `Sequence`.
const MEMBERS_MAX: usize = 16;

impl Tokenizer {
    /// Out of the bytes of `tokenizer.json` and, where there is one, the parsed `tokenizer_config.json`.
    pub fn from_json(tokenizer_json: &[u8], tokenizer_config: Option<&Value>) -> Result<Self> {
        let mut file = File::parse(tokenizer_json)?;
        let config = Config::parse(tokenizer_config)?;
        let normalizer = Normalizer {
            steps: normalizer::parse(file.normalizer.as_ref())?,
        };
        if normalizer.growth() > GROWTH_MAX {
            let problem = format!(
                "texts may grow {} times, at most {GROWTH_MAX} is allowed",
                normalizer.growth()
            );
            return Err(corrupt("normalizer", problem));
        }
        let splitter = splitter::parse(file.pre_tokenizer.as_ref())?;
        let decoder = Decoder::parse(file.decoder.as_ref())?;
        file.add_named(&config)?;
        let table = table_of(&file, &normalizer, &decoder)?;
        let added_ids: HashMap<String, u32> = file
            .added_tokens
            .iter()
            .map(|token| (token.content.clone(), token.id))
            .collect();
        let prefix = post::parse(file.post_processor.as_ref(), |name| {
            added_ids
                .get(name)
                .or_else(|| file.model.vocab.0.get(name))
                .copied()
        })?;
        let named =
            |name: &Option<String>| name.as_ref().and_then(|name| added_ids.get(name).copied());
        let bos = named(&config.bos).or(prefix);
        if prefix.is_some() && prefix != bos {
            return Err(unsupported(
                "post_processor that begins with another token than bos_token",
                "bos_token",
            ));
        }
        let eos = named(&config.eos).into_iter().collect();
        let cutters = cutters(&file.added_tokens, &normalizer)?;
        Ok(Self {
            pipeline: Pipeline {
                cutters,
                normalizer,
                splitter,
                model: model(file)?,
            },
            table,
            added_ids,
            bos,
            eos,
            adds_bos: config.add_bos.unwrap_or(prefix.is_some()) && bos.is_some(),
            beginning: decoder.beginning,
            replaces_each_byte: decoder.falls_back_to_bytes,
        })
    }
}

fn cutters(tokens: &[AddedEntry], normalizer: &Normalizer) -> Result<Cutters> {
    let (mut raw, mut normalized) = (Vec::new(), Vec::new());
    for token in tokens {
        if token.normalized {
            let content = normal(token, normalizer)?.into_owned();
            normalized.push(token.to_added(content));
        } else {
            raw.push(token.to_added(token.content.clone()));
        }
    }
    let spelled = |token: &AddedEntry| token.to_added(token.content.clone());
    let control = tokens.iter().map(spelled).collect();
    Cutters::new(raw, normalized, control).map_err(|problem| corrupt("added_tokens", problem))
}

/// An added token's content behind the normaliser.
fn normal<'a>(token: &'a AddedEntry, normalizer: &Normalizer) -> Result<Cow<'a, str>> {
    let content = normalizer.apply(&token.content, ADDED_TOKEN_LEN_MAX_BYTES);
    content.ok_or_else(|| {
        let problem = format!(
            "expected at most {ADDED_TOKEN_LEN_MAX_BYTES} bytes for id {} behind the normalizer",
            token.id
        );
        corrupt("added_tokens", problem)
    })
}

/// All tokens of the file by id: those of the model and the added ones.
fn table_of(file: &File, normalizer: &Normalizer, decoder: &Decoder) -> Result<TokenTable> {
    let vocab = &file.model.vocab.0;
    let ids = vocab
        .values()
        .copied()
        .chain(file.added_tokens.iter().map(|token| token.id));
    let len = ids.max().map_or(0, |max| max as usize + 1);
    let mut names: Vec<Option<&str>> = vec![None; len];
    for (token, &id) in vocab {
        if let Some(other) = names[id as usize].replace(token) {
            let problem = format!("{:?} and {:?} have the id {id}", quote(token), quote(other));
            return Err(corrupt("model.vocab", problem));
        }
    }
    let mut added: Vec<Option<&AddedEntry>> = vec![None; len];
    for token in &file.added_tokens {
        added[token.id as usize] = Some(token);
        let other = names[token.id as usize].replace(&token.content);
        let contradicts = other.is_some_and(|other| other != token.content)
            || vocab.get(&token.content).is_some_and(|&id| id != token.id);
        if contradicts {
            let problem = format!(
                "{:?}, id {}, contradicts the vocabulary",
                quote(&token.content),
                token.id
            );
            return Err(corrupt("added_tokens", problem));
        }
    }
    let mut table = TokenTable::default();
    for (name, added) in names.into_iter().zip(added) {
        if table.is_too_large() {
            let problem = format!("all tokens have more than {TABLE_LEN_MAX_BYTES} bytes");
            return Err(corrupt("decoder", problem));
        }
        match (name, added) {
            (None, _) => table.push_hole(),
            (Some(name), None) => table.push(name, &decoder.bytes(name, false), false),
            // A token that was matched in normalised text comes back as such.
            (Some(name), Some(added)) => {
                let text = if added.normalized {
                    normal(added, normalizer)?
                } else {
                    Cow::Borrowed(name)
                };
                table.push(name, &decoder.bytes(&text, true), added.special);
            }
        }
    }
    Ok(table)
}

/// The merges of the file.
fn model(file: File) -> Result<BPE> {
    let spec = file.model;
    let controls: HashSet<&str> = file
        .added_tokens
        .iter()
        .filter(|token| token.special)
        .map(|token| token.content.as_str())
        .collect();
    let mut model = MergeModel::default();
    let unk = spec.unk_token;
    for (token, id) in spec.vocab.0 {
        let is_new = if unk.as_ref() == Some(&token) {
            model.add_unknown(token, id)
        } else if controls.contains(token.as_str()) {
            model.add_control(token)
        } else {
            model.add_token(token, id)
        };
        debug_assert!(is_new, "the vocabulary's reader refuses repeated tokens");
    }
    for (rank, (a, b)) in spec.merges.0.iter().enumerate() {
        model
            .add_merge(a, b)
            .map_err(|problem| corrupt("model.merges", format!("merge {rank}: {problem}")))?;
    }
    let built = model.build(|builder| {
        let builder = builder
            .byte_fallback(spec.byte_fallback)
            .fuse_unk(spec.fuse_unk)
            .ignore_merges(spec.ignore_merges);
        if let Some(unk) = unk {
            builder.unk_token(unk)
        } else {
            builder
        }
    });
    built.map_err(|problem| corrupt("model.merges", problem))
}
