//! From the first byte of a GGUF file to a checked tensor table.
//!
//! After `read_header` every tensor lies inside the file, at an aligned offset, with exactly the bytes its
//! type and dimensions need, and no two overlap. Gaps are allowed: files padded beyond the alignment exist.

use std::collections::HashSet;

use super::cursor::Cursor;
use super::element_type;
use super::metadata::Metadata;
use super::value::{Value, read_value};
use crate::checkpoint::{TensorInfo, check_name};
use crate::error::{Error, Result, echo};
use crate::file::ReadAt;
use crate::limits::HeaderLimits;

const MAGIC: [u8; 4] = *b"GGUF";
const DIMS_MAX: u32 = 4;
const ALIGNMENT_DEFAULT: u64 = 32;
/// A page of the largest common size; more would only be a way to make a file look empty.
const ALIGNMENT_MAX: u32 = 65_536;
/// Key length, one byte of key, type, one byte of value.
const PAIR_LEN_LEAST: u64 = 14;
/// Name length, one byte of name, dimension count, one dimension, type, offset.
const TENSOR_LEN_LEAST: u64 = 33;

/// Reads metadata and tensor table.
pub(crate) fn read_header<R: ReadAt>(
    source: &R,
    limits: &HeaderLimits,
) -> Result<(Metadata, Vec<TensorInfo>)> {
    let mut cursor = Cursor::new(source, limits.gguf_header_len_max_bytes);
    let version = read_version(&mut cursor)?;
    let tensor_count = cursor.count("tensor_count", TENSOR_LEN_LEAST, limits.tensors_max)?;
    let key_count = cursor.count("kv_count", PAIR_LEN_LEAST, limits.keys_max)?;
    let mut metadata = Metadata::new(source.name(), version);
    for _ in 0..key_count {
        let key = cursor.string("key", limits.name_len_max_bytes)?;
        check_name(source.name(), "key", &key, limits.name_len_max_bytes)?;
        let value = read_value(&mut cursor, &echo(&key), limits)?;
        metadata.insert(key, value)?;
    }
    refuse_split(source.name(), &metadata)?;
    let alignment = alignment(source.name(), &metadata)?;
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..tensor_count {
        let tensor = read_tensor(&mut cursor, alignment, limits)?;
        if !names.insert(tensor.name.clone()) {
            return Err(cursor.corrupt(
                &format!("tensor {}", echo(&tensor.name)),
                "named once",
                "a second entry",
            ));
        }
        tensors.push(tensor);
    }
    place(source, cursor.at(), alignment, &mut tensors)?;
    Ok((metadata, tensors))
}

fn read_version<R: ReadAt>(cursor: &mut Cursor<'_, R>) -> Result<u32> {
    let magic: [u8; 4] = cursor.array("magic")?;
    if magic != MAGIC {
        return Err(cursor.corrupt("magic", "GGUF", format!("bytes {magic:02x?}")));
    }
    let version = cursor.u32("version")?;
    match version {
        2 | 3 => Ok(version),
        1 => Err(Error::Unsupported {
            file: cursor.file().to_owned(),
            what: "GGUF version 1".to_owned(),
            advice: "convert the file to version 3".to_owned(),
        }),
        _ if matches!(version.swap_bytes(), 1..=3) => {
            Err(cursor.corrupt("version", "2 or 3, little-endian", "a big-endian file"))
        }
        _ => Err(cursor.corrupt("version", "2 or 3", version)),
    }
}

/// A split file holds a part of the tensors; taken alone it would look like a model with missing layers.
fn refuse_split(file: &str, metadata: &Metadata) -> Result<()> {
    let parts = metadata
        .optional("split.count", Metadata::u64)?
        .unwrap_or(1);
    if parts <= 1 {
        return Ok(());
    }
    Err(Error::Unsupported {
        file: file.to_owned(),
        what: format!("a GGUF split into {parts} files"),
        advice: "merge them with llama-gguf-split --merge".to_owned(),
    })
}

fn alignment(file: &str, metadata: &Metadata) -> Result<u64> {
    match metadata.get("general.alignment") {
        None => Ok(ALIGNMENT_DEFAULT),
        Some(Value::U32(value)) if value.is_power_of_two() && *value <= ALIGNMENT_MAX => {
            Ok(u64::from(*value))
        }
        Some(other) => {
            let expected = format!("a u32 power of two of at most {ALIGNMENT_MAX}");
            Err(Error::corrupt(file, "general.alignment", expected, other))
        }
    }
}

/// One entry of the table; `offset` is still relative to the data section.
fn read_tensor<R: ReadAt>(
    cursor: &mut Cursor<'_, R>,
    alignment: u64,
    limits: &HeaderLimits,
) -> Result<TensorInfo> {
    let name = cursor.string("tensor name", limits.name_len_max_bytes)?;
    check_name(
        cursor.file(),
        "tensor name",
        &name,
        limits.name_len_max_bytes,
    )?;
    let field = format!("shape of tensor {}", echo(&name));
    let dim_count = cursor.u32(&field)?;
    if !(1..=DIMS_MAX).contains(&dim_count) {
        return Err(cursor.corrupt(&field, format!("of 1 to {DIMS_MAX} dimensions"), dim_count));
    }
    let mut shape = Vec::new();
    for _ in 0..dim_count {
        let dim = cursor.u64(&field)?;
        match usize::try_from(dim) {
            Ok(dim) if dim > 0 => shape.push(dim),
            _ => return Err(cursor.corrupt(&field, "of dimensions of at least 1", dim)),
        }
    }
    shape.reverse();
    let type_id = cursor.u32("tensor type")?;
    let encoding = element_type::encoding(cursor.file(), &echo(&name), type_id)?;
    let bytes = encoding.tensor_bytes(&shape).ok_or_else(|| {
        let expected = format!(
            "whole {encoding} blocks of {} in a size within 2^63",
            encoding.block_len()
        );
        cursor.corrupt(&field, expected, format!("{shape:?}"))
    })?;
    let offset = cursor.u64("tensor offset")?;
    if offset.checked_rem(alignment) != Some(0) {
        let field = format!("offset of tensor {}", echo(&name));
        return Err(cursor.corrupt(&field, format!("a multiple of {alignment}"), offset));
    }
    Ok(TensorInfo {
        name,
        encoding,
        shape,
        store: 0,
        offset,
        bytes: bytes as u64,
    })
}

/// Makes offsets absolute and checks that every tensor is inside the file and overlaps no other.
fn place<R: ReadAt>(
    source: &R,
    header_len: u64,
    alignment: u64,
    tensors: &mut [TensorInfo],
) -> Result<()> {
    let data_start = header_len
        .checked_next_multiple_of(alignment)
        .unwrap_or(u64::MAX);
    let mut extents = Vec::new();
    for (index, tensor) in tensors.iter_mut().enumerate() {
        let start = data_start.checked_add(tensor.offset);
        match start.and_then(|start| Some((start, start.checked_add(tensor.bytes)?))) {
            Some((start, end)) if end <= source.len() => {
                tensor.offset = start;
                extents.push((start, end, index));
            }
            _ => {
                let field = format!("data of tensor {}", echo(&tensor.name));
                let expected = format!("inside the file of {} bytes", source.len());
                let got = format!("{} bytes at {data_start} + {}", tensor.bytes, tensor.offset);
                return Err(Error::corrupt(source.name(), field, expected, got));
            }
        }
    }
    extents.sort_unstable();
    let overlap = extents
        .array_windows()
        .find(|[(_, end, _), (start, _, _)]| start < end);
    let Some([(_, end, _), (start, _, index)]) = overlap else {
        return Ok(());
    };
    let name = tensors
        .get(*index)
        .map_or_else(String::new, |tensor| echo(&tensor.name));
    Err(Error::corrupt(
        source.name(),
        format!("data of tensor {name}"),
        format!("at {end} or later"),
        start,
    ))
}
