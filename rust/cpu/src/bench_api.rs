//! A door for `benches/linear.rs` alone: packed products of random weights, outside any model. Hidden from the
//! documentation and no part of the crate's promises.

use std::ops::Range;

use tokenmill_formats::Encoding;
use tokenmill_model::{Result, Tensor};

use crate::arena::{Arena, LINE_BYTES, Region};
use crate::calibrate::sum_ahead;
use crate::isa::Level;
use crate::linear::{ActBuffer, ActView, OutView, RowsIn, matmul, prepare_rows};
use crate::pack::{
    Bits, FloatMath, Grouped, IntMath, IntRow, IntRows, Layout, Math, PackPlan, PackedMatrix,
    ScaleKind, Stack, WeightForm, Zero, pack, write_int_rows,
};

/// How the weights are stored, and what multiplies them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// f32 by f32.
    F32,
    /// bf16 by bf16.
    Bf16,
    /// Q8_0 by int8.
    Int8,
    /// Q4_0 by int8.
    Int4,
    /// 4 bits in groups of 128 with integer zeros, by int8.
    Int4Zeros,
    /// Q4_1 by int8.
    Int4Minima,
    /// Q4_1 by f32.
    Int4MinimaExact,
}

/// Several equal matrices, and activations for one of them.
#[derive(Debug)]
pub struct Products {
    matrices: Vec<PackedMatrix>,
    x: Vec<f32>,
    acts: ActBuffer,
    out: Vec<f32>,
    rows: usize,
    level: Level,
}

impl Products {
    /// `copies` matrices of `n` outputs by `k` inputs, and `rows` rows. Copies beyond the last cache make every
    /// product read memory.
    pub fn new(
        level: Level,
        storage: Storage,
        (n, k): (usize, usize),
        rows: usize,
        copies: usize,
    ) -> Result<Self> {
        let arena = Arena::new(copies * (n.next_multiple_of(16) * k * 5 + LINE_BYTES))?;
        let matrices = (0..copies)
            .map(|copy| matrix(storage, (n, k), copy, &arena))
            .collect::<Result<Vec<_>>>()?;
        let form = matrices.first().map(PackedMatrix::act_form);
        let acts = ActBuffer::new(rows, form.map(|form| (form, k)))?;
        let mut noise = Noise(7);
        let x = (0..rows * k).map(|_| noise.unit()).collect();
        let mut products = Self {
            matrices,
            x,
            acts,
            out: vec![0.0; rows * n],
            rows,
            level,
        };
        products.prepare();
        Ok(products)
    }

    /// Bytes of all matrices.
    pub fn weight_bytes(&self) -> u64 {
        self.matrices
            .iter()
            .map(|matrix| matrix.bytes() as u64)
            .sum()
    }

    /// Multiplications and additions of all products.
    pub fn operations(&self) -> u64 {
        let weights: usize = self
            .matrices
            .iter()
            .map(|matrix| matrix.n() * matrix.k())
            .sum();
        2 * (weights * self.rows) as u64
    }

    /// Rounds the activations again, as a step does once per layer input.
    pub fn prepare(&mut self) {
        let Some(view) = self.view() else { return };
        let input = RowsIn {
            ptr: self.x.as_ptr(),
            ld: self.x.len() / self.rows.max(1),
        };
        // SAFETY: `x` holds `rows` rows of k; `&mut self` keeps everybody else out; the level was detected.
        unsafe { prepare_rows(self.level, &view, input, 0..self.rows) };
    }

    /// All products, `passes` times over, each thread its own share of the blocks of every matrix. Many passes
    /// make the start of the threads vanish, as the pool of a real step does.
    pub fn run(&mut self, threads: usize, passes: usize) {
        let Some(view) = self.view() else { return };
        let ptr = self.out.as_mut_ptr();
        let work = Work {
            matrices: &self.matrices,
            view,
            rows: self.rows,
            level: self.level,
        };
        let (work, out) = (
            &work,
            &OutView {
                ptr,
                ld: self.out.len() / self.rows.max(1),
            },
        );
        std::thread::scope(|scope| {
            for thread in 1..threads {
                scope.spawn(move || work.share(thread, threads, passes, *out));
            }
            work.share(0, threads, passes, *out);
        });
    }

    /// What the last product wrote, so that nothing is optimised away.
    pub fn output(&self) -> &[f32] {
        &self.out
    }

    fn view(&self) -> Option<ActView> {
        self.matrices
            .first()
            .map(|matrix| self.acts.view(matrix.act_form(), matrix.k()))
    }
}

/// The most that the machine reads: every thread sums a buffer of its own, beyond any cache, and asks for its
/// lines as far ahead as the products do. `Machine` reads without asking ahead, and reaches less.
#[derive(Debug)]
pub struct ReadCeiling {
    buffers: Vec<Region>,
}

impl ReadCeiling {
    /// A buffer of `bytes` for each of `threads`.
    pub fn new(threads: usize, bytes: usize) -> Result<Self> {
        let mut buffers = Vec::new();
        for thread in 0..threads {
            let mut buffer = Arena::new(bytes.next_multiple_of(LINE_BYTES))?.take(bytes)?;
            buffer.as_mut_slice().fill(thread as u8 + 1);
            buffers.push(buffer);
        }
        Ok(Self { buffers })
    }

    /// Bytes that one pass reads, all threads together.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.len() as u64).sum()
    }

    /// Reads everything `passes` times; the sum keeps the reads from being left out.
    pub fn run(&self, passes: usize) -> u64 {
        std::thread::scope(|scope| {
            let sum = |buffer: &Region| {
                (0..passes)
                    .map(|_| sum_ahead(buffer.as_slice()))
                    .sum::<u64>()
            };
            let threads: Vec<_> = self
                .buffers
                .iter()
                .map(|buffer| scope.spawn(move || sum(buffer)))
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().ok())
                .sum()
        })
    }
}

struct Work<'a> {
    matrices: &'a [PackedMatrix],
    view: ActView,
    rows: usize,
    level: Level,
}

impl Work<'_> {
    fn share(&self, thread: usize, threads: usize, passes: usize, out: OutView) {
        for matrix in self
            .matrices
            .iter()
            .cycle()
            .take(self.matrices.len() * passes)
        {
            let at = |thread: usize| matrix.blocks() * thread / threads;
            let blocks: Range<usize> = at(thread)..at(thread + 1);
            // SAFETY: all rows are prepared; each thread writes the outputs of its own blocks.
            unsafe { matmul(self.level, matrix, &self.view, (0..self.rows, blocks), out) };
        }
    }
}

fn matrix(
    storage: Storage,
    (n, k): (usize, usize),
    seed: usize,
    arena: &std::sync::Arc<Arena>,
) -> Result<PackedMatrix> {
    let (bits, group, zero, math) = match storage {
        Storage::F32 => return floats(Encoding::F32, FloatMath::F32, (n, k), arena),
        Storage::Bf16 => return floats(Encoding::Bf16, FloatMath::Bf16, (n, k), arena),
        Storage::Int8 => (Bits::Eight, 32, Zero::Fixed, Math::Int8),
        Storage::Int4 => (Bits::Four, 32, Zero::Fixed, Math::Int8),
        Storage::Int4Zeros => (Bits::Four, 128, Zero::Integer, Math::Int8),
        Storage::Int4Minima => (Bits::Four, 32, Zero::Minima, Math::Int8),
        Storage::Int4MinimaExact => (Bits::Four, 32, Zero::Minima, Math::F32),
    };
    let grouped = Grouped {
        bits,
        group,
        zero,
        scale: ScaleKind::F16,
    };
    let stack = Stack::new(vec![n], false);
    let plan = stack.map(|stack| PackPlan::with_layout(Layout::Int(grouped), math, stack, k));
    let plan = plan.unwrap_or_else(|| unreachable!("one part always stacks"))?;
    let mut region = arena.take(plan.bytes())?;
    write_int_rows(
        &plan.writer(),
        &[&Random { grouped, seed }],
        0..plan.blocks(),
        region.as_mut_slice(),
    )?;
    Ok(plan.finish(region))
}

fn floats(
    encoding: Encoding,
    floats: FloatMath,
    (n, k): (usize, usize),
    arena: &std::sync::Arc<Arena>,
) -> Result<PackedMatrix> {
    let mut noise = Noise((n + k) as u64);
    let width = encoding.block_bytes();
    // The upper half of an f32 is its bf16.
    let bytes = (0..n * k)
        .flat_map(|_| noise.unit().to_le_bytes().into_iter().skip(4 - width))
        .collect();
    let tensor = Tensor {
        encoding,
        shape: vec![n, k],
        bytes,
    };
    pack(
        &[&tensor],
        false,
        WeightForm {
            floats,
            integers: IntMath::Exact,
        },
        arena,
    )
}

struct Random {
    grouped: Grouped,
    seed: usize,
}

impl IntRows for Random {
    fn read(&self, row: usize, out: &mut IntRow) -> Result<()> {
        let mut noise = Noise((self.seed * 65_537 + row) as u64);
        let mask = if self.grouped.bits == Bits::Four {
            15
        } else {
            255
        };
        out.codes
            .iter_mut()
            .for_each(|code| *code = (noise.bits() & mask) as u8);
        out.scales
            .iter_mut()
            .for_each(|scale| *scale = noise.unit() * 0.01);
        out.seconds
            .iter_mut()
            .for_each(|second| *second = (noise.bits() & 15) as f32);
        Ok(())
    }
}

/// A Weyl sequence through a mixer: random enough that no multiplier sees a pattern.
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> 32) as u32
    }

    /// Between -1 and 1.
    fn unit(&mut self) -> f32 {
        self.bits() as f32 / 2_147_483_648.0 - 1.0
    }
}
