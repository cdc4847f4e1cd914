//! Requests that the reference does not survive, or that let anybody in; they go to Ostler alone.
//!
//! The three at the top of the list are known from ZooKeeper's own code: a client's deleteContainer bypasses every
//! check, a client's createSession re-sends the handshake, and a createTTL with a mode that has no TTL ends the
//! server. The quota nodes have sharp edges of the same kind.

use super::content::open_acl;
use super::op::{self, Place, Request};
use super::raw::{Dec, Enc};

/// Why a request must not reach the reference, if so.
pub(crate) fn harms_reference(code: i32, body: &[u8]) -> Option<&'static str> {
    match code {
        op::DELETE_CONTAINER => Some("deleteContainer from a client bypasses every check"),
        -10 => Some("createSession from a client repeats the handshake"),
        op::CREATE_TTL => create_ttl(body),
        _ => None,
    }
}

/// True if the reference decodes a multi's body; what it cannot decode it answers with -5 and a zxid of its own.
pub(crate) fn multi_decodes(body: &[u8]) -> bool {
    fn parts(dec: &mut Dec<'_>) -> Option<bool> {
        loop {
            let (code, done, _) = (dec.int()?, dec.byte()?, dec.int()?);
            if done != 0 {
                return Some(true);
            }
            let named = dec.buffer()?.is_some();
            match code {
                op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
                    dec.buffer()?;
                    let entries = dec.int()?;
                    for _ in 0..entries {
                        dec.int()?;
                        dec.buffer()?;
                        dec.buffer()?;
                    }
                    let flags = dec.int()?;
                    let plain = (0..=4).contains(&flags);
                    if code == op::CREATE_TTL {
                        dec.long()?;
                    } else if !plain || entries == -1 {
                        return Some(false);
                    }
                }
                op::SET_DATA => {
                    dec.buffer()?;
                    dec.int()?;
                }
                op::DELETE | op::CHECK => {
                    dec.int()?;
                }
                _ => return Some(false),
            }
            if !named {
                return Some(false);
            }
        }
    }
    parts(&mut Dec::new(body)).unwrap_or(false)
}

/// True for a damaged body that names a quota node: whatever became of it is not worth the reference's life.
pub(crate) fn touches_quota_nodes(body: &[u8]) -> bool {
    body.windows(10).any(|window| window == b"zookeeper_")
}

/// Requests that end the reference, each of them alone and for good: it does not come up again on the same directory,
/// since replaying the log meets the same exception. Ostler must answer them, one way or the other, and go on.
pub(crate) fn quota_traps() -> Vec<Request> {
    let create = |path: &str, data: Option<&str>| {
        let enc = Enc::new().string(path).buffer(data.map(str::as_bytes)).bytes(&open_acl()).int(0);
        Request::new(op::CREATE, enc.0, format!("create {path} {data:?}"), Place::OnlyWrite)
    };
    let delete = |path: &str| {
        let enc = Enc::new().string(path).int(-1);
        Request::new(op::DELETE, enc.0, format!("delete {path}"), Place::OnlyWrite)
    };
    let set = |path: &str, data: Option<&str>| {
        let enc = Enc::new().string(path).buffer(data.map(str::as_bytes)).int(-1);
        Request::new(op::SET_DATA, enc.0, format!("set_data {path} {data:?}"), Place::OnlyWrite)
    };
    let stats = "/zookeeper/quota/trap/zookeeper_stats";
    let mut requests = vec![
        // A limits node for no path at all.
        create("/zookeeper/quota/zookeeper_limits", Some("count=1,bytes=1")),
        delete("/zookeeper/quota/zookeeper_limits"),
        // A limits node that is none, deleted.
        create("/zookeeper/zookeeper_limits", None),
        delete("/zookeeper/zookeeper_limits"),
        // A limits node for a path of blanks.
        create("/zookeeper/quota/ ", None),
        create("/zookeeper/quota/ /zookeeper_limits", Some("count=9,bytes=-1")),
        delete("/zookeeper/quota/ /zookeeper_limits"),
        // Statistics that do not parse, then a write below their quota.
        create("/trap", None),
        create("/zookeeper/quota/trap", None),
        create("/zookeeper/quota/trap/zookeeper_limits", Some("count=-1,bytes=-1")),
        create(stats, None),
    ];
    for (index, text) in
        [Some("garbage"), Some("count=x,bytes=1"), Some("count"), Some(""), None].into_iter().enumerate()
    {
        requests.push(set(stats, text));
        requests.push(create(&format!("/trap/{index}"), Some("x")));
        requests.push(set(&format!("/trap/{index}"), Some("longer")));
        requests.push(delete(&format!("/trap/{index}")));
    }
    requests
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
