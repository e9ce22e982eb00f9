//! Random bytes and mutated files: an answer or a kind, never a panic, and nothing outside the file.

use proptest::prelude::*;
use tokenmill_core::{HasKind, Kind};
use tokenmill_formats::{Checkpoint, HeaderLimits, gguf, parse_json};

use crate::make::{Gguf, array, small_safetensors, string};

/// One change of a file.
#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Word(prop::sample::Index, u64),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    let word = prop_oneof![
        Just(0),
        Just(u64::MAX),
        Just(1 << 32),
        Just(1 << 63),
        any::<u64>(),
        0u64..64
    ];
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (index(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (index(), word).prop_map(|(at, word)| Change::Word(at, word)),
        index().prop_map(Change::Cut),
        (index(), index()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn mutated(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let len = bytes.len();
        if len == 0 {
            break;
        }
        match change {
            Change::Set(at, byte) => bytes[at.index(len)] = *byte,
            Change::Flip(at, bit) => {
                let at = at.index(len);
                bytes[at] ^= 1 << bit;
            }
            Change::Word(at, word) => {
                let at = at.index(len);
                let len = (len - at).min(8);
                bytes[at..at + len].copy_from_slice(&word.to_le_bytes()[..len]);
            }
            Change::Cut(at) => bytes.truncate(at.index(len)),
            Change::Repeat(from, to) => {
                let (from, to) = (from.index(len), to.index(len));
                let piece = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

/// A GGUF file with something of everything.
fn rich() -> Vec<u8> {
    let tokens = ["a", "b", "c"].map(string).concat();
    Gguf::small()
        .key("tokenizer.ggml.tokens", 9, &array(8, 3, &tokens))
        .key("tokenizer.ggml.scores", 9, &array(6, 3, &[0; 12]))
        .key("tokenizer.ggml.add_bos_token", 7, &[1])
        .key("llama.block_count", 4, &30u32.to_le_bytes())
        .bytes()
}

fn is_refusal(kind: Kind) -> bool {
    matches!(kind, Kind::Corrupt | Kind::Unsupported)
}

/// Opens a file of this name and reads whatever it claims to hold.
fn open_and_read(name: &str, bytes: &[u8]) -> Result<(), Kind> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let checkpoint = Checkpoint::open(&path).map_err(|error| error.kind())?;
    let mut out = Vec::new();
    let mut total = 0;
    for tensor in checkpoint.tensors() {
        checkpoint.read(&tensor.name, &mut out).unwrap();
        assert_eq!(out.len() as u64, tensor.len_bytes());
        assert_eq!(tensor.encoding.tensor_bytes(&tensor.shape), Some(out.len()));
        total += out.len();
    }
    assert!(total <= bytes.len(), "tensors hold more than their file");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_gguf_files_are_read_or_refused(changes in prop::collection::vec(change(), 1..6)) {
        if let Err(kind) = open_and_read("m.gguf", &mutated(rich(), &changes)) {
            prop_assert!(is_refusal(kind), "{:?}", kind);
        }
    }

    #[test]
    fn mutated_safetensors_files_are_read_or_refused(changes in prop::collection::vec(change(), 1..4)) {
        let bytes = mutated(small_safetensors(), &changes);
        match open_and_read("m.safetensors", &bytes) {
            Err(kind) => prop_assert!(is_refusal(kind), "{:?}", kind),
            Ok(()) => prop_assert!(safetensors::SafeTensors::deserialize(&bytes).is_ok(), "the crate refuses it"),
        }
    }

    #[test]
    fn random_bytes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let limits = HeaderLimits::default();
        prop_assert!(gguf::parse("m.gguf", &bytes, &limits).is_err());
        if bytes.len() >= 8 {
            bytes[..8].copy_from_slice(b"GGUF\x03\0\0\0");
        }
        if bytes.len() >= 24 {
            // Small counts, so that the parser gets somewhere.
            bytes[8..24].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        }
        prop_assert!(gguf::parse("m.gguf", &bytes, &limits).is_err_and(|error| is_refusal(error.kind())));
    }

    #[test]
    fn random_json_is_read_as_serde_reads_it_or_refused(text in r#"[\[\]{}:,"a-c0-2 ]{0,24}"#) {
        let ours = parse_json("x", text.as_bytes());
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        match (ours, theirs) {
            (Ok(ours), theirs) => prop_assert_eq!(ours, theirs.unwrap()),
            (Err(error), Ok(_)) => prop_assert!(error.to_string().contains("duplicate"), "{}", error),
            (Err(error), Err(_)) => prop_assert_eq!(error.kind(), Kind::Corrupt),
        }
    }
}
