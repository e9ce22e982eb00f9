//! From a path to the files of a checkpoint: which format it is, which files belong to it, and the advice
//! for what we do not open (pickles, several GGUF files, an empty folder).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Config, TensorInfo};
use crate::error::{Error, Result, echo, echo_path, file_name};
use crate::file::{WeightFile, check_regular};
use crate::json::read_object;
use crate::limits::HeaderLimits;
use crate::{gguf, safetensors};

/// Most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 10_000;

const CONFIG: &str = "config.json";
const GENERATION_CONFIG: &str = "generation_config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Open files with their tensor tables.
pub(crate) struct Opened {
    pub(crate) folder: PathBuf,
    pub(crate) config: Config,
    pub(crate) files: Vec<WeightFile>,
    pub(crate) tensors: Vec<TensorInfo>,
}

/// Opens a `.gguf` file, a `.safetensors` file or a folder of either.
pub(crate) fn open(path: &Path, limits: &HeaderLimits) -> Result<Opened> {
    let metadata = std::fs::metadata(path)
        .map_err(|source| Error::io(path, "a model file or folder", source))?;
    if metadata.is_dir() {
        return open_folder(path, limits);
    }
    match extension(path).as_str() {
        extension if is_pickle(extension) => Err(refuse_pickle(path)),
        // A pipe called `model` is refused as a pipe, not for its name.
        _ if !metadata.is_file() => check_regular(path, &metadata).and(Err(refuse_type(path))),
        "gguf" => open_gguf(path, limits),
        "safetensors" => open_safetensors(parent(path), &[path.to_owned()], None, limits),
        _ => Err(refuse_type(path)),
    }
}

fn open_gguf(path: &Path, limits: &HeaderLimits) -> Result<Opened> {
    let file = WeightFile::open(path)?;
    let (metadata, tensors) = gguf::read_header(&file, limits)?;
    let config = Config::Gguf(metadata);
    Ok(Opened {
        folder: parent(path).to_owned(),
        config,
        files: vec![file],
        tensors,
    })
}

/// A folder: one safetensors file, an index with shards, or exactly one GGUF file.
fn open_folder(folder: &Path, limits: &HeaderLimits) -> Result<Opened> {
    let single = folder.join(SINGLE);
    if exists(&single) {
        return open_safetensors(folder, &[single], None, limits);
    }
    let index = folder.join(INDEX);
    if exists(&index) {
        let shards = safetensors::read_index(folder, &index, limits)?;
        let paths: Vec<PathBuf> = shards.keys().map(|shard| folder.join(shard)).collect();
        let promised: Vec<BTreeSet<String>> = shards.into_values().collect();
        return open_safetensors(folder, &paths, Some(&promised), limits);
    }
    let entries = list(folder)?;
    let ggufs: Vec<&PathBuf> = entries
        .iter()
        .filter(|entry| extension(entry) == "gguf")
        .collect();
    match ggufs.as_slice() {
        [only] => return open_gguf(only, limits),
        [] => {}
        several => {
            let names: Vec<String> = several
                .iter()
                .take(10)
                .map(|path| file_name(path))
                .collect();
            return Err(Error::Unsupported {
                file: file_name(folder),
                what: "a folder with several GGUF files".to_owned(),
                advice: format!("name one of {}", names.join(", ")),
            });
        }
    }
    if let Some(pickle) = entries.iter().find(|entry| is_pickle(&extension(entry))) {
        return Err(refuse_pickle(pickle));
    }
    Err(Error::NotFound {
        path: echo_path(&folder.join(SINGLE)),
        expected: format!("{SINGLE}, {INDEX} or one .gguf file"),
    })
}

/// Opens the files, reads both configs, and compares each shard with what the index promised.
fn open_safetensors(
    folder: &Path,
    paths: &[PathBuf],
    promised: Option<&[BTreeSet<String>]>,
    limits: &HeaderLimits,
) -> Result<Opened> {
    let config = read_object(&folder.join(CONFIG), limits.config_len_max_bytes)?;
    let generation = folder.join(GENERATION_CONFIG);
    let generation = if exists(&generation) {
        Some(read_object(&generation, limits.config_len_max_bytes)?)
    } else {
        None
    };
    let mut files = Vec::new();
    let mut tensors: Vec<TensorInfo> = Vec::new();
    for (store, path) in paths.iter().enumerate() {
        let file = WeightFile::open(path)?;
        let found = safetensors::read_header(&file, store, limits)?;
        if let Some(promised) = promised.and_then(|shards| shards.get(store)) {
            compare(&file_name(path), promised, &found)?;
        }
        if tensors.len().saturating_add(found.len()) > limits.tensors_max {
            let expected = format!("at most {} in all files", limits.tensors_max);
            return Err(Error::corrupt(
                &file_name(path),
                "number of tensors",
                expected,
                found.len(),
            ));
        }
        tensors.extend(found);
        files.push(file);
    }
    Ok(Opened {
        folder: folder.to_owned(),
        config: Config::Json { config, generation },
        files,
        tensors,
    })
}

/// A shard holds the tensors the index gives it: none absent, none more. Since the index names each tensor
/// once, no two shards can then hold the same one.
fn compare(shard: &str, promised: &BTreeSet<String>, found: &[TensorInfo]) -> Result<()> {
    let names: BTreeSet<&str> = found.iter().map(|tensor| tensor.name.as_str()).collect();
    if let Some(absent) = promised.iter().find(|name| !names.contains(name.as_str())) {
        return Err(Error::corrupt(
            shard,
            format!("tensor {}", echo(absent)),
            "present, as the index says",
            "nothing",
        ));
    }
    match names.iter().find(|name| !promised.contains(**name)) {
        None => Ok(()),
        Some(extra) => Err(Error::corrupt(
            shard,
            format!("tensor {}", echo(extra)),
            "named by the index for this file",
            "no entry",
        )),
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::io(folder, "a folder", source);
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)?.take(ENTRIES_MAX) {
        entries.push(entry.map_err(io)?.path());
    }
    entries.sort();
    Ok(entries)
}

/// Whether something is there, a dangling link included: opening it then says what is wrong.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn extension(path: &Path) -> String {
    path.extension().map_or_else(String::new, |extension| {
        extension.to_string_lossy().to_ascii_lowercase()
    })
}

fn is_pickle(extension: &str) -> bool {
    matches!(extension, "bin" | "pt" | "pth" | "ckpt" | "pkl")
}

fn refuse_type(path: &Path) -> Error {
    Error::Unsupported {
        file: file_name(path),
        what: "a file of this type".to_owned(),
        advice: "give a .gguf file, a .safetensors file or a model folder".to_owned(),
    }
}

/// Such files are programs; nothing of ours opens them.
fn refuse_pickle(path: &Path) -> Error {
    Error::Unsupported {
        file: file_name(path),
        what: "a pickled checkpoint".to_owned(),
        advice: "save it as safetensors with save_pretrained in a process you trust".to_owned(),
    }
}
