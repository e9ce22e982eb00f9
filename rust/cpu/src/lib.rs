//! The CPU backend of Tokenmill: run-time dispatched SIMD kernels over packed weights.

mod arena;
mod attend;
mod backend;
#[doc(hidden)]
pub mod bench_api;
mod calibrate;
mod exec;
mod isa;
mod lanes;
mod linear;
mod memory;
mod pack;
mod plan;
mod pool;

pub use backend::{CpuBackend, MemoryUse};
pub use calibrate::Machine;
pub use exec::Preview;
pub use isa::Level;
