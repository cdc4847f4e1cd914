//! Fills a server with nodes of every kind, changes some, and reads a whole tree back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::super::differential::content::{self, SUPER, USERS};
use super::super::differential::op;
use super::super::differential::raw::{Dec, Enc};
use super::client::Client;

/// A node as a client sees it: data with Stat, and access list with Stat, as raw replies.
type Node = (Vec<u8>, Vec<u8>);

/// A whole tree by path.
pub(crate) type Tree = BTreeMap<String, Node>;

/// Sessions that stay open and hold ephemerals; their connections end with the server.
pub(crate) struct Filled {
    /// Keeps the sessions' connections.
    pub(crate) _owners: Vec<Client>,
    /// How many requests succeeded, by kind of request.
    pub(crate) done: BTreeMap<&'static str, usize>,
}

/// An access list of one entry.
pub(super) fn acl(perms: i32, scheme: &str, id: &str) -> Vec<u8> {
    Enc::new().int(1).int(perms).string(scheme).string(id).0
}

/// The body of a create.
pub(super) fn create(path: &str, data: Option<&[u8]>, acl: &[u8], flags: i32) -> Vec<u8> {
    Enc::new().string(path).buffer(data).bytes(acl).int(flags).0
}

/// Makes about `nodes` nodes of every kind.
pub(crate) fn fill(address: SocketAddr, nodes: usize) -> Result<Filled> {
    let mut client = Client::connect(address)?;
    client.authenticate(USERS[0].0)?;
    let mut owners = vec![Client::connect(address)?, Client::connect(address)?];
    let mut done: BTreeMap<&'static str, usize> = BTreeMap::new();
    let open = content::open_acl();

    let parents: Vec<String> =
        (0..(nodes / 100).max(1)).map(|index| format!("/tree/part-{index:05}")).collect();
    let mut first = vec![("parent", op::CREATE, create("/tree", Some(b"root of all"), &open, 0))];
    first.extend(parents.iter().map(|path| ("parent", op::CREATE, create(path, None, &open, 0))));
    for path in ["/quota", "/zookeeper/quota/quota"] {
        first.push(("quota", op::CREATE, create(path, Some(b""), &open, 0)));
    }
    for (name, text) in
        [("limits", "count=900000,bytes=-1=;byteHardLimit=90000000"), ("stats", "count=0,bytes=0")]
    {
        let path = format!("/zookeeper/quota/quota/zookeeper_{name}");
        first.push(("quota", op::CREATE, create(&path, Some(text.as_bytes()), &open, 0)));
    }
    run(&mut client, first, &mut done)?;

    let mut requests = Vec::new();
    let mut ephemerals = [Vec::new(), Vec::new()];
    for index in 0..nodes {
        let parent = &parents[index % parents.len()];
        let plain = format!("{parent}/n{index}");
        let data = vec![index as u8; index % 97];
        match index % 50 {
            0..24 => requests.push(("persistent", op::CREATE, create(&plain, Some(&data), &open, 0))),
            24..28 => requests.push((
                "sequential",
                op::CREATE2,
                create(&format!("{parent}/s-"), Some(&data), &open, 2),
            )),
            28..32 => {
                ephemerals[index % 2].push(("ephemeral", op::CREATE, create(&plain, Some(&data), &open, 1)));
            }
            32..34 => {
                requests.push(("container", op::CREATE_CONTAINER, create(&plain, Some(&data), &open, 4)))
            }
            34..36 => {
                let body =
                    Enc::new().bytes(&create(&plain, Some(&data), &open, 5)).long(86_400_000 + index as i64);
                requests.push(("ttl", op::CREATE_TTL, body.0));
            }
            36 => requests.push(("null data", op::CREATE, create(&plain, None, &open, 0))),
            37 => requests.push(("empty data", op::CREATE, create(&plain, Some(b""), &open, 0))),
            38 => {
                let list = acl(31, "digest", USERS[index % 3].1);
                requests.push(("digest acl", op::CREATE, create(&plain, Some(&data), &list, 0)));
            }
            39 => {
                let list = Enc::new()
                    .int(2)
                    .int(31)
                    .string("auth")
                    .string("")
                    .int(1)
                    .string("world")
                    .string("anyone")
                    .0;
                requests.push(("auth acl", op::CREATE, create(&plain, Some(&data), &list, 0)));
            }
            40 => requests.push((
                "ip acl",
                op::CREATE,
                create(&plain, Some(&data), &acl(31, "ip", "127.0.0.0/8"), 0),
            )),
            41..43 => {
                let path = format!("{parent}/名前-é-{index}");
                requests.push((
                    "unicode name",
                    op::CREATE,
                    create(&path, Some("データ".as_bytes()), &open, 0),
                ));
            }
            43..46 => requests.push((
                "under quota",
                op::CREATE,
                create(&format!("/quota/n{index}"), Some(&data), &open, 0),
            )),
            46 if index % 1000 == 46 => {
                requests.push(("big data", op::CREATE, create(&plain, Some(&vec![b'B'; 150_000]), &open, 0)));
            }
            46..48 => requests.push(("multi", op::MULTI, multi(&plain, &open))),
            48 => requests.push(("failing multi", op::MULTI, failing_multi(&plain, &open))),
            _ => {
                requests.push(("changed", op::CREATE, create(&plain, Some(b"before"), &open, 0)));
                requests.push(("changed", op::SET_DATA, Enc::new().string(&plain).string("after").int(0).0));
                let list = acl(15, "world", "anyone");
                requests.push(("changed", op::SET_ACL, Enc::new().string(&plain).bytes(&list).int(0).0));
                let gone = format!("{plain}-gone");
                requests.push(("deleted", op::CREATE, create(&gone, None, &open, 0)));
                requests.push(("deleted", op::DELETE, Enc::new().string(&gone).int(-1).0));
            }
        }
    }
    run(&mut client, requests, &mut done)?;
    for (owner, requests) in owners.iter_mut().zip(ephemerals) {
        run(owner, requests, &mut done)?;
    }
    client.close()?;
    Ok(Filled { _owners: owners, done })
}

/// Create with a child, a check, a change and a short-lived node, all or nothing.
pub(super) fn multi(path: &str, open: &[u8]) -> Vec<u8> {
    let head = |code: i32| Enc::new().int(code).byte(0).int(-1);
    let mut enc = Enc::new();
    for part in [
        head(op::CREATE).bytes(&create(path, Some(b"m"), open, 0)),
        head(op::CREATE2).bytes(&create(&format!("{path}/kid-"), Some(b"k"), open, 2)),
        head(op::CHECK).string(path).int(0),
        head(op::SET_DATA).string(path).string("changed").int(0),
        head(op::CREATE).bytes(&create(&format!("{path}/brief"), None, open, 0)),
        head(op::DELETE).string(&format!("{path}/brief")).int(-1),
    ] {
        enc = enc.bytes(&part.0);
    }
    enc.int(-1).byte(1).int(-1).0
}

/// A multi whose second part fails: it leaves an error transaction and nothing else.
pub(super) fn failing_multi(path: &str, open: &[u8]) -> Vec<u8> {
    let head = |code: i32| Enc::new().int(code).byte(0).int(-1);
    Enc::new()
        .bytes(&head(op::CREATE).bytes(&create(path, Some(b"never"), open, 0)).0)
        .bytes(&head(op::DELETE).string("/no/such/node").int(-1).0)
        .int(-1)
        .byte(1)
        .int(-1)
        .0
}

fn run(
    client: &mut Client,
    requests: Vec<(&'static str, i32, Vec<u8>)>,
    done: &mut BTreeMap<&'static str, usize>,
) -> Result<()> {
    let (kinds, wire): (Vec<&'static str>, Vec<(i32, Vec<u8>)>) =
        requests.into_iter().map(|(kind, code, body)| (kind, (code, body))).unzip();
    for (kind, reply) in kinds.iter().zip(client.calls(&wire)?) {
        ensure!(reply.err == 0, "filling ({kind}): the server answered {}", reply.err);
        *done.entry(kind).or_default() += 1;
    }
    Ok(())
}

/// Changes a tree that `fill` made, differently for each `round`: new nodes, data, lists, deletions.
pub(crate) fn change(address: SocketAddr, round: usize) -> Result<usize> {
    let mut client = Client::connect(address)?;
    client.authenticate(SUPER.0)?;
    let open = content::open_acl();
    let base = format!("/round-{round}");
    let mut requests = vec![(op::CREATE, create(&base, None, &open, 0))];
    for index in 0..400 {
        let path = format!("{base}/n{index}");
        requests.push((op::CREATE, create(&path, Some(path.as_bytes()), &open, 0)));
        if index % 3 == 0 {
            requests.push((op::SET_DATA, Enc::new().string(&path).string("changed").int(-1).0));
        }
        if index % 5 == 0 {
            requests
                .push((op::SET_ACL, Enc::new().string(&path).bytes(&acl(1, "world", "anyone")).int(-1).0));
        }
        if index % 7 == 0 {
            requests.push((op::DELETE, Enc::new().string(&path).int(-1).0));
        }
        requests.push((op::SET_DATA, Enc::new().string("/tree").string(&path).int(-1).0));
        requests.push((op::CREATE, create(&format!("/quota/r{round}-{index}"), Some(b"q"), &open, 0)));
    }
    let replies = client.calls(&requests)?;
    let done = replies.iter().filter(|reply| reply.err == 0).count();
    ensure!(done == requests.len(), "{} of {} changes were refused", requests.len() - done, requests.len());
    client.close()?;
    Ok(done)
}

/// Reads everything, as the super user.
pub(crate) fn dump(address: SocketAddr) -> Result<Tree> {
    let mut client = Client::connect(address)?;
    client.authenticate(SUPER.0)?;
    let mut tree = Tree::new();
    let mut level: Vec<String> = vec!["/".to_owned()];
    while !level.is_empty() {
        let mut next: BTreeSet<String> = BTreeSet::new();
        for part in level.chunks(2_000) {
            let requests: Vec<(i32, Vec<u8>)> = part
                .iter()
                .flat_map(|path| {
                    let path = Enc::new().string(path).0;
                    let unwatched = [path.as_slice(), &[0]].concat();
                    [(op::GET_CHILDREN, unwatched.clone()), (op::GET_DATA, unwatched), (op::GET_ACL, path)]
                })
                .collect();
            let mut replies = client.calls(&requests)?.into_iter();
            for path in part {
                let mut take = |what: &str| -> Result<Vec<u8>> {
                    let reply = replies.next().context("a reply is missing")?;
                    ensure!(reply.err == 0, "{what} of {path} answered {}", reply.err);
                    Ok(reply.body)
                };
                let (children, data, acl) = (take("children")?, take("data")?, take("acl")?);
                let base = if path == "/" { "" } else { path.as_str() };
                let mut dec = Dec::new(&children);
                for _ in 0..dec.count().context("a child list without a count")? {
                    next.insert(format!("{base}/{}", dec.string().context("a cut-off child list")?));
                }
                tree.insert(path.clone(), (data, acl));
            }
        }
        level = next.into_iter().collect();
    }
    client.close()?;
    Ok(tree)
}
