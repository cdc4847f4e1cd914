//! Watches that stay, and taking watches off. Answers to `AddWatchCommand` and `RemoveWatchesCommand`.

use ostler_wire::client::read::AddWatchMode;

use super::answer::{Answer, Failure};
use super::connection::Connection;
use super::table::{self, Call};

pub(super) fn add(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let usage = || Failure::new(table::find("addWatch").map(table::Command::usage_text).unwrap_or_default());
    if call.len() != 2 {
        return Err(usage());
    }
    let mode = match call.parsed.value("m").map(str::to_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => AddWatchMode::PersistentRecursive,
        Some("PERSISTENT") => AddWatchMode::Persistent,
        Some(_) => return Err(usage()),
    };
    on.add_watch(call.arg(1), mode)?;
    Ok(Answer::done())
}

pub(super) fn remove(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    on.remove_watches(call.arg(1), table::watcher_type(call), call.parsed.has("l"))?;
    Ok(Answer::done())
}
