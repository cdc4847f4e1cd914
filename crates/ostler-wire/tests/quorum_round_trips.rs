//! Whatever servers can say to each other comes back as it was said.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeMap;

use bytes::Bytes;
use ostler_wire::quorum::notification::read_frame;
use ostler_wire::quorum::stream::DEFAULT_PACKET_LIMIT;
use ostler_wire::quorum::{
    Forwarded, Greeting, LearnerInfo, Member, MemberRole, Members, Notification, Packet, PacketStream,
    PeerAddress, PeerState, Side, Vote,
};
use ostler_wire::{Id, ServerId, SessionId, Zxid};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn request() -> impl Strategy<Value = Packet> {
    let ids = option::of(vec(any::<(String, String)>(), 0..4));
    (any::<i64>(), any::<i32>(), any::<i32>(), bytes(), ids).prop_map(|(session, cxid, op, body, ids)| {
        let ids = ids.map(|ids| ids.into_iter().map(|(scheme, id)| Id::new(scheme, id)).collect());
        Packet::Request(Forwarded { session: SessionId(session), cxid, op, body, ids })
    })
}

fn info() -> impl Strategy<Value = LearnerInfo> {
    option::of(any::<(i64, i32, i64)>()).prop_map(|info| match info {
        None => LearnerInfo { server: None, protocol: 0, members_version: 0 },
        Some((server, protocol, members_version)) => {
            LearnerInfo { server: Some(ServerId(server)), protocol, members_version }
        }
    })
}

fn of_learner() -> impl Strategy<Value = Packet> {
    let zxid = || any::<i64>().prop_map(Zxid);
    let epoch = || any::<i32>().prop_map(i64::from);
    prop_oneof![
        request(),
        zxid().prop_map(|zxid| Packet::Ack { zxid }),
        (zxid(), vec(any::<(i64, i32)>(), 0..4)).prop_map(|(zxid, touches)| {
            let touches = touches.into_iter().map(|(session, timeout_ms)| (SessionId(session), timeout_ms));
            Packet::Ping { zxid, data: Packet::touch_data(touches) }
        }),
        any::<(i64, i32)>()
            .prop_map(|(session, timeout_ms)| Packet::Revalidate { session: SessionId(session), timeout_ms }),
        (epoch(), info()).prop_map(|(accepted_epoch, info)| Packet::FollowerInfo { accepted_epoch, info }),
        (epoch(), info()).prop_map(|(accepted_epoch, info)| Packet::ObserverInfo { accepted_epoch, info }),
        (zxid(), option::of(0..i64::from(i32::MAX)))
            .prop_map(|(last, current_epoch)| Packet::AckEpoch { last, current_epoch }),
        (20..i32::MAX).prop_map(|kind| Packet::Unknown { kind }),
    ]
}

fn of_master() -> impl Strategy<Value = Packet> {
    let zxid = || any::<i64>().prop_map(Zxid);
    let leader = || any::<i64>().prop_map(ServerId);
    prop_oneof![
        (zxid(), bytes()).prop_map(|(zxid, entry)| Packet::Proposal { zxid, entry }),
        (zxid(), bytes()).prop_map(|(zxid, entry)| Packet::Inform { zxid, entry }),
        (zxid(), bytes()).prop_map(|(zxid, data)| Packet::Ping { zxid, data }),
        (zxid(), option::of(bytes())).prop_map(|(zxid, members)| Packet::NewLeader { zxid, members }),
        (zxid(), leader(), bytes()).prop_map(|(zxid, leader, entry)| Packet::InformAndActivate {
            zxid,
            leader,
            entry
        }),
        (zxid(), leader()).prop_map(|(zxid, leader)| Packet::CommitAndActivate { zxid, leader }),
        any::<(i64, bool)>()
            .prop_map(|(session, valid)| Packet::Revalidated { session: SessionId(session), valid }),
        zxid().prop_map(|zxid| Packet::Commit { zxid }),
        zxid().prop_map(|zxid| Packet::Diff { zxid }),
        zxid().prop_map(|zxid| Packet::Trunc { zxid }),
        zxid().prop_map(|zxid| Packet::Snap { zxid }),
        any::<i32>().prop_map(|epoch| Packet::LeaderInfo { epoch: i64::from(epoch) }),
        Just(Packet::Sync),
        Just(Packet::UpToDate),
    ]
}

fn check_stream(packets: &[Packet], from: Side, piece: usize) {
    let mut said = Vec::new();
    for packet in packets {
        let at = said.len();
        packet.encode(from, &mut said);
        let whole = Packet::decode(&said[at..], from, DEFAULT_PACKET_LIMIT);
        assert_eq!(whole, Ok(Some((packet.clone(), said.len() - at))));
    }
    let mut stream = PacketStream::new(from, DEFAULT_PACKET_LIMIT);
    let mut heard = Vec::new();
    for bytes in said.chunks(piece) {
        stream.buffer_mut().extend_from_slice(bytes);
        while let Some(packet) = stream.read().unwrap() {
            heard.push(packet);
        }
    }
    assert_eq!(heard, packets);
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9.-]{0,12}",
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
    ]
}

fn member() -> impl Strategy<Value = Member> {
    let address = (host(), 0..1000_u16, 1000..u16::MAX)
        .prop_map(|(host, quorum_port, election_port)| PeerAddress { host, quorum_port, election_port });
    let role =
        any::<bool>().prop_map(|votes| if votes { MemberRole::Participant } else { MemberRole::Observer });
    (vec(address, 1..4), role, option::of((host(), any::<u16>())))
        .prop_map(|(addresses, role, client)| Member { addresses, role, client })
}

fn members() -> impl Strategy<Value = Members> {
    let servers = btree_map((-5..300_i64).prop_map(ServerId), member(), 0..30);
    let weights = btree_map((0..300_i64).prop_map(ServerId), 0..i64::MAX.cast_unsigned(), 0..3);
    (any::<i64>(), servers, 0..4_i64, weights).prop_map(|(version, servers, groups, weights)| {
        let mut members = Members { version: version & i64::MAX, servers, ..Members::default() };
        if groups > 0 {
            members.weights = weights;
            for (index, voter) in members.voters().collect::<Vec<_>>().into_iter().enumerate() {
                let group = i64::try_from(index).unwrap() % groups * 7;
                members.groups.entry(group).or_default().push(voter);
            }
        }
        members
    })
}

proptest! {
    #[test]
    fn packets_of_a_learner(packets in vec(of_learner(), 1..5), piece in 1..100_usize) {
        check_stream(&packets, Side::Learner, piece);
    }

    #[test]
    fn packets_of_a_master(packets in vec(of_master(), 1..5), piece in 1..100_usize) {
        check_stream(&packets, Side::Master, piece);
    }

    #[test]
    fn notifications(
        state in 0..4_usize, leader: i64, zxid: i64, round: i64, epoch: i64, members in option::of(bytes())
    ) {
        let state =
            [PeerState::Looking, PeerState::Following, PeerState::Leading, PeerState::Observing][state];
        let vote = Vote { leader: ServerId(leader), zxid: Zxid(zxid), epoch };
        let notification = Notification { state, vote, round, members };
        let mut said = Vec::new();
        notification.encode(&mut said);
        let (body, len) = read_frame(&said).unwrap().unwrap();
        prop_assert_eq!(len, said.len());
        prop_assert_eq!(Notification::decode(body).unwrap(), notification);
    }

    #[test]
    fn greetings(server: i64, addresses in vec((host(), any::<u16>()), 1..5)) {
        let greeting = Greeting { server: ServerId(server), addresses };
        let mut said = Vec::new();
        greeting.encode(true, &mut said);
        let (heard, len) = Greeting::decode(&said).unwrap().unwrap();
        prop_assert_eq!((heard.server, len), (greeting.server, said.len()));
        let mut again = Vec::new();
        heard.encode(true, &mut again);
        prop_assert!(again == said || greeting.addresses.len() > heard.addresses.len());
    }

    #[test]
    fn member_lists(members in members()) {
        let text = members.to_string();
        let read = Members::parse(&text).unwrap();
        prop_assert_eq!(read.to_string(), &*text);
        let renumbered = Members { version: -1, ..read.clone() };
        prop_assert!(renumbered.is_same(&members));

        let weigh = |members: &Members| -> BTreeMap<_, _> {
            members.voters().map(|voter| (voter, members.weights.get(&voter).copied().unwrap_or(1))).collect()
        };
        prop_assert_eq!(weigh(&read), weigh(&members));

        let mut lines: Vec<&str> = text.lines().collect();
        lines.reverse();
        prop_assert_eq!(Members::parse(&lines.join("\n")).unwrap(), read);
    }
}
