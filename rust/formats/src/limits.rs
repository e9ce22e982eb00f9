//! Bounds on what a header may claim. They stand between a claim and the allocation it would cause; real
//! files stay a factor of ten or more below each of them.

/// Bounds of headers and side files. Each may be raised by whoever opens a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderLimits {
    /// Longest safetensors header, in bytes. A mixture with 91,000 tensors has about 10 MB.
    pub header_len_max_bytes: u64,
    /// Longest GGUF header, in bytes. It carries the vocabulary: 12 MB at 200,000 entries.
    pub gguf_header_len_max_bytes: u64,
    /// Longest `config.json` or `generation_config.json`, in bytes.
    pub config_len_max_bytes: u64,
    /// Most tensors of a checkpoint.
    pub tensors_max: usize,
    /// Most key-value pairs of a GGUF header.
    pub keys_max: usize,
    /// Longest tensor name or key, in bytes.
    pub name_len_max_bytes: usize,
    /// Longest string value, in bytes.
    pub string_len_max_bytes: usize,
    /// Most elements of an array value.
    pub array_len_max: usize,
    /// Most dimensions of a safetensors tensor.
    pub dims_max: usize,
    /// Most files of a sharded checkpoint.
    pub shards_max: usize,
}

impl Default for HeaderLimits {
    fn default() -> Self {
        Self {
            header_len_max_bytes: 16 << 20,
            gguf_header_len_max_bytes: 64 << 20,
            config_len_max_bytes: 4 << 20,
            tensors_max: 100_000,
            keys_max: 65_536,
            name_len_max_bytes: 1024,
            string_len_max_bytes: 1 << 20,
            array_len_max: 10_000_000,
            dims_max: 8,
            shards_max: 1024,
        }
    }
}
