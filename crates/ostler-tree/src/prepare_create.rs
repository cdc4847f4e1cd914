//! Deciding a create: the longest list of checks, for four opcodes and seven modes. Answers to
//! `pRequest2TxnCreate`.

use bytes::Bytes;
use ostler_wire::acl::perms;
use ostler_wire::client::write::{Create, CreateMode};
use ostler_wire::txn::{CreateKind, CreateTxn, Txn};
use ostler_wire::zoo::{self, Mutation};
use ostler_wire::{Code, OpCode, path};

use crate::acl;
use crate::apply::created_stat;
use crate::node::MAX_NAME;
use crate::outstanding::View;
use crate::owner;
use crate::prepare::{Decision, parent_text};

impl Decision<'_> {
    pub(crate) fn create(&mut self, create: Create) -> Result<Txn, Code> {
        let mode = CreateMode::from_flags(create.flags).ok_or(Code::BadArguments)?;
        let kind = self.kind(&create, mode)?;
        if mode.is_ephemeral() && self.asker.session_local {
            return Err(Code::EphemeralOnLocalSession);
        }
        self.check_session()?;
        let mut path = create.path.ok_or(Code::MarshallingError)?;
        if !path::has_parent(&path) || path.len() > MAX_NAME {
            return Err(Code::BadArguments);
        }
        let acl = acl::fixup(create.acl.as_deref(), self.asker.ids, &self.store.config)?;
        let mut parent = self.view(parent_text(&path))?;
        self.permit(&parent.acl, perms::CREATE)?;
        if mode.is_sequential() {
            let number = if zoo::is(Mutation::SequenceOfChildren) {
                i32::try_from(parent.children).unwrap_or(i32::MAX)
            } else {
                parent.stat.cversion
            };
            path.push_str(&suffix(number));
        }
        if !path::is_valid(&path) {
            return Err(Code::BadArguments);
        }
        if self.outstanding.exists(self.store, &path) {
            return Err(Code::NodeExists);
        }
        if self.store.lifetime(parent.stat.ephemeral_owner).is_session() {
            return Err(Code::NoChildrenForEphemerals);
        }
        let data_len = create.data.as_ref().map_or(0, Bytes::len);
        self.check_quota(&path, data_len, None)?;

        let parent_cversion = parent.stat.cversion.wrapping_add(1);
        parent.children += 1;
        // Just as it will be applied: once the counter has reached its end it stays there.
        if parent_cversion > parent.stat.cversion {
            (parent.stat.cversion, parent.stat.pzxid) = (parent_cversion, self.zxid.0);
        }
        self.put(path::parent(&path), Some(parent), false);
        let acl = Some(acl);
        let view = View {
            stat: created_stat(kind, self.asker.session, self.zxid, self.time_ms),
            children: 0,
            acl: acl.clone(),
            data_len,
            crc: self.crc(&path, create.data.as_deref()),
        };
        self.put(&path, Some(view), true);
        Ok(Txn::Create(CreateTxn { kind, path, data: create.data, acl, parent_cversion }))
    }

    /// What will be stored: the opcode decides, and the mode must go with the time to live.
    fn kind(&self, create: &Create, mode: CreateMode) -> Result<CreateKind, Code> {
        if mode.is_ttl() && !self.store.config.extended_types {
            return Err(Code::Unimplemented);
        }
        // Java lets a createTTL without a TTL mode pass and then dies of it.
        let is_ttl_op = create.op == OpCode::CreateTtl;
        let ttl_fits = if mode.is_ttl() { owner::of_ttl(create.ttl).is_some() } else { create.ttl < 0 };
        if mode.is_ttl() != is_ttl_op || !ttl_fits {
            return Err(Code::BadArguments);
        }
        Ok(if is_ttl_op {
            CreateKind::Ttl { ttl_ms: create.ttl }
        } else if create.op == OpCode::CreateContainer {
            CreateKind::Container
        } else {
            CreateKind::Plain { second: create.op == OpCode::Create2, ephemeral: mode.is_ephemeral() }
        })
    }
}

/// The number of a sequential node: ten digits, of which a sign takes one.
fn suffix(counter: i32) -> String {
    format!("{counter:010}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_those_of_java() {
        for (counter, text) in [
            (0, "0000000000"),
            (13, "0000000013"),
            (-1, "-000000001"),
            (i32::MIN, "-2147483648"),
            (i32::MAX, "2147483647"),
        ] {
            assert_eq!(suffix(counter), text);
        }
    }
}
