//! A change of the members, from the side of a learner whose leader makes it: what is kept and when, what ends the
//! role, and who is followed next.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use ostler_wire::quorum::{LearnerInfo, Members, Notification, Packet, PeerState, Vote};
use ostler_wire::{ServerId, Zxid};
use ostler_zab::{
    Epochs, History, Input, Limit, LinkId, Membership, Observing, Output, Peer, PeerConfig, Reason, Standing,
};

const LINK: LinkId = LinkId(1);
const EPOCH: i64 = 7;

fn list(lines: &str, counter: u32) -> Members {
    let version = if counter == 0 { 0 } else { Zxid::new(7, counter).0 };
    Members { version, ..Members::parse(lines).unwrap() }
}

const THREE: &str = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2";

/// A peer, and what it wanted since it was last asked.
struct Rig {
    peer: Peer,
    outputs: Vec<Output>,
}

impl Rig {
    fn new(lists: Membership) -> Self {
        let config = PeerConfig {
            server: ServerId(1),
            quorum: lists.quorum(),
            observer: false,
            tick_ms: 1000,
            init_limit_ticks: 10,
            sync_limit_ticks: 5,
            max_waiting_bytes: 1 << 20,
            force_snapshot: false,
            log_sync: true,
            observing: Observing::default(),
        };
        let history = History::new(Zxid::ZERO, [], Limit::default());
        let mut peer = Peer::member(config, Epochs { accepted: 6, current: 6 }, history);
        peer.set_membership(lists);
        peer.start(0);
        let mut rig = Self { peer, outputs: Vec::new() };
        rig.drain();
        rig
    }

    fn take(&mut self, input: Input) {
        self.peer.handle(1000, input);
        self.drain();
    }

    /// The disk does at once what it is asked for.
    fn drain(&mut self) {
        while let Some(output) = self.peer.poll_output() {
            let done = match &output {
                Output::Append { proposal, generation } => {
                    Some(Input::Persisted { zxid: proposal.zxid, generation: *generation })
                }
                Output::WriteEpoch { which, epoch, generation } => {
                    Some(Input::EpochWritten { which: *which, epoch: *epoch, generation: *generation })
                }
                Output::Truncate { to, generation } => {
                    Some(Input::Truncated { last: Some(*to), generation: *generation })
                }
                Output::Connect { generation, .. } => {
                    Some(Input::LeaderReached { link: LINK, generation: *generation })
                }
                _ => None,
            };
            self.outputs.push(output);
            if let Some(done) = done {
                self.peer.handle(1000, done);
            }
        }
    }

    fn packet(&mut self, packet: Packet) {
        self.take(Input::Packet { link: LINK, packet });
    }

    fn hear(&mut self, from: i64, state: PeerState, members: &Members) {
        let vote = Vote { leader: ServerId(2), zxid: Zxid::ZERO, epoch: EPOCH };
        let members = Some(Bytes::from(members.to_string()));
        let notification = Notification { state, vote, round: 1, members };
        self.take(Input::Notification { from: ServerId(from), notification });
    }

    /// Server 2 leads, with this list.
    fn join(&mut self, members: &Members) {
        let known = self.peer.membership().unwrap().current().as_ref().clone();
        self.hear(2, PeerState::Leading, &known);
        self.hear(3, PeerState::Following, &known);
        self.packet(Packet::LeaderInfo { epoch: EPOCH });
        match self.peer.history().last() {
            Zxid::ZERO => self.packet(Packet::Diff { zxid: Zxid::ZERO }),
            _ => self.packet(Packet::Trunc { zxid: Zxid::ZERO }),
        }
        let text = Bytes::from(members.to_string());
        self.packet(Packet::NewLeader { zxid: Zxid::new(7, 0), members: Some(text) });
        self.packet(Packet::UpToDate);
    }

    /// The pause between two roles passes.
    fn pause(&mut self) {
        self.peer.handle_timeout(2000);
        self.drain();
    }

    fn propose(&mut self, members: &Members) {
        let zxid = Zxid(members.version);
        self.take(Input::MembersProposed { link: LINK, zxid, members: Arc::new(members.clone()) });
        self.packet(Packet::Proposal { zxid, entry: Bytes::new() });
    }

    fn commit(&mut self, members: &Members, leader: i64) {
        let zxid = Zxid(members.version);
        self.packet(Packet::CommitAndActivate { zxid, leader: ServerId(leader) });
    }

    /// The versions that were to be kept, in order: `true` for those in force.
    fn kept(&mut self) -> Vec<(bool, i64)> {
        let outputs = std::mem::take(&mut self.outputs);
        outputs
            .iter()
            .filter_map(|output| match output {
                Output::MembersSeen(members) => Some((false, members.version)),
                Output::MembersActivated { members, .. } => Some((true, members.version)),
                _ => None,
            })
            .collect()
    }

    fn serves(&self) -> bool {
        self.peer.is_serving()
    }

    fn in_force(&self) -> i64 {
        self.peer.membership().unwrap().current().version
    }
}

fn joined() -> Rig {
    let first = list(THREE, 0);
    let mut rig = Rig::new(Membership::changeable(first.clone(), None).unwrap());
    let numbered = Members { version: 5, ..first };
    rig.join(&numbered);
    assert!(rig.serves());
    assert_eq!(rig.kept(), [(false, 5), (true, 5)], "the leader numbered the list that all began with");
    rig
}

#[test]
fn a_change_is_kept_before_it_is_logged_and_in_force_when_it_is_committed() {
    let mut rig = joined();
    let next = list(&format!("{THREE}\nserver.4=d:1:2"), 1);
    rig.propose(&next);
    let seen = rig.outputs.iter().position(|output| matches!(output, Output::MembersSeen(_)));
    let append = rig.outputs.iter().position(|output| matches!(output, Output::Append { .. }));
    assert!(seen.unwrap() < append.unwrap());
    assert_eq!((rig.kept(), rig.in_force()), (vec![(false, next.version)], 5));
    rig.commit(&next, 2);
    assert_eq!((rig.kept(), rig.in_force()), (vec![(true, next.version)], next.version));
    assert!(rig.serves(), "neither its role nor the leader changed");
}

#[test]
fn who_becomes_an_observer_comes_again_as_one_without_an_election() {
    let mut rig = joined();
    let next = list(&THREE.replace("a:1:2", "a:1:2:observer"), 1);
    rig.propose(&next);
    rig.commit(&next, 2);
    assert!(!rig.serves());
    rig.pause();
    let hello = rig.outputs.iter().rev().find_map(|output| match output {
        Output::Send { packet: Packet::ObserverInfo { info, .. }, .. } => Some(info.members_version),
        _ => None,
    });
    assert_eq!(hello, Some(next.version));
    let votes = |output: &&Output| matches!(output, Output::Notify { .. });
    assert_eq!(rig.outputs.iter().filter(votes).count(), 0);
}

#[test]
fn the_designated_leader_leads_at_once() {
    let mut rig = joined();
    let next = list("server.1=a:1:2\nserver.3=c:1:2", 1);
    rig.propose(&next);
    rig.commit(&next, 1);
    rig.pause();
    assert_eq!(rig.peer.state(), PeerState::Leading);
    assert!(rig.outputs.contains(&Output::Standing(Standing::Looking)));
}

#[test]
fn a_change_that_is_lost_is_taken_back_by_the_next_leader() {
    let mut rig = joined();
    let lost = list("server.2=b:1:2\nserver.3=c:1:2", 1);
    rig.propose(&lost);
    assert!(!rig.peer.membership().unwrap().quorum().is_quorum(&[1, 2].map(ServerId).into()));
    rig.take(Input::LinkDown { link: LINK });
    rig.pause();
    rig.kept();
    let leaders = Members { version: 5, ..list(THREE, 0) };
    rig.join(&leaders);
    assert!(rig.serves());
    assert_eq!((rig.kept(), rig.in_force()), (vec![(false, 5)], 5));
    assert!(rig.peer.membership().unwrap().quorum().is_quorum(&[1, 2].map(ServerId).into()));
}

#[test]
fn a_newer_list_is_heard_of_while_looking() {
    let old = list(THREE, 0);
    let mut rig = Rig::new(Membership::changeable(old.clone(), None).unwrap());
    rig.kept();
    let newer = list("server.1=a:1:2\nserver.2=b:1:2\nserver.5=e:1:2", 3);
    rig.hear(2, PeerState::Looking, &newer);
    assert!(rig.outputs.iter().any(|output| matches!(output, Output::Notify { to: ServerId(5), .. })));
    assert_eq!((rig.kept(), rig.in_force()), (vec![(true, newer.version)], newer.version));

    let mut fixed = Rig::new(Membership::fixed(old).unwrap());
    fixed.hear(2, PeerState::Looking, &newer);
    assert_eq!((fixed.kept(), fixed.in_force()), (vec![], 0));
}

/// An observer that learns from this follower hears of the change with the commit, and of who leads from there; one that
/// knows a newer list than the follower is sent away.
#[test]
fn an_observer_of_a_follower_is_told_of_a_change_in_force() {
    let mut rig = joined();
    let observer = LinkId(9);
    let arrive = |rig: &mut Rig, link, members_version| {
        rig.take(Input::ObserverArrived { link });
        let info = LearnerInfo { server: Some(ServerId(8)), protocol: 0x10000, members_version };
        let packet = Packet::ObserverInfo { accepted_epoch: EPOCH, info };
        rig.take(Input::Packet { link, packet });
    };
    arrive(&mut rig, LinkId(8), i64::MAX);
    assert!(
        rig.outputs
            .iter()
            .any(|output| matches!(output, Output::Close { link: LinkId(8), reason: Reason::MembersAhead }))
    );
    arrive(&mut rig, observer, 0);
    for packet in [
        Packet::AckEpoch { last: rig.peer.history().last(), current_epoch: None },
        Packet::Ack { zxid: Zxid::new(7, 0) },
    ] {
        rig.take(Input::Packet { link: observer, packet });
    }
    rig.outputs.clear();
    let next = list(&format!("{THREE}\nserver.4=d:1:2"), 1);
    rig.propose(&next);
    rig.commit(&next, 2);
    let told: Vec<&Packet> = rig
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send { link, packet } if *link == observer => Some(packet),
            _ => None,
        })
        .collect();
    let (zxid, entry, leader) = (Zxid(next.version), Bytes::new(), ServerId(2));
    assert_eq!(told, [&Packet::InformAndActivate { zxid, entry, leader }]);
}
