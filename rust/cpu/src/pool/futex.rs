//! Sleeping on a 32-bit word, and nothing else: the last resort of a wait whose spinning and yielding did
//! not help. A sleep may end early; callers loop on their own condition.
//! Where there is no futex, a sleep is a short nap, which is correct and only slower.

use std::sync::atomic::AtomicU32;

/// Sleeps while `word` holds `expected`.
#[cfg(target_os = "linux")]
pub(super) fn wait(word: &AtomicU32, expected: u32) {
    // SAFETY: the word outlives the call; a null timeout means none; any return value is a reason to look again.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            std::ptr::null::<libc::timespec>(),
        );
    }
}

/// Wakes all who sleep on `word`.
#[cfg(target_os = "linux")]
pub(super) fn wake_all(word: &AtomicU32) {
    // SAFETY: the word outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            i32::MAX,
        );
    }
}

/// Sleeps for a moment.
#[cfg(not(target_os = "linux"))]
pub(super) fn wait(word: &AtomicU32, expected: u32) {
    if word.load(std::sync::atomic::Ordering::Acquire) == expected {
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
}

/// Nobody sleeps for long.
#[cfg(not(target_os = "linux"))]
pub(super) fn wake_all(_word: &AtomicU32) {}
