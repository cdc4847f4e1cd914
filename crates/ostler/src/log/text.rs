//! A transaction as text, as Java's `TxnLogToolkit` prints it: the header in one line, then the fields of the record.
//! An ACL ends with a line of its own there, which the text keeps.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use bytes::Bytes;
use ostler_wire::Acl;
use ostler_wire::jute::{Reader, decode_utf8};
use ostler_wire::txn::{CreateKind, CreateTxn, Txn, TxnEntry, TxnHeader};

use crate::java::dates;

/// The entry of a record, its line end included.
pub(super) fn entry(bytes: &Bytes) -> Result<String> {
    let entry = TxnEntry::decode(bytes).context("the record cannot be decoded")?;
    let header = entry.header;
    let mut line = format!(
        "{} session 0x{:x} cxid 0x{:x} zxid 0x{:x} {} ",
        dates::short(header.time_ms),
        header.session.0,
        header.cxid,
        header.zxid.0,
        name(entry.txn.op().to_int()),
    );
    match &entry.txn {
        Txn::Create(create) => put_create(create, &mut line),
        Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
            let _ = write!(line, "{path},{},{version}", text(data.as_ref()));
        }
        Txn::Multi(_) => line.push_str(&parts(bytes)?),
        Txn::CreateSession { timeout_ms } => line.push_str(&timeout_ms.to_string()),
        Txn::CloseSession { paths: None } => {}
        Txn::CloseSession { paths: Some(paths) } => {
            let paths: Vec<String> = paths.iter().map(|path| escaped(path)).collect();
            let _ = write!(line, "v{{{}}}", paths.join(","));
        }
        Txn::Error { code } => line.push_str(&code.to_string()),
        Txn::Delete { path } | Txn::DeleteContainer { path } => line.push_str(&escaped(path)),
        Txn::SetAcl { path, acl, version } => {
            let list: Vec<String> =
                acl.iter().flat_map(|list| list.iter()).map(|acl| format!("s{{{}}}", record(acl))).collect();
            let _ = write!(line, "{},v{{{}}},{version}", escaped(path), list.join(","));
        }
        Txn::Check { path, version } => {
            let _ = write!(line, "{},{version}", escaped(path));
        }
    }
    line.push('\n');
    Ok(line)
}

/// What Java calls a type.
pub(super) fn name(op: i32) -> String {
    let name = match op {
        1 => "create",
        2 => "delete",
        5 => "setData",
        7 => "setACL",
        13 => "check",
        14 => "multi",
        15 => "create2",
        16 => "reconfig",
        19 => "createContainer",
        20 => "deleteContainer",
        21 => "createTTL",
        -10 => "createSession",
        -11 => "closeSession",
        -1 => "error",
        other => return format!("unknown {other}"),
    };
    name.to_owned()
}

fn put_create(create: &CreateTxn, line: &mut String) {
    let acl = match &create.acl {
        None => "null".to_owned(),
        Some(list) => {
            let list: Vec<String> = list.iter().map(|acl| format!("{}\n", record(acl))).collect();
            format!("[{}]", list.join(", "))
        }
    };
    let _ = write!(line, "{},{},{acl},", create.path, text(create.data.as_ref()));
    let _ = match create.kind {
        CreateKind::Plain { ephemeral, .. } => write!(line, "{ephemeral},{}", create.parent_cversion),
        CreateKind::Container => write!(line, "{}", create.parent_cversion),
        CreateKind::Ttl { ttl_ms } => write!(line, "{},{ttl_ms}", create.parent_cversion),
    };
}

/// The parts of a multi, each with its bytes as if they were text.
fn parts(entry: &[u8]) -> Result<String> {
    let mut reader = Reader::new(entry);
    reader.take(TxnHeader::LEN, "txn.header")?;
    let parts = reader.vector("txn.multi", |reader| {
        let op = reader.int("txn.multi.type")?;
        let data = reader.buffer("txn.multi.data")?.unwrap_or_default();
        Ok(format!("{}:{}", name(op), decode_utf8(data)))
    })?;
    Ok(parts.unwrap_or_default().join(";"))
}

fn text(data: Option<&Bytes>) -> std::borrow::Cow<'_, str> {
    data.map_or_else(Default::default, |data| decode_utf8(data))
}

/// The fields of an ACL.
fn record(acl: &Acl) -> String {
    format!("{},s{{{},{}}}", acl.perms, escaped(&acl.id.scheme), escaped(&acl.id.id))
}

/// A text within a record.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    out.push('\'');
    for letter in text.chars() {
        match letter {
            '\0' => out.push_str("%00"),
            '\n' => out.push_str("%0A"),
            '\r' => out.push_str("%0D"),
            ',' => out.push_str("%2C"),
            '}' => out.push_str("%7D"),
            '%' => out.push_str("%25"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use ostler_wire::{SessionId, Zxid};

    use super::*;

    fn shown(txn: Txn) -> String {
        let header = TxnHeader { session: SessionId(-2), cxid: 3, zxid: Zxid(9), time_ms: 0 };
        let mut bytes = Vec::new();
        TxnEntry { header, txn, digest: None }.encode(&mut bytes);
        let line = entry(&bytes.into()).unwrap();
        line.split_once(" session ").unwrap().1.to_owned()
    }

    #[test]
    fn records_read_as_in_java() {
        let acl = Some(Acl::open().into());
        assert_eq!(
            shown(Txn::SetAcl { path: "/a,b".into(), acl: acl.clone(), version: 1 }),
            "0xfffffffffffffffe cxid 0x3 zxid 0x9 setACL '/a%2Cb,v{s{31,s{'world,'anyone}}},1\n"
        );
        let create = CreateTxn {
            kind: CreateKind::Ttl { ttl_ms: 5 },
            path: "/t".into(),
            data: None,
            acl,
            parent_cversion: 2,
        };
        assert!(shown(Txn::Create(create)).ends_with("createTTL /t,,[31,s{'world,'anyone}\n],2,5\n"));
        assert!(shown(Txn::CloseSession { paths: None }).ends_with("closeSession \n"));
        assert!(shown(Txn::CloseSession { paths: Some(vec![]) }).ends_with("closeSession v{}\n"));
        assert!(shown(Txn::Multi(vec![Txn::Error { code: 0 }])).ends_with("multi error:\0\0\0\0\n"));
    }
}
