//! How much of the machine do the products of the CPU backend use? Each figure stands beside the ceiling measured
//! around it in the same run: decode shapes (`gemv`) over matrices that no cache holds, as a share of the read
//! bandwidth; prefill shapes (`gemm`) as a share of the peak of the instruction they use.
//!
//! A figure between two ceilings that differ by more than a tenth is void: it is printed with a `?`. Criterion's
//! own lines give the times of single products in cache.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use tokenmill_cpu::bench_api::{Products, Storage};
use tokenmill_cpu::{Level, Machine};

/// Threads of every figure.
const THREADS: usize = 2;
/// Beyond the last cache of any machine this is for.
const COLD_BYTES: usize = 128 << 20;
/// Times that every figure is taken; the best counts.
const REPEATS: usize = 9;
/// Time per ceiling.
const CEILING: Duration = Duration::from_millis(50);

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
    println!(
        "\n{level}, {THREADS} threads, best of {REPEATS}; shares of ceilings measured before and after each"
    );
    for storage in STORAGES {
        for rows in [1, 4] {
            gemv_share(level, storage, rows);
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
                bencher.iter(|| products.run(1));
            });
            black_box(products.output());
        }
    }
    group.finish();
}

/// Best rate of `amount` per run.
fn best_rate(products: &mut Products, amount: u64) -> f64 {
    let seconds = (0..REPEATS)
        .map(|_| {
            let start = Instant::now();
            products.run(THREADS);
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    black_box(products.output());
    amount as f64 / seconds
}

fn row(name: &str, unit: &str, rate: f64, ceilings: [f64; 2]) {
    let ceiling = ceilings[0].max(ceilings[1]);
    let is_void = ceilings[0].min(ceilings[1]) < 0.9 * ceiling;
    let share = rate / ceiling;
    let mark = if is_void { "?" } else { "" };
    println!(
        "{name:40} {:8.1} {unit} of {:8.1}: {share:.2}{mark}",
        rate / 1e9,
        ceiling / 1e9
    );
}

fn gemv_share(level: Level, storage: Storage, rows: usize) {
    for shape in SHAPES {
        let one = Products::new(level, storage, shape, rows, 1)
            .expect("a small matrix")
            .weight_bytes() as usize;
        let mut products =
            Products::new(level, storage, shape, rows, COLD_BYTES / one + 1).expect("memory");
        let read = || Machine::measure(level, THREADS, CEILING).read_bytes_per_s;
        let before = read();
        let bytes = products.weight_bytes();
        let rate = best_rate(&mut products, bytes);
        row(
            &format!("gemv {storage:?} {shape:?} x {rows}"),
            "GB/s",
            rate,
            [before, read()],
        );
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
        let before = peak();
        let operations = products.operations();
        let rate = best_rate(&mut products, operations);
        row(
            &format!("gemm {storage:?} {shape:?} x {rows}"),
            "Gop/s",
            rate,
            [before, peak()],
        );
    }
}
