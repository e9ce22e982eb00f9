//! Tokenizer and chat template out of a checkpoint: from GGUF metadata, or from the side files of a
//! folder. Template order in a folder: the option's file, chat_template.jinja, tokenizer_config.json.

#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;
use tokenmill_core::option::EngineOptions;
use tokenmill_formats::gguf::Metadata;
use tokenmill_formats::{Checkpoint, Config, read_json, read_small};
use tokenmill_text::{ChatTemplate, GgufVocabulary, Tokenizer};

use crate::error::{Error, Result};
use crate::lexicon::search::thinking_marks;
use crate::load::voice::Voice;

const TOKENIZER: &str = "tokenizer.json";
/// A tokenizer.json carries the vocabulary as text.
const TOKENIZER_MAX_BYTES: u64 = 64 << 20;
/// The bound of a template's source.
const TEMPLATE_MAX_BYTES: u64 = 128 << 10;

/// Longest name of a template among several.
const TEMPLATE_NAME_LEN_MAX: usize = 64;

/// Reads tokenizer and template into `voice`.
pub(crate) fn read(
    checkpoint: &Checkpoint,
    options: &EngineOptions,
    voice: &mut Voice,
) -> Result<()> {
    let mut template = match (&options.tokenizer, checkpoint.config()) {
        (Some(path), _) => from_option(Path::new(path), voice)?,
        (None, Config::Gguf(metadata)) => from_gguf(metadata, voice)?,
        (None, Config::Json { .. }) => from_model(checkpoint.folder(), voice)?,
    };
    if let Some(path) = &options.chat_template {
        let bytes = read_small(Path::new(path), TEMPLATE_MAX_BYTES);
        template = Some(text_of(&bytes.map_err(of_option("chat_template"))?));
    }
    if let Some(tokenizer) = &voice.lexicon.tokenizer {
        let (start, end) = (&options.reasoning_start_str, &options.reasoning_end_str);
        voice.lexicon.thinking = thinking_marks(tokenizer, start.as_deref(), end.as_deref())?;
    }
    let (Some(source), Some(tokenizer)) = (template, voice.lexicon.tokenizer.clone()) else {
        return Ok(());
    };
    let template = ChatTemplate::compile(&source, tokenizer.bos_text(), tokenizer.eos_text())?;
    voice.notes.extend(template.warnings().iter().cloned());
    voice.lexicon.template = Some(template);
    Ok(())
}

fn from_gguf(metadata: &Metadata, voice: &mut Voice) -> Result<Option<String>> {
    const PREFIX: &str = "tokenizer.ggml.";
    let key = |name: &str| format!("{PREFIX}{name}");
    if metadata.get(&key("model")).is_none() {
        return Ok(None);
    }
    let id = |name: &str| -> Result<Option<u32>> {
        let key = key(name);
        let id = metadata.optional(&key, Metadata::u64)?;
        id.map(u32::try_from)
            .transpose()
            .map_err(|_| corrupt(format!("{key} must be a token id, got more than 32 bits")))
    };
    let strings = |name: &str| -> Result<Vec<String>> {
        Ok(metadata
            .optional(&key(name), Metadata::string_array)?
            .unwrap_or_default()
            .to_vec())
    };
    let vocabulary = GgufVocabulary {
        model: metadata.string(&key("model"))?.to_owned(),
        pre: metadata
            .optional(&key("pre"), Metadata::string)?
            .map(str::to_owned),
        tokens: metadata.string_array(&key("tokens"))?.to_vec(),
        token_types: metadata
            .optional(&key("token_type"), Metadata::i32_array)?
            .unwrap_or_default(),
        merges: strings("merges")?,
        scores: metadata
            .optional(&key("scores"), Metadata::f32_array)?
            .unwrap_or_default()
            .to_vec(),
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        eot: id("eot_token_id")?,
        eom: id("eom_token_id")?,
        unk: id("unknown_token_id")?,
        pad: id("padding_token_id")?,
        add_bos: metadata.optional(&key("add_bos_token"), Metadata::bool)?,
        add_eos: metadata.optional(&key("add_eos_token"), Metadata::bool)?,
        add_space_prefix: metadata.optional(&key("add_space_prefix"), Metadata::bool)?,
    };
    let tokenizer = Tokenizer::from_gguf(vocabulary)?;
    voice.eos.extend_from_slice(tokenizer.eos());
    voice.lexicon.tokenizer = Some(Arc::new(tokenizer));
    Ok(metadata
        .optional("tokenizer.chat_template", Metadata::string)?
        .map(str::to_owned))
}

/// The option's file or folder, which has to be there.
fn from_option(path: &Path, voice: &mut Voice) -> Result<Option<String>> {
    let file = if path.is_dir() {
        path.join(TOKENIZER)
    } else {
        path.to_path_buf()
    };
    let bytes = read_small(&file, TOKENIZER_MAX_BYTES).map_err(of_option("tokenizer"))?;
    from_folder(file.parent().unwrap_or(Path::new("")), &bytes, voice)
}

/// A model's own folder, where a tokenizer may be absent.
fn from_model(folder: &Path, voice: &mut Voice) -> Result<Option<String>> {
    match read_if_there(&folder.join(TOKENIZER), TOKENIZER_MAX_BYTES)? {
        Some(bytes) => from_folder(folder, &bytes, voice),
        None => Ok(None),
    }
}

/// `tokenizer.json` as read, with the files beside it.
fn from_folder(folder: &Path, tokenizer: &[u8], voice: &mut Voice) -> Result<Option<String>> {
    let config_path = folder.join("tokenizer_config.json");
    let config = if is_there(&config_path) {
        Some(read_json(&config_path)?)
    } else {
        None
    };
    let tokenizer = Tokenizer::from_json(tokenizer, config.as_ref())?;
    voice.eos.extend_from_slice(tokenizer.eos());
    voice.lexicon.tokenizer = Some(Arc::new(tokenizer));
    let stated = config.as_ref().map_or(&Json::Null, |c| &c["chat_template"]);
    let in_config = default_template(stated)?;
    let jinja = read_if_there(&folder.join("chat_template.jinja"), TEMPLATE_MAX_BYTES)?;
    let Some(in_file) = jinja.map(|bytes| text_of(&bytes)) else {
        if in_config.is_none() && !stated.is_null() {
            voice.notes.push(
                "tokenizer_config.json names no chat_template default; conversations need one"
                    .into(),
            );
        }
        return Ok(in_config);
    };
    if in_config.is_some_and(|other| other != in_file) {
        voice.notes.push(
            "chat_template.jinja differs from tokenizer_config.json; the former is used".into(),
        );
    }
    Ok(Some(in_file))
}

/// A template, or the one named `default` of a list.
fn default_template(json: &Json) -> Result<Option<String>> {
    let expected = |what: &str| corrupt(format!("tokenizer_config.json: chat_template {what}"));
    let items = match json {
        Json::Null => return Ok(None),
        Json::String(text) => return Ok(Some(text.clone())),
        Json::Array(items) => items,
        _ => return Err(expected("must be a string or a list of named templates")),
    };
    let mut default = None;
    for item in items {
        let (Some(name), Some(text)) = (item["name"].as_str(), item["template"].as_str()) else {
            return Err(expected("must be a list of objects with name and template"));
        };
        if !is_template_name(name) {
            return Err(expected(&format!(
                "must have names of 1 to {TEMPLATE_NAME_LEN_MAX} letters, digits, _ and -"
            )));
        }
        if name == "default" && default.replace(text.to_owned()).is_some() {
            return Err(expected("must have one default"));
        }
    }
    Ok(default)
}

/// Other programs make file names of these.
fn is_template_name(name: &str) -> bool {
    (1..=TEMPLATE_NAME_LEN_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Everything but a path at which nothing is: what is there and cannot be read is an error.
fn is_there(path: &Path) -> bool {
    !matches!(std::fs::metadata(path), Err(error) if error.kind() == ErrorKind::NotFound)
}

fn read_if_there(path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
    if is_there(path) {
        Ok(Some(read_small(path, limit_bytes)?))
    } else {
        Ok(None)
    }
}

/// Names the option whose file cannot be read.
fn of_option(option: &'static str) -> impl Fn(tokenmill_formats::Error) -> Error {
    move |source| Error::OptionFile { option, source }
}

fn corrupt(what: String) -> Error {
    Error::Corrupt { what }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
