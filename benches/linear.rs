//! How much of the machine do the products of the CPU backend use? Decode shapes (`gemv`) run over matrices that
//! no cache holds and are a share of the read bandwidth; prefill shapes (`gemm`) are a share of the peak of the
//! instruction they use. Ceiling and product take turns, and the best of each counts.
//!
//! A figure during which other processes used more than a tenth of a core is void and marked `?`. Criterion's
//! own lines are the times of single products in cache, by one thread.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use tokenmill_cpu::bench_api::{Products, ReadCeiling, Storage};
use tokenmill_cpu::{Level, Machine};

/// Threads of every figure.
const THREADS: usize = 2;
/// Beyond the last cache of any machine this is for.
const COLD_BYTES: usize = 128 << 20;
/// Passes over the weights in one timing.
const PASSES: usize = 8;
/// Times that every figure is taken; the best counts.
const REPEATS: usize = 9;
/// Time per ceiling.
const CEILING: Duration = Duration::from_millis(10);
/// Work of other processes, in cores, above which a figure is void.
const OTHERS_CORES_MAX: f64 = 0.10;

/// The default model's shapes: (outputs, inputs) of Q, K, V together, of gate and up together, and of down.
const SHAPES: [(usize, usize); 3] = [(960, 576), (3072, 576), (576, 1536)];

const STORAGES: [Storage; 7] = [
    Storage::F32,
    Storage::Bf16,
    Storage::Int8,
    Storage::Int4,
    Storage::Int4Zeros,
    Storage::Int4Minima,
    Storage::Int4MinimaExact,
];

fn main() {
    let level =
        Level::choose(std::env::var("TOKENMILL_CPU_ISA").ok().as_deref()).expect("a known level");
    let mut criterion = Criterion::default().configure_from_args();
    products_in_cache(&mut criterion, level);
    println!("\n{level}, {THREADS} threads, best of {REPEATS}");
    let ceiling = ReadCeiling::new(THREADS, COLD_BYTES / THREADS).expect("memory");
    for storage in STORAGES {
        for rows in [1, 4] {
            gemv_share(level, storage, rows, &ceiling);
        }
    }
    for storage in STORAGES {
        for rows in [16, 512] {
            gemm_share(level, storage, rows);
        }
    }
    criterion.final_summary();
}

/// One thread, weights in cache: what changes when a kernel changes.
fn products_in_cache(criterion: &mut Criterion, level: Level) {
    let mut group = criterion.benchmark_group("product");
    group
        .sample_size(20)
        .measurement_time(Duration::from_millis(500))
        .warm_up_time(Duration::from_millis(100));
    for storage in STORAGES {
        for rows in [1, 16, 256] {
            let mut products =
                Products::new(level, storage, (576, 576), rows, 1).expect("a small matrix");
            group.throughput(Throughput::Elements(products.operations()));
            group.bench_function(BenchmarkId::new(format!("{storage:?}"), rows), |bencher| {
                bencher.iter(|| products.run(1, 1));
            });
            black_box(products.output());
        }
    }
    group.finish();
}

/// Best rate of `amount` per run beside the best of a ceiling, in turns, as one line.
fn share(
    name: &str,
    unit: &str,
    products: &mut Products,
    (amount, ceiling): (u64, impl Fn() -> f64),
) {
    let (start, cpu) = (Instant::now(), CpuSeconds::now());
    let (mut best, mut limit) = (0.0_f64, 0.0_f64);
    for _ in 0..REPEATS {
        limit = limit.max(ceiling());
        let run = Instant::now();
        products.run(THREADS, PASSES);
        best = best.max((PASSES as u64 * amount) as f64 / run.elapsed().as_secs_f64());
    }
    black_box(products.output());
    let others = CpuSeconds::now().others_since(&cpu) / start.elapsed().as_secs_f64();
    let mark = if others > OTHERS_CORES_MAX { "?" } else { "" };
    let (best, limit, ratio) = (best / 1e9, limit / 1e9, best / limit);
    println!(
        "{name:40} {best:8.1} {unit} of {limit:8.1}: {ratio:.2}{mark} (others {others:.2} cores)"
    );
}

fn gemv_share(level: Level, storage: Storage, rows: usize, ceiling: &ReadCeiling) {
    for shape in SHAPES {
        let one = Products::new(level, storage, shape, rows, 1)
            .expect("memory")
            .weight_bytes();
        let copies = COLD_BYTES / one as usize + 1;
        let mut products = Products::new(level, storage, shape, rows, copies).expect("memory");
        let read = || {
            let start = Instant::now();
            black_box(ceiling.run(PASSES));
            (PASSES as u64 * ceiling.bytes()) as f64 / start.elapsed().as_secs_f64()
        };
        let bytes = products.weight_bytes();
        let name = format!("gemv {storage:?} {shape:?} x {rows}");
        share(&name, "GB/s", &mut products, (bytes, read));
    }
}

fn gemm_share(level: Level, storage: Storage, rows: usize) {
    for shape in SHAPES {
        // Several products per start of the threads, which would otherwise be a good part of the time.
        let copies = (4096 / rows).clamp(1, 64);
        let mut products = Products::new(level, storage, shape, rows, copies).expect("memory");
        let peak = || {
            let machine = Machine::measure(level, THREADS, CEILING);
            match storage {
                Storage::F32 | Storage::Int4MinimaExact => machine.f32_flops,
                Storage::Bf16 => machine.bf16_flops,
                _ => machine.int8_ops,
            }
        };
        let operations = products.operations();
        let name = format!("gemm {storage:?} {shape:?} x {rows}");
        share(&name, "Gop/s", &mut products, (operations, peak));
    }
}

/// Processor time used so far, by the machine and by this process; zeros where the system does not say.
struct CpuSeconds {
    machine: f64,
    own: f64,
}

impl CpuSeconds {
    fn now() -> Self {
        let numbers = |path: &str| -> Vec<f64> {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().next().unwrap_or_default();
            // The name of a process stands in brackets and may hold anything.
            let fields = line.rsplit(')').next().unwrap_or_default();
            fields
                .split_whitespace()
                .skip(1)
                .map(|field| field.parse().unwrap_or(0.0))
                .collect()
        };
        let at = |numbers: &[f64], wanted: &[usize]| -> f64 {
            wanted
                .iter()
                .filter_map(|index| numbers.get(*index))
                .sum::<f64>()
                / 100.0
        };
        Self {
            // user, nice, system, irq, softirq, steal; and utime, stime.
            machine: at(&numbers("/proc/stat"), &[0, 1, 2, 5, 6, 7]),
            own: at(&numbers("/proc/self/stat"), &[10, 11]),
        }
    }

    fn others_since(&self, earlier: &Self) -> f64 {
        (self.machine - earlier.machine) - (self.own - earlier.own)
    }
}
