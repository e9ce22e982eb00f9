//! Loops over one run of values: residual add, bias, clamp, scale, soft cap, activations, rotation.
//! Lanes never meet, so there is no order to keep. Knows no register and no model.
//! Reference and test: f64, and the scalar level for equal bits.

use tokenmill_model::Activation;

use crate::lanes::math::{gelu, gelu_tanh, relu, silu, tanh};
use crate::lanes::{LANES, Lanes, load_partial, per_level, store_partial};

per_level! {
    /// `out[i] = to[i] + scale * from[i]`; `out` may equal `to`.
    fn add_scaled = added(from: *const f32, to: *const f32, out: *mut f32, len: usize, scale: f32);

    /// `x[i] += bias[i]`.
    fn add_bias = biased(x: *mut f32, bias: *const f32, len: usize);

    /// Clamps to -limit..=limit; a NaN stays.
    fn clamp = clamped(x: *mut f32, len: usize, limit: f32);

    /// `x[i] *= factor`.
    fn multiply = multiplied(x: *mut f32, len: usize, factor: f32);

    /// `x[i] = cap * tanh(x[i] / cap)`.
    fn soft_cap = capped(x: *mut f32, len: usize, cap: f32);

    /// `out[i] = activation(gate[i]) * up[i]`, without the factor where `up` is null.
    fn activate = activated(activation: Activation, gate: *const f32, up: *const f32, out: *mut f32, len: usize);

    /// The same where 16 values of gate and 16 of up take turns at `x`, for `len` outputs.
    fn activate_interleaved = activated_interleaved(activation: Activation, x: *const f32, out: *mut f32, len: usize);

    /// Rotates `pairs` pairs (i, i + pairs) of `x` by the angles whose cosines and sines are given.
    fn rotate = rotated(x: *mut f32, cos: *const f32, sin: *const f32, pairs: usize);

    /// Whether all values are finite.
    fn all_finite = finite(x: *const f32, len: usize) -> bool;
}

/// Maps two runs into a third, vector by vector.
///
/// # Safety
/// `a` and `out` are valid for `len` values, `b` too or null (then its vectors are zero); the processor has
/// the level of `V`.
#[inline(always)]
unsafe fn map<V: Lanes>(a: *const f32, b: *const f32, out: *mut f32, len: usize, f: impl Fn(V, V) -> V) {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut at = 0;
        while at + LANES <= len {
            let second = if b.is_null() { V::splat(0.0) } else { V::load(b.add(at)) };
            f(V::load(a.add(at)), second).store(out.add(at));
            at += LANES;
        }
        if at < len {
            let rest = len - at;
            let second = if b.is_null() { V::splat(0.0) } else { load_partial(b.add(at), rest, 0.0) };
            store_partial(f(load_partial(a.add(at), rest, 0.0), second), out.add(at), rest);
        }
    }
}

/// # Safety
/// As `map`.
#[inline(always)]
unsafe fn added<V: Lanes>(from: *const f32, to: *const f32, out: *mut f32, len: usize, scale: f32) {
    // SAFETY: passed on from the caller.
    unsafe {
        let scale = V::splat(scale);
        map::<V>(from, to, out, len, |from, to| scale.fma(from, to));
    }
}

/// # Safety
/// As `map`.
#[inline(always)]
unsafe fn biased<V: Lanes>(x: *mut f32, bias: *const f32, len: usize) {
    // SAFETY: passed on from the caller.
    unsafe { map::<V>(x, bias, x, len, Lanes::add) }
}

/// # Safety
/// As `map`.
#[inline(always)]
unsafe fn clamped<V: Lanes>(x: *mut f32, len: usize, limit: f32) {
    // SAFETY: passed on from the caller.
    unsafe {
        let (low, high) = (V::splat(-limit), V::splat(limit));
        map::<V>(x, std::ptr::null(), x, len, |x, _| high.min(low.max(x)));
    }
}

/// # Safety
/// As `map`.
#[inline(always)]
unsafe fn multiplied<V: Lanes>(x: *mut f32, len: usize, factor: f32) {
    // SAFETY: passed on from the caller.
    unsafe {
        let factor = V::splat(factor);
        map::<V>(x, std::ptr::null(), x, len, |x, _| x.mul(factor));
    }
}

/// # Safety
/// As `map`.
#[inline(always)]
unsafe fn capped<V: Lanes>(x: *mut f32, len: usize, cap: f32) {
    // SAFETY: passed on from the caller.
    unsafe {
        let cap = V::splat(cap);
        map::<V>(x, std::ptr::null(), x, len, |x, _| tanh(x.div(cap)).mul(cap));
    }
}

/// # Safety
/// As `map`.
#[inline(always)]
unsafe fn activated<V: Lanes>(
    activation: Activation,
    gate: *const f32,
    up: *const f32,
    out: *mut f32,
    len: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe {
        match activation {
            Activation::Silu => gated::<V>(gate, up, out, len, |x| silu(x)),
            Activation::Gelu => gated::<V>(gate, up, out, len, |x| gelu(x)),
            Activation::GeluTanh => gated::<V>(gate, up, out, len, |x| gelu_tanh(x)),
            Activation::Relu => gated::<V>(gate, up, out, len, |x| relu(x)),
        }
    }
}

/// # Safety
/// As `map`.
#[inline(always)]
unsafe fn gated<V: Lanes>(gate: *const f32, up: *const f32, out: *mut f32, len: usize, f: impl Fn(V) -> V) {
    // SAFETY: passed on from the caller.
    unsafe {
        if up.is_null() {
            map::<V>(gate, up, out, len, |gate, _| f(gate));
        } else {
            map::<V>(gate, up, out, len, |gate, up| f(gate).mul(up));
        }
    }
}

/// # Safety
/// `x` is valid for 32 values per 16 or fewer outputs, `out` for `len`; the processor has the level of `V`.
#[inline(always)]
unsafe fn activated_interleaved<V: Lanes>(activation: Activation, x: *const f32, out: *mut f32, len: usize) {
    // SAFETY: passed on from the caller.
    unsafe {
        match activation {
            Activation::Silu => interleaved::<V>(x, out, len, |x| silu(x)),
            Activation::Gelu => interleaved::<V>(x, out, len, |x| gelu(x)),
            Activation::GeluTanh => interleaved::<V>(x, out, len, |x| gelu_tanh(x)),
            Activation::Relu => interleaved::<V>(x, out, len, |x| relu(x)),
        }
    }
}

/// # Safety
/// As `activated_interleaved`.
#[inline(always)]
unsafe fn interleaved<V: Lanes>(x: *const f32, out: *mut f32, len: usize, f: impl Fn(V) -> V) {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut at = 0;
        while at < len {
            let value = f(V::load(x.add(2 * at))).mul(V::load(x.add(2 * at + LANES)));
            if at + LANES <= len {
                value.store(out.add(at));
            } else {
                store_partial(value, out.add(at), len - at);
            }
            at += LANES;
        }
    }
}

/// # Safety
/// `x` is valid for `2 * pairs` values, the tables for `pairs`; the processor has the level of `V`.
#[inline(always)]
unsafe fn rotated<V: Lanes>(x: *mut f32, cos: *const f32, sin: *const f32, pairs: usize) {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut at = 0;
        while at < pairs {
            let part = (pairs - at).min(LANES);
            let read = |from: *const f32| if part == LANES { V::load(from) } else { load_partial(from, part, 0.0) };
            let (low, high) = (x.add(at), x.add(pairs + at));
            let (a, b, cos, sin) = (read(low), read(high), read(cos.add(at)), read(sin.add(at)));
            let turned_a = V::splat(0.0).sub(b).fma(sin, a.mul(cos));
            let turned_b = a.fma(sin, b.mul(cos));
            if part == LANES {
                turned_a.store(low);
                turned_b.store(high);
            } else {
                store_partial(turned_a, low, part);
                store_partial(turned_b, high, part);
            }
            at += LANES;
        }
    }
}

/// # Safety
/// As `map`.
#[inline(always)]
unsafe fn finite<V: Lanes>(x: *const f32, len: usize) -> bool {
    // SAFETY: passed on from the caller.
    unsafe {
        // x * 0 is 0 for finite x and NaN otherwise, and a sum keeps a NaN.
        let zero = V::splat(0.0);
        let mut sum = zero;
        let mut at = 0;
        while at < len {
            let part = (len - at).min(LANES);
            let value = if part == LANES { V::load(x.add(at)) } else { load_partial(x.add(at), part, 0.0) };
            sum = value.fma(zero, sum);
            at += LANES;
        }
        sum.reduce_add() == 0.0
    }
}
