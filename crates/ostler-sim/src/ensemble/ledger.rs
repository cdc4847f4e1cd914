//! The books of a whole ensemble: what was proposed, what each disk holds, what is committed. Every rule that the
//! protocol promises is checked as the events come, each in about constant time. Zxids name transactions: within an
//! epoch only its leader gives them out, so two entries with one zxid have to be the same.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ostler_store::replay::follows;
use ostler_wire::quorum::{Packet, Vote};
use ostler_wire::txn::TxnEntry;
use ostler_wire::{ServerId, Zxid};
use ostler_zab::{EpochKind, Epochs, LinkId, Peer, Proposal, Quorum, Standing};

use super::settings::{id_of, place_of};
use crate::check::{Violation, violation};

/// One server's history.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// What it was given, oldest first.
    history: Vec<(Zxid, Bytes)>,
    /// Up to here it is on the disk for good.
    durable: Zxid,
    /// So many entries of the front were found equal to the committed ones.
    verified: usize,
    /// The epochs on the disk.
    epochs: Epochs,
    /// A cut or a tree under way: what lies beyond may be gone after a crash.
    floor: Option<Zxid>,
    /// The history that it acknowledged last, and by which link: it says so twice.
    acknowledged: Option<(LinkId, Zxid)>,
    standing: Option<Standing>,
    /// It led when its present turn began, or began to lead in it.
    leads: bool,
}

/// The books of all.
#[derive(Debug)]
pub(super) struct Ledger {
    quorum: Quorum,
    voters: usize,
    /// The last number that an epoch may give out.
    last_counter: u32,
    proposals: BTreeMap<Zxid, Bytes>,
    /// What is committed, oldest first.
    committed: Vec<(Zxid, Bytes)>,
    leaders: BTreeMap<i64, usize>,
    /// The histories of trees that were sent.
    trees: BTreeMap<Zxid, Vec<(Zxid, Bytes)>>,
    digests: BTreeMap<Zxid, i64>,
    /// Links on which NEWLEADER was sent and UPTODATE was not, by who sent it.
    sealed: BTreeSet<(usize, LinkId)>,
    books: Vec<Book>,
    /// Epochs that were established.
    pub established: u64,
}

impl Ledger {
    pub(super) fn new(quorum: Quorum, (voters, servers): (usize, usize), last_counter: Option<u32>) -> Self {
        Self {
            quorum,
            voters,
            last_counter: last_counter.unwrap_or(u32::MAX - 1),
            proposals: BTreeMap::new(),
            committed: Vec::new(),
            leaders: BTreeMap::new(),
            trees: BTreeMap::new(),
            digests: BTreeMap::new(),
            sealed: BTreeSet::new(),
            books: (0..servers).map(|_| Book::default()).collect(),
            established: 0,
        }
    }

    /// Every committed transaction, oldest first.
    pub(super) fn committed(&self) -> &[(Zxid, Bytes)] {
        &self.committed
    }

    /// The newest committed transaction.
    pub(super) fn last_committed(&self) -> Zxid {
        self.committed.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }

    /// A server began with what its disk holds.
    pub(super) fn on_start(&mut self, place: usize, last: Zxid, epochs: Epochs) -> Result<(), Violation> {
        let book = &mut self.books[place];
        let sure = book.floor.take().map_or(book.durable, |floor| floor.min(book.durable));
        if last < sure {
            return Err(violation!("server {} recovered {last}, and {sure} was durable", place + 1));
        }
        if epochs.accepted < book.epochs.accepted || epochs.current < book.epochs.current {
            return Err(violation!(
                "server {} recovered {epochs:?}, and {:?} was durable (Z2)",
                place + 1,
                book.epochs
            ));
        }
        if !book.history.iter().rev().any(|(zxid, _)| *zxid == last) && last != Zxid::ZERO {
            // A tree that came in the place of the log.
            let Some(history) = self.trees.get(&last) else {
                return Err(violation!("server {} recovered {last}, which it was never given", place + 1));
            };
            book.history.clone_from(history);
            book.verified = 0;
        }
        let keep = book.history.partition_point(|(zxid, _)| *zxid <= last);
        book.history.truncate(keep);
        book.verified = book.verified.min(keep);
        book.durable = last;
        book.epochs = epochs;
        book.standing = None;
        book.leads = false;
        Ok(())
    }

    /// A server that does not vote has an empty disk from now on.
    pub(super) fn on_wiped(&mut self, place: usize) {
        let book = &mut self.books[place];
        (book.durable, book.floor, book.epochs, book.verified) = (Zxid::ZERO, None, Epochs::default(), 0);
        book.history.clear();
    }

    /// A server hands a transaction to its log.
    pub(super) fn on_append(&mut self, place: usize, proposal: &Proposal) -> Result<(), Violation> {
        let zxid = proposal.zxid;
        match self.proposals.get(&zxid) {
            Some(bytes) if is_same(bytes, &proposal.bytes) => {}
            Some(_) => return Err(violation!("server {} was given another {zxid} (Z5)", place + 1)),
            None => {
                let epoch = i64::from(zxid.epoch());
                if self.leaders.get(&epoch) != Some(&place) {
                    return Err(violation!(
                        "server {} logs {zxid}, which the leader of its epoch never proposed (Z5)",
                        place + 1
                    ));
                }
                self.proposals.insert(zxid, proposal.bytes.clone());
            }
        }
        if zxid.counter() == 0 || zxid.counter() > self.last_counter {
            return Err(violation!("server {} logs {zxid}, beyond the end of its epoch (Z9)", place + 1));
        }
        let book = &mut self.books[place];
        let last = book.history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        if !follows(last, zxid) {
            return Err(violation!("server {} logs {zxid} behind {last} (Z9)", place + 1));
        }
        book.history.push((zxid, proposal.bytes.clone()));
        Ok(())
    }

    /// A server's log is durable up to here.
    pub(super) fn on_durable(&mut self, place: usize, zxid: Zxid) {
        let book = &mut self.books[place];
        book.durable = book.durable.max(zxid);
    }

    /// A server is about to cut its log, or to put a tree in its place. What is committed may be among what goes: a
    /// learner that comes back forgets what its leader had not committed yet, and is given it anew. Then a quorum has
    /// it without this server.
    pub(super) fn on_about_to_cut(&mut self, place: usize, to: Zxid) -> Result<(), Violation> {
        let book = &mut self.books[place];
        book.floor = Some(to);
        let lost = book.history.iter().rev().map(|(zxid, _)| *zxid).take_while(|zxid| *zxid > to);
        let newest = lost.into_iter().find(|zxid| position(&self.committed, *zxid).is_some());
        let Some(zxid) = newest else { return Ok(()) };
        if place >= self.voters {
            // It is told of nothing else, so its log is a part of the truth, whoever tells it next.
            return Err(violation!(
                "server {} observes, and forgets {zxid}, which is committed (Z8)",
                place + 1
            ));
        }
        let mut holders = self.holders(zxid);
        holders.remove(&id_of(place));
        if self.quorum.is_quorum(&holders) {
            Ok(())
        } else {
            Err(violation!("server {} forgets {zxid}, which is committed (Z8)", place + 1))
        }
    }

    /// Who has a transaction, and all before it, on the disk.
    fn holders(&self, zxid: Zxid) -> BTreeSet<ServerId> {
        self.books
            .iter()
            .enumerate()
            .filter(|(_, book)| book.durable >= zxid && position(&book.history, zxid).is_some())
            .map(|(place, _)| id_of(place))
            .collect()
    }

    /// A log was cut.
    pub(super) fn on_cut(&mut self, place: usize, last: Option<Zxid>) {
        let book = &mut self.books[place];
        book.floor = None;
        let Some(last) = last else { return };
        let keep = book.history.partition_point(|(zxid, _)| *zxid <= last);
        book.history.truncate(keep);
        book.verified = book.verified.min(keep);
        book.durable = last;
    }

    /// A tree took the place of a log.
    pub(super) fn on_saved(&mut self, place: usize, zxid: Zxid) -> Result<(), Violation> {
        let Some(history) = self.trees.get(&zxid) else {
            return Err(violation!("server {} takes a tree of {zxid}, which nobody sent", place + 1));
        };
        let book = &mut self.books[place];
        book.floor = None;
        book.history.clone_from(history);
        book.verified = 0;
        book.durable = zxid;
        Ok(())
    }

    /// An epoch of a server is durable.
    pub(super) fn on_epoch(&mut self, place: usize, which: EpochKind, epoch: i64) -> Result<(), Violation> {
        let book = &self.books[place];
        let last = book.history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        if which == EpochKind::Current && book.durable < last {
            return Err(violation!(
                "server {} writes epoch {epoch}, and its disk has {} of its history up to {last} (Z10)",
                place + 1,
                book.durable
            ));
        }
        let promised = self.books.iter().enumerate().filter(|(_, book)| book.epochs.accepted >= epoch);
        let promised: BTreeSet<ServerId> = promised.map(|(place, _)| id_of(place)).collect();
        if which == EpochKind::Current && !self.quorum.is_quorum(&promised) {
            return Err(violation!(
                "server {} is in epoch {epoch}, which only {promised:?} accepted (Z2)",
                place + 1
            ));
        }
        let epochs = &mut self.books[place].epochs;
        let before = *epochs;
        match which {
            EpochKind::Accepted => epochs.accepted = epoch,
            EpochKind::Current => epochs.current = epoch,
        }
        if epochs.accepted < before.accepted || epochs.current < before.current {
            return Err(violation!("server {}: {before:?} became {epochs:?} (Z2)", place + 1));
        }
        if epochs.current > epochs.accepted {
            return Err(violation!("server {} has {epochs:?} (Z2)", place + 1));
        }
        Ok(())
    }

    /// A server sends a packet.
    pub(super) fn on_send(&mut self, place: usize, link: LinkId, packet: &Packet) -> Result<(), Violation> {
        if let Packet::Commit { zxid } | Packet::Inform { zxid, .. } = packet
            && self.books[place].leads
        {
            self.on_committed(place, *zxid)?;
        }
        if let Packet::Commit { zxid } | Packet::Inform { zxid, .. } = packet
            && matches!(self.books[place].standing, Some(Standing::Following { .. }))
            && position(&self.committed, *zxid).is_none()
        {
            return Err(violation!(
                "server {} tells an observer of {zxid}, which is not committed (Z4)",
                place + 1
            ));
        }
        match packet {
            Packet::NewLeader { .. } => drop(self.sealed.insert((place, link))),
            Packet::UpToDate => drop(self.sealed.remove(&(place, link))),
            // A learner of 3.9 has nothing to apply it to, and forgets it (ZOOKEEPER-4394).
            Packet::Commit { zxid } | Packet::Inform { zxid, .. } if self.sealed.contains(&(place, link)) => {
                return Err(violation!(
                    "server {} sends the commit of {zxid} before UPTODATE (Z5)",
                    place + 1
                ));
            }
            _ => {}
        }
        let book = &mut self.books[place];
        match packet {
            Packet::Snap { zxid } => {
                let end = book.history.partition_point(|(at, _)| at <= zxid);
                let history = book.history[..end].to_vec();
                if history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid) != *zxid {
                    return Err(violation!(
                        "server {} sends a tree of {zxid}, which it never was",
                        place + 1
                    ));
                }
                self.trees.insert(*zxid, history);
            }
            Packet::Ack { zxid } if book.acknowledged == Some((link, *zxid)) => {}
            Packet::Ack { zxid } if zxid.counter() == 0 => {
                let last = book.history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
                let epoch = i64::from(zxid.epoch());
                book.acknowledged = Some((link, *zxid));
                if book.epochs.current != epoch || book.durable < last {
                    return Err(violation!(
                        "server {} acknowledges epoch {epoch} with {:?} and {} of {last} on disk (Z10)",
                        place + 1,
                        book.epochs,
                        book.durable
                    ));
                }
            }
            Packet::Ack { zxid } if book.durable < *zxid => {
                return Err(violation!(
                    "server {} acknowledges {zxid}, and its disk is at {} (Z10)",
                    place + 1,
                    book.durable
                ));
            }
            Packet::AckEpoch { last, .. } if *last > book.durable => {
                return Err(violation!("server {} says that it has {last} (Z11)", place + 1));
            }
            Packet::AckEpoch { current_epoch: Some(epoch), .. } if *epoch > book.epochs.current => {
                return Err(violation!("server {} says that it is in epoch {epoch} (Z11)", place + 1));
            }
            Packet::FollowerInfo { accepted_epoch, .. } | Packet::ObserverInfo { accepted_epoch, .. }
                if *accepted_epoch > book.epochs.accepted =>
            {
                return Err(violation!("server {} says that it accepted {accepted_epoch} (Z11)", place + 1));
            }
            Packet::LeaderInfo { epoch } if *epoch > book.epochs.accepted => {
                return Err(violation!(
                    "server {} offers epoch {epoch} and has not written it (Z2)",
                    place + 1
                ));
            }
            _ => {}
        }
        Ok(())
    }

    /// A server votes.
    pub(super) fn on_vote(&mut self, place: usize, vote: Vote) -> Result<(), Violation> {
        let book = &self.books[place];
        if vote.leader == id_of(place)
            && (vote.zxid > book.durable
                || vote.epoch > book.epochs.current.max(i64::from(book.durable.epoch())))
        {
            // Once elected it says the epoch that it leads, which is no claim about the past.
            if book.standing.is_none() {
                return Err(violation!("server {} votes for itself with {vote:?} (Z11)", place + 1));
            }
        }
        Ok(())
    }

    /// A server's node had its turn: what it is, what is committed, and where its tree stands.
    pub(super) fn on_turn(
        &mut self,
        place: usize,
        peer: &Peer,
        standing: Standing,
        applied: Zxid,
    ) -> Result<(), Violation> {
        self.note_standing(place, standing)?;
        self.books[place].leads = matches!(standing, Standing::Leading { .. });
        match standing {
            Standing::Looking => return Ok(()),
            Standing::Solo => return Err(violation!("server {} is alone", place + 1)),
            Standing::Leading { .. } if peer.is_serving() => self.on_committed(place, peer.committed())?,
            Standing::Leading { .. } | Standing::Following { .. } => {}
        }
        if peer.is_serving() && applied > self.last_committed() {
            return Err(violation!(
                "server {} serves {applied}, and {} is committed (Z4)",
                place + 1,
                self.last_committed()
            ));
        }
        let durable = self.books[place].durable;
        if peer.is_serving() && applied > durable {
            return Err(violation!(
                "server {} serves {applied}, and its disk is at {durable} (Z11)",
                place + 1
            ));
        }
        self.verify(place, applied)
    }

    /// The place of whoever led the newest epoch that was established, whether it lives or not.
    pub(super) fn newest_leader(&self) -> Option<usize> {
        self.leaders.values().next_back().copied()
    }

    /// What a server is now, in the middle of its turn.
    pub(super) fn note_standing(&mut self, place: usize, standing: Standing) -> Result<(), Violation> {
        let known = self.books[place].standing.unwrap_or(Standing::Looking);
        if known == standing { Ok(()) } else { self.on_standing(place, standing) }
    }

    fn on_standing(&mut self, place: usize, standing: Standing) -> Result<(), Violation> {
        self.books[place].standing = (standing != Standing::Looking).then_some(standing);
        let Standing::Leading { epoch } = standing else { return Ok(()) };
        if self.quorum.weight(id_of(place)) == 0 {
            return Err(violation!("server {} leads, and its weight is 0 (Z1)", place + 1));
        }
        if let Some(other) = self.leaders.insert(epoch, place)
            && other != place
        {
            return Err(violation!("servers {} and {} lead epoch {epoch} (Z1)", other + 1, place + 1));
        }
        self.established += 1;
        self.books[place].leads = true;
        // All that epochs before this one committed must be here (Z7), and all that is here is committed from now on. One
        // that stood still may learn of its quorum's acknowledgements when another leads a later epoch already; what it
        // has was kept by that quorum, so it is a part of what the later epoch goes on with.
        let earlier = self.committed.partition_point(|(zxid, _)| i64::from(zxid.epoch()) < epoch);
        let history = &self.books[place].history;
        let last = earlier.checked_sub(1).map_or(Zxid::ZERO, |at| self.committed[at].0);
        let missing = history.len() < earlier || (last > Zxid::ZERO && position(history, last).is_none());
        if missing {
            return Err(violation!("server {} leads epoch {epoch} and lacks {last} (Z7)", place + 1));
        }
        let own = history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        let is_late = earlier < self.committed.len();
        if is_late && own > Zxid::ZERO && position(&self.committed, own).is_none() {
            return Err(violation!(
                "server {} leads epoch {epoch} with {own}, which later epochs lack (Z7)",
                place + 1
            ));
        }
        self.on_committed(place, own)
    }

    fn on_committed(&mut self, place: usize, upto: Zxid) -> Result<(), Violation> {
        if upto <= self.last_committed() {
            return Ok(());
        }
        let holders = self.holders(upto);
        if !self.quorum.is_quorum(&holders) {
            return Err(violation!(
                "server {} commits {upto}, which only {:?} have (Z3)",
                place + 1,
                holders.iter().map(|id| place_of(*id) + 1).collect::<Vec<_>>()
            ));
        }
        self.verify(place, self.last_committed())?;
        let book = &mut self.books[place];
        let from = self.committed.len();
        let end = book.history.partition_point(|(zxid, _)| *zxid <= upto);
        self.committed.extend_from_slice(&book.history[from..end]);
        book.verified = end;
        Ok(())
    }

    /// What a server has applied while it serves is what is committed.
    fn verify(&mut self, place: usize, upto: Zxid) -> Result<(), Violation> {
        let book = &mut self.books[place];
        while let (Some(own), Some(all)) =
            (book.history.get(book.verified), self.committed.get(book.verified))
            && own.0 <= upto
        {
            if own.0 != all.0 || !is_same(&own.1, &all.1) {
                return Err(violation!(
                    "server {} has {} where {} is committed (Z4)",
                    place + 1,
                    own.0,
                    all.0
                ));
            }
            book.verified += 1;
        }
        Ok(())
    }

    /// The digest of a tree at a zxid: all servers have the same.
    pub(super) fn on_digest(&mut self, place: usize, zxid: Zxid, digest: i64) -> Result<(), Violation> {
        let first = *self.digests.entry(zxid).or_insert(digest);
        if first == digest {
            Ok(())
        } else {
            Err(violation!("server {} has digest {digest:x} at {zxid}, not {first:x} (Z14)", place + 1))
        }
    }
}

fn position(entries: &[(Zxid, Bytes)], zxid: Zxid) -> Option<usize> {
    entries.binary_search_by_key(&zxid, |(zxid, _)| *zxid).ok()
}

/// Whether two entries are the same transaction. One that came behind a tree may have lost its digest on the way.
fn is_same(one: &Bytes, other: &Bytes) -> bool {
    one == other || *one == TxnEntry::without_digest(other) || TxnEntry::without_digest(one) == *other
}
