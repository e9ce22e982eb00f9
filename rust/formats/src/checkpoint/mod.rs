//! An open checkpoint: its config, its tensor table and the data behind it, wherever that lies. Whoever
//! reads tensors sees no file, shard or offset; every read is inside the tensor it names and fails if the
//! file is no longer what it was when it was opened.

mod folder;
mod tensor;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::encoding::Encoding;
use crate::error::{Error, Result, echo};
use crate::file::{ReadAt, WeightFile, resize};
use crate::gguf;
use crate::limits::HeaderLimits;
pub use tensor::TensorInfo;
pub(crate) use tensor::check_name;

/// Name of a checkpoint made in memory, in messages.
const MEMORY: &str = "memory";

/// What a checkpoint says about its model, unread.
#[derive(Clone, Debug)]
pub enum Config {
    /// The key-value pairs of a GGUF header.
    Gguf(gguf::Metadata),
    /// The side files of a safetensors checkpoint.
    Json {
        /// `config.json`.
        config: Map<String, Value>,
        /// `generation_config.json`, where there is one.
        generation: Option<Map<String, Value>>,
    },
}

/// Where bytes are.
#[derive(Debug)]
enum Store {
    File(WeightFile),
    Memory(Vec<u8>),
}

/// A checked checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    config: Config,
    stores: Vec<Store>,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
}

impl Checkpoint {
    /// Opens a `.gguf` file, a `.safetensors` file beside its `config.json`, or a folder: `config.json` with
    /// `model.safetensors` or an index and shards, or exactly one GGUF file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, &HeaderLimits::default())
    }

    /// As `open`, with other bounds on headers.
    pub fn open_with(path: &Path, limits: &HeaderLimits) -> Result<Self> {
        let opened = folder::open(path, limits)?;
        let stores = opened.files.into_iter().map(Store::File).collect();
        Ok(Self::new(
            opened.folder,
            opened.config,
            stores,
            opened.tensors,
        ))
    }

    /// A checkpoint of tensors in memory: name, encoding, shape, bytes. For tests and tools; checked as files
    /// are.
    pub fn from_memory(
        config: Config,
        tensors: Vec<(String, Encoding, Vec<usize>, Vec<u8>)>,
    ) -> Result<Self> {
        let mut infos: Vec<TensorInfo> = Vec::new();
        let mut stores = Vec::new();
        for (store, (name, encoding, shape, bytes)) in tensors.into_iter().enumerate() {
            check_name(
                MEMORY,
                "tensor name",
                &name,
                HeaderLimits::default().name_len_max_bytes,
            )?;
            if encoding.tensor_bytes(&shape) != Some(bytes.len()) {
                let expected = format!("what {encoding} of shape {shape:?} needs");
                return Err(Error::corrupt(
                    MEMORY,
                    format!("length of {}", echo(&name)),
                    expected,
                    bytes.len(),
                ));
            }
            infos.push(TensorInfo {
                name,
                encoding,
                shape,
                store,
                offset: 0,
                bytes: bytes.len() as u64,
            });
            stores.push(Store::Memory(bytes));
        }
        let count = infos.len();
        let checkpoint = Self::new(PathBuf::new(), config, stores, infos);
        if checkpoint.by_name.len() == count {
            return Ok(checkpoint);
        }
        Err(Error::corrupt(
            MEMORY,
            "tensor names",
            "all different",
            "a name twice",
        ))
    }

    fn new(folder: PathBuf, config: Config, stores: Vec<Store>, tensors: Vec<TensorInfo>) -> Self {
        let by_name = tensors
            .iter()
            .enumerate()
            .map(|(index, tensor)| (tensor.name.clone(), index))
            .collect();
        Self {
            folder,
            config,
            stores,
            tensors,
            by_name,
        }
    }

    /// What the checkpoint says about its model.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The folder of its files, for side files; empty for a checkpoint in memory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of all tensors.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors
            .iter()
            .fold(0, |total, tensor| total.saturating_add(tensor.bytes))
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(*self.by_name.get(name)?)
    }

    /// All tensors, in file order.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.iter()
    }

    /// Reads a whole tensor; `out` becomes exactly its bytes.
    pub fn read(&self, name: &str, out: &mut Vec<u8>) -> Result<()> {
        let tensor = self.find(name)?;
        self.fetch(tensor, 0, tensor.bytes, out)
    }

    /// Reads `len` bytes of a tensor from `byte_offset` on; `out` becomes exactly these.
    pub fn read_range(
        &self,
        name: &str,
        byte_offset: u64,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let tensor = self.find(name)?;
        let end = byte_offset.checked_add(len as u64);
        if end.is_none_or(|end| end > tensor.bytes) {
            let expected = format!("at most {}", tensor.bytes);
            let got = end.unwrap_or(u64::MAX);
            return Err(Error::BadLength {
                what: format!("end of a read of {}", echo(name)),
                expected,
                got,
            });
        }
        self.fetch(tensor, byte_offset, len as u64, out)
    }

    fn find(&self, name: &str) -> Result<&TensorInfo> {
        self.tensor(name)
            .ok_or_else(|| Error::NoTensor { name: echo(name) })
    }

    /// The caller has checked that the range is inside the tensor.
    fn fetch(
        &self,
        tensor: &TensorInfo,
        byte_offset: u64,
        len: u64,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let start = tensor.offset.saturating_add(byte_offset);
        resize(&tensor.name, out, len)?;
        match self.stores.get(tensor.store) {
            Some(Store::File(file)) => file.read_at(out, start),
            Some(Store::Memory(bytes)) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                let source = bytes.get(start..start.saturating_add(out.len()));
                out.copy_from_slice(source.ok_or_else(|| Error::Changed {
                    file: MEMORY.to_owned(),
                })?);
                Ok(())
            }
            None => Err(Error::NoTensor {
                name: echo(&tensor.name),
            }),
        }
    }
}
