//! A learner that lags behind what its leader has in memory: what it is sent from the log on disk, by the leader's peer
//! and the very code that reads files, on the simulated disk.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use bytes::Bytes;
use ostler_node::disk_work::search_log;
use ostler_node::recover::recover_member;
use ostler_store::sim::SimDisk;
use ostler_store::{
    Dir, Disk, FilePath, LogOptions, LogPart, LogWriter, RestoreOptions, SnapshotOptions, SnapshotWriter,
    names,
};
use ostler_tree::{Store, TreeConfig, Walk};
use ostler_wire::quorum::{LearnerInfo, Members, Packet};
use ostler_wire::txn::{CreateKind, CreateTxn, Txn, TxnEntry, TxnHeader};
use ostler_wire::{ServerId, Zxid};
use ostler_zab::{
    Epochs, History, Input, JointQuorum, Limit, LinkId, LogPlace, Observing, Output, Peer, PeerConfig,
    Proposal, Quorum,
};

const LINK: LinkId = LinkId(7);

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(epoch, counter)
}

/// A data directory in the making.
struct Directory {
    disk: SimDisk,
    store: Store,
    log: LogWriter<SimDisk>,
}

impl Directory {
    fn new() -> Self {
        let disk = SimDisk::new(true);
        let options = LogOptions { reserve_bytes: 4096, ..LogOptions::default() };
        let log = LogWriter::new(disk.clone(), options, Zxid::ZERO);
        let mut directory = Self { disk, store: Store::new(TreeConfig::default()), log };
        directory.snapshot();
        directory
    }

    fn write(&mut self, zxids: impl IntoIterator<Item = Zxid>) {
        for zxid in zxids {
            let kind = CreateKind::Plain { second: true, ephemeral: false };
            let data = Some(Bytes::from(vec![b'x'; 50]));
            let path = format!("/{:x}", zxid.0);
            let create = CreateTxn { kind, path, data, acl: None, parent_cversion: 1 };
            let header = TxnHeader { zxid, time_ms: 1000, ..TxnHeader::default() };
            let entry = TxnEntry { header, txn: Txn::Create(create), digest: None };
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            self.log.append(zxid, &bytes);
            self.store.apply(&entry, &mut Vec::new());
        }
        self.log.commit().unwrap();
    }

    fn epoch(&mut self, epoch: u32, counters: std::ops::RangeInclusive<u32>) {
        self.write(counters.map(|counter| z(epoch, counter)));
    }

    fn snapshot(&mut self) {
        self.log.roll();
        let mut walk = Walk::new(&self.store);
        let options = SnapshotOptions::default();
        let mut writer = SnapshotWriter::create(self.disk.clone(), walk.zxid(), &options).unwrap();
        let mut body = Vec::new();
        while !walk.next(&self.store, 256, 64 << 10, &mut body) {}
        writer.write(&body).unwrap();
        writer.finish(self.store.last_zxid(), Some(self.store.digest())).unwrap();
    }

    /// A server that starts on it, leads, and keeps so many in memory.
    fn lead(&self, kept: usize) -> Leader {
        let limit = Limit { count: kept, bytes: usize::MAX };
        let recovered =
            recover_member(&self.disk, RestoreOptions::default(), &TreeConfig::default(), limit).unwrap();
        let members =
            Members::parse("server.1=a:1:2:participant\nserver.2=a:3:4:observer\nversion=0").unwrap();
        let epoch = i64::from(recovered.last.epoch());
        let config = PeerConfig {
            server: ServerId(1),
            quorum: JointQuorum::new(Quorum::of(&members).unwrap()),
            observer: false,
            tick_ms: 100,
            init_limit_ticks: 10,
            sync_limit_ticks: 5,
            max_waiting_bytes: 1 << 20,
            force_snapshot: false,
            log_sync: true,
            observing: Observing::default(),
        };
        let history = History::new(recovered.history.base, recovered.history.proposals, limit)
            .with_whole_log_since(recovered.history.whole_since);
        let mut peer = Peer::member(config, Epochs { accepted: epoch, current: epoch }, history);
        peer.start(0);
        let mut leader =
            Leader { peer, disk: self.disk.clone(), factor: 0.33, sent: Vec::new(), ways: Vec::new() };
        for now_ms in (0..2000).step_by(20) {
            leader.peer.handle_timeout(now_ms);
            leader.carry_out();
        }
        assert!(leader.peer.is_serving(), "its own vote is the whole quorum");
        leader
    }
}

/// A peer that leads, without threads.
struct Leader {
    peer: Peer,
    disk: SimDisk,
    factor: f64,
    /// The transactions that the learner was sent.
    sent: Vec<Zxid>,
    /// How it was brought up to date, and by what means.
    ways: Vec<&'static str>,
}

impl Leader {
    fn carry_out(&mut self) {
        while let Some(output) = self.peer.poll_output() {
            match output {
                Output::WriteEpoch { which, epoch, generation } => {
                    self.peer.handle(2000, Input::EpochWritten { which, epoch, generation });
                }
                Output::SearchLog { link, peer, through, upto } => {
                    self.ways.push("search");
                    let place =
                        search_log(&self.disk, (peer, through, upto), self.factor).unwrap_or_default();
                    self.peer.handle(2000, Input::LogSearched { link, place });
                }
                Output::SendLog { after, upto, .. } => {
                    self.ways.push("log");
                    let mut part = LogPart::open(&self.disk, after, upto).unwrap();
                    while let Some(record) = part.read().unwrap() {
                        assert_eq!(TxnEntry::decode(&record.bytes).unwrap().header.zxid, record.zxid);
                        self.sent.push(record.zxid);
                    }
                }
                Output::SendSnapshot { link, .. } => {
                    self.ways.push("tree");
                    self.peer.handle(2000, Input::SnapshotSent { link });
                }
                Output::Send { packet: Packet::Proposal { zxid, .. }, .. } => self.sent.push(zxid),
                Output::Send { packet: Packet::Diff { .. }, .. } => self.ways.push("diff"),
                Output::Send { packet: Packet::Trunc { .. }, .. } => self.ways.push("trunc"),
                _ => {}
            }
        }
    }

    /// What a learner is sent whose log ends with `last`.
    fn sync(&mut self, last: Zxid) -> (Vec<&'static str>, Vec<Zxid>) {
        self.peer.handle(2000, Input::LearnerArrived { link: LINK });
        let info = LearnerInfo { server: Some(ServerId(2)), protocol: 0x10000, members_version: 0 };
        let hello = Packet::ObserverInfo { accepted_epoch: 1, info };
        let accepted = Packet::AckEpoch { last, current_epoch: None };
        for packet in [hello, accepted] {
            self.carry_out();
            self.peer.handle(2000, Input::Packet { link: LINK, packet });
        }
        self.carry_out();
        self.peer.handle(2000, Input::LinkDown { link: LINK });
        self.carry_out();
        (std::mem::take(&mut self.ways), std::mem::take(&mut self.sent))
    }
}

fn counters(epoch: u32, counters: std::ops::RangeInclusive<u32>) -> Vec<Zxid> {
    counters.map(|counter| z(epoch, counter)).collect()
}

#[test]
fn what_is_on_disk_and_what_is_in_memory_make_one_history() {
    let mut directory = Directory::new();
    directory.epoch(1, 1..=3000);
    directory.snapshot();
    directory.epoch(1, 3001..=3400);
    directory.log.roll();
    directory.epoch(1, 3401..=3600);
    directory.epoch(2, 1..=100);
    directory.log.roll();
    directory.epoch(2, 101..=600);
    let whole: Vec<Zxid> = [counters(1, 1..=3600), counters(2, 1..=600)].concat();
    for kept in [1, 500, 600, 601] {
        let mut leader = directory.lead(kept);
        // Java takes 0 for no limit.
        leader.factor = 0.0;
        for last in [
            z(1, 1),
            z(1, 2999),
            z(1, 3000),
            z(1, 3001),
            z(1, 3400),
            z(1, 3401),
            z(1, 3599),
            z(1, 3600),
            z(2, 0),
            z(2, 1),
            z(2, 99),
            z(2, 100),
            z(2, 101),
            z(2, 599),
            z(2, 600),
        ] {
            let (ways, sent) = leader.sync(last);
            let lacking: Vec<Zxid> = whole.iter().copied().filter(|zxid| *zxid > last).collect();
            assert_eq!(sent, lacking, "{last}, {kept} in memory");
            let base = whole[whole.len() - kept - 1];
            let expected: &[&str] = if last < base { &["search", "diff", "log"] } else { &["diff"] };
            assert_eq!(ways, expected, "{last}, {kept} in memory");
        }
    }
}

#[test]
fn a_tree_is_sent_where_the_log_is_more_than_its_share() {
    let mut directory = Directory::new();
    directory.epoch(1, 1..=3000);
    directory.snapshot();
    directory.epoch(1, 3001..=6000);
    let mut leader = directory.lead(500);
    let (ways, sent) = leader.sync(z(1, 5000));
    assert_eq!((ways.as_slice(), sent), (["search", "diff", "log"].as_slice(), counters(1, 5001..=6000)));
    let (ways, sent) = leader.sync(z(1, 3001));
    assert_eq!((ways.as_slice(), sent.len()), (["search", "tree"].as_slice(), 0));
    leader.factor = 1.0;
    assert_eq!(leader.sync(z(1, 3001)).0, ["search", "diff", "log"]);
}

#[test]
fn a_learner_that_nobody_can_place_gets_a_tree() {
    let mut directory = Directory::new();
    directory.epoch(1, 1..=10);
    directory.epoch(2, 1..=10);
    directory.log.roll();
    directory.epoch(2, 11..=20);
    let mut leader = directory.lead(2);
    leader.factor = 0.0;
    for last in [Zxid::ZERO, z(1, 11), Zxid(-1)] {
        assert_eq!(leader.sync(last).0.last(), Some(&"tree"), "{last}");
    }
    // A tail of its own in the epoch that the leader's log goes on with: not known there, so forgotten.
    assert_eq!(leader.sync(z(2, 21)).0, ["trunc"]);
    // The file with its place is gone.
    let first = names::logs(&directory.disk).unwrap().remove(0);
    directory.disk.unlink(&first.path).unwrap();
    assert_eq!(leader.sync(z(2, 5)).0, ["search", "tree"]);
    assert_eq!(leader.sync(z(2, 12)).0, ["search", "diff", "log"]);
}

/// ZOOKEEPER-2846: a server of Java that was sent a tree keeps its older logs. Between them and what follows the tree
/// there is a hole; at the end of an epoch no counter shows it.
#[test]
fn nothing_is_read_across_a_hole_that_a_tree_filled() {
    let mut directory = Directory::new();
    directory.epoch(1, 1..=5);
    let hole = counters(1, 6..=9);
    let log = std::mem::replace(
        &mut directory.log,
        LogWriter::new(SimDisk::new(true), LogOptions::default(), Zxid::ZERO),
    );
    directory.write(hole);
    directory.log = log;
    directory.snapshot();
    directory.epoch(2, 1..=8);
    let found = search_log(&directory.disk, (z(1, 3), z(1, 3), z(2, 8)), 0.0).unwrap();
    assert_eq!(found, Some(LogPlace { before: z(1, 3), next: z(1, 4) }), "the files do not show the hole");
    let mut leader = directory.lead(2);
    leader.factor = 0.0;
    assert_eq!(leader.sync(z(1, 3)).0, ["search", "tree"], "the log does not go through the tree's zxid");
    assert_eq!(leader.sync(z(1, 9)).0, ["search", "tree"], "its place is in the hole");
    assert_eq!(leader.sync(z(2, 0)).1, counters(2, 1..=8));
    assert_eq!(leader.sync(z(2, 1)).1, counters(2, 2..=8));
}

#[test]
fn damage_in_the_log_leads_to_a_tree_and_to_no_part_of_it() {
    let mut directory = Directory::new();
    directory.epoch(1, 1..=50);
    directory.log.roll();
    directory.epoch(1, 51..=100);
    let leader = directory.lead(10);
    let path = FilePath::new(Dir::Log, names::log_name(z(1, 1)));
    assert!(directory.disk.flip(&path, 3000, 3));
    let mut leader = Leader { factor: 0.0, ..leader };
    assert_eq!(leader.sync(z(1, 2)).0, ["search", "tree"]);
    assert_eq!(leader.sync(z(1, 60)).1, counters(1, 61..=100));
    let mut part = LogPart::open(&directory.disk, z(1, 2), z(1, 90)).unwrap();
    let read: Vec<Zxid> =
        std::iter::from_fn(|| part.read().ok().flatten()).map(|record| record.zxid).collect();
    assert!(read.len() < 48 && read.iter().zip(3..).all(|(zxid, counter)| *zxid == z(1, counter)));
}

/// A tree holds parts of what was committed while it was sent. A learner that made it durable without the rest would get
/// the same transactions from the next leader, with digests that its tree cannot match.
#[test]
fn what_was_committed_while_a_tree_was_sent_comes_before_newleader() {
    for (kept, wanted) in
        [(20, "snap 14, commit 15, commit 16, newleader"), (1, "snap 14, log 14 to 15, commit 16, newleader")]
    {
        let mut directory = Directory::new();
        directory.epoch(1, 1..=4);
        let mut leader = directory.lead(kept);
        let mut told = Vec::new();
        let peer = &mut leader.peer;
        let write = |peer: &mut Peer, counter: u32, told: &mut Vec<String>| {
            let proposal = Proposal { zxid: z(2, counter), bytes: Bytes::from_static(b"entry") };
            peer.handle(2000, Input::Propose(proposal));
            // The disk is behind with the last.
            tell(peer, counter < 17, told);
        };
        for counter in 1..=14 {
            write(peer, counter, &mut told);
        }
        peer.handle(2000, Input::LearnerArrived { link: LINK });
        let info = LearnerInfo { server: Some(ServerId(2)), protocol: 0x10000, members_version: 0 };
        let hello = Packet::ObserverInfo { accepted_epoch: 1, info };
        let accepted = Packet::AckEpoch { last: Zxid(-1), current_epoch: None };
        for packet in [hello, accepted] {
            peer.handle(2000, Input::Packet { link: LINK, packet });
            tell(peer, true, &mut told);
        }
        for counter in 15..=17 {
            write(peer, counter, &mut told);
        }
        peer.handle(2000, Input::SnapshotSent { link: LINK });
        tell(peer, true, &mut told);
        assert_eq!(told.join(", "), wanted);
    }
}

/// Notes what a learner is told of transactions, and has the disk do its part, or not yet.
fn tell(peer: &mut Peer, durable: bool, told: &mut Vec<String>) {
    let mut held: Option<Zxid> = None;
    while let Some(output) = peer.poll_output() {
        match output {
            Output::Append { proposal, generation } if durable => {
                peer.handle(2000, Input::Persisted { zxid: proposal.zxid, generation });
            }
            Output::SendSnapshot { zxid, .. } => told.push(format!("snap {}", zxid.counter())),
            Output::SendLog { after, upto, .. } => {
                told.push(format!("log {} to {}", after.counter(), upto.counter()));
            }
            Output::Send { packet: Packet::Proposal { zxid, .. }, .. } => {
                assert_eq!(held.replace(zxid), None, "an observer is told of what is committed");
            }
            Output::Send { packet: Packet::Commit { zxid }, .. } => {
                assert_eq!(held.take(), Some(zxid));
                told.push(format!("commit {}", zxid.counter()));
            }
            Output::Send { packet: Packet::NewLeader { .. }, .. } => told.push("newleader".to_owned()),
            _ => {}
        }
    }
}
