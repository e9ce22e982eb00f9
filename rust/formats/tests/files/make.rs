//! Makes files, right ones and wrong ones, byte by byte.

/// A GGUF file under construction; every count and field can be made wrong.
#[derive(Clone, Debug)]
pub struct Gguf {
    pub magic: [u8; 4],
    pub version: u32,
    pub key_count: Option<u64>,
    pub tensor_count: Option<u64>,
    pub alignment: usize,
    pub data: Vec<u8>,
    pub keys: Vec<Vec<u8>>,
    pub tensors: Vec<Vec<u8>>,
}

/// A length-prefixed string.
pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [(text.len() as u64).to_le_bytes().as_slice(), text].concat()
}

/// The bytes of an array value: element type, count, elements.
pub fn array(element_type: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [
        element_type.to_le_bytes().as_slice(),
        &count.to_le_bytes(),
        elements,
    ]
    .concat()
}

impl Gguf {
    pub fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            key_count: None,
            tensor_count: None,
            alignment: 32,
            data: Vec::new(),
            keys: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// Two keys, a Q4_0 matrix of 2 x 32 and an F32 vector of 3.
    pub fn small() -> Self {
        let mut file = Self::new()
            .key("general.architecture", 8, &string("llama"))
            .key("general.alignment", 4, &32u32.to_le_bytes());
        file.data = (0..64 + 12).collect();
        file.tensor("a", &[32, 2], 2, 0).tensor("b", &[3], 0, 64)
    }

    pub fn key(mut self, key: impl AsRef<[u8]>, value_type: u32, value: &[u8]) -> Self {
        self.keys
            .push([string(key).as_slice(), &value_type.to_le_bytes(), value].concat());
        self
    }

    /// Dimensions as in the file, fastest first.
    pub fn tensor(self, name: impl AsRef<[u8]>, dims: &[u64], type_id: u32, offset: u64) -> Self {
        let count = dims.len() as u32;
        self.tensor_of_dims(name, count, dims, type_id, offset)
    }

    /// With a dimension count of its own.
    pub fn tensor_of_dims(
        mut self,
        name: impl AsRef<[u8]>,
        count: u32,
        dims: &[u64],
        type_id: u32,
        offset: u64,
    ) -> Self {
        let mut entry = [string(name).as_slice(), &count.to_le_bytes()].concat();
        for dim in dims {
            entry.extend(dim.to_le_bytes());
        }
        entry.extend(type_id.to_le_bytes());
        entry.extend(offset.to_le_bytes());
        self.tensors.push(entry);
        self
    }

    pub fn with_data(mut self, len: usize) -> Self {
        self.data = vec![0; len];
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(
            self.tensor_count
                .unwrap_or(self.tensors.len() as u64)
                .to_le_bytes(),
        );
        out.extend(
            self.key_count
                .unwrap_or(self.keys.len() as u64)
                .to_le_bytes(),
        );
        out.extend(self.keys.concat());
        out.extend(self.tensors.concat());
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(&self.data);
        out
    }
}

/// A safetensors file from its header text and data.
pub fn safetensors(header: impl AsRef<[u8]>, data: &[u8]) -> Vec<u8> {
    let header = header.as_ref();
    [(header.len() as u64).to_le_bytes().as_slice(), header, data].concat()
}

/// A right one: `a` F32 `[2, 2]`, `b` BF16 `[3]`.
pub fn small_safetensors() -> Vec<u8> {
    let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}  "#;
    safetensors(header, &(0..22).collect::<Vec<u8>>())
}
