//! K and V of every layer, by slot, as plain f32. A bf16 cache is an f32 cache whose elements were rounded
//! when they were written.

use half::bf16;
use tokenmill_model::{BlockCopy, KvFormat, KvShape, MemoryPlan};

/// The cache of one layer.
#[derive(Debug)]
pub struct LayerCache {
    /// `[slots][heads * head_dim]`.
    pub keys: Vec<f32>,
    /// As `keys`.
    pub values: Vec<f32>,
    /// Elements per slot, of each.
    pub width: usize,
    format: KvFormat,
}

impl LayerCache {
    /// An empty cache. Its slots hold not-a-number, so that a read before a write cannot go unseen.
    pub fn new(shape: KvShape, plan: &MemoryPlan) -> Self {
        let width = shape.heads * shape.head_dim;
        let len = plan.blocks * plan.block_size * width;
        Self {
            keys: vec![f32::NAN; len],
            values: vec![f32::NAN; len],
            width,
            format: plan.kv_format,
        }
    }

    /// Stores K and V of one row.
    pub fn write(&mut self, slot: usize, key: &[f32], value: &[f32]) {
        let range = slot * self.width..(slot + 1) * self.width;
        let format = self.format;
        store(&mut self.keys[range.clone()], key, format);
        store(&mut self.values[range], value, format);
    }

    /// Copies slots from one block to another.
    pub fn copy(&mut self, copy: &BlockCopy, block_size: usize) {
        let slot = |block: u32, at: u32| (block as usize * block_size + at as usize) * self.width;
        let from = slot(copy.from.0, copy.from_slot);
        let to = slot(copy.to.0, copy.to_slot);
        let len = copy.len as usize * self.width;
        self.keys.copy_within(from..from + len, to);
        self.values.copy_within(from..from + len, to);
    }
}

fn store(to: &mut [f32], from: &[f32], format: KvFormat) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = match format {
            KvFormat::F32 => from,
            KvFormat::Bf16 => bf16::from_f32(from).to_f32(),
        };
    }
}
