//! What the election port carries behind the greeting of a connection: notifications, each in a frame. Answers to
//! Java's `FastLeaderElection.Notification` and to the frames of `QuorumCnxManager`.

use bytes::Bytes;

use crate::error::DecodeError;
use crate::frame::{self, Head};
use crate::jute::{Reader, Writer};
use crate::{ServerId, Zxid};

/// The most bytes in a frame.
pub const MAX_FRAME: usize = 512 << 10;

/// A vote as it is told to the others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notification {
    /// What the sender does at the moment.
    pub state: PeerState,
    /// Whom it votes for or follows.
    pub vote: Vote,
    /// The round of the election in which the vote was cast.
    pub round: i64,
    /// The member list of the sender, as text; `None` from versions that sent none.
    pub members: Option<Bytes>,
}

/// Who should lead, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vote {
    /// The server.
    pub leader: ServerId,
    /// The last zxid of its log.
    pub zxid: Zxid,
    /// The epoch whose history it has.
    pub epoch: i64,
}

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerState {
    /// It looks for a leader.
    Looking,
    /// It follows one.
    Following,
    /// It leads.
    Leading,
    /// It follows without a vote.
    Observing,
}

impl Notification {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let at = frame::start(out);
        out.put_int(self.state.to_int());
        out.put_long(self.vote.leader.0);
        out.put_long(self.vote.zxid.0);
        out.put_long(self.round);
        out.put_long(self.vote.epoch);
        match &self.members {
            None => out.put_int(WITHOUT_MEMBERS),
            Some(members) => {
                out.put_int(WITH_MEMBERS);
                out.put_buffer(Some(members));
            }
        }
        frame::finish(out, at);
    }

    /// Reads what a frame contains. How much an old server says is known by the length alone.
    ///
    /// # Errors
    /// The message is to be dropped; the connection is as good as before.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let state = reader.int("notification.state")?;
        let leader = ServerId(reader.long("notification.leader")?);
        let zxid = Zxid(reader.long("notification.zxid")?);
        let round = reader.long("notification.electionEpoch")?;
        let epoch = match body.len() {
            LEN_WITHOUT_EPOCH => zxid.0 >> 32,
            _ => reader.long("notification.peerEpoch")?,
        };
        let version = match body.len() {
            LEN_WITHOUT_EPOCH | LEN_WITHOUT_VERSION => 0,
            _ => reader.int("notification.version")?,
        };
        let members = match version {
            WITH_MEMBERS.. => {
                let at = reader.position();
                let length = reader.int("notification.configLength")?;
                let len = usize::try_from(length).map_err(|_| {
                    DecodeError::length("notification.config", at, i64::from(length), body.len())
                })?;
                Some(Bytes::copy_from_slice(reader.take(len, "notification.config")?))
            }
            _ => None,
        };
        let state = PeerState::from_int(state)
            .ok_or_else(|| DecodeError::unknown("notification.state", 0, i64::from(state)))?;
        Ok(Self { state, vote: Vote { leader, zxid, epoch }, round, members })
    }
}

impl PeerState {
    fn to_int(self) -> i32 {
        match self {
            Self::Looking => 0,
            Self::Following => 1,
            Self::Leading => 2,
            Self::Observing => 3,
        }
    }

    fn from_int(state: i32) -> Option<Self> {
        [Self::Looking, Self::Following, Self::Leading, Self::Observing]
            .into_iter()
            .find(|candidate| candidate.to_int() == state)
    }
}

/// What the frame at the front of `bytes` contains, and how many bytes it takes with its length; `None` if it is not
/// there as a whole.
///
/// # Errors
/// No frame has such a length: the connection is lost.
pub fn read_frame(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, DecodeError> {
    match frame::head(bytes, MAX_FRAME) {
        Head::Frame { len: 0 } => Err(DecodeError::length("frame", 0, 0, MAX_FRAME)),
        Head::Frame { len } => Ok(Some((&bytes[4..4 + len], 4 + len))),
        Head::Partial { .. } => Ok(None),
        Head::BadLength(length) => Err(DecodeError::length("frame", 0, i64::from(length), MAX_FRAME)),
    }
}

/// What servers before 3.4 send: no epoch, which is then that of the zxid.
const LEN_WITHOUT_EPOCH: usize = 28;
/// What servers of 3.4 send; what stands in the place of the version is not one.
const LEN_WITHOUT_VERSION: usize = 40;
const WITHOUT_MEMBERS: i32 = 1;
/// The first version with the member list, and the one that we send.
const WITH_MEMBERS: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(members: Option<Bytes>) -> Notification {
        let vote = Vote { leader: ServerId(3), zxid: Zxid::new(5, 9), epoch: 6 };
        Notification { state: PeerState::Leading, vote, round: 7, members }
    }

    fn body(members: Option<Bytes>) -> Vec<u8> {
        let mut out = Vec::new();
        notification(members).encode(&mut out);
        out.split_off(4)
    }

    #[test]
    fn each_age_of_notifications() {
        let members = Some(Bytes::from_static(b"version=0"));
        assert_eq!(Notification::decode(&body(members.clone())), Ok(notification(members.clone())));
        assert_eq!(Notification::decode(&body(None)), Ok(notification(None)));
        let mut of_3_3 = notification(None);
        of_3_3.vote.epoch = 5;
        assert_eq!(Notification::decode(&body(None)[..28]), Ok(of_3_3));

        // The version is not read where the length says that there is none.
        let mut old = body(None);
        old[36..40].copy_from_slice(&[0, 0, 0, 2]);
        assert_eq!(Notification::decode(&old), Ok(notification(None)));

        let mut longer = body(members.clone());
        longer.extend_from_slice(b"of a later version");
        assert_eq!(Notification::decode(&longer), Ok(notification(members)));
    }

    #[test]
    fn messages_to_be_dropped() {
        let whole = body(Some(Bytes::from_static(b"version=0")));
        for len in (0..whole.len()).filter(|len| ![28, 40].contains(len)) {
            assert!(Notification::decode(&whole[..len]).is_err(), "{len}");
        }
        for length in [-1, -2, i32::MIN, 10, i32::MAX] {
            let mut bad = whole.clone();
            bad[40..44].copy_from_slice(&length.to_be_bytes());
            assert!(Notification::decode(&bad).is_err(), "{length}");
        }
        for state in [-1, 4] {
            let mut bad = whole.clone();
            bad[..4].copy_from_slice(&i32::to_be_bytes(state));
            assert!(Notification::decode(&bad).is_err(), "{state}");
        }
    }

    #[test]
    fn frames_have_a_size() {
        assert_eq!(read_frame(&[0, 0, 0, 1]), Ok(None));
        assert_eq!(read_frame(&[0, 0, 0, 1, 8, 9]), Ok(Some((&[8][..], 5))));
        assert_eq!(read_frame(&[0, 8, 0, 0]), Ok(None));
        for length in [0, -1, 0x8_0001, i32::MAX] {
            assert!(read_frame(&length.to_be_bytes()).is_err(), "{length}");
        }
    }
}
