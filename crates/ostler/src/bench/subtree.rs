//! The part of the tree in which a benchmark happens: made before, deleted after, and nothing outside of it touched.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use ostler_wire::client::encode;
use ostler_wire::client::reply::MultiHeader;
use ostler_wire::client::response::Response;
use ostler_wire::jute::Writer;
use ostler_wire::{Acl, Code, OpCode, path};

use super::engine::Engine;
use super::handshake::{Control, Identity, code_name};
use super::loads::{Bulk, BulkRequest};
use super::progress::Progress;
use super::servers::Servers;

const BULK_CONNECTIONS: usize = 2;
const BULK_DEPTH: usize = 8;
/// Deletes in one multi.
const DELETES: usize = 200;
/// Bytes of one multi, well under any server's limit.
const MULTI_BYTES: usize = 256 << 10;
const FOREVER: Duration = Duration::from_secs(3600);

/// Makes an empty subtree, with the znodes above it; what an earlier run left there is deleted.
pub(super) fn create(address: SocketAddr, identity: &Identity, subtree: &str) -> Result<()> {
    delete(address, identity, subtree)?;
    let mut control = Control::connect(address, identity)?;
    let mut ends: Vec<usize> = subtree.match_indices('/').map(|(at, _)| at).skip(1).collect();
    ends.push(subtree.len());
    for end in ends {
        create_node(&mut control, &subtree[..end])?;
    }
    control.close();
    Ok(())
}

fn create_node(control: &mut Control, path: &str) -> Result<()> {
    match control.ask(OpCode::Create, |out| encode::create_body(path, b"", &Acl::open(), 0, out))? {
        Ok(_) => Ok(()),
        Err(err) if err == Code::NodeExists.to_int() => Ok(()),
        Err(err) => bail!("cannot create {path}: {}", code_name(err)),
    }
}

/// Creates these znodes in many-sized multis.
pub(super) fn create_nodes(
    address: SocketAddr,
    identity: &Identity,
    paths: &mut dyn Iterator<Item = String>,
    value: &[u8],
    progress: &mut Progress,
) -> Result<()> {
    let mut engine = Engine::connect(&address.into(), identity, BULK_CONNECTIONS, BULK_DEPTH)?;
    let mut bulk = Bulk::new(create_batches(paths, value, DELETES), &[]);
    run_bulk(&mut engine, &mut bulk, progress)?;
    engine.close();
    match bulk.failure {
        Some(failure) => bail!("cannot create the znodes to work on: {failure}"),
        None => Ok(()),
    }
}

/// Multis of at most `batch` creates.
pub(super) fn create_batches<'a>(
    paths: &'a mut dyn Iterator<Item = String>,
    value: &'a [u8],
    batch: usize,
) -> impl FnMut(&mut Vec<u8>) -> Option<BulkRequest> + use<'a> {
    let acl = Acl::open();
    move |body| {
        let mut items = 0;
        while (items as usize) < batch && body.len() + value.len() < MULTI_BYTES {
            let Some(path) = paths.next() else { break };
            encode::multi_header(OpCode::Create, body);
            encode::create_body(&path, value, &acl, 0, body);
            items += 1;
        }
        MultiHeader::END.encode(body);
        (items > 0).then_some(BulkRequest { op: OpCode::Multi, items })
    }
}

/// Runs a bulk to its end.
pub(super) fn run_bulk<F: FnMut(&mut Vec<u8>) -> Option<BulkRequest>>(
    engine: &mut Engine,
    bulk: &mut Bulk<F>,
    progress: &mut Progress,
) -> Result<()> {
    let until = engine.now() + u64::try_from(FOREVER.as_nanos()).expect("an hour fits");
    engine.run(bulk, until, progress)
}

/// Waits until every server has what was written so far at the first.
pub(super) fn sync(servers: &Servers, identity: &Identity, subtree: &str) -> Result<()> {
    for address in servers.rest() {
        let mut control = Control::connect(*address, identity)?;
        if let Err(err) = control.ask(OpCode::Sync, |out| out.put_string(subtree))? {
            bail!("{address} cannot catch up: {}", code_name(err));
        }
        control.close();
    }
    Ok(())
}

/// Deletes a subtree, and the znode above it if that is empty then.
pub(super) fn tidy(address: SocketAddr, identity: &Identity, subtree: &str) -> Result<()> {
    delete(address, identity, subtree)?;
    let mut control = Control::connect(address, identity)?;
    delete_node(&mut control, path::parent(subtree))?;
    control.close();
    Ok(())
}

/// Deletes a subtree, if it is there.
pub(super) fn delete(address: SocketAddr, identity: &Identity, subtree: &str) -> Result<()> {
    let mut control = Control::connect(address, identity)?;
    let there = control.ask(OpCode::Exists, |out| encode::path_watch_body(subtree, false, out))?.is_ok();
    control.close();
    if !there {
        return Ok(());
    }
    let mut engine = Engine::connect(&address.into(), identity, BULK_CONNECTIONS, BULK_DEPTH)?;
    // Listing and deleting take turns, and a turn may be long, so what lists has a session of its own each time.
    delete_below(address, identity, &mut engine, subtree)?;
    engine.close();
    let mut control = Control::connect(address, identity)?;
    delete_node(&mut control, subtree)?;
    control.close();
    Ok(())
}

fn delete_node(control: &mut Control, path: &str) -> Result<()> {
    match control.ask(OpCode::Delete, |out| encode::path_version_body(path, -1, out))? {
        Ok(_) => Ok(()),
        Err(err) if [Code::NoNode, Code::NotEmpty].iter().any(|code| code.to_int() == err) => Ok(()),
        Err(err) => bail!("cannot delete {path}: {}", code_name(err)),
    }
}

fn delete_below(address: SocketAddr, identity: &Identity, engine: &mut Engine, path: &str) -> Result<()> {
    let mut control = Control::connect(address, identity)?;
    let names = children(&mut control, path)?;
    let Some(first) = names.first() else {
        control.close();
        return Ok(());
    };
    // Siblings look alike in what a benchmark makes, so one look saves a million.
    let leaves = children(&mut control, &format!("{path}/{first}"))?.is_empty();
    control.close();
    if !leaves {
        for name in &names {
            delete_below(address, identity, engine, &format!("{path}/{name}"))?;
        }
    }
    if delete_children(engine, path, &names)?.is_none() {
        return Ok(());
    }
    for name in &names {
        delete_below(address, identity, engine, &format!("{path}/{name}"))?;
    }
    match delete_children(engine, path, &names)? {
        Some(failure) => bail!("cannot delete what is below {path}: {failure}"),
        None => Ok(()),
    }
}

/// Deletes children that have none; what went wrong, if something did.
fn delete_children(engine: &mut Engine, path: &str, names: &[String]) -> Result<Option<String>> {
    let mut batches = names.chunks(DELETES);
    let mut bulk = Bulk::new(
        |body| {
            let batch = batches.next()?;
            for name in batch {
                encode::multi_header(OpCode::Delete, body);
                body.put_string(&format!("{path}/{name}"));
                body.put_int(-1);
            }
            MultiHeader::END.encode(body);
            Some(BulkRequest { op: OpCode::Multi, items: u32::try_from(batch.len()).expect("a small batch") })
        },
        &[Code::NoNode as i32],
    );
    let mut progress = Progress::new(format!("deleting below {path}"), Some(names.len() as u64));
    run_bulk(engine, &mut bulk, &mut progress)?;
    Ok(bulk.failure)
}

fn children(control: &mut Control, path: &str) -> Result<Vec<String>> {
    match control.ask(OpCode::GetChildren, |out| encode::path_watch_body(path, false, out))? {
        Ok(Response::Children { names, .. }) => Ok(names),
        Ok(_) => bail!("a wrong answer to getChildren"),
        Err(err) if err == Code::NoNode.to_int() => Ok(Vec::new()),
        Err(err) => bail!("cannot list {path}: {}", code_name(err)),
    }
}
