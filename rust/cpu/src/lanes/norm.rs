//! Normalisation of one row: RMS and layer norm. Sums run over 16 lanes by 4 registers and fold by a fixed
//! tree; which element meets which depends on the row's length alone. Knows no register and no model.
//! Reference and test: f64, and the scalar level for equal bits.

use crate::lanes::{LANES, Lanes, load_partial, per_level, store_partial};

/// One row's normalisation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormRow {
    /// Source, `len` values.
    pub(crate) input: *const f32,
    /// Destination; may equal `input`.
    pub(crate) out: *mut f32,
    /// Elements, at least 1.
    pub(crate) len: usize,
    /// Scale, `len` values, any offset already added.
    pub(crate) weight: *const f32,
    /// Shift, `len` values, or null.
    pub(crate) bias: *const f32,
    /// Inside the root.
    pub(crate) eps: f32,
    /// Whether the mean is taken off first.
    pub(crate) is_centred: bool,
}

per_level! {
    /// Normalises one row.
    fn norm_row = norm(row: &NormRow);

    /// The sum of squares of `len` values, in the order of the norm.
    fn sum_of_squares = squares(x: *const f32, len: usize) -> f32;

    /// `out[i] = x[i] * factor * weight[i]`: the second half of an RMS norm.
    fn scale_row = scaled(x: *const f32, out: *mut f32, len: usize, weight: *const f32, factor: f32);
}

/// 1 / sqrt(sum / len + eps), as every RMS norm of this crate takes it.
pub(crate) fn inverse_rms(sum: f32, len: usize, eps: f32) -> f32 {
    1.0 / (sum / len as f32 + eps).sqrt()
}

/// Sums `term` of each vector of the row; `term` sees padding lanes of the last vector as `fill`.
///
/// # Safety
/// `x` is valid for `len` values; the processor has the level of `V`.
#[inline(always)]
unsafe fn sum<V: Lanes>(x: *const f32, len: usize, fill: f32, term: impl Fn(V, V) -> V) -> f32 {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut sums = [V::splat(0.0); 4];
        let whole = len / LANES;
        for i in 0..whole {
            sums[i % 4] = term(V::load(x.add(i * LANES)), sums[i % 4]);
        }
        if !len.is_multiple_of(LANES) {
            let last = load_partial(x.add(whole * LANES), len % LANES, fill);
            sums[whole % 4] = term(last, sums[whole % 4]);
        }
        sums[0].add(sums[1]).add(sums[2].add(sums[3])).reduce_add()
    }
}

/// # Safety
/// As `sum`.
#[inline(always)]
unsafe fn squares<V: Lanes>(x: *const f32, len: usize) -> f32 {
    // SAFETY: passed on from the caller.
    unsafe { sum::<V>(x, len, 0.0, |x, sum| x.fma(x, sum)) }
}

/// # Safety
/// The pointers of the row are valid; the processor has the level of `V`.
#[inline(always)]
unsafe fn norm<V: Lanes>(row: &NormRow) {
    let (x, len) = (row.input, row.len);
    // SAFETY: passed on from the caller.
    unsafe {
        if !row.is_centred {
            let factor = inverse_rms(squares::<V>(x, len), len, row.eps);
            scaled::<V>(x, row.out, len, row.weight, factor);
            add_bias::<V>(row);
            return;
        }
        let mean = sum::<V>(x, len, 0.0, |x, sum| sum.add(x)) / len as f32;
        let centre = V::splat(mean);
        let variance = sum::<V>(x, len, mean, |x, sum| {
            let x = x.sub(centre);
            x.fma(x, sum)
        });
        let factor = V::splat(inverse_rms(variance, len, row.eps));
        for_each::<V>(len, |at, part| {
            let value = read::<V>(x.add(at), part).sub(centre).mul(factor);
            write(value.mul(read(row.weight.add(at), part)), row.out.add(at), part);
        });
        add_bias::<V>(row);
    }
}

/// # Safety
/// As `norm`.
#[inline(always)]
unsafe fn scaled<V: Lanes>(x: *const f32, out: *mut f32, len: usize, weight: *const f32, factor: f32) {
    // SAFETY: passed on from the caller.
    unsafe {
        let factor = V::splat(factor);
        for_each::<V>(len, |at, part| {
            let value = read::<V>(x.add(at), part).mul(factor);
            write(value.mul(read(weight.add(at), part)), out.add(at), part);
        });
    }
}

/// # Safety
/// As `norm`.
#[inline(always)]
unsafe fn add_bias<V: Lanes>(row: &NormRow) {
    if row.bias.is_null() {
        return;
    }
    // SAFETY: passed on from the caller.
    unsafe {
        for_each::<V>(row.len, |at, part| {
            let value = read::<V>(row.out.add(at), part).add(read(row.bias.add(at), part));
            write(value, row.out.add(at), part);
        });
    }
}

/// Calls `f(offset, lanes)` for each vector of a row.
#[inline(always)]
fn for_each<V: Lanes>(len: usize, f: impl Fn(usize, usize)) {
    let mut at = 0;
    while at < len {
        f(at, (len - at).min(LANES));
        at += LANES;
    }
}

/// # Safety
/// As `Lanes::load`, for `part` values.
#[inline(always)]
unsafe fn read<V: Lanes>(from: *const f32, part: usize) -> V {
    // SAFETY: passed on from the caller.
    unsafe { if part == LANES { V::load(from) } else { load_partial(from, part, 0.0) } }
}

/// # Safety
/// `to` is valid for `part` values.
#[inline(always)]
unsafe fn write<V: Lanes>(value: V, to: *mut f32, part: usize) {
    // SAFETY: passed on from the caller.
    unsafe { if part == LANES { value.store(to) } else { store_partial(value, to, part) } }
}
