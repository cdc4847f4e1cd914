//! Commands that change something. Answers to the classes of Java's `cli` package that write.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ostler_client::{Request, Response};
use ostler_wire::client::write::{CreateMode, Write};
use ostler_wire::jute::decode_utf8;
use ostler_wire::{Acl, Code};
use serde_json::json;

use super::answer::{Answer, Failure, exception};
use super::connection::Connection;
use super::table::{self, Call};
use super::{acl, nodes, read};

/// How many deletions `deleteall` puts into one transaction.
const BATCH: i32 = 1000;
/// The longest time to live, in milliseconds.
const LONGEST_TTL: i64 = 0xff_ffff_ffff;

pub(super) fn add_auth(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let auth = if call.len() > 2 { call.arg(2).as_bytes() } else { b"" };
    let reply = on.client().add_auth(call.arg(1), auth);
    // Java does not wait; we do for a moment, so that the next command sees what became of it.
    let _ = on.until_interrupt(async { tokio::time::timeout(Duration::from_secs(1), reply).await });
    Ok(Answer::done())
}

pub(super) fn create(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let has = |option| call.parsed.has(option);
    let (ephemeral, sequential, container, ttl) = (has("e"), has("s"), has("c"), has("t"));
    let refuse = |text: &str| Err(Failure::new(text));
    if container && (ephemeral || sequential) {
        return refuse("-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.");
    }
    let Ok(ttl_ms) = call.number::<i64>("t") else { return refuse("-t argument must be a long value") };
    if ttl && ephemeral {
        return refuse("TTLs cannot be used with Ephemeral znodes");
    }
    if ttl && container {
        return refuse("TTLs cannot be used with Container znodes");
    }
    if let Some(ttl_ms) = ttl_ms
        && !(1..=LONGEST_TTL).contains(&ttl_ms)
    {
        return Err(Failure::new(format!("ttl must be positive and cannot be larger than: {LONGEST_TTL}")));
    }
    let mode = match (ephemeral, sequential, container, ttl) {
        (true, true, ..) => CreateMode::EphemeralSequential,
        (true, false, ..) => CreateMode::Ephemeral,
        (false, true, _, true) => CreateMode::PersistentSequentialWithTtl,
        (false, true, _, false) => CreateMode::PersistentSequential,
        (false, false, true, _) => CreateMode::Container,
        (false, false, false, true) => CreateMode::PersistentWithTtl,
        (false, false, false, false) => CreateMode::Persistent,
    };
    let path = call.arg(1);
    let data = (call.len() > 2).then(|| Bytes::copy_from_slice(call.arg(2).as_bytes()));
    let (list, complaints) =
        if call.len() > 3 { acl::parse(call.arg(3)) } else { (Acl::open(), String::new()) };
    if call.dry_run {
        let taken = !mode.is_sequential() && on.exists(path, false)?.is_some();
        let but = if taken { ", but it is there" } else { "" };
        return Ok(call.would(format!("create {path} ({mode:?}){but}")));
    }
    match on.create(path, data, &list, mode, ttl_ms) {
        Ok(created) => {
            Ok(Answer::err(format!("{complaints}Created {created}\n"), json!({"created": created})))
        }
        Err(mut failure) => {
            failure.before = format!("{complaints}{}", failure.before);
            Err(failure)
        }
    }
}

pub(super) fn delete(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let mut err = String::new();
    if call.len() > 2 {
        err.push_str(
            "'delete path [version]' has been deprecated. Please use 'delete [-v version] path' instead.\n",
        );
    }
    let path = call.arg(1);
    let version = call.number("v")?.unwrap_or(-1);
    if call.dry_run {
        let what = match on.exists(path, false)? {
            None => "but it is not there".to_owned(),
            Some(stat) => format!("version {}, {} children", stat.version, stat.num_children),
        };
        return Ok(call.would(format!("delete {path} ({what})")));
    }
    match on.delete(path, version) {
        Ok(()) => Ok(Answer { err, ..Answer::done() }),
        Err(mut failure) => {
            failure.before.insert_str(0, &err);
            Err(failure)
        }
    }
}

/// `rmr` of older shells.
pub(super) fn rmr(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let mut answer = delete_all(on, call)?;
    answer.err.insert_str(0, "The command 'rmr' has been deprecated. Please use 'deleteall' instead.\n");
    Ok(answer)
}

pub(super) fn delete_all(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let Ok(batch) = call.number::<i32>("b") else {
        return Err(Failure::new("-b argument must be an int value"));
    };
    let batch = batch.unwrap_or(BATCH);
    let path = call.arg(1);
    nodes::check(path)?;
    let mut tree = on.subtree(path)?;
    if call.dry_run {
        let mut answer = call.would(format!("delete {} znodes", tree.len()));
        for path in &tree {
            answer.out.push_str(&format!("  {path}\n"));
        }
        answer.json = json!({"dryRun": true, "paths": tree});
        return Ok(answer);
    }
    tree.reverse();
    let count = tree.len();
    let mut whole = true;
    if batch > 0 {
        for paths in tree.chunks(usize::try_from(batch).unwrap_or(1)) {
            let deletes = paths
                .iter()
                .map(|path| Write::Delete { path: Some(on.absolute(path)), version: -1 })
                .collect();
            match on.ask(&Request::multi(deletes), Some(path)) {
                Ok(Response::Multi(results)) => {
                    let failed =
                        |result: &_| matches!(result, ostler_client::MultiResult::Error(code) if *code != 0);
                    whole &= !results.iter().any(failed);
                }
                Ok(_) => {}
                Err(failure) if failure.exit > 1 => return Err(failure),
                Err(_) => whole = false,
            }
            if !whole {
                break;
            }
        }
    } else {
        for path in &tree {
            on.delete(path, -1)?;
        }
    }
    let err = if whole { "" } else { "Failed to delete some node(s) in the subtree!\n" };
    Ok(Answer::err(err, json!({"ok": whole, "znodes": count})))
}

pub(super) fn set(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = call.arg(1);
    let data = if call.parsed.has("b") {
        STANDARD
            .decode(call.arg(2))
            .map_err(|error| Failure::new(format!("the data is not base64: {error}")))?
    } else {
        call.arg(2).as_bytes().to_vec()
    };
    let version = call.number("v")?.unwrap_or(-1);
    if call.dry_run {
        let now = match on.exists(path, false)? {
            None => "but it is not there".to_owned(),
            Some(stat) => format!("version {}, {} bytes now", stat.version, stat.data_length),
        };
        return Ok(call.would(format!("set {path} to {} bytes ({now})", data.len())));
    }
    let stat = on.set(path, Some(data.into()), version)?;
    Ok(Answer::done().with_stat(call.parsed.has("s"), &stat))
}

pub(super) fn set_acl(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = call.arg(1);
    let (list, complaints) = acl::parse(call.arg(2));
    let version = call.number("v")?.unwrap_or(-1);
    let with_complaints = |mut failure: Failure| {
        failure.before.insert_str(0, &complaints);
        failure
    };
    if call.dry_run {
        let paths = if call.parsed.has("R") { on.subtree(path)? } else { vec![path.to_owned()] };
        let mut answer = call.would(format!("set the ACL of {} znodes", paths.len()));
        answer.err = complaints;
        return Ok(answer);
    }
    if !call.parsed.has("R") {
        let stat = on.set_acl(path, &list, version).map_err(with_complaints)?;
        let mut answer = Answer::done().with_stat(call.parsed.has("s"), &stat);
        answer.err = complaints;
        return Ok(answer);
    }
    let (mut out, mut count) = (String::new(), 0);
    let visited = read::visit(on, path, false, &mut |path| {
        count += 1;
        match on.set_acl(path, &list, version) {
            Ok(_) => {}
            Err(failure) if failure.exit > 1 => return Err(failure),
            // Java says so without a line end, and goes on.
            Err(failure) => {
                let code = failure.code.unwrap_or(Code::SystemError);
                let named = !(code == Code::InvalidAcl && list.is_empty());
                out.push_str(&exception(code, named.then_some(path)));
            }
        }
        Ok(())
    });
    visited.map_err(with_complaints)?;
    Ok(Answer { json: json!({"ok": out.is_empty(), "znodes": count}), out, err: complaints })
}

pub(super) fn reconfig(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let has = |option| call.parsed.has(option);
    let (whole, partly) = (has("file") || has("members"), has("add") || has("remove"));
    if !whole && !partly {
        return Err(Failure::new(
            table::find("reconfig").map(table::Command::usage_text).unwrap_or_default(),
        ));
    }
    let version = match call.parsed.value("v") {
        None => -1,
        Some(text) => i64::from_str_radix(text, 16)
            .map_err(|_| Failure::new("-v must be followed by a long (configuration version)"))?,
    };
    if whole && partly {
        return Err(Failure::new(
            "Can't use -file or -members together with -add or -remove (mixing incremental and non-incremental modes \
             is not allowed)",
        ));
    }
    if has("file") && has("members") {
        return Err(Failure::new(
            "Can't use -file and -members together (conflicting non-incremental modes)",
        ));
    }
    let lower = |option| call.parsed.value(option).map(str::to_lowercase);
    let members = match call.parsed.value("file") {
        None => lower("members"),
        Some(file) => Some(members_of(file)?),
    };
    if call.dry_run {
        let text = [
            lower("add").map(|add| format!("add {add}")),
            lower("remove").map(|id| format!("remove {id}")),
            members.map(|members| format!("make the members\n{members}")),
        ];
        return Ok(call.would(text.into_iter().flatten().collect::<Vec<_>>().join(", ")));
    }
    let request = Request::Write(Write::Reconfig {
        joining: lower("add"),
        leaving: lower("remove"),
        members,
        config_id: version,
    });
    match on.ask(&request, Some(""))? {
        Response::Data { data, stat } => {
            let config = data.as_deref().map(decode_utf8).unwrap_or_default();
            let text = format!("Committed new configuration:\n{config}\n");
            Ok(Answer::out(text, json!({"config": config})).with_stat(has("s"), &stat))
        }
        other => Err(Failure::new(format!("{other:?}"))),
    }
}

/// The lines of a membership file that name members.
fn members_of(file: &str) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("Error processing {file}{file} ({error})")))?;
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| ["server.", "group", "weight", "version"].iter().any(|key| line.starts_with(key)))
        .collect();
    if lines.is_empty() {
        return Err(Failure::new(format!("Error processing {file}: it names no server")));
    }
    Ok(lines.join("\n"))
}
