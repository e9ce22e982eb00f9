//! A whole safetensors file. What we accept, the safetensors crate accepts, and the tensors are the file's
//! data and nothing else.

use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::{HeaderLimits, safetensors};

/// Parses, and compares with the other reader.
pub fn run(data: &[u8]) {
    match safetensors::parse("fuzz.safetensors", data, &HeaderLimits::default()) {
        Err(error) => {
            assert!(matches!(error.kind(), Kind::Corrupt | Kind::Unsupported));
            assert!(error.to_string().len() <= 1024, "a message of a page");
        }
        Ok(tensors) => {
            let bytes: u64 = tensors
                .iter()
                .map(tokenmill_formats::TensorInfo::len_bytes)
                .sum();
            assert!(
                bytes <= data.len() as u64,
                "tensors hold more than their file"
            );
            for tensor in &tensors {
                let needed = tensor.encoding.tensor_bytes(&tensor.shape);
                assert_eq!(needed, Some(tensor.len_bytes() as usize));
            }
            let other =
                ::safetensors::SafeTensors::deserialize(data).expect("the crate refuses it");
            assert_eq!(other.len(), tensors.len());
        }
    }
}
