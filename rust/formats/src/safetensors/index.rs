//! `model.safetensors.index.json`: which shard holds which tensor. A shard is a file in the same folder, by
//! a plain name; a link may not lead elsewhere, except into the blob store that a hub cache keeps beside its
//! snapshots (`models--x/snapshots/REVISION/file -> models--x/blobs/HASH`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result, echo, file_name};
use crate::json::{read_object, type_name};
use crate::limits::HeaderLimits;

/// Longest file name of a file system.
const FILE_NAME_LEN_MAX: usize = 255;

/// Shards by file name, each with the tensors it must hold.
pub(crate) type Shards = BTreeMap<String, BTreeSet<String>>;

/// Reads the index of `folder` at `path` and checks every file name in it.
pub(crate) fn read_index(folder: &Path, path: &Path, limits: &HeaderLimits) -> Result<Shards> {
    let name = file_name(path);
    let index = read_object(path, limits.header_len_max_bytes)?;
    let shards = by_shard(&name, &index, limits)?;
    for shard in shards.keys() {
        check_target(folder, &name, shard)?;
    }
    Ok(shards)
}

fn by_shard(file: &str, index: &Map<String, Value>, limits: &HeaderLimits) -> Result<Shards> {
    let map = match index.get("weight_map") {
        Some(Value::Object(map)) => map,
        other => {
            let got = other.map_or("nothing", type_name);
            return Err(Error::corrupt(
                file,
                "weight_map",
                "an object of file names by tensor name",
                got,
            ));
        }
    };
    if map.len() > limits.tensors_max {
        return Err(Error::corrupt(
            file,
            "weight_map",
            format!("of at most {} tensors", limits.tensors_max),
            map.len(),
        ));
    }
    let mut shards = Shards::new();
    for (tensor, shard) in map {
        let field = || format!("file of tensor {}", echo(tensor));
        let Value::String(shard) = shard else {
            return Err(Error::corrupt(
                file,
                field(),
                "a file name",
                type_name(shard),
            ));
        };
        if !is_plain(shard) {
            return Err(Error::corrupt(
                file,
                field(),
                "a plain .safetensors file name in this folder",
                echo(shard),
            ));
        }
        shards
            .entry(shard.clone())
            .or_default()
            .insert(tensor.clone());
    }
    if shards.len() > limits.shards_max {
        return Err(Error::corrupt(
            file,
            "weight_map",
            format!("of at most {} files", limits.shards_max),
            shards.len(),
        ));
    }
    Ok(shards)
}

fn is_plain(shard: &str) -> bool {
    let has_extension = Path::new(shard)
        .extension()
        .is_some_and(|extension| extension == "safetensors");
    has_extension
        && shard.len() <= FILE_NAME_LEN_MAX
        && !shard.contains(['/', '\\'])
        && !shard.contains(char::is_control)
}

/// Refuses a shard that is absent or whose links lead out of the folder.
fn check_target(folder: &Path, index: &str, shard: &str) -> Result<()> {
    let field = format!("file {}", echo(shard));
    let folder = folder
        .canonicalize()
        .map_err(|source| Error::io(folder, "a folder", source))?;
    let target = folder.join(shard).canonicalize();
    let target =
        target.map_err(|_| Error::corrupt(index, &field, "a file in this folder", "none"))?;
    let blobs = folder
        .parent()
        .filter(|parent| parent.ends_with("snapshots"));
    let blobs = blobs
        .and_then(Path::parent)
        .map(|repository| repository.join("blobs"));
    let parent = target.parent();
    if parent == Some(folder.as_path()) || (parent.is_some() && parent == blobs.as_deref()) {
        return Ok(());
    }
    Err(Error::corrupt(
        index,
        field,
        "inside this folder",
        "a link that leads out of it",
    ))
}
