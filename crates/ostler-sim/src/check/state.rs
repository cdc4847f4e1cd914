//! A recovered tree against the model at the same zxid: everything that can be seen, and the tree's own sums.

use ostler_tree::Store;
use ostler_wire::acl::Acl;

use super::{Violation, violation};
use crate::model::Model;

/// Compares in full and says what differs. Left out is what is in the node of the configuration: that is a server's
/// own view of the members, which the model does not know.
pub fn compare(store: &Store, model: &Model) -> Result<(), Violation> {
    if store.last_zxid() != model.zxid() {
        return Err(violation!("the tree is at {}, the model at {}", store.last_zxid(), model.zxid()));
    }
    let mut paths = Vec::new();
    walk(store, "/", &mut paths);
    for path in &paths {
        let Some(node) = model.node(path) else {
            return Err(violation!("at {} there is {path}, which should not be there", model.zxid()));
        };
        if path == ostler_wire::path::CONFIG {
            continue;
        }
        let (data, stat) =
            store.data(path, &[]).map_err(|code| violation!("{path} cannot be read: {code}"))?;
        if data != node.data.as_deref() {
            return Err(violation!(
                "at {} the data of {path} is {data:?}, not {:?}",
                model.zxid(),
                node.data
            ));
        }
        let expected = model.stat(path).expect("the model has it");
        if stat != expected {
            return Err(violation!("at {} the Stat of {path} is {stat:?}, not {expected:?}", model.zxid()));
        }
        if acl_of(store, path) != node.acl {
            return Err(violation!("at {} the ACL of {path} is {:?}", model.zxid(), acl_of(store, path)));
        }
    }
    for (path, _) in model.nodes() {
        if !paths.iter().any(|found| found == path) {
            return Err(violation!("at {} {path} is missing", model.zxid()));
        }
    }
    let sessions: Vec<_> = store.sessions().collect();
    let expected: Vec<_> = model.sessions().collect();
    if sessions != expected {
        return Err(violation!("at {} the sessions are {sessions:?}, not {expected:?}", model.zxid()));
    }
    for (session, _) in &expected {
        if store.ephemerals(*session) != model.ephemerals(*session) {
            return Err(violation!("at {} the index of ephemerals of {session} is wrong", model.zxid()));
        }
    }
    Ok(())
}

/// The tree's own sums: its digest against the one that the newest transaction says, and what replay found.
pub fn check_sums(store: &Store, digest: Option<i64>) -> Result<(), Violation> {
    let check = store.digest_check();
    if check.mismatches > 0 {
        return Err(violation!(
            "the digest differed {} times, first at {:?}",
            check.mismatches,
            check.first_mismatch
        ));
    }
    if check.pending {
        return Err(violation!("replay ended before the zxid at which the snapshot's digest holds"));
    }
    if store.unresolved_acls() > 0 {
        return Err(violation!("{} nodes have an ACL that is not there", store.unresolved_acls()));
    }
    if let Some(digest) = digest
        && store.config().digest_enabled
        && store.digest() != digest
    {
        return Err(violation!(
            "the digest at {} is {:x}, not {digest:x}",
            store.last_zxid(),
            store.digest()
        ));
    }
    Ok(())
}

fn walk(store: &Store, path: &str, out: &mut Vec<String>) {
    out.push(path.to_owned());
    let Ok((children, _)) = store.children(path, &[]) else { return };
    let prefix = if path == "/" { "" } else { path };
    for name in children.iter() {
        walk(store, &format!("{prefix}/{name}"), out);
    }
}

fn acl_of(store: &Store, path: &str) -> Vec<Acl> {
    store.peek_acl(path).flatten().map_or_else(Acl::open, |list| list.to_vec())
}
