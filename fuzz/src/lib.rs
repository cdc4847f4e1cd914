//! What all fuzzing binaries share: an allocator that counts, and a limit on what one execution may hold.
//!
//! It may assume that libFuzzer runs one execution at a time on one thread; its own memory is not counted, since it
//! comes from C++.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

pub use libfuzzer_sys;

/// No execution may have more than this allocated at any moment.
const LIMIT: usize = 64 << 20;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static RECORD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn add(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

fn remove(bytes: usize) {
    HELD.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged; what is added is two counters.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        remove(layout.size());
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may exist for a moment; that counts.
        add(size);
        let moved = unsafe { System.realloc(at, layout, size) };
        remove(layout.size());
        moved
    }
}

/// Runs a target once and measures what it held.
pub fn run(target: &str, input: &[u8]) {
    let target = ostler_fuzz::find(target).expect("the binary is named after its target");
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    (target.run)(input);
    let peak = PEAK.load(Ordering::Relaxed) - before;
    if peak > RECORD.fetch_max(peak, Ordering::Relaxed) {
        eprintln!("peak allocation: {peak} bytes, by an input of {} bytes", input.len());
    }
    assert!(peak <= LIMIT, "an input of {} bytes allocates {peak} bytes", input.len());
}

/// The whole of a binary.
#[macro_export]
macro_rules! fuzz {
    ($target:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::run($target, input));
    };
}
