//! The dtype names of safetensors: read, known but not read, unknown.

use crate::encoding::Encoding;
use crate::error::{Error, Result, echo};

/// The encoding of dtype `name` of a tensor of `shape`. Sub-byte and complex types are refused by name.
pub(super) fn encoding(file: &str, tensor: &str, name: &str, shape: &[usize]) -> Result<Encoding> {
    if let Some(encoding) = readable(name) {
        return Ok(encoding);
    }
    let field = format!("dtype of tensor {tensor}");
    let Some(bits) = known_bits(name) else {
        return Err(Error::corrupt(
            file,
            field,
            "a safetensors dtype",
            echo(name),
        ));
    };
    let total = shape
        .iter()
        .try_fold(bits, |product, &dim| product.checked_mul(dim));
    if total.is_none_or(|bits| !bits.is_multiple_of(8)) {
        return Err(Error::corrupt(
            file,
            field,
            "of a whole number of bytes",
            format!("{name} of shape {shape:?}"),
        ));
    }
    let advice = "save the tensor as F32, F16 or BF16".to_owned();
    Err(Error::Unsupported {
        file: file.to_owned(),
        what: format!("dtype {name} (tensor {tensor})"),
        advice,
    })
}

fn readable(name: &str) -> Option<Encoding> {
    Some(match name {
        "F64" => Encoding::F64,
        "F32" => Encoding::F32,
        "F16" => Encoding::F16,
        "BF16" => Encoding::Bf16,
        "F8_E4M3" => Encoding::F8E4m3,
        "F8_E5M2" => Encoding::F8E5m2,
        "F8_E8M0" => Encoding::F8E8m0,
        "BOOL" => Encoding::Bool,
        "I8" => Encoding::I8,
        "I16" => Encoding::I16,
        "I32" => Encoding::I32,
        "I64" => Encoding::I64,
        "U8" => Encoding::U8,
        "U16" => Encoding::U16,
        "U32" => Encoding::U32,
        "U64" => Encoding::U64,
        _ => return None,
    })
}

/// Bits per element of the types that exist but that no weight of ours uses.
fn known_bits(name: &str) -> Option<usize> {
    Some(match name {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => 8,
        "C64" => 64,
        _ => return None,
    })
}
