//! The header of one safetensors file: `u64` length, a JSON object, then data that the tensors cover without
//! gap or overlap. Parsed by our own visitor, since duplicate names must be refused and the counts bounded
//! while the text is read.

use std::collections::HashSet;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as DeError, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::dtype;
use crate::checkpoint::{TensorInfo, check_name};
use crate::error::{Error, Result, echo};
use crate::file::{ReadAt, zeroed};
use crate::json::describe;
use crate::limits::HeaderLimits;

/// Bytes of the length field.
const PREFIX_LEN: u64 = 8;

/// Reads and checks the header; tensors come in the order of their data, with `store` as given.
pub(crate) fn read_header<R: ReadAt>(
    source: &R,
    store: usize,
    limits: &HeaderLimits,
) -> Result<Vec<TensorInfo>> {
    let file = source.name();
    if source.len() < PREFIX_LEN {
        return Err(Error::corrupt(
            file,
            "file size",
            format!("at least {PREFIX_LEN} bytes"),
            source.len(),
        ));
    }
    let mut prefix = [0; PREFIX_LEN as usize];
    source.read_at(&mut prefix, 0)?;
    let header_len = u64::from_le_bytes(prefix);
    let max = limits
        .header_len_max_bytes
        .min(source.len().saturating_sub(PREFIX_LEN));
    if header_len > max {
        return Err(Error::corrupt(
            file,
            "header length",
            format!("at most {max}"),
            header_len,
        ));
    }
    let mut text = zeroed(file, header_len)?;
    source.read_at(&mut text, PREFIX_LEN)?;
    let raw = parse(file, &text, limits)?;
    let data_start = PREFIX_LEN.saturating_add(header_len);
    let mut tensors = Vec::new();
    for entry in raw {
        tensors.push(check(file, entry, store, limits)?);
    }
    tensors.sort_unstable_by_key(|tensor| (tensor.offset, tensor.bytes));
    cover(file, &mut tensors, data_start, source.len())?;
    Ok(tensors)
}

fn parse(file: &str, text: &[u8], limits: &HeaderLimits) -> Result<Vec<RawTensor>> {
    let invalid = |error: serde_json::Error| {
        Error::corrupt(file, "header", "a JSON object of tensors", describe(&error))
    };
    if text.first() != Some(&b'{') {
        return Err(Error::corrupt(
            file,
            "header",
            "a JSON object of tensors",
            "another first byte",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let raw = HeaderSeed { limits }
        .deserialize(&mut deserializer)
        .map_err(invalid)?;
    deserializer.end().map_err(invalid)?;
    Ok(raw)
}

/// Checks one entry by itself. Offsets stay relative to the data section.
fn check(file: &str, raw: RawTensor, store: usize, limits: &HeaderLimits) -> Result<TensorInfo> {
    check_name(file, "tensor name", &raw.name, limits.name_len_max_bytes)?;
    let name = echo(&raw.name);
    let encoding = dtype::encoding(file, &name, &raw.dtype, &raw.shape)?;
    let expected = encoding.tensor_bytes(&raw.shape).ok_or_else(|| {
        let got = format!("{:?}", raw.shape);
        Error::corrupt(
            file,
            format!("shape of tensor {name}"),
            "of a size within 2^63",
            got,
        )
    })?;
    let [start, end] = raw.offsets;
    if end.checked_sub(start) != Some(expected as u64) {
        let field = format!("data_offsets of tensor {name}");
        let got = format!("[{start}, {end}]");
        return Err(Error::corrupt(
            file,
            field,
            format!("{expected} bytes apart, as dtype and shape need"),
            got,
        ));
    }
    let RawTensor { name, shape, .. } = raw;
    Ok(TensorInfo {
        name,
        encoding,
        shape,
        store,
        offset: start,
        bytes: expected as u64,
    })
}

/// Checks that the data sections follow one another from the header to the end of the file, and makes the
/// offsets absolute.
fn cover(file: &str, tensors: &mut [TensorInfo], data_start: u64, file_len: u64) -> Result<()> {
    let mut next = data_start;
    for tensor in tensors {
        let start = data_start.checked_add(tensor.offset);
        if start != Some(next) {
            let field = format!("data_offsets of tensor {}", echo(&tensor.name));
            let expected = format!(
                "starting at {}, where the last one ended",
                next.saturating_sub(data_start)
            );
            return Err(Error::corrupt(file, field, expected, tensor.offset));
        }
        tensor.offset = next;
        next = next.saturating_add(tensor.bytes);
    }
    if next == file_len {
        return Ok(());
    }
    Err(Error::corrupt(
        file,
        "file size",
        format!("{next} bytes, the end of the last tensor"),
        file_len,
    ))
}

/// One entry as written.
struct RawTensor {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    offsets: [u64; 2],
}

/// The whole object.
struct HeaderSeed<'a> {
    limits: &'a HeaderLimits,
}

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = Vec<RawTensor>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = Vec<RawTensor>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut entries: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut names = HashSet::new();
        let mut tensors = Vec::new();
        while let Some(name) = entries.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format_args!(
                    "duplicate name {}",
                    echo(&name)
                )));
            }
            if name == "__metadata__" {
                entries.next_value_seed(MetadataSeed)?;
                continue;
            }
            if tensors.len() >= self.limits.tensors_max {
                return Err(A::Error::custom(format_args!(
                    "more than {} tensors",
                    self.limits.tensors_max
                )));
            }
            tensors.push(entries.next_value_seed(TensorSeed {
                name,
                dims_max: self.limits.dims_max,
            })?);
        }
        Ok(tensors)
    }
}

/// `__metadata__`: strings by name. Checked and dropped: nothing in it may steer the reader.
struct MetadataSeed;

impl<'de> DeserializeSeed<'de> for MetadataSeed {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("__metadata__ as an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some((key, _)) = entries.next_entry::<String, MetadataText>()? {
            if !keys.insert(key) {
                return Err(A::Error::custom("duplicate key in __metadata__"));
            }
        }
        Ok(())
    }
}

/// A value of `__metadata__`, told by name where it is no string.
struct MetadataText;

impl<'de> serde::Deserialize<'de> for MetadataText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_str(Self)
    }
}

impl Visitor<'_> for MetadataText {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string in __metadata__")
    }

    fn visit_str<E: DeError>(self, _: &str) -> std::result::Result<Self, E> {
        Ok(self)
    }
}

/// One tensor: exactly `dtype`, `shape` and `data_offsets`, each once, as an object.
struct TensorSeed {
    name: String,
    dims_max: usize,
}

impl<'de> DeserializeSeed<'de> for TensorSeed {
    type Value = RawTensor;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<RawTensor, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TensorSeed {
    type Value = RawTensor;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut entries: A,
    ) -> std::result::Result<RawTensor, A::Error> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(key) = entries.next_key::<String>()? {
            let is_duplicate = match key.as_str() {
                "dtype" => dtype.replace(entries.next_value()?).is_some(),
                "shape" => shape
                    .replace(entries.next_value_seed(ShapeSeed {
                        dims_max: self.dims_max,
                    })?)
                    .is_some(),
                "data_offsets" => offsets.replace(entries.next_value()?).is_some(),
                _ => {
                    return Err(A::Error::custom(format_args!(
                        "unknown tensor field {}",
                        echo(&key)
                    )));
                }
            };
            if is_duplicate {
                return Err(A::Error::custom(format_args!(
                    "duplicate tensor field {key}"
                )));
            }
        }
        let missing = A::Error::missing_field;
        Ok(RawTensor {
            name: self.name,
            dtype: dtype.ok_or_else(|| missing("dtype"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
            offsets: offsets.ok_or_else(|| missing("data_offsets"))?,
        })
    }
}

/// Dimensions, refused as soon as there are too many.
struct ShapeSeed {
    dims_max: usize,
}

impl<'de> DeserializeSeed<'de> for ShapeSeed {
    type Value = Vec<usize>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Vec<usize>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed {
    type Value = Vec<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a shape of at most {} dimensions", self.dims_max)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Vec<usize>, A::Error> {
        let mut shape = Vec::new();
        while shape.len() < self.dims_max {
            match seq.next_element()? {
                Some(dim) => shape.push(dim),
                None => return Ok(shape),
            }
        }
        match seq.next_element::<IgnoredAny>()? {
            None => Ok(shape),
            Some(_) => Err(A::Error::custom(format_args!(
                "shape of more than {} dimensions",
                self.dims_max
            ))),
        }
    }
}
