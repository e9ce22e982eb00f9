//! The CPU backend of Tokenmill: run-time dispatched SIMD kernels over packed weights.
