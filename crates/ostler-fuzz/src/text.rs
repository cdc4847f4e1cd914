//! Text that people and clients write: settings, four-letter words, paths, access lists, quotas.

use bytes::Bytes;
use ostler_server::config::{EnvSettings, ServerConfig, raw};
use ostler_server::four_letter::{Whitelist, Word};
use ostler_tree::acl::{check, fixup, mask};
use ostler_tree::{Asker, Change, ConnId, Outstanding, Store, TreeConfig, WatchTable, prepare};
use ostler_wire::acl::RawAcl;
use ostler_wire::client::read::WatcherType;
use ostler_wire::client::write::{Create, Write};
use ostler_wire::frame;
use ostler_wire::jute::{Reader, decode_utf8};
use ostler_wire::{Acl, Id, OpCode, SessionId, Zxid, path};

/// A `zoo.cfg`, perhaps with a dynamic file and flags behind NUL bytes.
pub(crate) fn zoo_cfg(input: &[u8]) {
    let _ = raw::parse_bytes(input);
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let text = parts.next().unwrap_or_default();
    let dynamic = parts.next();
    let flags = parts.next().map(|flags| String::from_utf8_lossy(flags).into_owned()).unwrap_or_default();
    let _ = raw::parse_jvm_flags(&flags);
    let env = EnvSettings { server_jvmflags: flags, ..EnvSettings::default() };
    let dynamic = dynamic.map(|text| ("zoo.cfg.dynamic", text));
    match ServerConfig::from_text("zoo.cfg", text, dynamic, Some(b"1"), &env) {
        Ok(config) => {
            let _ = config.warnings.iter().map(ToString::to_string).count();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Four-letter words, and the setting that opens them.
pub(crate) fn words(input: &[u8]) {
    if let Some(first) = input.first_chunk::<4>() {
        let word = Word::from_bytes(*first);
        assert!(word.is_none() || frame::is_four_letter_word(*first));
        if let Some(word) = word {
            let _ = (word.not_serving_text(), word.not_whitelisted_text());
        }
    }
    let text = decode_utf8(input);
    let _ = Word::from_name(&text);
    let _ = Whitelist::parse(&text);
}

/// Paths: their checks, and the watches on them.
pub(crate) fn paths(input: &[u8]) {
    /// More take time, and show nothing new.
    const MOST: usize = 64;
    let text = decode_utf8(input);
    let parts: Vec<&str> = text.split('\n').take(MOST).collect();
    let mut table = WatchTable::default();
    for (conn, &part) in (1..).zip(&parts) {
        let (parent, valid) = (path::parent(part), path::is_valid(part));
        if valid {
            assert!(path::has_parent(part) && path::is_valid(parent) && path::is_under(part, parent));
        }
        let _ = (path::split(part), path::is_special(part));
        match part.len() % 4 {
            0 => table.add_data(ConnId(conn), part),
            1 => table.add_child(ConnId(conn), part),
            2 => table.add_persistent(ConnId(conn), part),
            _ => table.add_recursive(ConnId(conn), part),
        }
        assert!(table.has(ConnId(conn), part, WatcherType::Any));
    }
    let mut fired = 0;
    for &part in &parts {
        let change = Change {
            zxid: Zxid(1),
            kind: ostler_wire::client::event::EventType::NodeDeleted,
            path: part.into(),
            acl: None,
            parent_acl: None,
        };
        table.fire(&change, &mut |_, _, _, _| fired += 1);
    }
    for conn in 1..=parts.len() {
        table.remove_conn(ConnId(conn as u64));
    }
    assert!(table.is_empty(), "{fired} events");
}

/// Access lists as clients send them, against identities of every kind.
pub(crate) fn acl(input: &[u8]) {
    let mut reader = Reader::new(input);
    let Ok(list) = reader.vector("acl", RawAcl::decode) else { return };
    let address = decode_utf8(reader.rest());
    let ids = [
        Id::new("ip", "127.0.0.1"),
        Id::new("ip", "2001:db8::7"),
        Id::new("ip", address),
        Id::new("digest", "bob:hash"),
    ];
    let config = TreeConfig::default();
    let Ok(fixed) = fixup(list.as_deref(), &ids, &config) else { return };
    for perms in [1, 2, 4, 8, 16] {
        let _ = check(Some(&fixed), perms, &ids, &config);
    }
    assert_eq!(mask(&fixed).len(), fixed.len());
}

/// The text of a quota, in force while a tree below it changes.
pub(crate) fn quota(input: &[u8]) {
    let (limits, rest) = input.split_at(input.len().min(usize::from(input.first().copied().unwrap_or(0))));
    let mut tree = Tree::new();
    for path in ["/a", "/a/b", "/zookeeper/quota/a", "/zookeeper/quota/a/zookeeper_stats"] {
        tree.write(create(path, b""));
    }
    tree.write(create("/zookeeper/quota/a/zookeeper_limits", limits));
    for piece in rest.chunks(64) {
        tree.write(set("/a/b", piece));
        tree.write(create("/a/c-", piece));
    }
    tree.write(set("/zookeeper/quota/a/zookeeper_limits", rest));
    tree.write(set("/a/b", rest));
    tree.write(set("/zookeeper/quota/a/zookeeper_stats", rest));
    tree.write(create("/a/d", rest));
    tree.write(Write::Delete { path: Some("/zookeeper/quota/a/zookeeper_limits".to_owned()), version: -1 });
    tree.write(set("/a/b", b""));
}

fn create(path: &str, data: &[u8]) -> Write {
    Write::Create(Create {
        op: OpCode::Create,
        path: Some(path.to_owned()),
        data: Some(Bytes::copy_from_slice(data)),
        acl: Some(Acl::open().into_iter().map(RawAcl::from).collect()),
        flags: if path.ends_with('-') { 2 } else { 0 },
        ttl: -1,
    })
}

fn set(path: &str, data: &[u8]) -> Write {
    Write::SetData { path: Some(path.to_owned()), data: Some(Bytes::copy_from_slice(data)), version: -1 }
}

/// A tree that decides and applies at once.
struct Tree {
    store: Store,
    outstanding: Outstanding,
    zxid: Zxid,
    changes: Vec<Change>,
}

impl Tree {
    fn new() -> Self {
        let store = Store::new(TreeConfig { enforce_quota: true, ..TreeConfig::default() });
        let outstanding = Outstanding::new(&store);
        Self { store, outstanding, zxid: Zxid(0), changes: Vec::new() }
    }

    fn write(&mut self, write: Write) {
        self.zxid = Zxid(self.zxid.0 + 1);
        let asker = Asker { session: SessionId(1), ..Asker::server() };
        let txn = prepare(write, &asker, (self.zxid, 1), &self.store, &mut self.outstanding);
        self.store.apply(&txn, &mut self.changes);
        self.outstanding.applied(self.zxid);
        self.changes.clear();
        assert_eq!(self.store.digest_check().mismatches, 0);
    }
}
