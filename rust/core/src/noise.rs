//! Keyed noise: Philox4x32-10 and the exponential variates drawn from it.
