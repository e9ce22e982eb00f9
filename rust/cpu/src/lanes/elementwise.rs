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

/// Maps runs into one, vector by vector: `map!(len, out, x in a, y in b => expression)`.
macro_rules! map {
    ($len:expr, $out:expr, $($name:ident in $from:expr),+ => $value:expr) => {{
        let (len, out) = ($len, $out);
        let mut at = 0;
        while at + LANES <= len {
            $(let $name = V::load($from.add(at));)+
            $value.store(out.add(at));
            at += LANES;
        }
        if at < len {
            $(let $name: V = load_partial($from.add(at), len - at, 0.0);)+
            store_partial($value, out.add(at), len - at);
        }
    }};
}

/// `$body` with `$f` being the activation's function.
macro_rules! with_activation {
    ($activation:expr, $f:ident => $body:expr) => {
        match $activation {
            Activation::Silu => {
                use silu as $f;
                $body
            }
            Activation::Gelu => {
                use gelu as $f;
                $body
            }
            Activation::GeluTanh => {
                use gelu_tanh as $f;
                $body
            }
            Activation::Relu => {
                use relu as $f;
                $body
            }
        }
    };
}

/// # Safety
/// All runs are valid for `len` values; the processor has the level of `V`. So for all functions below.
#[inline(always)]
unsafe fn added<V: Lanes>(from: *const f32, to: *const f32, out: *mut f32, len: usize, scale: f32) {
    // SAFETY: passed on from the caller.
    unsafe {
        let scale = V::splat(scale);
        map!(len, out, a in from, b in to => scale.fma(a, b));
    }
}

/// # Safety
/// As `added`.
#[inline(always)]
unsafe fn biased<V: Lanes>(x: *mut f32, bias: *const f32, len: usize) {
    // SAFETY: passed on from the caller.
    unsafe { map!(len, x, a in x, b in bias => a.add(b)) }
}

/// # Safety
/// As `added`.
#[inline(always)]
unsafe fn clamped<V: Lanes>(x: *mut f32, len: usize, limit: f32) {
    // SAFETY: passed on from the caller.
    unsafe {
        let (low, high) = (V::splat(-limit), V::splat(limit));
        map!(len, x, a in x => high.min(low.max(a)));
    }
}

/// # Safety
/// As `added`.
#[inline(always)]
unsafe fn multiplied<V: Lanes>(x: *mut f32, len: usize, factor: f32) {
    // SAFETY: passed on from the caller.
    unsafe {
        let factor = V::splat(factor);
        map!(len, x, a in x => a.mul(factor));
    }
}

/// # Safety
/// As `added`.
#[inline(always)]
unsafe fn capped<V: Lanes>(x: *mut f32, len: usize, cap: f32) {
    // SAFETY: passed on from the caller.
    unsafe {
        let cap = V::splat(cap);
        map!(len, x, a in x => tanh(a.div(cap)).mul(cap));
    }
}

/// # Safety
/// As `added`; `up` may be null.
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
        with_activation!(activation, f => {
            if up.is_null() {
                map!(len, out, a in gate => f(a));
            } else {
                map!(len, out, a in gate, b in up => f(a).mul(b));
            }
        });
    }
}

/// # Safety
/// `x` is valid for 32 values per 16 or fewer outputs, `out` for `len`; the processor has the level of `V`.
#[inline(always)]
unsafe fn activated_interleaved<V: Lanes>(
    activation: Activation,
    x: *const f32,
    out: *mut f32,
    len: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe {
        with_activation!(activation, f => {
            for at in (0..len).step_by(LANES) {
                let value = f(V::load(x.add(2 * at))).mul(V::load(x.add(2 * at + LANES)));
                if at + LANES <= len {
                    value.store(out.add(at));
                } else {
                    store_partial(value, out.add(at), len - at);
                }
            }
        });
    }
}

/// # Safety
/// `x` is valid for `2 * pairs` values, the tables for `pairs`; the processor has the level of `V`.
#[inline(always)]
unsafe fn rotated<V: Lanes>(x: *mut f32, cos: *const f32, sin: *const f32, pairs: usize) {
    // SAFETY: passed on from the caller.
    unsafe {
        for at in (0..pairs).step_by(LANES) {
            let part = (pairs - at).min(LANES);
            let (low, high) = (x.add(at), x.add(pairs + at));
            let (a, b) = (read::<V>(low, part), read::<V>(high, part));
            let (cos, sin) = (read::<V>(cos.add(at), part), read::<V>(sin.add(at), part));
            let turned_a = V::splat(0.0).sub(b).fma(sin, a.mul(cos));
            let turned_b = a.fma(sin, b.mul(cos));
            if part == LANES {
                turned_a.store(low);
                turned_b.store(high);
            } else {
                store_partial(turned_a, low, part);
                store_partial(turned_b, high, part);
            }
        }
    }
}

/// # Safety
/// As `added`.
#[inline(always)]
unsafe fn finite<V: Lanes>(x: *const f32, len: usize) -> bool {
    // SAFETY: passed on from the caller.
    unsafe {
        // x * 0 is 0 for finite x and NaN otherwise, and a sum keeps a NaN.
        let zero = V::splat(0.0);
        let mut sum = zero;
        for at in (0..len).step_by(LANES) {
            sum = read::<V>(x.add(at), (len - at).min(LANES)).fma(zero, sum);
        }
        sum.reduce_add() == 0.0
    }
}

/// # Safety
/// As `Lanes::load`, for `part` values.
#[inline(always)]
unsafe fn read<V: Lanes>(from: *const f32, part: usize) -> V {
    // SAFETY: passed on from the caller.
    unsafe {
        if part == LANES {
            V::load(from)
        } else {
            load_partial(from, part, 0.0)
        }
    }
}
