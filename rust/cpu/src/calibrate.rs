//! The machine's own limits, for shares of them: how fast its threads read memory together, and how fast
//! they multiply. Measured when asked, never assumed; a figure of another day says nothing on a shared
//! machine. It knows no model.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::arena::{Arena, LINE_BYTES};
use crate::isa::Level;
use crate::linear::STREAM_AHEAD_BYTES;

/// Bytes that each thread reads in turn: more than any cache it could keep them in.
const BUFFER_BYTES: usize = 128 << 20;
/// Independent accumulators: more than the latency of a multiply-add times its rate.
const CHAINS: usize = 16;
/// Multiply-adds of each chain between two looks at the clock.
const INNER: usize = 4096;

/// What was measured, all threads together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Bytes read per second from memory.
    pub read_bytes_per_s: f64,
    /// f32 operations per second (a multiply-add is two).
    pub f32_flops: f64,
    /// int8 operations per second through 32-bit sums; 0 where the level has no such instruction.
    pub int8_ops: f64,
    /// bf16 operations per second through f32 sums; 0 where the level has no such instruction.
    pub bf16_flops: f64,
}

impl Machine {
    /// Measures `threads` threads, each figure for about `each`.
    pub fn measure(level: Level, threads: usize, each: Duration) -> Self {
        let rate =
            |work: fn(Level, usize) -> f64| together(threads, each, |lanes| work(level, lanes));
        Self {
            read_bytes_per_s: read(threads, each),
            f32_flops: rate(f32_round),
            int8_ops: rate(int8_round),
            bf16_flops: rate(bf16_round),
        }
    }
}

/// Sums what `round` does per second over all threads; every thread starts and stops on its own clock after
/// a common start.
fn together(threads: usize, each: Duration, round: impl Fn(usize) -> f64 + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let spawn = |index: usize| {
            let (barrier, round) = (&barrier, &round);
            scope.spawn(move || {
                barrier.wait();
                let start = Instant::now();
                let mut done = 0.0;
                while start.elapsed() < each {
                    done += round(index);
                }
                done / start.elapsed().as_secs_f64()
            })
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        running
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .sum()
    })
}

fn read(threads: usize, each: Duration) -> f64 {
    let barrier = &Barrier::new(threads);
    std::thread::scope(|scope| {
        let spawn = |index: usize| {
            scope.spawn(move || {
                // Written by the thread that reads it; pages and read-ahead as the kernels have them.
                let buffer = Arena::new(BUFFER_BYTES).and_then(|arena| arena.take(BUFFER_BYTES));
                let mut buffer = buffer.ok();
                if let Some(buffer) = &mut buffer {
                    buffer.as_mut_slice().fill(index as u8 + 1);
                }
                barrier.wait();
                let start = Instant::now();
                let mut bytes = 0.0;
                while let Some(buffer) = buffer.as_ref().filter(|_| start.elapsed() < each) {
                    for part in buffer.as_slice().chunks(8 << 20) {
                        black_box(sum_ahead(part));
                        bytes += part.len() as f64;
                    }
                }
                bytes / start.elapsed().as_secs_f64()
            })
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        running
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .sum()
    })
}

/// The sum of the 64-bit words of whole lines: one load and one addition per word, fetched ahead as the
/// kernels do.
pub(crate) fn sum_ahead(bytes: &[u8]) -> u64 {
    let (lines, _) = bytes.as_chunks::<LINE_BYTES>();
    let mut lanes = [0_u64; 8];
    for line in lines {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch may name any address.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch(
                line.as_ptr().wrapping_add(STREAM_AHEAD_BYTES).cast(),
                _MM_HINT_T0,
            );
        }
        for (lane, word) in lanes.iter_mut().zip(line.as_chunks::<8>().0) {
            *lane = lane.wrapping_add(u64::from_le_bytes(*word));
        }
    }
    lanes
        .iter()
        .fold(0, |total, lane| total.wrapping_add(*lane))
}

fn f32_round(level: Level, _thread: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx512 {
        // SAFETY: `Level::detect` found AVX-512F on this processor.
        return unsafe { x86::f32_512() };
    } else if level >= Level::Avx2 {
        // SAFETY: `Level::detect` found AVX2 and FMA on this processor.
        return unsafe { x86::f32_256() };
    }
    let mut lanes = [[1.0f32; 4]; CHAINS];
    let (a, b) = (black_box(0.999f32), black_box(0.001f32));
    for _ in 0..INNER {
        for lane in lanes.iter_mut().flatten() {
            *lane = *lane * a + b;
        }
    }
    black_box(lanes);
    (2 * 4 * CHAINS * INNER) as f64
}

fn int8_round(level: Level, _thread: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx512Vnni {
        // SAFETY: `Level::detect` found AVX512-VNNI on this processor.
        return unsafe { x86::int8_512() };
    }
    let _ = level;
    0.0
}

fn bf16_round(level: Level, _thread: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx512Bf16 {
        // SAFETY: `Level::detect` found AVX512-BF16 on this processor.
        return unsafe { x86::bf16_512() };
    }
    let _ = level;
    0.0
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{CHAINS, INNER};

    /// SAFETY of the callers: each function needs the features named on it.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn f32_512() -> f64 {
        let mut chains = [_mm512_set1_ps(1.0); CHAINS];
        let (a, b) = (
            _mm512_set1_ps(black_box(0.999)),
            _mm512_set1_ps(black_box(0.001)),
        );
        for _ in 0..INNER {
            for chain in &mut chains {
                *chain = _mm512_fmadd_ps(*chain, a, b);
            }
        }
        black_box(chains);
        (2 * 16 * CHAINS * INNER) as f64
    }

    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn f32_256() -> f64 {
        // Twelve chains and two operands fit the sixteen registers.
        let mut chains = [_mm256_set1_ps(1.0); 12];
        let (a, b) = (
            _mm256_set1_ps(black_box(0.999)),
            _mm256_set1_ps(black_box(0.001)),
        );
        for _ in 0..INNER {
            for chain in &mut chains {
                *chain = _mm256_fmadd_ps(*chain, a, b);
            }
        }
        black_box(chains);
        (2 * 8 * 12 * INNER) as f64
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub unsafe fn int8_512() -> f64 {
        let mut chains = [_mm512_setzero_si512(); CHAINS];
        let (a, b) = (
            _mm512_set1_epi8(black_box(3)),
            _mm512_set1_epi8(black_box(-5)),
        );
        for _ in 0..INNER {
            for chain in &mut chains {
                *chain = _mm512_dpbusd_epi32(*chain, a, b);
            }
        }
        black_box(chains);
        (2 * 64 * CHAINS * INNER) as f64
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub unsafe fn bf16_512() -> f64 {
        let mut chains = [_mm512_setzero_ps(); CHAINS];
        let a = _mm512_cvtne2ps_pbh(
            _mm512_set1_ps(black_box(0.5)),
            _mm512_set1_ps(black_box(0.25)),
        );
        for _ in 0..INNER {
            for chain in &mut chains {
                *chain = _mm512_dpbf16_ps(*chain, a, a);
            }
        }
        black_box(chains);
        (2 * 32 * CHAINS * INNER) as f64
    }
}
