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

/// The sum of `$x -> $term` over a row; padding lanes of the last vector hold `$fill`. Vector i goes to register
/// i % 4, in every norm.
macro_rules! sum {
    ($x:expr, $len:expr, $fill:expr, |$value:ident, $sum:ident| $term:expr) => {{
        let mut sums = [V::splat(0.0); 4];
        let (mut at, mut i) = (0, 0);
        while at < $len {
            let part = ($len - at).min(LANES);
            let $value: V = if part == LANES {
                V::load($x.add(at))
            } else {
                load_partial($x.add(at), part, $fill)
            };
            let $sum = sums[i];
            sums[i] = $term;
            at += LANES;
            i = (i + 1) % 4;
        }
        sums[0].add(sums[1]).add(sums[2].add(sums[3])).reduce_add()
    }};
}

/// # Safety
/// `x` is valid for `len` values; the processor has the level of `V`.
#[inline(always)]
unsafe fn squares<V: Lanes>(x: *const f32, len: usize) -> f32 {
    // SAFETY: passed on from the caller.
    unsafe { sum!(x, len, 0.0, |x, sum| x.fma(x, sum)) }
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
        let mean = sum!(x, len, 0.0, |x, sum| sum.add(x)) / len as f32;
        let centre = V::splat(mean);
        let variance = sum!(x, len, mean, |x, sum| x.sub(centre).fma(x.sub(centre), sum));
        let factor = V::splat(inverse_rms(variance, len, row.eps));
        for at in (0..len).step_by(LANES) {
            let part = len - at;
            let value = read::<V>(x.add(at), part).sub(centre).mul(factor);
            write(
                value.mul(read(row.weight.add(at), part)),
                row.out.add(at),
                part,
            );
        }
        add_bias::<V>(row);
    }
}

/// # Safety
/// As `norm`.
#[inline(always)]
unsafe fn scaled<V: Lanes>(
    x: *const f32,
    out: *mut f32,
    len: usize,
    weight: *const f32,
    factor: f32,
) {
    // SAFETY: passed on from the caller.
    unsafe {
        let factor = V::splat(factor);
        for at in (0..len).step_by(LANES) {
            let part = len - at;
            let value = read::<V>(x.add(at), part).mul(factor);
            write(value.mul(read(weight.add(at), part)), out.add(at), part);
        }
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
        for at in (0..row.len).step_by(LANES) {
            let part = row.len - at;
            let value = read::<V>(row.out.add(at), part).add(read(row.bias.add(at), part));
            write(value, row.out.add(at), part);
        }
    }
}

/// # Safety
/// As `Lanes::load`, for `part` values or 16.
#[inline(always)]
unsafe fn read<V: Lanes>(from: *const f32, part: usize) -> V {
    // SAFETY: passed on from the caller.
    unsafe {
        if part >= LANES {
            V::load(from)
        } else {
            load_partial(from, part, 0.0)
        }
    }
}

/// # Safety
/// `to` is valid for `part` values or 16.
#[inline(always)]
unsafe fn write<V: Lanes>(value: V, to: *mut f32, part: usize) {
    // SAFETY: passed on from the caller.
    unsafe {
        if part >= LANES {
            value.store(to);
        } else {
            store_partial(value, to, part);
        }
    }
}
