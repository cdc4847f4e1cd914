//! Operation codes, their names for reports, and how a request of each behaves in a pipeline.

macro_rules! ops {
    ($($name:ident = $code:literal,)*) => {
        $(#[doc = concat!("Operation code ", stringify!($code), ".")] pub(crate) const $name: i32 = $code;)*

        /// The name of a code, for reports.
        pub(crate) fn name(code: i32) -> String {
            match code {
                $($code => stringify!($name).to_ascii_lowercase(),)*
                other => format!("op{other}"),
            }
        }
    };
}

ops! {
    CLOSE_SESSION = -11,
    CREATE = 1,
    DELETE = 2,
    EXISTS = 3,
    GET_DATA = 4,
    SET_DATA = 5,
    GET_ACL = 6,
    SET_ACL = 7,
    GET_CHILDREN = 8,
    SYNC = 9,
    PING = 11,
    GET_CHILDREN2 = 12,
    CHECK = 13,
    MULTI = 14,
    CREATE2 = 15,
    RECONFIG = 16,
    CHECK_WATCHES = 17,
    REMOVE_WATCHES = 18,
    CREATE_CONTAINER = 19,
    DELETE_CONTAINER = 20,
    CREATE_TTL = 21,
    MULTI_READ = 22,
    AUTH = 100,
    SET_WATCHES = 101,
    SASL = 102,
    GET_EPHEMERALS = 103,
    GET_ALL_CHILDREN_NUMBER = 104,
    SET_WATCHES2 = 105,
    ADD_WATCH = 106,
    WHO_AM_I = 107,
}

/// How a request may share a pipelined batch with others, so that the reference itself answers it the same way twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Changes nothing: anywhere.
    Read,
    /// Changes the tree: anywhere.
    Write,
    /// The reference's pending view does not show this change to later pipelined writes (new ACLs, the leftovers of
    /// a multi that died half way): the last write of its batch.
    LastWrite,
    /// Touches quota accounting, where the reference compares with what is applied already: the only write.
    OnlyWrite,
    /// Answered at once by the connection, ahead of the queue: never beside a write.
    Immediate,
    /// Ends the connection: alone.
    Closing,
}

/// One request, ready to send.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The xid in its header.
    pub(crate) xid: i32,
    /// The operation code in its header.
    pub(crate) op: i32,
    /// Everything behind the header.
    pub(crate) body: Vec<u8>,
    /// What it is, for people.
    pub(crate) text: String,
    /// Where it may stand.
    pub(crate) place: Place,
    /// The one path it is about, if there is one that could be read.
    pub(crate) path: Option<String>,
    /// Paths that are gone if it succeeds.
    pub(crate) deletes: Vec<String>,
    /// Nothing may be pipelined behind it: the servers may disagree about whether it used a zxid.
    pub(crate) ends_batch: bool,
    /// Sent to Ostler alone, since it harms the reference; why.
    pub(crate) ours_alone: Option<&'static str>,
}

impl Request {
    /// A request with nothing noted about it but its place.
    pub(crate) fn new(op: i32, body: Vec<u8>, text: String, place: Place) -> Self {
        Self {
            xid: 0,
            op,
            body,
            text,
            place,
            path: None,
            deletes: Vec::new(),
            ends_batch: false,
            ours_alone: None,
        }
    }

    /// The bytes on the wire.
    pub(crate) fn frame(&self) -> Vec<u8> {
        super::raw::Enc::new().int(self.xid).int(self.op).bytes(&self.body).frame()
    }
}
