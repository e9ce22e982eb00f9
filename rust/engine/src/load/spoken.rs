//! Tokenizer and chat template out of a checkpoint: from GGUF metadata, or from the side files of a
//! folder. Template order in a folder: the option's file, chat_template.jinja, tokenizer_config.json.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;
use tokenmill_core::option::EngineOptions;
use tokenmill_formats::gguf::Metadata;
use tokenmill_formats::{Checkpoint, Config, read_json, read_small};
use tokenmill_text::{ChatTemplate, GgufVocabulary, Tokenizer};

use crate::error::Result;
use crate::load::voice::Voice;

/// A tokenizer.json carries the vocabulary as text.
const TOKENIZER_MAX_BYTES: u64 = 64 << 20;
/// The bound of a template's source.
const TEMPLATE_MAX_BYTES: u64 = 128 << 10;

/// Reads tokenizer and template into `voice`.
pub(crate) fn read(
    checkpoint: &Checkpoint,
    options: &EngineOptions,
    voice: &mut Voice,
) -> Result<()> {
    let mut template = match (&options.tokenizer, checkpoint.config()) {
        (Some(path), _) => from_folder(Path::new(path), voice)?,
        (None, Config::Gguf(metadata)) => from_gguf(metadata, voice)?,
        (None, Config::Json { .. }) => from_folder(checkpoint.folder(), voice)?,
    };
    if let Some(path) = &options.chat_template {
        template = Some(text_of(&read_small(Path::new(path), TEMPLATE_MAX_BYTES)?));
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
        Ok(metadata
            .optional(&key(name), Metadata::u64)?
            .and_then(|id| u32::try_from(id).ok()))
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
    };
    let tokenizer = Tokenizer::from_gguf(vocabulary)?;
    voice.eos.extend_from_slice(tokenizer.eos());
    voice.lexicon.tokenizer = Some(Arc::new(tokenizer));
    Ok(metadata
        .optional("tokenizer.chat_template", Metadata::string)?
        .map(str::to_owned))
}

fn from_folder(path: &Path, voice: &mut Voice) -> Result<Option<String>> {
    let (folder, file) = if path.is_dir() {
        (path.to_path_buf(), path.join("tokenizer.json"))
    } else {
        (
            path.parent().map(PathBuf::from).unwrap_or_default(),
            path.to_path_buf(),
        )
    };
    if !file.is_file() {
        return Ok(None);
    }
    let config_path = folder.join("tokenizer_config.json");
    let config = if config_path.is_file() {
        Some(read_json(&config_path)?)
    } else {
        None
    };
    let tokenizer =
        Tokenizer::from_json(&read_small(&file, TOKENIZER_MAX_BYTES)?, config.as_ref())?;
    voice.eos.extend_from_slice(tokenizer.eos());
    voice.lexicon.tokenizer = Some(Arc::new(tokenizer));
    let in_config = config
        .as_ref()
        .and_then(|config| default_template(&config["chat_template"]));
    let jinja = folder.join("chat_template.jinja");
    if !jinja.is_file() {
        return Ok(in_config);
    }
    let in_file = text_of(&read_small(&jinja, TEMPLATE_MAX_BYTES)?);
    if in_config.as_ref().is_some_and(|other| *other != in_file) {
        voice.notes.push(
            "chat_template.jinja differs from tokenizer_config.json; the former is used".into(),
        );
    }
    Ok(Some(in_file))
}

/// A template, or the one named `default` of a list.
fn default_template(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Array(items) => {
            let named = items.iter().find(|item| item["name"] == "default")?;
            named["template"].as_str().map(str::to_owned)
        }
        _ => None,
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
