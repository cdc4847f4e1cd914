//! Requests that the reference does not survive, or that let anybody in; they go to Ostler alone.
//!
//! The three at the top of the list are known from ZooKeeper's own code: a client's deleteContainer bypasses every
//! check, a client's createSession re-sends the handshake, and a createTTL with a mode that has no TTL ends the
//! server. The quota nodes have sharp edges of the same kind.

use super::op;
use super::raw::Dec;

/// Why a request must not reach the reference, if so.
pub(crate) fn harms_reference(code: i32, body: &[u8]) -> Option<&'static str> {
    match code {
        op::DELETE_CONTAINER => Some("deleteContainer from a client bypasses every check"),
        -10 => Some("createSession from a client repeats the handshake"),
        op::CREATE_TTL => create_ttl(body),
        _ => None,
    }
}

/// True for a damaged body that names a quota node: whatever became of it is not worth the reference's life.
pub(crate) fn touches_quota_nodes(body: &[u8]) -> bool {
    body.windows(10).any(|window| window == b"zookeeper_")
}

fn create_ttl(body: &[u8]) -> Option<&'static str> {
    let mut dec = Dec::new(body);
    dec.buffer()??;
    dec.buffer()?;
    let entries = dec.count()?;
    for _ in 0..entries {
        dec.int()?;
        dec.buffer()?;
        dec.buffer()?;
    }
    let flags = dec.int()?;
    let ttl = dec.long()?;
    let no_ttl_mode = (0..=4).contains(&flags);
    (no_ttl_mode && ttl < 0).then_some("createTTL with a mode without TTL ends the server")
}
