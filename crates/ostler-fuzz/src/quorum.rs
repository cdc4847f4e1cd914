//! What servers say to each other: packets, greetings, notifications, member lists.

use ostler_wire::quorum::notification::{MAX_FRAME, read_frame};
use ostler_wire::quorum::stream::DEFAULT_PACKET_LIMIT;
use ostler_wire::quorum::{Greeting, Members, Notification, Packet, PacketStream, Side};
use ostler_zab::quorum::Quorum;

/// A stream of packets; the first byte chooses the side, the limit and how the stream is cut.
pub(crate) fn packets(input: &[u8]) {
    let Some((first, said)) = input.split_first() else { return };
    let from = if first & 1 == 0 { Side::Learner } else { Side::Master };
    let limit = if first & 2 == 0 { DEFAULT_PACKET_LIMIT } else { 64 };
    let piece = usize::from(first >> 2) + 1;

    let mut stream = PacketStream::new(from, limit);
    let mut heard = Vec::new();
    let mut lost = false;
    for bytes in said.chunks(piece) {
        stream.buffer_mut().extend_from_slice(bytes);
        loop {
            match stream.read() {
                Ok(Some(packet)) => heard.push(packet),
                Ok(None) => break,
                Err(_) => lost = true,
            }
            if lost {
                break;
            }
        }
        if lost {
            break;
        }
    }

    let mut at = 0;
    let mut heard = heard.into_iter();
    loop {
        match Packet::decode(&said[at..], from, limit) {
            Ok(Some((packet, len))) => {
                assert_eq!(heard.next().as_ref(), Some(&packet));
                check_packet(&packet, from);
                at += len;
            }
            Ok(None) => break assert!(!lost),
            Err(_) => break assert!(lost),
        }
    }
    assert_eq!(heard.next(), None);
}

fn check_packet(packet: &Packet, from: Side) {
    let mut again = Vec::new();
    packet.encode(from, &mut again);
    let read = Packet::decode(&again, from, DEFAULT_PACKET_LIMIT);
    assert_eq!(read, Ok(Some((packet.clone(), again.len()))));
    if let (Packet::Ping { data, .. }, Side::Learner) = (packet, from) {
        assert_eq!(Packet::touch_data(Packet::touches(data)), data);
    }
}

/// An election connection: a greeting, then frames.
pub(crate) fn election(input: &[u8]) {
    let mut at = match Greeting::decode(input) {
        Ok(Some((greeting, len))) => {
            check_greeting(&greeting);
            len
        }
        Ok(None) => return,
        // What is no greeting may still hold frames.
        Err(_) => 0,
    };
    while let Ok(Some((body, len))) = read_frame(&input[at..]) {
        assert!(!body.is_empty() && body.len() <= MAX_FRAME);
        if let Ok(notification) = Notification::decode(body) {
            let mut again = Vec::new();
            notification.encode(&mut again);
            let (body, len) = read_frame(&again).expect("a frame of ours").expect("a whole one");
            assert_eq!(len, again.len());
            assert_eq!(Notification::decode(body).as_ref(), Ok(&notification));
            if let Some(text) = notification.members {
                members(&text);
            }
        }
        at += len;
    }
}

fn check_greeting(greeting: &Greeting) {
    if greeting.addresses.is_empty() {
        return;
    }
    let mut again = Vec::new();
    greeting.encode(true, &mut again);
    // Addresses in full may be longer than what is allowed.
    if let Ok(read) = Greeting::decode(&again) {
        let (read, len) = read.expect("a whole greeting");
        assert_eq!((read.server, len), (greeting.server, again.len()));
        assert_eq!(read.addresses.len(), greeting.addresses.len());
    }
}

/// A member list, and the quorum that it makes.
pub(crate) fn members(input: &[u8]) {
    let members = match Members::decode(input) {
        Ok(members) => members,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let text = members.to_string();
    let read = Members::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(read.to_string(), text);
    let renumbered = Members { version: members.version ^ 1, ..read };
    assert!(renumbered.is_same(&members), "{text}");
    if let Ok(quorum) = Quorum::of(&members) {
        assert_eq!(quorum.voters().len(), members.voters().count());
        let _ = quorum.is_quorum(quorum.voters());
    }
}
