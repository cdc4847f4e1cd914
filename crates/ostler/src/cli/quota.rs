//! Quotas, which are ordinary znodes below `/zookeeper/quota` that the servers look at. Answers to `SetQuotaCommand`,
//! `ListQuotaCommand`, `DelQuotaCommand` and `StatsTrack`.

use std::collections::BTreeMap;

use bytes::Bytes;
use ostler_wire::client::write::CreateMode;
use ostler_wire::{Acl, Code};
use serde_json::{Value, json};

use super::answer::{Answer, Failure};
use super::connection::Connection;
use super::table::Call;

const QUOTA: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// Limits, or what is counted, by name; what is not there reads as -1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Track(BTreeMap<String, i64>);

impl Track {
    fn parse(data: Option<&Bytes>) -> Result<Self, Failure> {
        let text = data.map(|data| String::from_utf8_lossy(data).into_owned()).unwrap_or_default();
        let mut track = Self::default();
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split('=');
            let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let value = if value.is_empty() { Ok(-1) } else { value.parse() };
            let value = value.map_err(|_| Failure::new(format!("the quota '{text}' cannot be read")))?;
            track.0.insert(name.to_owned(), value);
        }
        Ok(track)
    }

    fn value(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(-1)
    }

    fn set(&mut self, name: &str, value: i64) {
        self.0.insert(name.to_owned(), value);
    }

    /// With an equals sign too many before what old servers do not know, so that they read on in vain.
    fn text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.value("count"), self.value("bytes"));
        let others: Vec<_> =
            self.0.iter().filter(|(name, _)| !matches!(name.as_str(), "count" | "bytes")).collect();
        if !others.is_empty() {
            text.push('=');
        }
        for (name, value) in others {
            text.push_str(&format!(";{name}={value}"));
        }
        text
    }

    fn json(&self) -> Value {
        self.0
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

pub(super) fn list(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = call.arg(1);
    let limits_path = format!("{QUOTA}{path}/{LIMITS}");
    let mut answer = Answer::err(format!("absolute path is {limits_path}\n"), Value::Null);
    let read = || -> Result<(Track, Track), Failure> {
        let (limits, _) = on.data(&limits_path, false)?;
        let limits = Track::parse(limits.as_ref())?;
        let (stats, _) = on.data(&format!("{QUOTA}{path}/{STATS}"), false)?;
        Ok((limits, Track::parse(stats.as_ref())?))
    };
    match read() {
        Ok((limits, stats)) => {
            answer.out = format!(
                "Output quota for {path} {}\nOutput stat for {path} {}\n",
                limits.text(),
                stats.text()
            );
            answer.json = json!({"path": path, "quota": limits.json(), "stat": stats.json()});
        }
        Err(failure) if failure.code == Some(Code::NoNode) => {
            answer.err.push_str(&format!("quota for {path} does not exist.\n"));
            answer.json = json!({"path": path, "quota": Value::Null});
        }
        Err(mut failure) => {
            failure.before = format!("{}{}", answer.err, failure.before);
            return Err(failure);
        }
    }
    Ok(answer)
}

/// The option, the name of the limit, and the least that it may be.
const KINDS: [(&str, &str, i64); 4] =
    [("n", "count", 1), ("b", "bytes", 0), ("N", "countHardLimit", 1), ("B", "byteHardLimit", 0)];

pub(super) fn set(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = call.arg(1);
    let complain = |text: &str| Ok(Answer::err(format!("{text}\n"), json!({"ok": false, "problem": text})));
    if path.starts_with(QUOTA) {
        return complain(&format!("cannot set a quota under the path: {QUOTA}"));
    }
    let mut wanted = Track::default();
    for (_, name, _) in KINDS {
        wanted.set(name, -1);
    }
    for (option, name, least) in KINDS {
        let Some(text) = call.parsed.value(option) else { continue };
        // Counts are 32-bit numbers in Java.
        let value = if least == 1 { text.parse::<i32>().map(i64::from) } else { text.parse::<i64>() };
        let Ok(value) = value else {
            return complain("NumberFormatException happens when parsing the option value");
        };
        if value < least {
            return complain(if least == 1 {
                "the num quota must be greater than zero"
            } else {
                "the bytes quota must be greater than or equal to zero"
            });
        }
        wanted.set(name, value);
    }
    if on.exists(path, false)?.is_none() {
        return Err(Failure::new(format!("{path} does not exist.")));
    }
    check_below(on, path)?;
    check_above(on, path)?;
    if call.dry_run {
        return Ok(call.would(format!("set the quota of {path} to {}", wanted.text())));
    }
    let home = make_home(on, path)?;
    let (limits_path, stats_path) = (format!("{home}/{LIMITS}"), format!("{home}/{STATS}"));
    let out;
    if on.exists(&limits_path, false)?.is_none() {
        create(on, &limits_path, Some(&wanted.text()))?;
        create(on, &stats_path, Some("count=0,bytes=0"))?;
        out = warnings(&read(on, &limits_path)?, &read(on, &stats_path)?);
    } else {
        let mut limits = read(on, &limits_path)?;
        for (name, value) in wanted.0.iter().filter(|(_, value)| **value > -1) {
            limits.set(name, *value);
        }
        out = warnings(&limits, &read(on, &stats_path)?);
        on.set(&limits_path, Some(limits.text().into()), -1)?;
    }
    Ok(Answer { out, ..Answer::done() })
}

fn read(on: &Connection, path: &str) -> Result<Track, Failure> {
    Track::parse(on.data(path, false)?.0.as_ref())
}

fn create(on: &Connection, path: &str, data: Option<&str>) -> Result<(), Failure> {
    let data = data.map(|data| Bytes::copy_from_slice(data.as_bytes()));
    on.create(path, data, &Acl::open(), CreateMode::Persistent, None).map(drop)
}

/// Makes the znodes that lead to the quota of a path.
fn make_home(on: &Connection, path: &str) -> Result<String, Failure> {
    let mut home = String::new();
    let names = QUOTA[1..].split('/').chain(path.split('/').skip(1).filter(|name| !name.is_empty()));
    for name in names {
        home.push('/');
        home.push_str(name);
        if on.exists(&home, false)?.is_none() {
            match create(on, &home, None) {
                Err(failure) if failure.code == Some(Code::NodeExists) => {}
                made => made?,
            }
        }
    }
    Ok(home)
}

/// No znode below may have a quota of its own.
fn check_below(on: &Connection, path: &str) -> Result<(), Failure> {
    let home = format!("{QUOTA}{path}");
    let tree = match on.data(&home, false).and_then(|_| on.subtree(&home)) {
        Ok(tree) => tree,
        Err(failure) if failure.code == Some(Code::NoNode) => return Ok(()),
        Err(failure) => return Err(failure),
    };
    let suffix = format!("/{LIMITS}");
    for found in tree {
        if let Some(owner) = found.strip_suffix(&suffix)
            && owner != home
        {
            let child = &owner[QUOTA.len()..];
            return Err(Failure::new(format!("{path} has a child {child} which has a quota")));
        }
    }
    Ok(())
}

/// No znode above may have one.
fn check_above(on: &Connection, path: &str) -> Result<(), Failure> {
    let names: Vec<&str> = path.split('/').collect();
    let mut home = QUOTA.to_owned();
    for name in &names[1..names.len().saturating_sub(1).max(1)] {
        home.push('/');
        home.push_str(name);
        match on.children(&home, false) {
            Ok((children, _)) if children.is_empty() => return Ok(()),
            Ok((children, _)) if children.iter().any(|child| child == LIMITS) => {
                let parent = &home[QUOTA.len()..];
                return Err(Failure::new(format!("{path} has a parent {parent} which has a quota")));
            }
            Ok(_) => {}
            Err(failure) if failure.code == Some(Code::NoNode) => return Ok(()),
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

fn warnings(limits: &Track, stats: &Track) -> String {
    let mut text = String::new();
    for (soft, hard, used, what) in
        [("count", "countHardLimit", "count", "count"), ("bytes", "byteHardLimit", "bytes", "bytes")]
    {
        let used = stats.value(used);
        if [soft, hard].iter().any(|name| limits.value(name) > -1 && limits.value(name) < used) {
            text.push_str(&format!(
                "[Warning]: the {what} quota you create is less than the existing {what}:{used}\n"
            ));
        }
    }
    text
}

pub(super) fn delete(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = call.arg(1);
    let home = format!("{QUOTA}{path}");
    let limits_path = format!("{home}/{LIMITS}");
    let remove = || -> Result<Answer, Failure> {
        if on.exists(&limits_path, false)?.is_none() {
            let text = format!("Quota does not exist for {path}\n");
            return Ok(Answer::out(text, json!({"path": path, "quota": Value::Null})));
        }
        let mut limits = read(on, &limits_path)?;
        if call.dry_run {
            return Ok(call.would(format!("take off the quota {} of {path}", limits.text())));
        }
        let named: Vec<_> = KINDS.iter().filter(|(option, ..)| call.parsed.has(option)).collect();
        if named.is_empty() {
            for child in on.children(&home, false)?.0 {
                on.delete(&format!("{home}/{child}"), -1)?;
            }
            trim(on, &home)?;
        } else {
            for (_, name, _) in named {
                limits.set(name, -1);
            }
            on.set(&limits_path, Some(limits.text().into()), -1)?;
        }
        Ok(Answer::done())
    };
    match remove() {
        Err(failure) if failure.code == Some(Code::NoNode) => {
            let text = format!("quota for {path} does not exist.\n");
            Ok(Answer::err(text, json!({"path": path, "quota": Value::Null})))
        }
        outcome => outcome,
    }
}

/// Takes away the znodes that led to a quota and to nothing else.
fn trim(on: &Connection, home: &str) -> Result<(), Failure> {
    let mut home = home;
    while home != QUOTA && on.children(home, false)?.0.is_empty() {
        on.delete(home, -1)?;
        home = home.rsplit_once('/').map_or(QUOTA, |(parent, _)| parent);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_in_java() {
        let mut track = Track::default();
        for (_, name, _) in KINDS {
            track.set(name, -1);
        }
        track.set("count", 10);
        assert_eq!(track.text(), "count=10,bytes=-1=;byteHardLimit=-1;countHardLimit=-1");
        assert_eq!(Track::parse(Some(&track.text().into())).unwrap(), track);
        assert_eq!(
            Track::parse(Some(&Bytes::from_static(b"count=1,bytes=2"))).unwrap().text(),
            "count=1,bytes=2"
        );
        assert!(Track::parse(Some(&Bytes::from_static(b"count=x"))).is_err());
    }

    #[test]
    fn what_is_used_already_is_warned_of() {
        let limits = Track::parse(Some(&Bytes::from_static(b"count=1,bytes=-1"))).unwrap();
        let stats = Track::parse(Some(&Bytes::from_static(b"count=2,bytes=9"))).unwrap();
        assert_eq!(
            warnings(&limits, &stats),
            "[Warning]: the count quota you create is less than the existing count:2\n"
        );
    }
}
