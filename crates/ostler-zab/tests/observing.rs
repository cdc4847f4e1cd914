//! Whom an observer tries to learn from when followers take observers: each of them, in turn, and the leader when none of
//! them is of use.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ostler_wire::quorum::{Members, Notification, Packet, PeerState, Vote};
use ostler_wire::{ServerId, Zxid};
use ostler_zab::{
    Door, Epochs, Generation, History, Input, Limit, LinkId, Membership, Observing, Output, Peer, PeerConfig,
    Standing,
};

/// Server 4, which observes; server 3 leads servers 1 and 2.
struct Observer {
    peer: Peer,
    now_ms: u64,
    standing: Standing,
    link: u64,
}

impl Observer {
    fn new(voters: i64, observing: Observing) -> Self {
        let voter = |id| format!("server.{id}=a{id}:1:2\n");
        let list: String = (1..=voters).map(voter).collect();
        let lists =
            Membership::fixed(Members::parse(&format!("{list}server.4=d:1:2:observer")).unwrap()).unwrap();
        let config = PeerConfig {
            server: ServerId(4),
            quorum: lists.quorum(),
            observer: true,
            tick_ms: 1000,
            init_limit_ticks: 10,
            sync_limit_ticks: 5,
            max_waiting_bytes: 1 << 20,
            force_snapshot: false,
            log_sync: true,
            observing,
        };
        let history = History::new(Zxid::ZERO, [], Limit::default());
        let mut peer = Peer::member(config, Epochs { accepted: 1, current: 1 }, history);
        peer.set_membership(lists);
        peer.start(0);
        let mut observer = Self { peer, now_ms: 0, standing: Standing::Looking, link: 0 };
        while observer.peer.poll_output().is_some() {}
        observer.elect(voters);
        observer
    }

    /// The last voter leads.
    fn elect(&mut self, voters: i64) {
        for from in 1..=voters {
            let state = if from == voters { PeerState::Leading } else { PeerState::Following };
            let vote = Vote { leader: ServerId(voters), zxid: Zxid::ZERO, epoch: 1 };
            let notification = Notification { state, vote, round: 1, members: None };
            self.take(Input::Notification { from: ServerId(from), notification });
        }
    }

    fn take(&mut self, input: Input) {
        self.peer.handle(self.now_ms, input);
    }

    /// Whom it wants to connect to, once time has come for it.
    fn dials(&mut self) -> (ServerId, Door, u64, Generation) {
        for _ in 0..100 {
            while let Some(output) = self.peer.poll_output() {
                match output {
                    Output::Connect { server, door, within_ms, generation } => {
                        return (server, door, within_ms, generation);
                    }
                    Output::Standing(standing) => self.standing = standing,
                    Output::WriteEpoch { which, epoch, generation } => {
                        self.take(Input::EpochWritten { which, epoch, generation });
                    }
                    // It looks anew, and hears the same.
                    Output::Notify { to: ServerId(3), .. } => self.elect(3),
                    _ => {}
                }
            }
            self.now_ms = self.peer.poll_timeout().unwrap().0.max(self.now_ms);
            self.peer.handle_timeout(self.now_ms);
        }
        panic!("it dials nobody");
    }

    fn reach(&mut self, generation: Generation) -> LinkId {
        self.link += 1;
        let link = LinkId(self.link);
        self.take(Input::LeaderReached { link, generation });
        link
    }
}

fn observing() -> Observing {
    Observing { masters: true, connect_ms: 700, ..Observing::default() }
}

#[test]
fn followers_that_cannot_be_reached_are_tried_in_turn_and_the_leader_at_last() {
    let mut observer = Observer::new(3, observing());
    let mut tried = Vec::new();
    let within_ms = loop {
        let (server, door, within_ms, generation) = observer.dials();
        if door == Door::Leader {
            assert_eq!(server, ServerId(3));
            break within_ms;
        }
        assert_eq!(within_ms, 700);
        tried.push(server);
        observer.now_ms += 100;
        observer.take(Input::LeaderUnreachable { generation });
    };
    assert!(tried.len() > 10 && !tried.contains(&ServerId(3)), "{tried:?}");
    assert!(tried.windows(2).all(|pair| pair[0] != pair[1]), "{tried:?}");
    assert!((5000..=5200).contains(&observer.now_ms) && within_ms + observer.now_ms == 10_000);
}

#[test]
fn followers_that_take_the_connection_and_let_it_go_are_of_no_use_either() {
    let mut observer = Observer::new(3, observing());
    let mut tried = Vec::new();
    for _ in 0..4 {
        let (server, door, _, generation) = observer.dials();
        assert_eq!(door, Door::Master);
        tried.push(server);
        let link = observer.reach(generation);
        observer.take(Input::LinkDown { link });
    }
    assert_eq!((tried[0], tried[1]), (tried[2], tried[3]));
    let (server, door, _, generation) = observer.dials();
    assert_eq!((server, door), (ServerId(3), Door::Leader));
    // Once it has learned from somebody, the followers are tried again.
    let link = observer.reach(generation);
    for packet in [
        Packet::LeaderInfo { epoch: 1 },
        Packet::Diff { zxid: Zxid::ZERO },
        Packet::NewLeader { zxid: Zxid::new(1, 0), members: None },
    ] {
        observer.take(Input::Packet { link, packet });
    }
    let written = std::iter::from_fn(|| observer.peer.poll_output()).find_map(|output| match output {
        Output::WriteEpoch { which, epoch, generation } => {
            Some(Input::EpochWritten { which, epoch, generation })
        }
        _ => None,
    });
    observer.take(written.unwrap());
    observer.take(Input::Packet { link, packet: Packet::UpToDate });
    assert_eq!(observer.peer.master(), Some(ServerId(3)));
    observer.take(Input::LinkDown { link });
    assert_eq!(observer.dials().1, Door::Master);
}

#[test]
fn without_followers_or_without_their_port_it_goes_to_the_leader() {
    assert_eq!(Observer::new(1, observing()).dials().1, Door::Leader);
    let delays = Observing { masters: false, reconnect_delay_ms: 3000, ..Observing::default() };
    let mut observer = Observer::new(3, delays);
    let (server, door, within_ms, _) = observer.dials();
    assert_eq!((server, door), (ServerId(3), Door::Leader));
    assert!(observer.now_ms > 0 && observer.now_ms < 3200, "a random time first: {}", observer.now_ms);
    assert_eq!(within_ms, 10_000, "and then as long as ever");
}
