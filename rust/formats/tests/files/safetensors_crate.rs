//! Agreement with the `safetensors` crate on files that it writes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use tokenmill_formats::{Checkpoint, Encoding};

const NAME: &str = "model.safetensors";

/// Dtypes that both know.
const DTYPES: [(Dtype, Encoding); 16] = [
    (Dtype::F64, Encoding::F64),
    (Dtype::F32, Encoding::F32),
    (Dtype::F16, Encoding::F16),
    (Dtype::BF16, Encoding::Bf16),
    (Dtype::F8_E4M3, Encoding::F8E4m3),
    (Dtype::F8_E5M2, Encoding::F8E5m2),
    (Dtype::F8_E8M0, Encoding::F8E8m0),
    (Dtype::BOOL, Encoding::Bool),
    (Dtype::I8, Encoding::I8),
    (Dtype::I16, Encoding::I16),
    (Dtype::I32, Encoding::I32),
    (Dtype::I64, Encoding::I64),
    (Dtype::U8, Encoding::U8),
    (Dtype::U16, Encoding::U16),
    (Dtype::U32, Encoding::U32),
    (Dtype::U64, Encoding::U64),
];

type Made = BTreeMap<String, (usize, Vec<usize>)>;

fn made() -> impl Strategy<Value = Made> {
    let tensor = (0..DTYPES.len(), prop::collection::vec(0usize..5, 0..4));
    prop::collection::btree_map("[a-z.0-9]{1,12}", tensor, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn files_of_the_safetensors_crate_read_alike(made in made(), fill in any::<u8>()) {
        let mut stored = Vec::new();
        for (name, (dtype, shape)) in &made {
            let (dtype, encoding) = DTYPES[*dtype];
            let len = encoding.tensor_bytes(shape).unwrap();
            let data: Vec<u8> = (0..len).map(|i| fill.wrapping_add((i * 7 + name.len()) as u8)).collect();
            stored.push((name, dtype, encoding, shape, data));
        }
        let views = stored.iter().map(|(name, dtype, _, shape, data)| {
            (name.as_str(), TensorView::new(*dtype, (*shape).clone(), data).unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        std::fs::write(folder.path().join(NAME), bytes).unwrap();
        let checkpoint = Checkpoint::open(&folder.path().join(NAME)).unwrap();
        prop_assert_eq!(checkpoint.tensors().count(), stored.len());
        let mut read = Vec::new();
        for (name, _, encoding, shape, data) in &stored {
            let tensor = checkpoint.tensor(name).unwrap();
            prop_assert_eq!((tensor.encoding, &tensor.shape), (*encoding, *shape));
            checkpoint.read(name, &mut read).unwrap();
            prop_assert_eq!(&read, data);
        }
    }
}
