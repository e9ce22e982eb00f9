//! One reservation of memory for all packed weights of a model, 2 MiB aligned and advised to use huge pages.
//! Owns mapping and bump allocation; knows nothing of what is stored.
//!
//! Invariants: regions never overlap, start on a 64-byte line, are zero when handed out, and keep the
//! mapping alive; memory is returned only when the last region and the arena itself are gone.

use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokenmill_model::{Error, Result};

/// Size of a huge page.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Alignment of every region: a cache line, and a 512-bit register.
pub(crate) const LINE_BYTES: usize = 64;

/// A reservation, filled from its start.
#[derive(Debug)]
pub(crate) struct Arena {
    /// Held for its `Drop`.
    _map: Map,
    /// First byte inside the map that lies on a huge page's border.
    base: NonNull<u8>,
    capacity: usize,
    next: AtomicUsize,
}

// SAFETY: `base` points into `_map`, which lives as long as the arena; bytes are reached through regions
// only, and no two regions overlap.
unsafe impl Send for Arena {}
// SAFETY: as above; `next` is atomic.
unsafe impl Sync for Arena {}

impl Arena {
    /// Reserves `capacity` bytes (rounded up to lines by the caller's regions) on huge pages. Untouched pages
    /// cost nothing.
    pub(crate) fn new(capacity: usize) -> Result<Arc<Self>> {
        Self::reserve(capacity, "packed weights", Pages::Huge)
    }

    /// Reserves memory on small pages, for `what` is touched here and there and long stays empty elsewhere: a
    /// huge page would be cleared for each touch.
    pub(crate) fn sparse(capacity: usize, what: &'static str) -> Result<Arc<Self>> {
        Self::reserve(capacity, what, Pages::Small)
    }

    fn reserve(capacity: usize, what: &'static str, pages: Pages) -> Result<Arc<Self>> {
        let needed = capacity.checked_add(HUGE_PAGE_BYTES);
        let map = needed.and_then(Map::new).ok_or_else(|| Error::Memory {
            what: what.to_owned(),
            needed_bytes: capacity as u64,
        })?;
        let skip = map.start.as_ptr().align_offset(HUGE_PAGE_BYTES);
        // SAFETY: `skip` < HUGE_PAGE_BYTES, and the map is that much longer than `capacity`.
        let base = unsafe { map.start.add(skip) };
        advise(base, capacity, pages);
        Ok(Arc::new(Self {
            _map: map,
            base,
            capacity,
            next: AtomicUsize::new(0),
        }))
    }

    /// Takes the next `len` bytes, zeroed. Fails when the reservation is used up.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Result<Region> {
        let rounded = len.checked_next_multiple_of(LINE_BYTES);
        let taken = rounded.and_then(|rounded| {
            self.next
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                    next.checked_add(rounded)
                        .filter(|end| *end <= self.capacity)
                })
                .ok()
        });
        let start = taken.ok_or_else(|| Error::Memory {
            what: "packed weights beyond their reservation".to_owned(),
            needed_bytes: len as u64,
        })?;
        Ok(Region {
            arena: Arc::clone(self),
            start,
            len,
        })
    }
}

/// Sizes of pages to ask for.
#[derive(Clone, Copy, Debug)]
enum Pages {
    Huge,
    Small,
}

/// Exclusive ownership of a part of an arena.
#[derive(Debug)]
pub(crate) struct Region {
    arena: Arc<Arena>,
    start: usize,
    len: usize,
}

impl Region {
    /// First byte, on a line's border.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        // SAFETY: `start` lies inside the arena, by `take`.
        unsafe { self.arena.base.as_ptr().add(self.start) }
    }

    /// The bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: `start .. start + len` is initialised (zero pages or written through `as_mut_slice`), lives
        // as long as `arena`, and belongs to this region alone.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len) }
    }

    /// The bytes, to fill them.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; `&mut self` makes it the only access.
        unsafe { slice::from_raw_parts_mut(self.as_ptr().cast_mut(), self.len) }
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// An anonymous mapping.
#[derive(Debug)]
struct Map {
    start: NonNull<u8>,
    len: usize,
}

#[cfg(unix)]
impl Map {
    fn new(len: usize) -> Option<Self> {
        // SAFETY: a fresh private anonymous mapping touches no memory of ours.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return None;
        }
        NonNull::new(start.cast()).map(|start| Self { start, len })
    }
}

#[cfg(unix)]
impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are those of a mapping that `new` made; no region is left, because each
        // holds the arena that owns this map.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.len);
        }
    }
}

#[cfg(not(unix))]
impl Map {
    fn layout(len: usize) -> Option<std::alloc::Layout> {
        std::alloc::Layout::from_size_align(len.max(1), LINE_BYTES).ok()
    }

    fn new(len: usize) -> Option<Self> {
        // SAFETY: the layout has a size of at least one byte.
        let start = unsafe { std::alloc::alloc_zeroed(Self::layout(len)?) };
        NonNull::new(start).map(|start| Self { start, len })
    }
}

#[cfg(not(unix))]
impl Drop for Map {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len) {
            // SAFETY: allocated in `new` with the same layout; no region is left.
            unsafe { std::alloc::dealloc(self.start.as_ptr(), layout) }
        }
    }
}

/// Advice only: where it is refused, the other pages serve as well, only slower.
fn advise(base: NonNull<u8>, len: usize, pages: Pages) {
    #[cfg(target_os = "linux")]
    {
        let advice = match pages {
            Pages::Huge => libc::MADV_HUGEPAGE,
            Pages::Small => libc::MADV_NOHUGEPAGE,
        };
        // SAFETY: the range lies inside a mapping of ours; the advice changes no contents.
        unsafe {
            libc::madvise(base.as_ptr().cast(), len, advice);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (base, len, pages);
}

#[cfg(test)]
mod tests {
    use super::{Arena, LINE_BYTES};

    #[test]
    fn regions_are_zero_aligned_and_disjoint() {
        let arena = Arena::new(3 * LINE_BYTES).unwrap();
        let mut first = arena.take(65).unwrap();
        let second = arena.take(64).unwrap();
        first.as_mut_slice().fill(0xFF);
        assert_eq!(first.len(), 65);
        assert!(second.as_slice().iter().all(|byte| *byte == 0));
        assert_eq!(second.as_ptr().align_offset(LINE_BYTES), 0);
        assert_eq!(first.as_ptr().align_offset(2 << 20), 0);
        assert!(arena.take(1).is_err());
    }

    #[test]
    fn a_region_outlives_the_handle_of_its_arena() {
        let arena = Arena::new(1 << 20).unwrap();
        let mut region = arena.take(1 << 20).unwrap();
        drop(arena);
        region.as_mut_slice()[(1 << 20) - 1] = 7;
        assert_eq!(region.as_slice()[(1 << 20) - 1], 7);
    }

    #[test]
    fn an_impossible_reservation_is_refused() {
        assert!(Arena::new(usize::MAX).is_err());
        assert!(Arena::new(usize::MAX / 4).is_err());
    }
}
