//! The numbers GGUF gives to element types: read, known but not read, removed, unknown.

use crate::encoding::Encoding;
use crate::error::{Error, Result};

/// The encoding of GGUF type `id` of tensor `name`. Known types that we do not read are refused by name.
pub(super) fn encoding(file: &str, name: &str, id: u32) -> Result<Encoding> {
    if let Some(encoding) = readable(id) {
        return Ok(encoding);
    }
    if let Some(known) = known(id) {
        let what = format!("element type {known} (tensor {name})");
        let advice = "requantise to Q8_0, Q4_0, Q4_1 or a K type".to_owned();
        return Err(Error::Unsupported {
            file: file.to_owned(),
            what,
            advice,
        });
    }
    let got = if matches!(id, 4 | 5 | 31..=33 | 36..=38) {
        format!("{id}, a removed type")
    } else {
        id.to_string()
    };
    Err(Error::corrupt(
        file,
        format!("type of tensor {name}"),
        "a GGUF element type",
        got,
    ))
}

const fn readable(id: u32) -> Option<Encoding> {
    Some(match id {
        0 => Encoding::F32,
        1 => Encoding::F16,
        2 => Encoding::Q4_0,
        3 => Encoding::Q4_1,
        6 => Encoding::Q5_0,
        7 => Encoding::Q5_1,
        8 => Encoding::Q8_0,
        10 => Encoding::Q2K,
        11 => Encoding::Q3K,
        12 => Encoding::Q4K,
        13 => Encoding::Q5K,
        14 => Encoding::Q6K,
        20 => Encoding::Iq4Nl,
        23 => Encoding::Iq4Xs,
        24 => Encoding::I8,
        25 => Encoding::I16,
        26 => Encoding::I32,
        27 => Encoding::I64,
        28 => Encoding::F64,
        30 => Encoding::Bf16,
        35 => Encoding::Tq2_0,
        39 => Encoding::Mxfp4,
        40 => Encoding::Nvfp4,
        _ => return None,
    })
}

const fn known(id: u32) -> Option<&'static str> {
    Some(match id {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        29 => "IQ1_M",
        34 => "TQ1_0",
        41 => "Q1_0",
        42 => "Q2_0",
        _ => return None,
    })
}
