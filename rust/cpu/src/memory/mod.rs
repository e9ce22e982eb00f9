//! What a step writes: the cache of K and V, and matrices of f32 shared by address.

mod buffer;
mod kv;

pub(crate) use buffer::Buffer;
pub(crate) use kv::{KvCache, KvView, TILE, k_rows, v_width};
