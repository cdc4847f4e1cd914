//! The bytes of the learner port: packets one after the other, without frames around them, so that only reading a
//! packet tells where it ends. `PacketStream` takes bytes as they arrive and yields packets; it reads each byte of a
//! packet's outline once, however the bytes are cut, and holds no more than one packet may take. Answers to Java's
//! `QuorumPacket` as `Learner` and `LearnerHandler` read and write it.

use bytes::{Bytes, BytesMut};

use crate::error::DecodeError;
use crate::jute::{DEFAULT_MAX_BUFFER, Reader, Writer};
use crate::{Id, ServerId, SessionId, Zxid};

use super::{Forwarded, LearnerInfo, Packet};

/// The default of the longest buffer in a packet, in bytes: `jute.maxbuffer` and as much again.
pub const DEFAULT_PACKET_LIMIT: usize = 2 * DEFAULT_MAX_BUFFER;

/// The version of the protocol that is spoken since 3.4.
pub const PROTOCOL_VERSION: i32 = 0x1_0000;

/// Who sends a packet: some types mean different things from different sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that learns.
    Learner,
    /// The one that it learns from: the leader, or an observer that passes on what it learns.
    Master,
}

impl Packet {
    /// Appends the packet as `from` writes it.
    pub fn encode(&self, from: Side, out: &mut Vec<u8>) {
        match self {
            Self::Request(request) => {
                start(out, REQUEST, NO_ZXID);
                out.put_count(REQUEST_HEAD_LEN + request.body.len());
                out.put_long(request.session.0);
                out.put_int(request.cxid);
                out.put_int(request.op);
                out.extend_from_slice(&request.body);
                put_ids(out, request.ids.as_deref());
            }
            Self::Proposal { zxid, entry } => put(out, PROPOSAL, *zxid, Some(entry)),
            Self::Ack { zxid } => put(out, ACK, *zxid, None),
            Self::Commit { zxid } => put(out, COMMIT, *zxid, None),
            Self::Ping { zxid, data } => {
                // A master wants the buffer to be there even if it says nothing, and sends none itself.
                let null = from == Side::Master && data.is_empty();
                put(out, PING, *zxid, (!null).then_some(data));
            }
            Self::Revalidate { session, timeout_ms } => {
                put(out, REVALIDATE, NO_ZXID, Some(&touch(*session, *timeout_ms)));
            }
            Self::Revalidated { session, valid } => {
                let mut data = session.0.to_be_bytes().to_vec();
                data.put_bool(*valid);
                put(out, REVALIDATE, NO_ZXID, Some(&data));
            }
            Self::Sync => put(out, SYNC, Zxid::ZERO, None),
            Self::Inform { zxid, entry } => put(out, INFORM, *zxid, Some(entry)),
            Self::CommitAndActivate { zxid, leader } => {
                put(out, COMMIT_AND_ACTIVATE, *zxid, Some(&leader.0.to_be_bytes()));
            }
            Self::NewLeader { zxid, members } => put(out, NEW_LEADER, *zxid, members.as_deref()),
            Self::FollowerInfo { accepted_epoch, info } => {
                put(out, FOLLOWER_INFO, start_of(*accepted_epoch), info.to_bytes().as_deref());
            }
            Self::UpToDate => put(out, UP_TO_DATE, NO_ZXID, None),
            Self::Diff { zxid } => put(out, DIFF, *zxid, None),
            Self::Trunc { zxid } => put(out, TRUNC, *zxid, None),
            Self::Snap { zxid } => put(out, SNAP, *zxid, None),
            Self::ObserverInfo { accepted_epoch, info } => {
                put(out, OBSERVER_INFO, start_of(*accepted_epoch), info.to_bytes().as_deref());
            }
            Self::LeaderInfo { epoch } => {
                put(out, LEADER_INFO, start_of(*epoch), Some(&PROTOCOL_VERSION.to_be_bytes()));
            }
            Self::AckEpoch { last, current_epoch } => {
                #[expect(clippy::cast_possible_truncation, reason = "epochs travel as 32 bits here")]
                let epoch = current_epoch.unwrap_or(NOT_AGAIN) as i32;
                put(out, ACK_EPOCH, *last, Some(&epoch.to_be_bytes()));
            }
            Self::InformAndActivate { zxid, leader, entry } => {
                start(out, INFORM_AND_ACTIVATE, *zxid);
                out.put_count(8 + entry.len());
                out.put_long(leader.0);
                out.extend_from_slice(entry);
                put_ids(out, None);
            }
            Self::Unknown { kind } => put(out, *kind, Zxid::ZERO, None),
        }
    }

    /// The packet at the front of `bytes` and how many bytes it takes; `None` if it is not there as a whole. No
    /// buffer or string in it is longer than `limit` bytes, nor are all ids together.
    ///
    /// # Errors
    /// The bytes are not those of a packet: the stream is lost.
    pub fn decode(bytes: &[u8], from: Side, limit: usize) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some(len) = Outline::default().read_on(bytes, limit)? else { return Ok(None) };
        Ok(Some((Self::decode_whole(&Bytes::copy_from_slice(&bytes[..len]), from)?, len)))
    }

    /// The packet that is exactly `bytes`; what it carries shares their memory.
    fn decode_whole(bytes: &Bytes, from: Side) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.int("packet.type")?;
        let zxid = Zxid(reader.long("packet.zxid")?);
        let data = reader.buffer("packet.data")?;
        let shared = || bytes.slice_ref(data.unwrap_or_default());
        let at = reader.position();
        let mut body = Reader::new(data.unwrap_or_default());
        let wanted = |what| data.map(drop).ok_or_else(|| DecodeError::null(what, at));
        Ok(match kind {
            REQUEST => {
                wanted("request")?;
                Self::Request(Forwarded {
                    session: SessionId(body.long("request.session")?),
                    cxid: body.int("request.cxid")?,
                    op: body.int("request.type")?,
                    body: bytes.slice_ref(body.rest()),
                    ids: reader.vector("packet.authinfo", read_id)?,
                })
            }
            PROPOSAL => {
                wanted("proposal")?;
                Self::Proposal { zxid, entry: shared() }
            }
            ACK => Self::Ack { zxid },
            COMMIT => Self::Commit { zxid },
            PING => {
                let data = shared();
                if from == Side::Learner && data.len() % TOUCH_LEN != 0 {
                    let left = data.len() % TOUCH_LEN;
                    return Err(DecodeError::end("ping.session", data.len() - left, TOUCH_LEN, left));
                }
                Self::Ping { zxid, data }
            }
            REVALIDATE => {
                let session = SessionId(body.long("revalidate.session")?);
                match from {
                    Side::Learner => {
                        Self::Revalidate { session, timeout_ms: body.int("revalidate.timeout")? }
                    }
                    Side::Master => Self::Revalidated { session, valid: body.bool("revalidate.valid")? },
                }
            }
            SYNC => Self::Sync,
            INFORM => {
                wanted("inform")?;
                Self::Inform { zxid, entry: shared() }
            }
            COMMIT_AND_ACTIVATE => {
                Self::CommitAndActivate { zxid, leader: ServerId(body.long("commit.leader")?) }
            }
            NEW_LEADER => Self::NewLeader { zxid, members: data.map(|_| shared()) },
            FOLLOWER_INFO => {
                Self::FollowerInfo { accepted_epoch: epoch_of(zxid), info: LearnerInfo::from_bytes(data)? }
            }
            UP_TO_DATE => Self::UpToDate,
            DIFF => Self::Diff { zxid },
            TRUNC => Self::Trunc { zxid },
            SNAP => Self::Snap { zxid },
            OBSERVER_INFO => {
                Self::ObserverInfo { accepted_epoch: epoch_of(zxid), info: LearnerInfo::from_bytes(data)? }
            }
            LEADER_INFO => {
                body.int("leaderInfo.protocolVersion")?;
                Self::LeaderInfo { epoch: epoch_of(zxid) }
            }
            ACK_EPOCH => {
                let epoch = i64::from(body.int("ackEpoch.epoch")?);
                Self::AckEpoch { last: zxid, current_epoch: (epoch != NOT_AGAIN).then_some(epoch) }
            }
            INFORM_AND_ACTIVATE => Self::InformAndActivate {
                zxid,
                leader: ServerId(body.long("inform.leader")?),
                entry: bytes.slice_ref(body.rest()),
            },
            kind => Self::Unknown { kind },
        })
    }

    /// What a learner tells with a [`Packet::Ping`]: its sessions and their timeouts in milliseconds.
    pub fn touches(data: &[u8]) -> impl Iterator<Item = (SessionId, i32)> {
        data.chunks_exact(TOUCH_LEN).map(|touch| {
            let mut reader = Reader::new(touch);
            let session = reader.long("ping.session").expect("the chunk is long enough");
            (SessionId(session), reader.int("ping.timeout").expect("the chunk is long enough"))
        })
    }

    /// The data of a learner's [`Packet::Ping`].
    pub fn touch_data(touches: impl IntoIterator<Item = (SessionId, i32)>) -> Bytes {
        touches.into_iter().flat_map(|(session, timeout_ms)| touch(session, timeout_ms)).collect()
    }
}

impl LearnerInfo {
    /// `None` is null: nobody says who it is.
    fn to_bytes(self) -> Option<Vec<u8>> {
        let server = self.server?;
        let mut data = Vec::with_capacity(20);
        data.put_long(server.0);
        data.put_int(self.protocol);
        data.put_long(self.members_version);
        Some(data)
    }

    /// Each version said more behind what was said before.
    fn from_bytes(data: Option<&[u8]>) -> Result<Self, DecodeError> {
        let Some(data) = data else { return Ok(Self { server: None, protocol: 0, members_version: 0 }) };
        let mut reader = Reader::new(data);
        let server = Some(ServerId(reader.long("learnerInfo.serverid")?));
        let protocol = if reader.remaining() >= 4 { reader.int("learnerInfo.protocolVersion")? } else { 0 };
        let members_version =
            if reader.remaining() >= 8 { reader.long("learnerInfo.configVersion")? } else { 0 };
        Ok(Self { server, protocol, members_version })
    }
}

/// Packets from bytes that arrive in pieces.
#[derive(Debug)]
pub struct PacketStream {
    from: Side,
    limit: usize,
    buffer: BytesMut,
    outline: Outline,
}

impl PacketStream {
    /// What `from` sends, with no buffer longer than `limit` bytes.
    #[must_use]
    pub fn new(from: Side, limit: usize) -> Self {
        Self { from, limit, buffer: BytesMut::new(), outline: Outline::default() }
    }

    /// Where to put what arrives: at the end. Other bytes than packets, as those behind a [`Packet::Snap`], may be
    /// taken from the front when [`Self::read`] has just yielded a packet.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next packet; `None` if it is not there as a whole. What it carries shares the memory of the buffer.
    ///
    /// # Errors
    /// The bytes are not those of a packet: the stream is lost.
    pub fn read(&mut self) -> Result<Option<Packet>, DecodeError> {
        let Some(len) = self.outline.read_on(&self.buffer, self.limit)? else { return Ok(None) };
        self.outline = Outline::default();
        Packet::decode_whole(&self.buffer.split_to(len).freeze(), self.from).map(Some)
    }
}

/// How far a packet was measured, so that more bytes do not mean to begin again.
#[derive(Debug, Clone, Copy, Default)]
struct Outline {
    /// Bytes that are measured; those of a buffer count although they may not be there.
    at: usize,
    part: Part,
}

#[derive(Debug, Clone, Copy, Default)]
enum Part {
    #[default]
    Data,
    Count,
    /// So many texts are to come; ids begin there.
    Texts {
        left: u64,
        start: usize,
    },
}

impl Outline {
    /// How long the packet is whose first bytes these are, if they tell and are all there.
    fn read_on(&mut self, bytes: &[u8], limit: usize) -> Result<Option<usize>, DecodeError> {
        loop {
            match self.part {
                Part::Data => {
                    let Some(len) = length(bytes, HEAD_LEN, "packet.data", limit)? else { return Ok(None) };
                    *self = Self { at: HEAD_LEN + 4 + len, part: Part::Count };
                }
                Part::Count => {
                    let Some(count) = int(bytes, self.at) else { return Ok(None) };
                    self.at += 4;
                    let left = 2 * u64::try_from(count).unwrap_or(0);
                    self.part = Part::Texts { left, start: self.at };
                }
                Part::Texts { left: 0, .. } => return Ok((self.at <= bytes.len()).then_some(self.at)),
                Part::Texts { left, start } => {
                    let Some(len) = length(bytes, self.at, "packet.authinfo", limit)? else {
                        return Ok(None);
                    };
                    self.at += 4 + len;
                    if self.at - start > limit {
                        let length = i64::try_from(self.at - start).unwrap_or(i64::MAX);
                        return Err(DecodeError::length("packet.authinfo", start, length, limit));
                    }
                    self.part = Part::Texts { left: left - 1, start };
                }
            }
        }
    }
}

/// The length that stands at `at`, null counting as nothing.
fn length(bytes: &[u8], at: usize, what: &'static str, limit: usize) -> Result<Option<usize>, DecodeError> {
    let Some(length) = int(bytes, at) else { return Ok(None) };
    match usize::try_from(length) {
        Ok(length) if length <= limit => Ok(Some(length)),
        Err(_) if length == -1 => Ok(Some(0)),
        _ => Err(DecodeError::length(what, at, i64::from(length), limit)),
    }
}

fn int(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn read_id(reader: &mut Reader<'_>) -> Result<Id, DecodeError> {
    Ok(Id {
        scheme: reader.string("id.scheme")?.unwrap_or_default().into_owned(),
        id: reader.string("id.id")?.unwrap_or_default().into_owned(),
    })
}

fn put(out: &mut Vec<u8>, kind: i32, zxid: Zxid, data: Option<&[u8]>) {
    start(out, kind, zxid);
    out.put_buffer(data);
    put_ids(out, None);
}

fn start(out: &mut Vec<u8>, kind: i32, zxid: Zxid) {
    out.put_int(kind);
    out.put_long(zxid.0);
}

fn put_ids(out: &mut Vec<u8>, ids: Option<&[Id]>) {
    let Some(ids) = ids else { return out.put_int(-1) };
    out.put_count(ids.len());
    for id in ids {
        out.put_string(&id.scheme);
        out.put_string(&id.id);
    }
}

fn touch(session: SessionId, timeout_ms: i32) -> [u8; TOUCH_LEN] {
    let mut touch = [0; TOUCH_LEN];
    touch[..8].copy_from_slice(&session.0.to_be_bytes());
    touch[8..].copy_from_slice(&timeout_ms.to_be_bytes());
    touch
}

/// The zxid that stands for an epoch as a whole.
fn start_of(epoch: i64) -> Zxid {
    Zxid(epoch << 32)
}

fn epoch_of(zxid: Zxid) -> i64 {
    zxid.0 >> 32
}

const REQUEST: i32 = 1;
const PROPOSAL: i32 = 2;
const ACK: i32 = 3;
const COMMIT: i32 = 4;
const PING: i32 = 5;
const REVALIDATE: i32 = 6;
const SYNC: i32 = 7;
const INFORM: i32 = 8;
const COMMIT_AND_ACTIVATE: i32 = 9;
const NEW_LEADER: i32 = 10;
const FOLLOWER_INFO: i32 = 11;
const UP_TO_DATE: i32 = 12;
const DIFF: i32 = 13;
const TRUNC: i32 = 14;
const SNAP: i32 = 15;
const OBSERVER_INFO: i32 = 16;
const LEADER_INFO: i32 = 17;
const ACK_EPOCH: i32 = 18;
const INFORM_AND_ACTIVATE: i32 = 19;

/// Type and zxid.
const HEAD_LEN: usize = 12;
/// Session, number and opcode of a request.
const REQUEST_HEAD_LEN: usize = 16;
/// A session and its timeout.
const TOUCH_LEN: usize = 12;
/// What stands where a zxid means nothing.
const NO_ZXID: Zxid = Zxid(-1);
/// The epoch in an `ACKEPOCH` that does not count.
const NOT_AGAIN: i64 = -1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Problem;

    const LIMIT: usize = DEFAULT_PACKET_LIMIT;

    fn encoded(packet: &Packet, from: Side) -> Vec<u8> {
        let mut out = Vec::new();
        packet.encode(from, &mut out);
        out
    }

    fn raw(kind: i32, data: Option<&[u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, kind, Zxid(7), data);
        out
    }

    #[test]
    fn a_ping_carries_nothing_as_each_side_writes_nothing() {
        let ping = Packet::Ping { zxid: Zxid(1), data: Bytes::new() };
        let (of_learner, of_master) = (encoded(&ping, Side::Learner), encoded(&ping, Side::Master));
        assert_eq!(of_learner[12..], [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(of_master[12..], [0xff; 8]);
        for bytes in [of_learner, of_master] {
            for from in [Side::Learner, Side::Master] {
                assert_eq!(Packet::decode(&bytes, from, LIMIT).unwrap(), Some((ping.clone(), 20)));
            }
        }
        let touches = [(SessionId(5), 4000), (SessionId(-1), 30_000)];
        let data = Packet::touch_data(touches);
        assert_eq!(data.len(), 24);
        assert!(Packet::touches(&data).eq(touches));
        assert!(Packet::decode(&raw(PING, Some(&data[..13])), Side::Learner, LIMIT).is_err());
    }

    #[test]
    fn an_answer_is_told_from_its_question_by_the_sender() {
        let question = Packet::Revalidate { session: SessionId(9), timeout_ms: 4000 };
        let answer = Packet::Revalidated { session: SessionId(9), valid: true };
        for (packet, from) in [(question, Side::Learner), (answer, Side::Master)] {
            let bytes = encoded(&packet, from);
            assert_eq!(Packet::decode(&bytes, from, LIMIT).unwrap(), Some((packet, bytes.len())));
        }
    }

    #[test]
    fn learners_of_all_ages_introduce_themselves() {
        let mut data = Vec::new();
        data.put_long(3);
        data.put_int(PROTOCOL_VERSION);
        data.put_long(0x1_0000_0005);
        let server = Some(ServerId(3));
        for (len, protocol, members_version) in
            [(8, 0, 0), (12, PROTOCOL_VERSION, 0), (20, PROTOCOL_VERSION, 0x1_0000_0005)]
        {
            assert_eq!(
                LearnerInfo::from_bytes(Some(&data[..len])),
                Ok(LearnerInfo { server, protocol, members_version })
            );
        }
        let nobody = LearnerInfo { server: None, protocol: 0, members_version: 0 };
        assert_eq!(LearnerInfo::from_bytes(None), Ok(nobody));
        assert_eq!(nobody.to_bytes(), None);
        for len in [0, 7] {
            assert!(LearnerInfo::from_bytes(Some(&data[..len])).is_err(), "{len}");
        }
    }

    #[test]
    fn what_a_packet_needs_is_there() {
        let needs = [
            (REQUEST, 16),
            (REVALIDATE, 12),
            (COMMIT_AND_ACTIVATE, 8),
            (LEADER_INFO, 4),
            (ACK_EPOCH, 4),
            (INFORM_AND_ACTIVATE, 8),
        ];
        for (kind, len) in needs {
            let data = [0; 16];
            let read = |data| Packet::decode(&raw(kind, data), Side::Learner, LIMIT);
            assert!(read(None).is_err(), "{kind}");
            assert!(read(Some(&data[..len - 1])).is_err(), "{kind}");
            assert!(read(Some(&data[..len])).is_ok(), "{kind}");
        }
        for kind in [PROPOSAL, INFORM] {
            assert!(Packet::decode(&raw(kind, None), Side::Master, LIMIT).is_err(), "{kind}");
        }
        for kind in [0, 20, -1] {
            let read = Packet::decode(&raw(kind, Some(b"x")), Side::Master, LIMIT).unwrap();
            assert_eq!(read.map(|(packet, _)| packet), Some(Packet::Unknown { kind }));
        }
    }

    #[test]
    fn lengths_are_refused_before_their_bytes_arrive() {
        for length in [-2, i32::MIN, 101, i32::MAX] {
            let mut bytes = raw(PROPOSAL, Some(b""))[..12].to_vec();
            bytes.put_int(length);
            let error = Packet::decode(&bytes, Side::Master, 100).unwrap_err();
            assert_eq!(error.problem, Problem::Length { length: i64::from(length), limit: 100 });

            let mut bytes = raw(REQUEST, Some(&[0; 16]))[..32].to_vec();
            bytes.put_int(1);
            bytes.put_int(length);
            assert!(Packet::decode(&bytes, Side::Learner, 100).is_err(), "{length}");
        }
        let mut stream = raw(REQUEST, Some(&[0; 16]))[..32].to_vec();
        stream.put_int(i32::MAX);
        stream.resize(stream.len() + 100, 0);
        assert_eq!(Packet::decode(&stream, Side::Learner, 100), Ok(None));
        stream.resize(stream.len() + 4, 0);
        assert!(Packet::decode(&stream, Side::Learner, 100).is_err(), "ids have no end");
    }

    #[test]
    fn bytes_may_arrive_one_by_one() {
        let ids = Some(vec![Id::new("ip", "127.0.0.1"), Id::new("digest", "a:b")]);
        let request =
            Forwarded { session: SessionId(1), cxid: 2, op: 1, body: Bytes::from_static(b"body"), ids };
        let packets = [
            Packet::Request(request.clone()),
            Packet::Ack { zxid: Zxid(3) },
            Packet::Request(Forwarded { ids: None, ..request.clone() }),
            Packet::Request(Forwarded { ids: Some(Vec::new()), body: Bytes::new(), ..request }),
        ];
        let mut stream = PacketStream::new(Side::Learner, LIMIT);
        let mut read = Vec::new();
        for byte in packets.iter().flat_map(|packet| encoded(packet, Side::Learner)) {
            stream.buffer_mut().extend_from_slice(&[byte]);
            read.extend(stream.read().unwrap());
        }
        assert_eq!(read, packets);
        assert!(stream.buffer_mut().is_empty());
    }

    #[test]
    fn an_entry_is_not_copied() {
        let mut stream = PacketStream::new(Side::Master, LIMIT);
        stream.buffer_mut().extend_from_slice(&raw(PROPOSAL, Some(&[5; 1000])));
        let from = stream.buffer_mut().as_ptr().addr();
        let Some(Packet::Proposal { entry, .. }) = stream.read().unwrap() else { panic!("a proposal") };
        assert_eq!(entry.as_ptr().addr(), from + 16);
    }
}
