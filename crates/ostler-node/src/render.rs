//! Replies as bytes: what a write came to, in the form that its opcode is answered in.

use ostler_tree::{Outcome, Part};
use ostler_wire::client::reply::{self, MultiHeader};
use ostler_wire::jute::Writer;
use ostler_wire::{OpCode, Zxid};

/// Appends the reply to a write.
pub(crate) fn write_reply(op: OpCode, xid: i32, zxid: Zxid, outcome: &Outcome, out: &mut Vec<u8>) {
    match outcome {
        Outcome::Error(code) => reply::encode_error(xid, zxid, *code, out),
        Outcome::Done | Outcome::Session { .. } => reply::encode_frame(xid, zxid, out, |_| {}),
        Outcome::Created { path, stat } => reply::encode_frame(xid, zxid, out, |out| {
            out.put_string(path);
            if op != OpCode::Create {
                stat.encode(out);
            }
        }),
        Outcome::Stat(stat) => reply::encode_frame(xid, zxid, out, |out| stat.encode(out)),
        Outcome::Multi(parts) => reply::encode_frame(xid, zxid, out, |out| {
            for part in parts {
                multi_part(part, out);
            }
            MultiHeader::END.encode(out);
        }),
    }
}

fn multi_part(part: &Part, out: &mut Vec<u8>) {
    if part.op == OpCode::Error {
        return reply::encode_multi_error(part.err, out);
    }
    MultiHeader { op: part.op.to_int(), done: false, err: 0 }.encode(out);
    match &part.outcome {
        Outcome::Created { path, stat } => {
            out.put_string(path);
            if part.op != OpCode::Create {
                stat.encode(out);
            }
        }
        Outcome::Stat(stat) => stat.encode(out),
        Outcome::Done | Outcome::Session { .. } | Outcome::Error(_) | Outcome::Multi(_) => {}
    }
}
