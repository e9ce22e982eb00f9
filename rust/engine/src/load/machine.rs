//! The machine's limits by name, for benchmarks and shares.

use std::time::Duration;

use tokenmill_cpu::{CpuBackend, Machine};

use crate::error::Result;

/// Read bandwidth and peaks of `threads` threads together, each measured for about `each`:
/// `read_bytes_per_s`, `f32_flops`, `int8_ops`, `bf16_flops`.
pub fn measure_machine(each: Duration, threads: usize) -> Result<[(&'static str, f64); 4]> {
    let machine = Machine::measure(CpuBackend::new()?.level(), threads.max(1), each);
    Ok([
        ("read_bytes_per_s", machine.read_bytes_per_s),
        ("f32_flops", machine.f32_flops),
        ("int8_ops", machine.int8_ops),
        ("bf16_flops", machine.bf16_flops),
    ])
}
