//! Whole subtrees, which Java's shell leaves to scripts: shown as a tree, searched, weighed, copied, written to a file
//! and read from one.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ostler_wire::client::write::CreateMode;
use ostler_wire::{Acl, Code, Stat};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Failure};
use super::connection::Connection;
use super::nodes::check;
use super::paths::join;
use super::table::Call;
use crate::log::json as values;
use crate::perms;

/// How many znodes are looked at or made between two signs of progress.
const STEP: usize = 256;

/// What a znode is by its owner. Of containers and znodes with a time to live, servers tell clients nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Persistent,
    Ephemeral,
}

impl Kind {
    fn of(stat: &Stat) -> Self {
        if stat.ephemeral_owner == 0 { Self::Persistent } else { Self::Ephemeral }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::Ephemeral => "ephemeral",
        }
    }
}

/// The path that a command is about, the root if it names none.
fn from(call: &Call, at: usize) -> &str {
    if call.len() > at { call.arg(at) } else { "/" }
}

/// Says on a terminal how far it is.
fn progress(what: &str, done: usize, of: usize) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let end = if done == of { "\n" } else { "" };
        let _ = write!(err, "\r{what} {done} of {of} znodes{end}").and_then(|()| err.flush());
    }
}

pub(super) fn tree(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = from(call, 1);
    let depth = call.number::<usize>("d")?.unwrap_or(usize::MAX);
    check(path)?;
    let mut text = format!("{path}\n");
    let json = branch(on, path, "", depth, &mut text)?;
    Ok(Answer::out(text, json!({"path": path, "children": json})))
}

/// Writes what is below a path; each level is asked for at once.
fn branch(
    on: &Connection,
    path: &str,
    indent: &str,
    depth: usize,
    text: &mut String,
) -> Result<Value, Failure> {
    let mut object = Map::new();
    if depth == 0 {
        return Ok(Value::Object(object));
    }
    let mut names = match on.children(path, false) {
        Ok((names, _)) => names,
        // It went meanwhile.
        Err(failure) if failure.code == Some(Code::NoNode) && !indent.is_empty() => {
            return Ok(Value::Object(object));
        }
        Err(failure) => return Err(failure),
    };
    names.sort();
    let paths: Vec<String> = names.iter().map(|name| join(path, name)).collect();
    let stats = on.children_of(&paths)?;
    for (at, (name, (_, stat))) in names.iter().zip(stats).enumerate() {
        let (own, below) =
            if at + 1 == names.len() { ("└── ", "    ") } else { ("├── ", "│   ") };
        let stat = stat.unwrap_or_default();
        let kind = match Kind::of(&stat) {
            Kind::Persistent => String::new(),
            other => format!(" ({})", other.word()),
        };
        let _ = writeln!(text, "{indent}{own}{name}{kind}");
        let children = if stat.num_children > 0 {
            branch(on, &paths[at], &format!("{indent}{below}"), depth - 1, text)?
        } else {
            json!({})
        };
        object.insert(name.clone(), children);
    }
    Ok(Value::Object(object))
}

pub(super) fn du(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = from(call, 1);
    let depth = call.number::<usize>("d")?.unwrap_or(1);
    let tree = on.subtree(path)?;
    let mut weights = std::collections::BTreeMap::<String, (u64, u64)>::new();
    let mut done = 0;
    for paths in tree.chunks(STEP) {
        for (found, data) in paths.iter().zip(on.data_of(paths)?) {
            let Some((data, _)) = data else { continue };
            let bytes = data.map_or(0, |data| data.len() as u64);
            // Counted for itself and for everything above it, up to where we began.
            let mut at = found.as_str();
            loop {
                let weight = weights.entry(at.to_owned()).or_default();
                weight.0 += bytes;
                weight.1 += 1;
                if at == path {
                    break;
                }
                at = ostler_wire::path::parent(at);
            }
        }
        done += paths.len();
        progress("weighed", done, tree.len());
    }
    let level = |found: &str| found.matches('/').count() - usize::from(found == "/");
    let base = level(path);
    let mut shown: Vec<_> = weights.into_iter().filter(|(found, _)| level(found) - base <= depth).collect();
    shown.sort_by(|(a, (left, _)), (b, (right, _))| right.cmp(left).then_with(|| a.cmp(b)));
    let mut text = String::new();
    for (found, (bytes, nodes)) in &shown {
        let _ = writeln!(text, "{bytes:>12} bytes {nodes:>9} znodes  {found}");
    }
    let json: Vec<Value> = shown
        .iter()
        .map(|(found, (bytes, nodes))| json!({"path": found, "bytes": bytes, "znodes": nodes}))
        .collect();
    Ok(Answer::out(text, json!({"path": path, "subtrees": json})))
}

pub(super) fn find(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = from(call, 1);
    let (name, wanted) = (call.parsed.value("name"), call.parsed.value("data"));
    let kind = match call.parsed.value("type") {
        None => None,
        Some("p") => Some(Kind::Persistent),
        Some("e") => Some(Kind::Ephemeral),
        Some(other) => return Err(Failure::new(format!("-type is p or e, not '{other}'"))),
    };
    let size = call.parsed.value("size").map(parse_size).transpose()?;
    let tree = on.subtree(path)?;
    let (mut text, mut found) = (String::new(), Vec::new());
    let by_content = wanted.is_some() || kind.is_some() || size.is_some();
    for paths in tree.chunks(STEP) {
        let named: Vec<String> = paths
            .iter()
            .filter(|path| name.is_none_or(|glob| matches(glob, path.rsplit('/').next().unwrap_or_default())))
            .cloned()
            .collect();
        let contents = if by_content { on.data_of(&named)? } else { vec![None; named.len()] };
        for (path, content) in named.into_iter().zip(contents) {
            let fits = !by_content
                || content.is_some_and(|(data, stat)| {
                    let data = data.unwrap_or_default();
                    kind.is_none_or(|kind| kind == Kind::of(&stat))
                        && size.is_none_or(|size| size.fits(data.len()))
                        && wanted.is_none_or(|wanted| String::from_utf8_lossy(&data).contains(wanted))
                });
            if fits {
                let _ = writeln!(text, "{path}");
                found.push(path);
            }
        }
    }
    Ok(Answer::out(text, json!({"paths": found})))
}

/// Bytes: exactly, more (`+n`) or fewer (`-n`).
#[derive(Debug, Clone, Copy)]
enum Size {
    Exactly(usize),
    Above(usize),
    Below(usize),
}

impl Size {
    fn fits(self, bytes: usize) -> bool {
        match self {
            Self::Exactly(n) => bytes == n,
            Self::Above(n) => bytes > n,
            Self::Below(n) => bytes < n,
        }
    }
}

fn parse_size(text: &str) -> Result<Size, Failure> {
    let (make, digits): (fn(usize) -> Size, &str) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(digits), _) => (Size::Above, digits),
        (None, Some(digits)) => (Size::Below, digits),
        (None, None) => (Size::Exactly, text),
    };
    let bytes =
        digits.parse().map_err(|_| Failure::new(format!("-size is bytes, +bytes or -bytes, not '{text}'")));
    bytes.map(make)
}

/// Whether a name fits a pattern with `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star was, and how much it has taken: all that there is to go back to.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) && pattern[p] != '*' {
            (p, n) = (p + 1, n + 1);
        } else if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, n) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|letter| *letter == '*')
}

/// A znode on its way to another place.
struct Parcel {
    /// The path below the one that was copied; empty for that itself.
    path: String,
    data: Option<Bytes>,
    acl: Option<Vec<Acl>>,
    kind: Kind,
}

/// What is in a subtree.
fn pack(on: &Connection, path: &str, with_acls: bool, what: &str) -> Result<Vec<Parcel>, Failure> {
    let tree = on.subtree(path)?;
    let mut parcels = Vec::with_capacity(tree.len());
    let mut done = 0;
    for paths in tree.chunks(STEP) {
        let acls = if with_acls { on.acl_of(paths)? } else { vec![None; paths.len()] };
        for ((found, content), acl) in paths.iter().zip(on.data_of(paths)?).zip(acls) {
            let Some((data, stat)) = content else { continue };
            let below = if path == "/" { found.as_str() } else { &found[path.len()..] };
            let below = if below == "/" { "" } else { below };
            parcels.push(Parcel { path: below.to_owned(), data, acl, kind: Kind::of(&stat) });
        }
        done += paths.len();
        progress(what, done, tree.len());
    }
    Ok(parcels)
}

/// What became of parcels.
#[derive(Debug, Default)]
struct Delivered {
    created: usize,
    replaced: usize,
    left_out: usize,
}

/// Creates znodes below a path. Ephemerals are left out: they would be ours. With `over` what is there gets the data.
fn unpack(on: &Connection, to: &str, parcels: &[Parcel], over: bool) -> Result<Delivered, Failure> {
    let mut delivered = Delivered::default();
    let open = Acl::open();
    for (at, parcel) in parcels.iter().enumerate() {
        let path = match (to, parcel.path.as_str()) {
            (to, "") => to.to_owned(),
            ("/", below) => below.to_owned(),
            (to, below) => format!("{to}{below}"),
        };
        // The servers' own are there already, and not for us to change.
        let is_theirs = ostler_wire::path::is_under(&path, ostler_wire::path::ZOOKEEPER);
        if parcel.kind == Kind::Ephemeral || is_theirs {
            delivered.left_out += 1;
            continue;
        }
        let acl = parcel.acl.as_deref().unwrap_or(&open);
        let created = if path == "/" {
            Err(Failure::of_code(Code::NodeExists, Some("/")))
        } else {
            on.create(&path, parcel.data.clone(), acl, CreateMode::Persistent, None).map(drop)
        };
        match created {
            Ok(()) => delivered.created += 1,
            Err(failure) if failure.code == Some(Code::NodeExists) && (over || path == "/") => {
                on.set(&path, parcel.data.clone(), -1)?;
                if parcel.acl.is_some() {
                    on.set_acl(&path, acl, -1)?;
                }
                delivered.replaced += 1;
            }
            Err(failure) => return Err(failure),
        }
        if (at + 1) % STEP == 0 || at + 1 == parcels.len() {
            progress("wrote", at + 1, parcels.len());
        }
    }
    Ok(delivered)
}

impl Delivered {
    fn answer(&self) -> Answer {
        let Self { created, replaced, left_out } = self;
        let text = format!("{created} created, {replaced} replaced, {left_out} left out\n");
        Answer::out(text, json!({"created": created, "replaced": replaced, "leftOut": left_out}))
    }
}

pub(super) fn copy(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let (source, target) = (call.arg(1), call.arg(2));
    check(target)?;
    if ostler_wire::path::is_under(target, source) {
        return Err(Failure::new(format!("{target} is within {source}")));
    }
    let parcels = pack(on, source, call.parsed.has("a"), "read")?;
    if call.dry_run {
        let left_out = parcels.iter().filter(|parcel| parcel.kind == Kind::Ephemeral).count();
        return Ok(call.would(format!(
            "copy {} znodes from {source} to {target}, and leave out {left_out} ephemeral ones",
            parcels.len() - left_out
        )));
    }
    Ok(unpack(on, target, &parcels, call.parsed.has("f"))?.answer())
}

pub(super) fn export(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let parcels = pack(on, call.arg(1), call.parsed.has("a"), "read")?;
    let mut text = String::new();
    for parcel in &parcels {
        let _ = writeln!(text, "{}", parcel.json());
    }
    if call.len() < 3 {
        return Ok(Answer::out(text, parcels.iter().map(Parcel::json).collect()));
    }
    let file = call.arg(2);
    let written = std::fs::File::create(file)
        .and_then(|mut to| to.write_all(text.as_bytes()).and_then(|()| to.sync_all()));
    written.map_err(|error| Failure::new(format!("cannot write {file}: {error}")))?;
    Ok(Answer::out(
        format!("{} znodes written to {file}\n", parcels.len()),
        json!({"znodes": parcels.len(), "file": file}),
    ))
}

pub(super) fn import(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let (file, target) = (call.arg(1), call.arg(2));
    check(target)?;
    let failed = |error: std::io::Error| Failure::new(format!("cannot read {file}: {error}"));
    let lines: Vec<String> = if file == "-" {
        std::io::stdin().lock().lines().collect::<Result<_, _>>().map_err(failed)?
    } else {
        let opened = std::fs::File::open(file).map_err(failed)?;
        std::io::BufReader::new(opened).lines().collect::<Result<_, _>>().map_err(failed)?
    };
    let mut parcels = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |why: &str| Failure::new(format!("line {} of {file} {why}", at + 1));
        let value: Value =
            serde_json::from_str(line).map_err(|error| wrong(&format!("is no JSON: {error}")))?;
        let mut parcel = Parcel::parse(&value).ok_or_else(|| wrong("is not from an export"))?;
        if !call.parsed.has("a") {
            parcel.acl = None;
        }
        parcels.push(parcel);
    }
    if call.dry_run {
        return Ok(call.would(format!("create {} znodes below {target}", parcels.len())));
    }
    Ok(unpack(on, target, &parcels, call.parsed.has("f"))?.answer())
}

impl Parcel {
    fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("path".to_owned(), json!(self.path));
        values::put_data(self.data.as_deref(), &mut object);
        object.insert("kind".to_owned(), json!(self.kind.word()));
        if let Some(acl) = &self.acl {
            object.insert("acl".to_owned(), values::acl_list(Some(acl)));
        }
        Value::Object(object)
    }

    fn parse(value: &Value) -> Option<Self> {
        let path = value.get("path")?.as_str()?.to_owned();
        if !path.is_empty() && super::paths::validate(&path).is_err() {
            return None;
        }
        let data = match (value.get("data"), value.get("dataBase64")) {
            (_, Some(text)) => Some(STANDARD.decode(text.as_str()?).ok()?.into()),
            (Some(Value::String(text)), None) => Some(Bytes::copy_from_slice(text.as_bytes())),
            (Some(Value::Null) | None, None) => None,
            _ => return None,
        };
        let kind = match value.get("kind").and_then(Value::as_str) {
            Some("ephemeral") => Kind::Ephemeral,
            _ => Kind::Persistent,
        };
        let acl = match value.get("acl") {
            None | Some(Value::Null) => None,
            Some(list) => Some(list.as_array()?.iter().map(parse_acl).collect::<Option<_>>()?),
        };
        Some(Self { path, data, acl, kind })
    }
}

fn parse_acl(value: &Value) -> Option<Acl> {
    let text = |key| value.get(key).and_then(Value::as_str);
    let bits = text("perms")?.chars().map(perms::bit).sum::<Option<i32>>()?;
    Some(Acl::new(bits, text("scheme")?, text("id")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        for (pattern, name, fits) in [
            ("lock-*", "lock-0001", true),
            ("lock-*", "locks", false),
            ("*", "", true),
            ("?", "a", true),
            ("?", "", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("**a", "bca", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn parcels_survive_a_file() {
        let parcel = Parcel {
            path: "/a".to_owned(),
            data: Some(Bytes::from_static(&[0xff, 0])),
            acl: Some(vec![Acl::world(1)]),
            kind: Kind::Ephemeral,
        };
        let back = Parcel::parse(&parcel.json()).unwrap();
        assert_eq!((&back.path, &back.data, &back.acl), (&parcel.path, &parcel.data, &parcel.acl));
        assert_eq!(back.kind, Kind::Ephemeral);
        assert!(Parcel::parse(&json!({"path": "a/../b"})).is_none());
        assert!(Parcel::parse(&json!({"data": "x"})).is_none());
    }
}
