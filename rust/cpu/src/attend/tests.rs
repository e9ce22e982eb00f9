//! Attention against an f64 oracle, and its promises of equal bits: a row alone and in a chunk, any block
//! size, any placement of blocks, one item over all splits and one item per split, every level.

use tokenmill_core::BlockId;
use tokenmill_model::{KvFormat, KvShape};

use super::scratch::Arrays;
use super::*;
use crate::isa::Level;
use crate::memory::KvCache;

struct Case {
    rule: Rule,
    kv_heads: usize,
    format: KvFormat,
    tokens: usize,
}

struct Random(u32);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / 8_388_608.0 - 1.0
    }

    fn vector(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

impl Case {
    fn new(head_dim: usize, group: usize, format: KvFormat, tokens: usize) -> Self {
        let rule = Rule {
            head_dim,
            group,
            scale: 2.5 / (head_dim as f32).sqrt(),
            soft_cap: None,
            window: None,
        };
        Self {
            rule,
            kv_heads: 2,
            format,
            tokens,
        }
    }

    /// Q, K and V of every token: `[token][head][head_dim]`.
    fn data(&self) -> [Vec<f32>; 3] {
        let mut random = Random(7);
        let kv = self.tokens * self.kv_heads * self.rule.head_dim;
        [
            random.vector(kv * self.rule.group),
            random.vector(kv),
            random.vector(kv),
        ]
    }

    fn width(&self) -> usize {
        self.kv_heads * self.rule.group * self.rule.head_dim
    }

    fn stored(&self, x: f32) -> f64 {
        match self.format {
            KvFormat::F32 => f64::from(x),
            KvFormat::Bf16 => f64::from(half::bf16::from_f32(x).to_f32()),
        }
    }

    /// All rows in f64, straight from the definition.
    fn oracle(&self) -> Vec<f64> {
        let ([q, k, v], rule) = (self.data(), self.rule);
        let (dim, heads) = (rule.head_dim, self.kv_heads * rule.group);
        let mut out = vec![0.0; self.tokens * self.width()];
        for row in 0..self.tokens {
            for head in 0..heads {
                let at = |token: usize| (token * self.kv_heads + head / rule.group) * dim;
                let q = &q[(row * heads + head) * dim..][..dim];
                let first = rule
                    .window
                    .map_or(0, |window| (row + 1).saturating_sub(window));
                let score = |token: usize| {
                    let products = q
                        .iter()
                        .zip(&k[at(token)..])
                        .map(|(q, k)| f64::from(*q) * self.stored(*k));
                    let score = products.sum::<f64>() * f64::from(rule.scale);
                    rule.soft_cap.map_or(score, |cap| {
                        f64::from(cap) * (score / f64::from(cap)).tanh()
                    })
                };
                let weights: Vec<f64> = (first..=row).map(|token| score(token).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for i in 0..dim {
                    let mixed = (first..=row)
                        .zip(&weights)
                        .map(|(t, w)| w * self.stored(v[at(t) + i]));
                    out[(row * heads + head) * dim + i] = mixed.sum::<f64>() / sum;
                }
            }
        }
        out
    }

    /// All rows by the kernels: chunks of `chunk` rows, each computed after its K and V were written, items of
    /// at most `rows_max` rows; blocks lie in reverse order.
    fn run(&self, level: Level, block_size: usize, chunk: usize, how: How) -> Vec<f32> {
        let ([q, k, v], rule, width) = (self.data(), self.rule, self.width());
        let blocks = self.tokens.div_ceil(block_size);
        let shape = KvShape {
            heads: self.kv_heads,
            head_dim: rule.head_dim,
        };
        let cache = KvCache::new(&[shape], self.format, blocks + 1, block_size).unwrap();
        let table: Vec<BlockId> = (0..blocks)
            .map(|block| BlockId((blocks - block) as u32))
            .collect();
        let scratch = Scratch::new(std::iter::once((rule.head_dim, rule.group))).unwrap();
        let mut out = vec![f32::NAN; q.len()];
        let rows_max = rows_per_item(rule.group);
        for start in (0..self.tokens).step_by(chunk) {
            let end = self.tokens.min(start + chunk);
            for token in start..end {
                let slot = table[token / block_size].0 as usize * block_size + token % block_size;
                for head in 0..self.kv_heads {
                    let at = (token * self.kv_heads + head) * rule.head_dim;
                    // SAFETY: one thread, slots inside the cache.
                    unsafe {
                        cache.write_k(0, head, slot, k[at..].as_ptr());
                        cache.write_v(0, head, slot, v[at..].as_ptr());
                    }
                }
            }
            for first in (start..end).step_by(rows_max) {
                for head in 0..self.kv_heads {
                    let at = first * width + head * rule.group * rule.head_dim;
                    let rows = Rows {
                        rule,
                        position: first,
                        len: rows_max.min(end - first),
                        q: q[at..].as_ptr(),
                        q_stride: width,
                        out: out[at..].as_mut_ptr(),
                        out_stride: width,
                    };
                    let arrays = scratch.arrays(rows.queries(), rule.head_dim);
                    let view = cache.view(0, head, &table);
                    // SAFETY: the level is available, all positions up to the rows' own are written.
                    unsafe { how.attend(level, &arrays, &view, &rows) };
                }
            }
        }
        out
    }
}

#[derive(Clone, Copy)]
enum How {
    Whole,
    BySplits,
}

impl How {
    unsafe fn attend(
        self,
        level: Level,
        arrays: &Arrays,
        view: &crate::memory::KvView<'_>,
        rows: &Rows,
    ) {
        // SAFETY: passed on from the caller.
        unsafe {
            match self {
                How::Whole => {
                    let splits = rows.splits();
                    attend(level, arrays, view, rows, splits, std::ptr::null_mut());
                }
                How::BySplits => {
                    let len = rows.queries() * state_len(rows.rule.head_dim);
                    let splits = rows.splits();
                    let mut states = vec![f32::NAN; len * splits.len()];
                    // Any order of computing them: here from the last.
                    for split in splits.clone().rev() {
                        let at = states[(split - splits.start) * len..].as_mut_ptr();
                        attend(level, arrays, view, rows, split..split + 1, at);
                    }
                    merge_splits(level, arrays, rows, states.as_ptr());
                }
            }
        }
    }
}

fn assert_near(case: &Case, got: &[f32], bound: f64, what: &str) {
    for (i, (got, want)) in got.iter().zip(case.oracle()).enumerate() {
        let error = (f64::from(*got) - want).abs();
        assert!(
            error <= bound,
            "{what}: element {i} of row {} is {got}, not {want}",
            i / case.width()
        );
    }
}

fn assert_same(one: &[f32], other: &[f32], what: &str) {
    let differing = one
        .iter()
        .zip(other)
        .position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(differing, None, "{what}");
}

fn cases() -> Vec<(&'static str, Case)> {
    let mut windowed = Case::new(16, 2, KvFormat::F32, 600);
    windowed.rule.window = Some(37);
    let mut wide_window = Case::new(32, 1, KvFormat::Bf16, 700);
    wide_window.rule.window = Some(300);
    let mut capped = Case::new(24, 4, KvFormat::F32, 300);
    capped.rule.soft_cap = Some(3.0);
    vec![
        ("plain f32", Case::new(64, 3, KvFormat::F32, 530)),
        ("plain bf16", Case::new(64, 3, KvFormat::Bf16, 530)),
        ("one head, odd size", Case::new(7, 1, KvFormat::F32, 290)),
        (
            "one head, odd size, bf16",
            Case::new(21, 1, KvFormat::Bf16, 290),
        ),
        (
            "group of 7, wide head",
            Case::new(112, 7, KvFormat::F32, 270),
        ),
        ("window inside a split", windowed),
        ("window over splits", wide_window),
        ("soft cap", capped),
    ]
}

#[test]
fn every_level_is_near_the_oracle_and_equals_the_scalar_one() {
    for (name, case) in cases() {
        let scalar = case.run(Level::Scalar, 16, 64, How::Whole);
        assert_near(&case, &scalar, 1e-5, name);
        for level in Level::available() {
            assert_same(
                &case.run(level, 16, 64, How::Whole),
                &scalar,
                &format!("{name} at {level}"),
            );
        }
    }
}

#[test]
fn a_row_alone_equals_the_row_in_any_chunk_block_size_and_cut_into_splits() {
    let level = Level::detect();
    for (name, case) in cases() {
        let whole = case.run(level, 16, case.tokens, How::Whole);
        for chunk in (1..=17).chain([31, 100, 255, 256, 257]) {
            assert_same(
                &case.run(level, 16, chunk, How::Whole),
                &whole,
                &format!("{name}, chunk {chunk}"),
            );
        }
        for block_size in [32, 64, 144] {
            for how in [How::Whole, How::BySplits] {
                let got = case.run(level, block_size, 50, how);
                assert_same(&got, &whole, &format!("{name}, block size {block_size}"));
            }
        }
    }
}
