//! What Apache servers said to each other, message for message: each decodes to what was written beside it and is
//! encoded to the same bytes again, and it does not matter how the bytes are cut.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use ostler_wire::jute::Reader;
use ostler_wire::quorum::notification::read_frame;
use ostler_wire::quorum::stream::DEFAULT_PACKET_LIMIT;
use ostler_wire::quorum::{
    Forwarded, Greeting, LearnerInfo, Members, Notification, Packet, PacketStream, PeerState, Side,
};
use ostler_wire::txn::TxnEntry;

struct Conversation {
    place: String,
    election: bool,
    messages: Vec<Message>,
}

struct Message {
    from_dialler: bool,
    bytes: Vec<u8>,
    text: String,
}

impl Message {
    fn side(&self) -> Side {
        if self.from_dialler { Side::Learner } else { Side::Master }
    }

    fn is_snapshot(&self) -> bool {
        self.text.starts_with("<<SNAPSHOT")
    }
}

fn conversations() -> Vec<Conversation> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/quorum");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut conversations: Vec<Conversation> = Vec::new();
    for path in paths {
        let file = path.file_name().unwrap().to_str().unwrap();
        for (index, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            let place = format!("{file}:{}", index + 1);
            match line.split_once(' ') {
                None => assert_eq!(line, "", "{place}"),
                Some(("#", _)) => {}
                Some((kind @ ("election" | "learner"), _)) => {
                    conversations.push(Conversation {
                        place,
                        election: kind == "election",
                        messages: Vec::new(),
                    });
                }
                Some((direction @ (">" | "<"), rest)) => {
                    let (bytes, text) = rest.split_once(' ').unwrap();
                    let message = Message {
                        from_dialler: direction == ">",
                        bytes: unhex(bytes),
                        text: text.to_owned(),
                    };
                    conversations.last_mut().unwrap().messages.push(message);
                }
                Some(_) => panic!("{place}: {line}"),
            }
        }
    }
    assert_eq!(conversations.len(), 89);
    conversations
}

fn learner_conversations() -> impl Iterator<Item = Conversation> {
    conversations().into_iter().filter(|conversation| !conversation.election)
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn each_packet_is_what_was_written_beside_it() {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for conversation in learner_conversations() {
        for message in conversation.messages.iter().filter(|message| !message.is_snapshot()) {
            let (packet, len) = Packet::decode(&message.bytes, message.side(), DEFAULT_PACKET_LIMIT)
                .unwrap_or_else(|error| panic!("{}: {error}: {}", conversation.place, message.text))
                .unwrap_or_else(|| panic!("{}: is cut: {}", conversation.place, message.text));
            assert_eq!(len, message.bytes.len(), "{}: {}", conversation.place, message.text);
            check_packet(&packet, &message.text);
            let mut again = Vec::new();
            packet.encode(message.side(), &mut again);
            assert_eq!(again, message.bytes, "{}: {}", conversation.place, message.text);
            *kinds.entry(message.text.split(' ').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!(kinds.len(), 19, "every type was recorded: {kinds:?}");
}

#[test]
fn packets_arrive_in_pieces() {
    for conversation in learner_conversations() {
        for side in [Side::Learner, Side::Master] {
            for piece in [1, 7, 100_000] {
                read_in_pieces(&conversation, side, piece);
            }
        }
    }
}

/// A tree that follows a packet is passed over.
fn read_in_pieces(conversation: &Conversation, side: Side, piece: usize) {
    let said: Vec<&Message> = conversation.messages.iter().filter(|message| message.side() == side).collect();
    let all: Vec<u8> = said.iter().flat_map(|message| &message.bytes).copied().collect();
    let mut expected = said.into_iter();
    let mut stream = PacketStream::new(side, DEFAULT_PACKET_LIMIT);
    let mut outside = 0;
    for bytes in all.chunks(piece) {
        stream.buffer_mut().extend_from_slice(bytes);
        loop {
            let passed = outside.min(stream.buffer_mut().len());
            drop(stream.buffer_mut().split_to(passed));
            outside -= passed;
            if outside > 0 {
                break;
            }
            let Some(packet) = stream.read().unwrap() else { break };
            check_packet(&packet, &expected.next().unwrap().text);
            if matches!(packet, Packet::Snap { .. }) {
                let snapshot = expected.next().unwrap();
                assert!(snapshot.is_snapshot());
                outside = snapshot.bytes.len();
            }
        }
    }
    assert!(expected.next().is_none(), "{}", conversation.place);
    assert!(stream.buffer_mut().is_empty(), "{}", conversation.place);
}

#[test]
fn each_notification_is_what_was_written_beside_it() {
    let (mut greetings, mut notifications) = (0, 0);
    for conversation in conversations().into_iter().filter(|conversation| conversation.election) {
        for message in &conversation.messages {
            let mut again = Vec::new();
            if message.text.starts_with("INIT") {
                let (greeting, len) = Greeting::decode(&message.bytes).unwrap().unwrap();
                assert_eq!(len, message.bytes.len());
                assert_eq!(greeting_text(&greeting), message.text);
                greeting.encode(false, &mut again);
                for len in 0..len {
                    assert_eq!(Greeting::decode(&message.bytes[..len]), Ok(None));
                }
                greetings += 1;
            } else {
                let (body, len) = read_frame(&message.bytes).unwrap().unwrap();
                assert_eq!(len, message.bytes.len());
                let notification = Notification::decode(body).unwrap();
                assert_eq!(notification_text(&notification), message.text);
                notification.encode(&mut again);
                for len in 0..len {
                    assert_eq!(read_frame(&message.bytes[..len]), Ok(None));
                }
                notifications += 1;
            }
            assert_eq!(again, message.bytes, "{}: {}", conversation.place, message.text);
        }
    }
    assert_eq!((greetings, notifications), (61, 167));
}

#[test]
fn each_member_list_is_printed_as_it_came() {
    let mut lists: BTreeMap<Bytes, usize> = BTreeMap::new();
    for message in conversations().iter().flat_map(|conversation| &conversation.messages) {
        let list = if message.text.starts_with("NOTIF") {
            Notification::decode(read_frame(&message.bytes).unwrap().unwrap().0).unwrap().members
        } else if message.text.starts_with("NEWLEADER") {
            match Packet::decode(&message.bytes, Side::Master, DEFAULT_PACKET_LIMIT).unwrap().unwrap().0 {
                Packet::NewLeader { members, .. } => members,
                packet => panic!("{packet:?}"),
            }
        } else {
            continue;
        };
        *lists.entry(list.unwrap()).or_default() += 1;
    }
    assert!(lists.len() >= 5, "{lists:?}");
    for list in lists.keys() {
        let members = Members::decode(list).unwrap();
        assert_eq!(members.to_string().as_bytes(), list);
        let count = list.split(|byte| *byte == b'\n').count() - 1;
        assert_eq!(members.voters().count() + members.observers().count(), count);
    }
}

/// Compares a packet with the words of whoever recorded it.
fn check_packet(packet: &Packet, text: &str) {
    match packet {
        // Of a transaction only the head is compared, as far as every recording tells it.
        Packet::Proposal { zxid, entry } => {
            check_entry(entry, &format!("PROPOSAL zxid=x{:x} ", zxid.0), text)
        }
        Packet::Inform { zxid, entry } => check_entry(entry, &format!("INFORM zxid=x{:x} ", zxid.0), text),
        Packet::InformAndActivate { zxid, leader, entry } => {
            let head = &TxnEntry::decode(entry).unwrap().header;
            assert_eq!(head.zxid, *zxid);
            let expected = format!(
                "INFORMANDACTIVATE zxid=x{:x} leader={leader} + txn {{'clientId': {}, 'cxid': {}, 'zxid': {}, ",
                zxid.0, head.session.0, head.cxid, zxid.0
            );
            assert!(text.starts_with(&expected), "{text} {expected}");
        }
        // Whether a buffer is empty or null is compared as bytes.
        packet => assert_eq!(packet_text(packet), text.trim_end_matches("null")),
    }
}

fn check_entry(entry: &Bytes, start: &str, text: &str) {
    assert!(text.starts_with(start), "{text}");
    let head = &TxnEntry::decode(entry).unwrap().header;
    let expected = format!(" sid=x{:x} cxid={} zxid=x{:x} ", head.session.0, head.cxid, head.zxid.0);
    assert!(text.contains(&expected), "{text} {expected}");
}

fn packet_text(packet: &Packet) -> String {
    match packet {
        Packet::Request(request) => request_text(request),
        Packet::Proposal { .. } | Packet::Inform { .. } | Packet::InformAndActivate { .. } => {
            unreachable!("compared elsewhere")
        }
        Packet::Ack { zxid } => format!("ACK zxid=x{:x}", zxid.0),
        Packet::Commit { zxid } => format!("COMMIT zxid=x{:x}", zxid.0),
        Packet::Ping { zxid, data } if data.is_empty() => format!("PING zxid=x{:x} data=", zxid.0),
        Packet::Ping { zxid, data } => {
            let touches: Vec<String> = Packet::touches(data)
                .map(|(session, timeout_ms)| format!("('x{:x}', {timeout_ms})", session.0))
                .collect();
            assert_eq!(Packet::touch_data(Packet::touches(data)), data);
            format!("PING zxid=x{:x} touch=[{}]", zxid.0, touches.join(", "))
        }
        Packet::Revalidate { session, timeout_ms } => {
            format!("REVALIDATE zxid=xffffffffffffffff x{:x} {timeout_ms:08x}", session.0)
        }
        Packet::Revalidated { session, valid } => {
            format!("REVALIDATE zxid=xffffffffffffffff x{:x} {:02x}", session.0, u8::from(*valid))
        }
        Packet::Sync => "SYNC zxid=x0".to_owned(),
        Packet::CommitAndActivate { zxid, leader } => {
            format!("COMMITANDACTIVATE zxid=x{:x} leader={leader} len=8", zxid.0)
        }
        Packet::NewLeader { zxid, members } => {
            format!("NEWLEADER zxid=x{:x} data=b{}", zxid.0, quoted(members.as_ref().unwrap()))
        }
        Packet::FollowerInfo { accepted_epoch, info } => {
            format!("FOLLOWERINFO zxid=x{:x} {}", accepted_epoch << 32, info_text(info))
        }
        Packet::UpToDate => "UPTODATE zxid=xffffffffffffffff".to_owned(),
        Packet::Diff { zxid } => format!("DIFF zxid=x{:x}", zxid.0),
        Packet::Trunc { zxid } => format!("TRUNC zxid=x{:x}", zxid.0),
        Packet::Snap { zxid } => format!("SNAP zxid=x{:x}", zxid.0),
        Packet::ObserverInfo { accepted_epoch, info } => {
            format!("OBSERVERINFO zxid=x{:x} {}", accepted_epoch << 32, info_text(info))
        }
        Packet::LeaderInfo { epoch } => format!("LEADERINFO zxid=x{:x} int=x10000", epoch << 32),
        Packet::AckEpoch { last, current_epoch } => {
            format!("ACKEPOCH zxid=x{:x} int={}", last.0, current_epoch.unwrap_or(-1))
        }
        Packet::Unknown { kind } => format!("type {kind}"),
    }
}

fn request_text(request: &Forwarded) -> String {
    let ids = request.ids.as_ref().map_or_else(String::new, |ids| {
        let ids: Vec<_> = ids.iter().map(|id| format!("('{}', '{}')", id.scheme, id.id)).collect();
        format!("[{}]", ids.join(", "))
    });
    format!(
        "REQUEST zxid=xffffffffffffffff sid=x{:x} cxid={} op={} body={} bytes auth={ids}",
        request.session.0,
        request.cxid,
        request.op,
        request.body.len()
    )
}

fn info_text(info: &LearnerInfo) -> String {
    format!(
        "sid={} proto=x{:x} cfgver=x{:x} rest=0",
        info.server.unwrap(),
        info.protocol,
        info.members_version
    )
}

fn greeting_text(greeting: &Greeting) -> String {
    let addresses: Vec<_> = greeting.addresses.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    format!("INIT ver=-65536 sid={} addr=b'{}'", greeting.server, addresses.join("|"))
}

fn notification_text(notification: &Notification) -> String {
    let state = match notification.state {
        PeerState::Looking => "LOOKING",
        PeerState::Following => "FOLLOWING",
        PeerState::Leading => "LEADING",
        PeerState::Observing => "OBSERVING",
    };
    let vote = &notification.vote;
    format!(
        "NOTIF state={state} leader={} zxid=x{:x} round=x{:x} peerEpoch=x{:x} ver=2 cfg={}",
        vote.leader,
        vote.zxid.0,
        notification.round,
        vote.epoch,
        quoted(notification.members.as_ref().unwrap())
    )
}

fn quoted(text: &[u8]) -> String {
    format!("'{}'", std::str::from_utf8(text).unwrap().replace('\n', "\\n"))
}

/// What follows a `SNAP` is not made of packets; a reader of packets has to be told.
#[test]
fn a_tree_ends_with_its_signature() {
    let mut trees = 0;
    for conversation in learner_conversations() {
        for tree in conversation.messages.iter().filter(|message| message.is_snapshot()) {
            let signature = &tree.bytes[tree.bytes.len() - 14..];
            assert_eq!(Reader::new(signature).required_string("signature").unwrap(), "BenWasHere");
            trees += 1;
        }
    }
    assert_eq!(trees, 9);
}
