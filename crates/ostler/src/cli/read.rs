//! Commands that change nothing. Answers to the classes of Java's `cli` package that read.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ostler_client::{Request, Response};
use ostler_wire::Code;
use ostler_wire::client::read::Read;
use ostler_wire::jute::decode_utf8;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Failure, stat_json, stat_text};
use super::connection::{Connection, watch};
use super::nodes::check;
use super::table::Call;
use super::{acl, hex, paths};
use crate::log::json as values;

/// How long `sync` waits.
const SYNC_PATIENCE: Duration = Duration::from_secs(30);
const CONFIG: &str = "/zookeeper/config";

pub(super) fn get(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = call.arg(1);
    let (data, stat) = on.data(path, call.parsed.has("w"))?;
    let mut object = Map::new();
    object.insert("path".to_owned(), json!(path));
    values::put_data(data.as_deref(), &mut object);
    let bytes = data.as_deref().unwrap_or(b"null");
    let text = if call.parsed.has("x") {
        hex::dump(bytes)
    } else if call.parsed.has("b") {
        STANDARD.encode(bytes)
    } else {
        decode_utf8(bytes).into_owned()
    };
    Ok(Answer::out(format!("{text}\n"), Value::Object(object)).with_stat(call.parsed.has("s"), &stat))
}

pub(super) fn stat(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = call.arg(1);
    match on.exists(path, call.parsed.has("w"))? {
        Some(stat) => Ok(Answer::out(stat_text(&stat), json!({"path": path, "stat": stat_json(&stat)}))),
        None => Err(Failure::of_code(Code::NoNode, Some(path))),
    }
}

pub(super) fn ls(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    list(on, call.arg(1), call.parsed.has("w"), call.parsed.has("s"), call.parsed.has("R"))
}

/// `ls2` of older shells.
pub(super) fn ls2(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    list(on, call.arg(1), call.len() > 2, true, false)
}

fn list(
    on: &Connection,
    path: &str,
    watched: bool,
    with_stat: bool,
    recursive: bool,
) -> Result<Answer, Failure> {
    if !recursive {
        let (mut names, stat) = on.children(path, watched)?;
        names.sort();
        let json = json!({"path": path, "children": names});
        return Ok(Answer::out(format!("[{}]\n", names.join(", ")), json).with_stat(with_stat, &stat));
    }
    let mut found = Vec::new();
    visit(on, path, watched, &mut |path| {
        found.push(path.to_owned());
        Ok(())
    })?;
    let mut text = String::new();
    for path in &found {
        let _ = writeln!(text, "{path}");
    }
    Ok(Answer::out(text, json!({"path": path, "paths": found})))
}

/// Visits a subtree in the order of Java's shell: all children of a znode, then what is below each of them. One that
/// goes meanwhile is passed over.
pub(super) fn visit(
    on: &Connection,
    path: &str,
    watched: bool,
    each: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    on.data(path, watched)?;
    each(path)?;
    // What is still to be listed, the next one last.
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let mut names = match on.children(&path, watched) {
            Ok((names, _)) => names,
            Err(failure) if failure.code == Some(Code::NoNode) => continue,
            Err(failure) => return Err(failure),
        };
        names.sort();
        let paths: Vec<String> = names.iter().map(|name| paths::join(&path, name)).collect();
        for path in &paths {
            each(path)?;
        }
        open.extend(paths.into_iter().rev());
    }
    Ok(())
}

pub(super) fn get_acl(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = call.arg(1);
    let (list, stat) = on.acl(path)?;
    let json = json!({"path": path, "acl": values::acl_list(Some(&list))});
    Ok(Answer::out(acl::text(&list), json).with_stat(call.parsed.has("s"), &stat))
}

pub(super) fn get_all_children_number(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = call.arg(1);
    check(path)?;
    let request = Request::Read(Read::GetAllChildrenNumber { path: on.absolute(path).into() });
    match on.ask(&request, Some(path))? {
        Response::Number(number) => {
            Ok(Answer::out(format!("{number}\n"), json!({"path": path, "number": number})))
        }
        other => Err(Failure::new(format!("{other:?}"))),
    }
}

pub(super) fn get_ephemerals(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let prefix = if call.len() < 2 { "/" } else { call.arg(1) };
    check(prefix)?;
    // Java sends the prefix as it is, whatever the chroot.
    let request = Request::Read(Read::GetEphemerals { prefix: Some(prefix.to_owned().into()) });
    match on.ask(&request, None)? {
        Response::Ephemerals(found) => {
            Ok(Answer::out(format!("[{}]\n", found.join(", ")), json!({"ephemerals": found})))
        }
        other => Err(Failure::new(format!("{other:?}"))),
    }
}

pub(super) fn sync(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = call.arg(1);
    check(path)?;
    let request = Request::sync(on.absolute(path));
    let asked = async {
        tokio::time::timeout(SYNC_PATIENCE, on.client().request(&request)).await.unwrap_or_else(|_| {
            Err(ostler_client::Error::new(ostler_client::ErrorKind::Retry, "no answer to a sync"))
        })
    };
    match on.wait(asked, Some(path)) {
        Ok(_) => Ok(Answer::out("Sync is OK\n", json!({"ok": true}))),
        Err(failure) => match failure.code {
            Some(code) => {
                let number = code.to_int();
                Ok(Answer::out(format!("Sync has failed. rc={number}\n"), json!({"ok": false, "rc": number})))
            }
            None => Err(failure),
        },
    }
}

pub(super) fn version(_: &Connection, _: &Call) -> Result<Answer, Failure> {
    let version = ostler_server::four_letter::version();
    Ok(Answer::out(format!("ZooKeeper CLI version: {version}\n"), json!({"version": version})))
}

pub(super) fn who_am_i(on: &Connection, _: &Call) -> Result<Answer, Failure> {
    let mut text = "Auth scheme: User\n".to_owned();
    match on.ask(&Request::Read(Read::WhoAmI), None)? {
        Response::Who(who) => {
            for id in &who {
                let _ = writeln!(text, "{}: {}", id.scheme, id.user);
            }
            let ids: Vec<Value> =
                who.iter().map(|id| json!({"scheme": id.scheme, "user": id.user})).collect();
            Ok(Answer::out(text, json!({"ids": ids})))
        }
        other => Err(Failure::new(format!("{other:?}"))),
    }
}

pub(super) fn config(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let watched = call.parsed.has("w");
    let (data, stat) = match on.ask(&Request::get_data(CONFIG, watched), Some(CONFIG))? {
        Response::Data { data, stat } => (data, stat),
        other => return Err(Failure::new(format!("{other:?}"))),
    };
    if watched {
        on.note_watch(CONFIG, watch::DATA);
    }
    let text = data.as_deref().map_or_else(|| "null".into(), decode_utf8);
    let shown = if call.parsed.has("c") { connect_string(&text) } else { text.clone().into_owned() };
    let json = json!({"config": text, "connectString": connect_string(&text)});
    Ok(Answer::out(format!("{shown}\n"), json).with_stat(call.parsed.has("s"), &stat))
}

/// The version of a configuration, and where its members serve clients.
fn connect_string(config: &str) -> String {
    let (mut version, mut servers) = ("", Vec::new());
    for line in config.lines() {
        match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("version", value)) => version = value,
            Some((key, value)) if key.starts_with("server.") => {
                if let Some((_, client)) = value.split_once(';') {
                    servers.push(client.split(';').next().unwrap_or_default().to_owned());
                }
            }
            _ => {}
        }
    }
    format!("{version} {}", servers.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_becomes_a_connection_string() {
        let config = "server.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2:observer;b:2182\nversion=1f";
        assert_eq!(connect_string(config), "1f 0.0.0.0:2181,b:2182");
        assert_eq!(connect_string(""), " ");
    }
}
