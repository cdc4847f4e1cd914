//! A transaction as one line of JSON. Data that is text is a string; other data is in `dataBase64`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ostler_wire::txn::{CreateKind, Txn, TxnEntry};
use ostler_wire::{Acl, DecodeError};
use serde_json::{Map, Value, json};

use super::text;
use crate::java::dates;
use crate::perms;

/// The entry of a record.
pub(super) fn entry(offset: u64, bytes: &Bytes, checksum_ok: bool) -> Result<Value, DecodeError> {
    let entry = TxnEntry::decode(bytes)?;
    let header = entry.header;
    let mut object = Map::new();
    object.insert("offset".into(), json!(offset));
    object.insert("zxid".into(), json!(format!("0x{:x}", header.zxid.0)));
    object.insert("session".into(), json!(format!("0x{:x}", header.session.0)));
    object.insert("cxid".into(), json!(header.cxid));
    object.insert("time".into(), json!(dates::iso(header.time_ms)));
    put_txn(&entry.txn, &mut object);
    if let Some(digest) = entry.digest {
        object.insert("digest".into(), json!(digest.digest));
    }
    if !checksum_ok {
        object.insert("checksumError".into(), json!(true));
    }
    Ok(Value::Object(object))
}

fn put_txn(txn: &Txn, object: &mut Map<String, Value>) {
    let mut put = |key: &str, value: Value| {
        object.insert(key.to_owned(), value);
    };
    put("type", json!(text::name(txn.op().to_int())));
    match txn {
        Txn::CreateSession { timeout_ms } => put("timeoutMs", json!(timeout_ms)),
        Txn::CloseSession { paths } => put("ephemerals", json!(paths)),
        Txn::Error { code } => put("error", json!(code)),
        Txn::Create(create) => {
            put("path", json!(create.path));
            put_data(create.data.as_deref(), object);
            object.insert("acl".into(), acl_list(create.acl.as_deref()));
            match create.kind {
                CreateKind::Plain { ephemeral, .. } => object.insert("ephemeral".into(), json!(ephemeral)),
                CreateKind::Container => None,
                CreateKind::Ttl { ttl_ms } => object.insert("ttlMs".into(), json!(ttl_ms)),
            };
            object.insert("parentCversion".into(), json!(create.parent_cversion));
        }
        Txn::Delete { path } | Txn::DeleteContainer { path } => put("path", json!(path)),
        Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
            put("path", json!(path));
            put("version", json!(version));
            put_data(data.as_deref(), object);
        }
        Txn::SetAcl { path, acl, version } => {
            put("path", json!(path));
            put("version", json!(version));
            put("acl", acl_list(acl.as_deref()));
        }
        Txn::Check { path, version } => {
            put("path", json!(path));
            put("version", json!(version));
        }
        Txn::Multi(parts) => {
            let parts: Vec<Value> = parts
                .iter()
                .map(|part| {
                    let mut object = Map::new();
                    put_txn(part, &mut object);
                    Value::Object(object)
                })
                .collect();
            put("ops", Value::Array(parts));
        }
    }
}

/// Data under the name that says what it is.
pub(crate) fn put_data(data: Option<&[u8]>, object: &mut Map<String, Value>) {
    match data.map(|data| (data, std::str::from_utf8(data))) {
        None => object.insert("data".into(), Value::Null),
        Some((_, Ok(text))) => object.insert("data".into(), json!(text)),
        Some((data, Err(_))) => object.insert("dataBase64".into(), json!(STANDARD.encode(data))),
    };
}

/// A list of ACLs.
pub(crate) fn acl_list(list: Option<&[Acl]>) -> Value {
    list.map_or(Value::Null, |list| {
        list.iter()
            .map(|acl| json!({"scheme": acl.id.scheme, "id": acl.id.id, "perms": perms::letters(acl.perms)}))
            .collect()
    })
}
