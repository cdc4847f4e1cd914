//! Frames from a server, turned into comparable text: times become `T`, sessions their number, sets are sorted.

use super::op;
use super::raw::{Dec, show};
use super::side::Side;

/// One frame, decoded and normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The xid in the header.
    pub(crate) xid: i32,
    /// The zxid in the header.
    pub(crate) zxid: i64,
    /// The error code in the header.
    pub(crate) err: i32,
    /// The normalised body.
    pub(crate) body: String,
    /// Paths that the reply says were created, with the results' ephemeral owner where it is told.
    pub(crate) created: Vec<String>,
    /// False when a multi failed, or the error code is not 0.
    pub(crate) success: bool,
}

impl Item {
    /// A line for comparison and report.
    pub(crate) fn line(&self) -> String {
        format!("xid={} zxid={:#x} err={} {}", self.xid, self.zxid, self.err, self.body)
    }
}

/// Decodes one frame that answers a request of kind `code` (`None`: a notification).
pub(crate) fn decode(side: &Side, frame: &[u8], code: Option<i32>) -> Item {
    let mut dec = Dec::new(frame);
    let Some((xid, zxid, err)) = header(&mut dec) else {
        let body = format!("no reply header: {}", show(frame));
        return Item { xid: 0, zxid: 0, err: 0, body, created: Vec::new(), success: false };
    };
    let mut seen = Seen { side, created: Vec::new(), success: err == 0 };
    let body = if err == 0 {
        let mut body_dec = dec.clone();
        let text = match code {
            None => event(&mut body_dec),
            Some(code) => seen.body(code, &mut body_dec),
        };
        match text {
            Some(text) if body_dec.rest().is_empty() => text,
            Some(text) => format!("{text} + trailing {}", show(body_dec.rest())),
            None => format!("undecodable body {}", show(dec.rest())),
        }
    } else if dec.rest().is_empty() {
        String::new()
    } else {
        format!("bytes behind an error: {}", show(dec.rest()))
    };
    Item { xid, zxid, err, body, created: seen.created, success: seen.success }
}

fn header(dec: &mut Dec<'_>) -> Option<(i32, i64, i32)> {
    Some((dec.int()?, dec.long()?, dec.int()?))
}

fn event(dec: &mut Dec<'_>) -> Option<String> {
    let kind = match dec.int()? {
        1 => "created".to_owned(),
        2 => "deleted".to_owned(),
        3 => "data_changed".to_owned(),
        4 => "children_changed".to_owned(),
        other => format!("type{other}"),
    };
    let state = dec.int()?;
    Some(format!("event {kind} state={state} {}", dec.string()?))
}

struct Seen<'a> {
    side: &'a Side,
    created: Vec<String>,
    success: bool,
}

impl Seen<'_> {
    fn body(&mut self, code: i32, dec: &mut Dec<'_>) -> Option<String> {
        Some(match code {
            op::CREATE => self.create(dec)?,
            op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
                let path = self.create(dec)?;
                format!("{path} {}", self.stat(dec)?)
            }
            op::EXISTS | op::SET_DATA | op::SET_ACL => self.stat(dec)?,
            op::GET_DATA | op::RECONFIG => {
                let data = dec.buffer()?.map_or_else(|| "null".to_owned(), show);
                format!("data={data} {}", self.stat(dec)?)
            }
            op::GET_ACL => {
                let list = acl(dec)?;
                format!("{list} {}", self.stat(dec)?)
            }
            op::GET_CHILDREN | op::GET_EPHEMERALS => sorted_strings(dec)?,
            op::GET_CHILDREN2 => {
                let list = sorted_strings(dec)?;
                format!("{list} {}", self.stat(dec)?)
            }
            op::SYNC => dec.string()?,
            op::MULTI | op::MULTI_READ => self.multi(dec)?,
            op::GET_ALL_CHILDREN_NUMBER | op::ADD_WATCH => dec.int()?.to_string(),
            op::WHO_AM_I => {
                let count = dec.count()?;
                let mut users = Vec::new();
                for _ in 0..count {
                    users.push(format!("{}:{}", dec.string()?, dec.string()?));
                }
                users.sort();
                format!("{users:?}")
            }
            op::SASL => format!("token={:?}", dec.buffer()?.map(show)),
            _ => String::new(),
        })
    }

    fn create(&mut self, dec: &mut Dec<'_>) -> Option<String> {
        let path = dec.string()?;
        self.created.push(path.clone());
        Some(format!("path={path}"))
    }

    fn stat(&self, dec: &mut Dec<'_>) -> Option<String> {
        let (czxid, mzxid) = (dec.long()?, dec.long()?);
        let (ctime, mtime) = (time(dec.long()?), time(dec.long()?));
        let (version, cversion, aversion) = (dec.int()?, dec.int()?, dec.int()?);
        let owner = self.side.owner(dec.long()?);
        let (length, children, pzxid) = (dec.int()?, dec.int()?, dec.long()?);
        Some(format!(
            "stat[c={czxid:#x} m={mzxid:#x} p={pzxid:#x} ct={ctime} mt={mtime} v={version} cv={cversion} \
             av={aversion} owner={owner} len={length} children={children}]"
        ))
    }

    fn multi(&mut self, dec: &mut Dec<'_>) -> Option<String> {
        let mut text = String::from("[");
        loop {
            let (code, done, err) = (dec.int()?, dec.byte()?, dec.int()?);
            if done != 0 {
                text.push_str(&format!("] end({code},{done},{err})"));
                return Some(text);
            }
            let part = if code == -1 {
                self.success = false;
                format!("error {}", dec.int()?)
            } else {
                format!("{} {}", op::name(code), self.body(code, dec)?)
            };
            text.push_str(&format!("({part} err={err})"));
        }
    }
}

/// A wall-clock time: 0 stays, a plausible one becomes `T`, anything else is shown.
fn time(ms: i64) -> String {
    match ms {
        0 => "0".to_owned(),
        1_600_000_000_000..4_000_000_000_000 => "T".to_owned(),
        other => other.to_string(),
    }
}

/// An access list; sorted where the `auth` scheme may have expanded it in any order.
fn acl(dec: &mut Dec<'_>) -> Option<String> {
    let count = dec.count()?;
    let mut entries = Vec::new();
    let mut identities = 0;
    for _ in 0..count {
        let perms = dec.int()?;
        let (scheme, id) = (dec.string()?, dec.string()?);
        identities += usize::from(scheme == "digest");
        entries.push(format!("{perms}:{scheme}:{id}"));
    }
    if identities > 1 {
        entries.sort();
    }
    Some(format!("acl={entries:?}"))
}

fn sorted_strings(dec: &mut Dec<'_>) -> Option<String> {
    let count = dec.count()?;
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(dec.string()?);
    }
    names.sort();
    Some(format!("{names:?}"))
}
