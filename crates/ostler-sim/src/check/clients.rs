//! The clients' histories against the one sequence of transactions. Linear in both: the model is replayed once, and
//! at each zxid everything that was answered with it is compared.

use std::collections::BTreeMap;

use ostler_client::Request;
use ostler_client::session::Ending;
use ostler_wire::client::read::Read;
use ostler_wire::txn::{Txn, TxnEntry};
use ostler_wire::{Code, SessionId, Zxid};

use super::{Violation, answers, violation, watches};
use crate::history::{Expiry, History, Item, Op, Outcome};
use crate::model::{Change, Model};

/// Judges a whole history; `truth` is every transaction that was agreed, oldest first.
pub fn check(truth: &[TxnEntry], history: &History) -> Result<(), Violation> {
    let changes = replay(truth, history)?;
    for (place, story) in history.sessions.iter().enumerate() {
        check_order(place, &story.items, &history.ops)?;
        watches::check(place, story, &history.ops, &changes)?;
    }
    check_expiries(truth, history)
}

/// What a leader says of sessions that are not where the request came from.
const GONE: [Option<Code>; 2] = [Some(Code::SessionMoved), Some(Code::SessionExpired)];

/// Whether a leader refused something for the sake of its session. Apache's looks at it anew for every part of a
/// multi, and writes the refusal as the failure of that part.
fn is_refusal(txn: &Txn) -> bool {
    match txn {
        Txn::Error { code } => GONE.contains(&Code::from_int(*code)),
        Txn::Multi(parts) => {
            parts.iter().find(|part| matches!(part, Txn::Error { code } if *code < 0)).is_some_and(is_refusal)
        }
        _ => false,
    }
}

/// Whether an observer's master had the leader refuse something, since the session had moved to another of its
/// observers, where later requests of it may be done already. Nobody hears of it.
fn is_refused_by_master(txn: &Txn, op: &Op) -> bool {
    *txn == Txn::Error { code: Code::BadArguments.to_int() }
        && !matches!(op.outcome, Outcome::Answered { .. })
}

/// Replays the transactions over the model and compares whatever was answered on the way.
fn replay(truth: &[TxnEntry], history: &History) -> Result<Vec<Change>, Violation> {
    let by_xid = by_xid(&history.ops)?;
    let mut reads = by_zxid(&history.ops, |op| !answers::is_write(&op.request));
    let mut writes = by_zxid(&history.ops, |op| answers::is_write(&op.request));
    let mut model = Model::new();
    let mut changes = Vec::new();
    let mut last_cxid: BTreeMap<SessionId, i32> = BTreeMap::new();
    check_reads(&model, reads.remove(&0), history)?;
    for entry in truth {
        let header = &entry.header;
        let zxid = header.zxid;
        // The leader refuses what comes by a server that does not speak for the session any more.
        let asked = by_xid.get(&(header.session, header.cxid)).map(|place| &history.ops[*place]);
        let refused = history.many_servers
            && (is_refusal(&entry.txn) || asked.is_some_and(|op| is_refused_by_master(&entry.txn, op)));
        let closes = matches!(entry.txn, Txn::CloseSession { .. });
        if closes && !history.many_servers && !model.has_session(header.session) {
            return Err(violation!("{zxid} closes session {}, which is not there", header.session));
        }
        let op = if header.cxid > 0 && !refused {
            // One that expired may be closed once more, by a client that does not know it yet.
            if !model.has_session(header.session) && !closes {
                return Err(violation!("{zxid} is of session {}, which is not there", header.session));
            }
            let last = last_cxid.insert(header.session, header.cxid).unwrap_or(0);
            if last >= header.cxid {
                return Err(violation!(
                    "session {}: xid {} at {zxid} comes after xid {last}",
                    header.session,
                    header.cxid
                ));
            }
            find_op(entry, &by_xid, history)?
        } else {
            None
        };
        if let Some(place) = op {
            let op = &history.ops[place];
            if let Request::Write(write) = &op.request {
                let expected = model.decide(write, header.session, header.time_ms);
                if expected != entry.txn {
                    return Err(violation!("{write:?} became {:?} at {zxid}, not {expected:?}", entry.txn));
                }
            }
        }
        model.apply(entry, &mut changes).map_err(|why| violation!("at {zxid}: {why}"))?;
        for place in writes.remove(&zxid.0).unwrap_or_default() {
            check_answered_write(&model, entry, &history.ops[place], op == Some(place))?;
        }
        check_reads(&model, reads.remove(&zxid.0), history)?;
    }
    if let Some((zxid, places)) = writes.pop_first() {
        let op = &history.ops[places[0]];
        return Err(violation!("{:?} was acknowledged with zxid {zxid:#x}, and it is lost", op.request));
    }
    if let Some((zxid, places)) = reads.pop_first() {
        let op = &history.ops[places[0]];
        return Err(violation!("{:?} was answered with zxid {zxid:#x}, which never was", op.request));
    }
    Ok(changes)
}

fn check_answered_write(model: &Model, entry: &TxnEntry, op: &Op, same: bool) -> Result<(), Violation> {
    let Request::Write(write) = &op.request else { return Ok(()) };
    let Outcome::Answered { zxid, result } = &op.outcome else { return Ok(()) };
    if !same {
        return Err(violation!(
            "{write:?} was acknowledged with {zxid}, and that is xid {} of session {}",
            entry.header.cxid,
            entry.header.session
        ));
    }
    if *zxid <= op.floor {
        return Err(violation!("{write:?} was asked after somebody saw {}, and has {zxid}", op.floor));
    }
    answers::check_write(model, write, entry, result)
}

fn check_reads(model: &Model, places: Option<Vec<usize>>, history: &History) -> Result<(), Violation> {
    for place in places.unwrap_or_default() {
        let op = &history.ops[place];
        let Request::Read(read) = &op.request else { continue };
        let Outcome::Answered { zxid, result } = &op.outcome else { continue };
        let sync = matches!(read, Read::Sync { .. });
        // A leader that was deposed answers syncs until it finds out, as in Java.
        let led = !op.by_deposed && !history.leader_changed(op.asked_us, op.done_us);
        let current = !history.many_servers || (sync && led);
        if *zxid < op.floor && current {
            return Err(violation!("{read:?} was asked after somebody saw {}, and is of {zxid}", op.floor));
        }
        let session = op.sent.map_or(SessionId(0), |sent| sent.session);
        answers::check_read(model, session, read, result)?;
    }
    Ok(())
}

/// The request that a transaction comes from. Every one with an xid has one.
fn find_op(
    entry: &TxnEntry,
    by_xid: &BTreeMap<(SessionId, i32), usize>,
    history: &History,
) -> Result<Option<usize>, Violation> {
    let header = &entry.header;
    if let Some(place) = by_xid.get(&(header.session, header.cxid)) {
        let op = &history.ops[*place];
        if matches!(op.outcome, Outcome::NotDone) {
            return Err(violation!(
                "{:?} was said not to have happened, and is at {}",
                op.request,
                header.zxid
            ));
        }
        return Ok(Some(*place));
    }
    let closes = history
        .sessions
        .iter()
        .any(|story| story.id == Some(header.session) && story.close_xid == Some(header.cxid));
    if closes && matches!(entry.txn, Txn::CloseSession { .. }) {
        return Ok(None);
    }
    Err(violation!("{:?} at {} was asked for by nobody", entry.txn, header.zxid))
}

/// The answers of a session never go back, whatever connection they came by; it keeps its id, and nothing comes
/// after its end.
fn check_order(place: usize, items: &[Item], ops: &[Op]) -> Result<(), Violation> {
    let mut last = Zxid::ZERO;
    let mut id = None;
    let mut ended = false;
    for item in items {
        if ended {
            return Err(violation!("session {place} was told {item:?} after its end"));
        }
        match item {
            Item::Reply(op) => {
                let Outcome::Answered { zxid, .. } = &ops[*op].outcome else { continue };
                if *zxid < last {
                    return Err(violation!("session {place} was answered with {zxid} after {last}"));
                }
                last = *zxid;
            }
            Item::Connected(session) => {
                if *id.get_or_insert(*session) != *session {
                    return Err(violation!("session {place} became {session}"));
                }
            }
            Item::Ended(ending) => {
                if *ending == Ending::AuthFailed {
                    return Err(violation!("session {place} was refused for credentials that it never gave"));
                }
                ended = true;
            }
            Item::Event { .. } | Item::Disconnected => {}
        }
    }
    Ok(())
}

/// Nobody expires before its timeout has passed since it sent something that was heard. Of what a client says to one
/// of many servers, its leader is sure to have heard the writes, since it ordered them itself.
fn check_expiries(truth: &[TxnEntry], history: &History) -> Result<(), Violation> {
    let is_agreed = |expiry: &Expiry| {
        expiry.zxid.is_none_or(|zxid| truth.binary_search_by_key(&zxid, |entry| entry.header.zxid).is_ok())
    };
    for expiry in history.expiries.iter().filter(|expiry| is_agreed(expiry)) {
        let Some((place, story)) =
            history.sessions.iter().enumerate().find(|(_, story)| story.id == Some(expiry.session))
        else {
            continue;
        };
        let heard = history
            .ops
            .iter()
            .filter(|op| op.owner == place && matches!(op.outcome, Outcome::Answered { .. }))
            .filter(|op| op.done_us <= expiry.at_us)
            .filter(|op| !history.many_servers || answers::is_write(&op.request))
            .filter_map(|op| op.sent.map(|sent| sent.at_us))
            .max();
        if let Some(heard) = heard
            && expiry.at_us < heard + story.timeout_ms * 1000
        {
            return Err(violation!(
                "session {} expired {} ms after it was heard from; its timeout is {} ms",
                expiry.session,
                (expiry.at_us - heard) / 1000,
                story.timeout_ms
            ));
        }
    }
    Ok(())
}

fn by_xid(ops: &[Op]) -> Result<BTreeMap<(SessionId, i32), usize>, Violation> {
    let mut map = BTreeMap::new();
    for (place, op) in ops.iter().enumerate() {
        if let Some(sent) = op.sent
            && map.insert((sent.session, sent.xid), place).is_some()
        {
            return Err(violation!("session {} used xid {} twice", sent.session, sent.xid));
        }
    }
    Ok(map)
}

fn by_zxid(ops: &[Op], which: impl Fn(&Op) -> bool) -> BTreeMap<i64, Vec<usize>> {
    let mut map: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (place, op) in ops.iter().enumerate() {
        if let Outcome::Answered { zxid, .. } = &op.outcome
            && which(op)
        {
            map.entry(zxid.0).or_default().push(place);
        }
    }
    map
}
