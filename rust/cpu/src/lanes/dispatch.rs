//! One generic kernel, three compiled copies: the macro that makes the entry point of a kernel.
//! It knows no kernel. Invariant: a copy above `Scalar` runs only if the caller's `Level` says so, and a
//! `Level` is never above `Level::detect()`.

/// `per_level! { fn name = generic(a: A, b: B) -> R; }` defines `unsafe fn name(level, a, b) -> R`, which runs
/// `generic::<V>` compiled for `level`, with everything `#[inline(always)]` in it.
macro_rules! per_level {
    ($($(#[$meta:meta])* fn $name:ident = $generic:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?;)+) => {$(
        $(#[$meta])*
        ///
        /// # Safety
        /// The processor has `level`, and the pointers among the arguments are what the generic function asks.
        pub(crate) unsafe fn $name(level: $crate::isa::Level, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            unsafe fn wide($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: passed on to the caller.
                unsafe { $generic::<$crate::lanes::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn middle($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: passed on to the caller.
                unsafe { $generic::<$crate::lanes::Avx2>($($arg),*) }
            }
            // SAFETY: the caller vouches for the level and the pointers.
            unsafe {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    $crate::isa::Level::Avx2 => middle($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    level if level >= $crate::isa::Level::Avx512 => wide($($arg),*),
                    _ => $generic::<$crate::lanes::Scalar>($($arg),*),
                }
            }
        }
    )+};
}

pub(crate) use per_level;
