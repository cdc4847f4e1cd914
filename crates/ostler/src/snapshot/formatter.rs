//! A snapshot as Java's `SnapshotFormatter` and `SnapshotRecursiveSummary` print it.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ostler_wire::disk::StatPersisted;

use super::content::{Content, Order, join};
use crate::java::{dates, hash_order};

/// All nodes with their Stat, then the sessions.
pub(super) fn details(content: &Content, with_data: bool, out: &mut impl Write) -> Result<()> {
    // Java counts the root under two names.
    writeln!(out, "ZNode Details (count={}):", content.len() + 1)?;
    let root = content.find("/").context("the snapshot has no root")?;
    let mut newest = content.named.zxid.0;
    let mut failed = Ok(());
    content.walk(root, "/", Order::Java, &mut |id, path, _| {
        let node = content.node(id);
        newest = newest.max(node.stat.mzxid).max(node.stat.pzxid);
        if failed.is_ok() {
            failed = put_node(path, node.data.as_deref(), &node.stat, with_data, out);
        }
    });
    failed?;
    writeln!(out, "----")?;
    writeln!(out, "Session Details (sid, timeout, ephemeralCount):")?;
    let mut ephemerals = std::collections::BTreeMap::<i64, u64>::new();
    content.walk(root, "/", Order::Name, &mut |id, _, _| {
        let owner = content.node(id).stat.ephemeral_owner;
        *ephemerals.entry(owner).or_default() += u64::from(owner != 0);
    });
    let mut sessions = content.sessions.clone();
    hash_order::sort(&mut sessions, 16, |(id, _)| hash_order::of_long(id.0));
    for (id, timeout_ms) in sessions {
        let count = ephemerals.get(&id.0).copied().unwrap_or(0);
        writeln!(out, "{:#016x}, {timeout_ms}, {count}", id.0)?;
    }
    writeln!(out, "----\nLast zxid: 0x{newest:x}")?;
    Ok(())
}

fn put_node(
    path: &str,
    data: Option<&[u8]>,
    stat: &StatPersisted,
    with_data: bool,
    out: &mut impl Write,
) -> std::io::Result<()> {
    writeln!(out, "----\n{path}")?;
    writeln!(out, "  cZxid = {:#016x}", stat.czxid)?;
    writeln!(out, "  ctime = {}", dates::long(stat.ctime))?;
    writeln!(out, "  mZxid = {:#016x}", stat.mzxid)?;
    writeln!(out, "  mtime = {}", dates::long(stat.mtime))?;
    writeln!(out, "  pZxid = {:#016x}", stat.pzxid)?;
    writeln!(out, "  cversion = {}", stat.cversion)?;
    writeln!(out, "  dataVersion = {}", stat.version)?;
    writeln!(out, "  aclVersion = {}", stat.aversion)?;
    writeln!(out, "  ephemeralOwner = {:#016x}", stat.ephemeral_owner)?;
    let data = data.unwrap_or_default();
    if with_data {
        writeln!(out, "  data = {}", STANDARD.encode(data))
    } else {
        writeln!(out, "  dataLength = {}", data.len())
    }
}

/// The tree in the format of the disk usage viewer `ncdu`.
pub(super) fn ncdu(content: &Content, out: &mut impl Write) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    write!(out, "[1,0,{{\"progname\":\"SnapshotFormatter.java\",\"progver\":\"0.01\",\"timestamp\":{now}}}")?;
    let root = content.find("/").context("the snapshot has no root")?;
    let mut inode = 1000_u64;
    // What is open is closed before the next node that does not lie within it.
    let mut open: Vec<usize> = Vec::new();
    let mut failed = Ok(());
    content.walk(root, "/", Order::Java, &mut |id, path, depth| {
        let node = content.node(id);
        let (name, size) =
            (if path == "/" { "/" } else { &node.name }, node.data.as_ref().map_or(0, Vec::len));
        inode += 1;
        let mut text = String::new();
        while open.last().is_some_and(|above| *above >= depth) {
            open.pop();
            text.push(']');
        }
        text.push(',');
        if !content.children(id, Order::Name).is_empty() {
            open.push(depth);
            text.push('[');
        }
        let name = serde_json::Value::from(name);
        text.push_str(&format!(
            "{{\"name\":{name},\"asize\":{size},\"dsize\":{size},\"dev\":0,\"ino\":{inode}}}"
        ));
        if failed.is_ok() {
            failed = out.write_all(text.as_bytes());
        }
    });
    failed?;
    write!(out, "{}]", "]".repeat(open.len()))?;
    Ok(())
}

/// Counts and bytes below a node, for every node that has children, down to a depth (0 is all).
pub(super) fn summary(content: &Content, path: &str, max_depth: usize) -> Result<String> {
    let id = content.find(path).with_context(|| format!("there is no node {path} in the snapshot"))?;
    let mut text = String::new();
    summarise(content, id, path, 0, max_depth, &mut text);
    Ok(text)
}

/// How many nodes there are from a node on, and how many bytes of data in them.
fn summarise(
    content: &Content,
    id: usize,
    path: &str,
    level: usize,
    max_depth: usize,
    out: &mut String,
) -> (u64, u64) {
    let own = content.node(id).data.as_ref().map_or(0, |data| data.len() as u64);
    let children = content.children(id, Order::Java);
    let (mut nodes, mut bytes) = (1, own);
    if children.is_empty() {
        return (nodes, bytes);
    }
    let mut below = String::new();
    for child in children {
        let path = join(path, &content.node(child).name);
        let (more_nodes, more_bytes) = summarise(content, child, &path, level + 1, max_depth, &mut below);
        nodes += more_nodes;
        bytes += more_bytes;
    }
    if max_depth == 0 || level <= max_depth {
        let tab = "--".repeat(level);
        out.push_str(&format!(
            "{tab} {path}\n{tab}   children: {}\n{tab}   data: {bytes}\n{below}",
            nodes - 1
        ));
    }
    (nodes, bytes)
}
