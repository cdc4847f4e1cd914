//! What a znode costs in memory, counted at the allocator with what malloc adds.
#![allow(unsafe_code, reason = "only an allocator can count allocations")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ostler_tree::{Store, TreeConfig};
use ostler_wire::txn::{AclList, CreateKind, CreateTxn, Txn, TxnEntry, TxnHeader};
use ostler_wire::{Acl, Zxid};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// What glibc takes for a block: 8 bytes more, in steps of 16, at least 32.
fn block(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16).max(32)
}

// SAFETY: it does what the system's allocator does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(block(layout), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(block(layout), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_node_of_100_bytes_weighs_less_than_205_and_one_that_was_written_less_than_230() {
    let mut store = Store::new(TreeConfig::default());
    let before = HELD.load(Ordering::Relaxed);
    let kind = CreateKind::Plain { second: false, ephemeral: false };
    let data = Some(Bytes::from(vec![b'd'; 100]));
    let acl: AclList = Acl::open().into();
    let mut changes = Vec::new();
    let mut zxid = 0;
    let mut create = |path: String| {
        zxid += 1;
        let header = TxnHeader { zxid: Zxid(zxid), ..TxnHeader::default() };
        let txn = CreateTxn { kind, path, data: data.clone(), acl: Some(acl.clone()), parent_cversion: -1 };
        store.apply(&TxnEntry { header, txn: Txn::Create(txn), digest: None }, &mut changes);
        changes.clear();
    };
    let nodes = 100 * 1001;
    for parent in 0..100 {
        create(format!("/parent{parent:04}"));
        for child in 0..1000 {
            create(format!("/parent{parent:04}/child{child:05}"));
        }
    }
    drop(changes);
    assert_eq!(store.node_count(), nodes + 5);
    let weigh = || (HELD.load(Ordering::Relaxed) - before) as f64 / nodes as f64;
    let weight = weigh();
    println!("{weight:.1} bytes a node");
    assert!(weight < 205.0, "{weight}");

    let mut changes = Vec::new();
    for parent in 0..100 {
        for child in 0..1000 {
            zxid += 1;
            let header = TxnHeader { zxid: Zxid(zxid), ..TxnHeader::default() };
            let path = format!("/parent{parent:04}/child{child:05}");
            let txn = Txn::SetData { path, data: data.clone(), version: 1 };
            store.apply(&TxnEntry { header, txn, digest: None }, &mut changes);
            changes.clear();
        }
    }
    drop(changes);
    let weight = weigh();
    println!("{weight:.1} bytes a node that was written");
    assert!(weight < 230.0, "{weight}");
}
