//! What lies between servers: connections on which bytes arrive in order or not at all, and channels for votes on
//! which the newest replaces what was not sent.

use std::collections::VecDeque;

use bytes::Bytes;
use ostler_node::tree_stream::{Progress, TreeReceiver};
use ostler_tree::{Store, TreeConfig};
use ostler_wire::Zxid;
use ostler_wire::quorum::stream::DEFAULT_PACKET_LIMIT;
use ostler_wire::quorum::{Notification, Packet, PacketStream, Side};

/// The bound on a field of a tree that is received.
const TREE_LIMIT: usize = 2 << 20;

/// Something on its way.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes as they were written.
    Bytes(Bytes),
    /// A packet that travels as a value.
    Packet(Packet),
    /// Bytes of a tree, beside packets that travel as values.
    Tree(Bytes),
    /// The other side is gone.
    End,
}

/// What an end hears.
pub(super) enum Heard {
    Packet(Packet),
    Tree(Box<Store>),
    /// Bytes that make nothing yet.
    Part,
    End,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    /// The server.
    pub place: usize,
    /// Whether its process still holds it.
    pub open: bool,
    /// What is on the way to it, with the times of arrival.
    pub coming: VecDeque<(u64, Piece)>,
    last_at: u64,
    stream: PacketStream,
    tree: Option<(TreeReceiver, Zxid)>,
}

impl End {
    fn new(place: usize, from: Side) -> Self {
        Self {
            place,
            open: true,
            coming: VecDeque::new(),
            last_at: 0,
            stream: PacketStream::new(from, DEFAULT_PACKET_LIMIT),
            tree: None,
        }
    }

    /// Puts something on the way; when it arrives.
    pub(super) fn push(&mut self, at_us: u64, piece: Piece) -> u64 {
        self.last_at = self.last_at.max(at_us);
        self.coming.push_back((self.last_at, piece));
        self.last_at
    }

    /// Lets everything arrive by a time, and the end of the connection at last; when the first does.
    pub(super) fn hurry(&mut self, at_us: u64) -> u64 {
        for (at, _) in &mut self.coming {
            *at = (*at).min(at_us);
        }
        self.last_at = self.last_at.min(at_us);
        if !self.coming.iter().any(|(_, piece)| matches!(piece, Piece::End)) {
            self.coming.push_back((at_us, Piece::End));
        }
        self.coming.front().map_or(at_us, |(at, _)| *at)
    }

    /// Takes a piece; an error says what is wrong with it.
    pub(super) fn hear(
        &mut self,
        piece: Piece,
        tree: &TreeConfig,
        out: &mut Vec<Heard>,
    ) -> Result<(), String> {
        match piece {
            Piece::End => out.push(Heard::End),
            Piece::Packet(packet) => self.take_packet(packet, tree, out),
            Piece::Tree(bytes) => {
                self.feed_tree(&bytes, out)?;
            }
            Piece::Bytes(bytes) => {
                let before = out.len();
                let mut rest = &bytes[..];
                if self.tree.is_some() {
                    let used = self.feed_tree(rest, out)?;
                    rest = &rest[used..];
                }
                self.stream.buffer_mut().extend_from_slice(rest);
                while self.tree.is_none() {
                    let Some(packet) = self.stream.read().map_err(|error| error.to_string())? else { break };
                    self.take_packet(packet, tree, out);
                    if self.tree.is_some() {
                        let waiting = self.stream.buffer_mut().split().freeze();
                        let used = self.feed_tree(&waiting, out)?;
                        self.stream.buffer_mut().extend_from_slice(&waiting[used..]);
                    }
                }
                if out.len() == before {
                    out.push(Heard::Part);
                }
            }
        }
        Ok(())
    }

    fn take_packet(&mut self, packet: Packet, tree: &TreeConfig, out: &mut Vec<Heard>) {
        if let Packet::Snap { zxid } = packet {
            self.tree = Some((TreeReceiver::new(tree.clone(), TREE_LIMIT), zxid));
        }
        out.push(Heard::Packet(packet));
    }

    fn feed_tree(&mut self, bytes: &[u8], out: &mut Vec<Heard>) -> Result<usize, String> {
        let Some((mut receiver, zxid)) = self.tree.take() else {
            return Err("a tree that nobody announced".to_owned());
        };
        match receiver.feed(bytes).map_err(|error| error.to_string())? {
            Progress::Wanted => {
                self.tree = Some((receiver, zxid));
                out.push(Heard::Part);
                Ok(bytes.len())
            }
            Progress::Done { used } => {
                let store = receiver.finish(zxid).map_err(|error| error.to_string())?;
                out.push(Heard::Tree(Box::new(store)));
                Ok(used)
            }
        }
    }
}

/// A connection on the learner port: the learner's end, and the leader's.
#[derive(Debug)]
pub(super) struct Link {
    pub ends: [End; 2],
}

impl Link {
    pub(super) fn new(learner: usize, leader: usize) -> Self {
        Self { ends: [End::new(learner, Side::Master), End::new(leader, Side::Learner)] }
    }

    /// Which end a server has.
    pub(super) fn end_of(&self, place: usize) -> usize {
        usize::from(self.ends[1].place == place)
    }

    /// As which side an end speaks.
    pub(super) fn side(end: usize) -> Side {
        if end == 0 { Side::Learner } else { Side::Master }
    }
}

/// Votes from one server to another.
#[derive(Debug, Default)]
pub(super) struct Votes {
    /// Not sent.
    pub queued: Option<Notification>,
    /// Sent last, for when the connection breaks.
    pub last: Option<Notification>,
    /// Frames on the way.
    pub coming: VecDeque<(u64, Vec<u8>)>,
    last_at: u64,
}

impl Votes {
    /// Puts a vote on the way; when it arrives.
    pub(super) fn push(&mut self, at_us: u64, notification: Notification) -> u64 {
        let mut frame = Vec::new();
        notification.encode(&mut frame);
        self.last_at = self.last_at.max(at_us);
        self.coming.push_back((self.last_at, frame));
        self.last = Some(notification);
        self.last_at
    }
}
