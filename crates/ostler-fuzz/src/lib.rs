//! What fuzzing runs: one function for each decoder that meets bytes from outside. A function takes any bytes and
//! returns; a panic, a hang or too much memory is a bug of what it calls. The fuzzer itself lives outside of the
//! workspace (`fuzz/`) and calls these; the test `replay` calls them with every input that was worth keeping
//! (`corpus/`), so that a bug once found stays found without a fuzzer at hand.
//!
//! Where there is more to say than "it does not panic", a target says it: what decodes is encoded and decoded again to
//! the same value, what a server logs can be read back, what it answers is made of whole frames, and what is counted
//! up is counted down.

mod client;
mod disk;
mod files;
mod quorum;
mod records;
mod server;
mod text;

/// Inputs are at most this long.
pub const MAX_INPUT: usize = 64 << 10;

/// A function that takes any bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its corpus and of its binary too.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 23] = [
    Target { name: "frame", run: records::frame },
    Target { name: "connect", run: records::connect },
    Target { name: "read_request", run: records::read_request },
    Target { name: "write_request", run: records::write_request },
    Target { name: "auth", run: records::auth },
    Target { name: "reply", run: records::reply },
    Target { name: "txn", run: records::txn },
    Target { name: "client_session", run: client::session },
    Target { name: "lane", run: server::lane },
    Target { name: "log", run: files::log },
    Target { name: "snapshot_plain", run: files::snapshot_plain },
    Target { name: "snapshot_gzip", run: files::snapshot_gzip },
    Target { name: "snapshot_snappy", run: files::snapshot_snappy },
    Target { name: "recover", run: files::recover },
    Target { name: "tree_stream", run: files::tree_stream },
    Target { name: "zoo_cfg", run: text::zoo_cfg },
    Target { name: "words", run: text::words },
    Target { name: "paths", run: text::paths },
    Target { name: "acl", run: text::acl },
    Target { name: "quota", run: text::quota },
    Target { name: "quorum_packets", run: quorum::packets },
    Target { name: "election", run: quorum::election },
    Target { name: "members", run: quorum::members },
];

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
