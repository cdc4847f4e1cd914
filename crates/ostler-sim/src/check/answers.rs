//! What a single answer must be, given the model at the zxid that the answer carries.

use std::collections::BTreeSet;

use ostler_client::Request;
use ostler_wire::client::read::{MultiReadOp, Read};
use ostler_wire::client::response::{MultiResult, Response};
use ostler_wire::client::write::Write;
use ostler_wire::txn::{Txn, TxnEntry};
use ostler_wire::{Code, OpCode, SessionId};

use super::{Violation, violation};
use crate::model::Model;

type Answer = Result<Response, Code>;

/// Whether a read was answered as the model, which is at the zxid of the answer, would.
pub fn check_read(model: &Model, session: SessionId, read: &Read<'_>, got: &Answer) -> Result<(), Violation> {
    let expected = match read {
        Read::Exists { path, .. } => model.stat(path).map(Response::Stat).ok_or(Code::NoNode),
        Read::GetData { path, .. } => data(model, path).map(|(data, stat)| Response::Data { data, stat }),
        Read::GetChildren { path, .. } => {
            children(model, path).map(|names| Response::Children { names, stat: None })
        }
        Read::GetChildren2 { path, .. } => {
            children(model, path).map(|names| Response::Children { names, stat: model.stat(path) })
        }
        Read::GetAcl { path } => model.node(path).ok_or(Code::NoNode).map(|node| Response::Acl {
            acl: node.acl.clone(),
            stat: model.stat(path).expect("it is there"),
        }),
        Read::GetAllChildrenNumber { path } => model
            .node(path)
            .ok_or(Code::NoNode)
            .map(|_| Response::Number(i32::try_from(model.count_below(path)).expect("few"))),
        Read::GetEphemerals { .. } => Ok(Response::Ephemerals(model.ephemerals(session))),
        Read::Sync { path } => {
            Ok(Response::Synced { path: path.as_ref().map(|path| path.clone().into_owned()) })
        }
        Read::MultiRead(ops) => Ok(Response::Multi(ops.iter().map(|op| multi_read(model, op)).collect())),
        Read::AddWatch { .. } | Read::WhoAmI | Read::Ping | Read::SetWatches(_) => match got {
            Ok(_) => return Ok(()),
            Err(code) => return Err(violation!("{read:?} was refused: {code}")),
        },
        // What they answer depends on the watches, which is for the judge of watches.
        Read::CheckWatches { .. } | Read::RemoveWatches { .. } => return Ok(()),
    };
    if sorted(got) == sorted(&expected) {
        Ok(())
    } else {
        Err(violation!("{read:?} at {} was answered {got:?}, not {expected:?}", model.zxid()))
    }
}

/// Whether a write was answered as its transaction says; `model` is after it.
pub fn check_write(model: &Model, write: &Write, entry: &TxnEntry, got: &Answer) -> Result<(), Violation> {
    let expected: Answer = match (&entry.txn, write.op()) {
        (Txn::Error { code }, _) => Err(Code::from_int(*code).unwrap_or(Code::SystemError)),
        (Txn::Create(create), OpCode::Create) => Ok(Response::Path(create.path.clone())),
        (Txn::Create(create), _) => {
            let stat = model.stat(&create.path).ok_or_else(|| violation!("{} is not there", create.path))?;
            Ok(Response::Created { path: create.path.clone(), stat })
        }
        (Txn::SetData { path, .. } | Txn::SetAcl { path, .. }, _) => {
            Ok(Response::Stat(model.stat(path).ok_or_else(|| violation!("{path} is not there"))?))
        }
        (Txn::Multi(parts), _) => return check_multi(model, parts, entry, got),
        _ => Ok(Response::Done),
    };
    if *got == expected {
        Ok(())
    } else {
        Err(violation!("{write:?} at {} was answered {got:?}, not {expected:?}", entry.header.zxid))
    }
}

/// The error vector exactly; of what went well the paths, and the Stat where no later part touched the node.
fn check_multi(model: &Model, parts: &[Txn], entry: &TxnEntry, got: &Answer) -> Result<(), Violation> {
    let zxid = entry.header.zxid;
    let Ok(Response::Multi(results)) = got else {
        return Err(violation!("the multi at {zxid} was answered {got:?}"));
    };
    if results.len() != parts.len() {
        return Err(violation!("the multi at {zxid} of {} parts has {} results", parts.len(), results.len()));
    }
    let failed = parts.iter().position(|part| matches!(part, Txn::Error { .. }));
    for (i, (part, result)) in parts.iter().zip(results).enumerate() {
        let fine = match (failed, part, result) {
            (Some(_), Txn::Error { code }, MultiResult::Error(err)) => err == code,
            (Some(failed), _, MultiResult::Error(err)) => i < failed && *err == 0,
            (None, Txn::Create(create), MultiResult::Path(path)) => *path == create.path,
            (None, Txn::Create(create), MultiResult::Created { path, stat }) => {
                *path == create.path && stat.czxid == zxid.0
            }
            (None, Txn::SetData { path, .. }, MultiResult::Stat(stat)) => {
                stat.mzxid == zxid.0 && (touches(parts, path) > 1 || model.stat(path) == Some(*stat))
            }
            (None, Txn::Delete { .. } | Txn::Check { .. }, MultiResult::Done) => true,
            _ => false,
        };
        if !fine {
            return Err(violation!(
                "part {i} of the multi at {zxid} is {part:?} and was answered {result:?}"
            ));
        }
    }
    Ok(())
}

/// How many parts change a node or its children.
fn touches(parts: &[Txn], path: &str) -> usize {
    let touched = |part: &&Txn| match part {
        Txn::Create(create) => create.path == path || crate::model::parent_of(&create.path) == path,
        Txn::Delete { path: other } => other == path || crate::model::parent_of(other) == path,
        Txn::SetData { path: other, .. } => other == path,
        _ => false,
    };
    parts.iter().filter(touched).count()
}

fn data(model: &Model, path: &str) -> Result<(Option<bytes::Bytes>, ostler_wire::Stat), Code> {
    let node = model.node(path).ok_or(Code::NoNode)?;
    Ok((node.data.clone(), model.stat(path).expect("it is there")))
}

fn children(model: &Model, path: &str) -> Result<Vec<String>, Code> {
    Ok(model.node(path).ok_or(Code::NoNode)?.children.iter().cloned().collect())
}

fn multi_read(model: &Model, op: &MultiReadOp<'_>) -> MultiResult {
    let result = match op {
        MultiReadOp::GetData { path } => {
            data(model, path).map(|(data, stat)| MultiResult::Data { data, stat })
        }
        MultiReadOp::GetChildren { path } => children(model, path).map(MultiResult::Children),
    };
    result.unwrap_or_else(|code| MultiResult::Error(code.to_int()))
}

/// Names come in no particular order.
fn sorted(answer: &Answer) -> Answer {
    let sort = |names: &Vec<String>| -> Vec<String> {
        let names: BTreeSet<_> = names.iter().cloned().collect();
        names.into_iter().collect()
    };
    match answer {
        Ok(Response::Children { names, stat }) => Ok(Response::Children { names: sort(names), stat: *stat }),
        Ok(Response::Ephemerals(paths)) => Ok(Response::Ephemerals(sort(paths))),
        Ok(Response::Multi(results)) => Ok(Response::Multi(
            results
                .iter()
                .map(|result| match result {
                    MultiResult::Children(names) => MultiResult::Children(sort(names)),
                    other => other.clone(),
                })
                .collect(),
        )),
        other => other.clone(),
    }
}

/// Whether this is a request that becomes a transaction.
#[must_use]
pub fn is_write(request: &Request) -> bool {
    matches!(request, Request::Write(_))
}
