//! The next step of a segment: who connects, who sends what in one batch, who hangs up.
//!
//! One connection has requests under way at a time (several only when all of them read), so both servers see the same
//! order and every zxid can be compared outright. What the reference itself answers by luck is kept apart: see
//! `op::Place`.

use super::content;
use super::harm;
use super::model::{Model, SLOTS, SUPER_SLOT};
use super::op::{self, Place, Request};
use super::raw::{Enc, frame};
use super::requests::{Maker, is_quota_area};
use crate::rng::Rng;

/// Which session a handshake asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A new one.
    New,
    /// One of this segment, by index.
    Known(usize),
    /// One that no server ever made.
    Unknown,
}

/// Which password a handshake shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Password {
    /// The session's own (16 zeros for a new session).
    Right,
    /// Sixteen other bytes.
    Wrong,
    /// Null.
    Null,
    /// Three bytes.
    Short,
}

/// A ConnectRequest.
#[derive(Debug, Clone)]
pub(crate) struct Handshake {
    /// Session asked for.
    pub(crate) target: Target,
    /// Password shown.
    pub(crate) password: Password,
    /// Timeout asked for in milliseconds.
    pub(crate) timeout: i32,
    /// The field lastZxidSeen.
    pub(crate) last_zxid: i64,
    /// The trailing readOnly byte.
    pub(crate) read_only: Option<u8>,
    /// protocolVersion.
    pub(crate) version: i32,
    /// Bytes behind the record.
    pub(crate) trailing: usize,
}

/// One step, taken on both servers before the next.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Opens a connection on a free slot, with requests pipelined behind the handshake.
    Connect {
        /// Where the connection goes.
        slot: usize,
        /// What it says first.
        handshake: Handshake,
        /// What follows at once.
        requests: Vec<Request>,
    },
    /// Sends requests in one write per connection and awaits every answer.
    Batch(Vec<(usize, Vec<Request>)>),
    /// Hangs up without closing the session.
    HangUp(usize),
    /// Sends bytes after which the server must hang up; on a connection without a session if `slot` is `None`.
    Raw {
        /// The connection.
        slot: Option<usize>,
        /// The bytes.
        bytes: Vec<u8>,
        /// What they are.
        text: &'static str,
    },
}

/// Dice, beliefs and counters of one segment.
pub(crate) struct Planner {
    rng: Rng,
    /// The beliefs, updated by the caller.
    pub(crate) model: Model,
    xid: i32,
    /// Nodes that are made first, one request at a time: the quota trees.
    groundwork: Vec<(&'static str, &'static str)>,
    /// Most requests in one pipelined batch.
    max_batch: usize,
}

/// Quota nodes and the nodes they watch over, with their first data; created from the last to the first.
const GROUNDWORK: [(&str, &str); 8] = [
    ("/zookeeper/quota/q0/in/zookeeper_stats", "count=0,bytes=0"),
    ("/zookeeper/quota/q0/in/zookeeper_limits", "count=-1,bytes=-1=;byteHardLimit=60;countHardLimit=4"),
    ("/zookeeper/quota/q0/zookeeper_stats", "count=0,bytes=0"),
    ("/zookeeper/quota/q0/zookeeper_limits", "count=4,bytes=100=;countHardLimit=6"),
    ("/zookeeper/quota/q0/in", ""),
    ("/zookeeper/quota/q0", ""),
    ("/q0/in", "within"),
    ("/q0", "quota"),
];

impl Planner {
    /// A planner for one segment of one seed.
    pub(crate) fn new(seed: u64, segment: u64, max_batch: usize) -> Self {
        let mut model = Model::default();
        model.root_open = true;
        Self {
            rng: Rng::new(seed, segment),
            model,
            xid: 0,
            groundwork: GROUNDWORK.to_vec(),
            max_batch: max_batch.max(1),
        }
    }

    /// The next step.
    pub(crate) fn next_step(&mut self) -> Step {
        for slot in self.model.slots.iter_mut().flatten() {
            slot.idle += 1;
        }
        if self.model.slots[SUPER_SLOT].is_none() {
            return self.connect_super();
        }
        if let Some((path, data)) = self.groundwork.pop() {
            return self.lay(path, data);
        }
        if !self.model.root_open {
            return self.reopen_root();
        }
        let free: Vec<usize> = (1..SLOTS).filter(|slot| self.model.slots[*slot].is_none()).collect();
        if free.len() == SLOTS - 1 || (!free.is_empty() && self.rng.chance(25)) {
            let slot = *self.rng.pick(&free);
            return self.connect(slot);
        }
        let open: Vec<usize> = (0..SLOTS).filter(|slot| self.model.slots[*slot].is_some()).collect();
        let overdue = open
            .iter()
            .copied()
            .find(|slot| self.model.slots[*slot].as_ref().is_some_and(|slot| slot.idle > 150));
        let slot = overdue.unwrap_or_else(|| *self.rng.pick(&open));
        match self.rng.below(1000) {
            0..30 if slot != SUPER_SLOT => Step::HangUp(slot),
            30..50 if slot != SUPER_SLOT => self.closing_batch(slot, op::CLOSE_SESSION),
            50..65 if slot != SUPER_SLOT => self.odd_closing(slot),
            65..80 => {
                let with_session = slot != SUPER_SLOT && self.rng.chance(50);
                self.raw(with_session.then_some(slot))
            }
            80..110 => self.immediate_batch(slot),
            110..116 => self.ours_alone(),
            116..140 if open.len() > 1 => self.parallel_reads(&open),
            140..141 => self.huge(slot),
            141..190 => self.quota_batch(slot),
            _ => {
                let requests = self.batch();
                Step::Batch(vec![(slot, requests)])
            }
        }
    }

    fn maker(&mut self) -> Maker<'_> {
        Maker { rng: &mut self.rng, model: &self.model }
    }

    // ---- batches

    fn batch(&mut self) -> Vec<Request> {
        let wanted = match self.rng.below(10) {
            0 => 1,
            1..8 => 2 + self.rng.below(10),
            _ => 12 + self.rng.below(30),
        };
        let wanted = wanted.min(self.max_batch);
        let mut requests: Vec<Request> = Vec::with_capacity(wanted);
        let mut wrote = false;
        let mut may_write = true;
        while requests.len() < wanted {
            let mut request = self.maker().any();
            if harm::harms_reference(request.op, &request.body).is_some() {
                continue;
            }
            if request.place == Place::LastWrite && request.text.contains('[') {
                // Damaged: nobody knows what it touches now.
                if harm::touches_quota_nodes(&request.body) {
                    continue;
                }
                request.place = Place::OnlyWrite;
            }
            match request.place {
                Place::Read => {}
                Place::Write if may_write => wrote = true,
                Place::LastWrite if may_write => {
                    wrote = true;
                    may_write = false;
                }
                Place::OnlyWrite if may_write && !wrote => {
                    wrote = true;
                    may_write = false;
                }
                Place::Write | Place::LastWrite | Place::OnlyWrite | Place::Immediate | Place::Closing => {
                    continue;
                }
            }
            self.assign_xid(&mut request, &requests);
            let last = request.ends_batch;
            requests.push(request);
            if last {
                break;
            }
        }
        requests
    }

    /// One write that quotas look at, with reads behind it.
    fn quota_batch(&mut self, slot: usize) -> Step {
        let mut requests = Vec::new();
        if self.rng.chance(70) {
            let parent = *self.rng.pick(&["/q0", "/q0/in"]);
            let path = format!("{parent}/{}", content::child_name(&mut self.rng));
            let mut request = match self.rng.below(10) {
                0..6 => {
                    let length = self.rng.below(40);
                    let data = vec![b'q'; length];
                    let flags = *self.rng.pick(&[0, 0, 1, 2]);
                    let enc = Enc::new().string(&path).buffer(Some(&data)).bytes(&content::open_acl());
                    let text = format!("create {path} {length} bytes flags={flags}");
                    Request::new(op::CREATE, enc.int(flags).0, text, Place::OnlyWrite)
                }
                6..8 => {
                    let length = self.rng.below(90);
                    let body = Enc::new().string(parent).buffer(Some(&vec![b'r'; length])).int(-1).0;
                    Request::new(
                        op::SET_DATA,
                        body,
                        format!("set_data {parent} {length} bytes"),
                        Place::OnlyWrite,
                    )
                }
                _ => {
                    let body = Enc::new().string(&path).int(-1).0;
                    Request::new(op::DELETE, body, format!("delete {path}"), Place::OnlyWrite)
                }
            };
            self.assign_xid(&mut request, &requests);
            requests.push(request);
        }
        for _ in 0..400 {
            if !requests.is_empty() {
                break;
            }
            let mut request = self.maker().any();
            let damaged = request.text.contains('[') && harm::touches_quota_nodes(&request.body);
            if request.place == Place::OnlyWrite
                && !damaged
                && harm::harms_reference(request.op, &request.body).is_none()
            {
                self.assign_xid(&mut request, &requests);
                let last = request.ends_batch;
                requests.push(request);
                if last {
                    return Step::Batch(vec![(slot, requests)]);
                }
            }
        }
        for path in ["/zookeeper/quota/q0/zookeeper_stats", "/zookeeper/quota/q0/in/zookeeper_stats"] {
            let body = Enc::new().string(path).byte(0).0;
            let mut request = Request::new(op::GET_DATA, body, format!("get_data {path}"), Place::Read);
            self.assign_xid(&mut request, &requests);
            requests.push(request);
        }
        Step::Batch(vec![(slot, requests)])
    }

    fn reads(&mut self) -> Vec<Request> {
        let wanted = 1 + self.rng.below(12);
        let mut requests: Vec<Request> = Vec::with_capacity(wanted);
        while requests.len() < wanted {
            let mut request = self.maker().read();
            self.assign_xid(&mut request, &requests);
            requests.push(request);
        }
        requests
    }

    fn parallel_reads(&mut self, open: &[usize]) -> Step {
        Step::Batch(open.iter().map(|slot| (*slot, self.reads())).collect())
    }

    fn assign_xid(&mut self, request: &mut Request, before: &[Request]) {
        self.xid += 1;
        request.xid = match request.op {
            op::PING if !self.rng.chance(10) => -2,
            op::SET_WATCHES | op::SET_WATCHES2 if self.rng.chance(50) => -8,
            op::AUTH if self.rng.chance(80) => -4,
            op::PING => self.xid,
            _ if self.rng.chance(3) => *self.rng.pick(&[0, -3, -5, i32::MIN, i32::MAX, 1_700_000_000]),
            _ => self.xid,
        };
        if request.op != op::PING && before.iter().any(|other| other.xid == request.xid) {
            request.xid = self.xid;
        }
    }

    /// Authentication and SASL, answered by the connection itself, beside reads only.
    fn immediate_batch(&mut self, slot: usize) -> Step {
        let mut requests = Vec::new();
        for _ in 0..1 + self.rng.below(5) {
            let mut request = match self.rng.below(10) {
                0..4 => {
                    let user = self.rng.below(content::USERS.len());
                    self.auth("digest", Some(content::USERS[user].0.as_bytes()))
                }
                4 => self.auth("ip", Some(b"anything")),
                5 => self.auth("digest", Some(b"lonely")),
                6 => Request::new(
                    op::SASL,
                    Enc::new().buffer(Some(b"")).0,
                    "sasl".to_owned(),
                    Place::Immediate,
                ),
                _ => self.maker().read(),
            };
            self.assign_xid(&mut request, &requests);
            requests.push(request);
        }
        Step::Batch(vec![(slot, requests)])
    }

    fn auth(&mut self, scheme: &str, data: Option<&[u8]>) -> Request {
        let kind = if self.rng.chance(90) { 0 } else { 7 };
        let body = Enc::new().int(kind).string(scheme).buffer(data).0;
        let text = format!("auth {scheme} {}", data.map_or_else(String::new, super::raw::show));
        Request::new(op::AUTH, body, text, Place::Immediate)
    }

    fn closing_batch(&mut self, slot: usize, code: i32) -> Step {
        let mut request = Request::new(code, Vec::new(), op::name(code), Place::Closing);
        self.assign_xid(&mut request, &[]);
        Step::Batch(vec![(slot, vec![request])])
    }

    fn odd_closing(&mut self, slot: usize) -> Step {
        let mut request = match self.rng.below(9) {
            0 => self.auth("nope", Some(b"x")),
            1 => self.auth("world", Some(b"anyone")),
            2 => self.auth("sasl", Some(b"u")),
            3 => self.auth("digest", None),
            4 => Request::new(op::AUTH, vec![0, 0, 0], "auth, cut off".to_owned(), Place::Closing),
            index => {
                let code = [0, op::CHECK, 99, -2, 10][index - 5 + usize::from(self.rng.chance(20))];
                let body = self.maker().of(op::EXISTS).body;
                Request::new(code, body, format!("unknown op {code}"), Place::Closing)
            }
        };
        request.place = Place::Closing;
        self.assign_xid(&mut request, &[]);
        if request.xid == -1 {
            request.xid = 7;
        }
        Step::Batch(vec![(slot, vec![request])])
    }

    // ---- what goes to Ostler alone

    fn ours_alone(&mut self) -> Step {
        let free: Vec<usize> = (1..SLOTS).filter(|slot| self.model.slots[*slot].is_some()).collect();
        let Some(slot) = free.first().copied() else {
            let requests = self.reads();
            return Step::Batch(vec![(SUPER_SLOT, requests)]);
        };
        let path = self.model.paths().first().cloned().unwrap_or_else(|| "/a".to_owned());
        let (code, body, text) = match self.rng.below(3) {
            0 => (op::DELETE_CONTAINER, Enc::new().string(&path).0, format!("delete_container {path}")),
            1 => (-10, Enc::new().int(30_000).0, "create_session".to_owned()),
            _ => {
                let flags = self.rng.below(5) as i32;
                let body = Enc::new()
                    .string("/alone")
                    .buffer(None)
                    .bytes(&content::open_acl())
                    .int(flags)
                    .long(-1)
                    .0;
                (op::CREATE_TTL, body, format!("create_ttl /alone flags={flags} ttl=-1"))
            }
        };
        let mut request = Request::new(code, body, text, Place::Closing);
        request.ours_alone = harm::harms_reference(code, &request.body);
        self.assign_xid(&mut request, &[]);
        Step::Batch(vec![(slot, vec![request])])
    }

    // ---- connections

    fn connect_super(&mut self) -> Step {
        let handshake = Handshake {
            target: Target::New,
            password: Password::Right,
            timeout: 40_000_000,
            last_zxid: 0,
            read_only: Some(0),
            version: 0,
            trailing: 0,
        };
        let mut auth = self.auth("digest", Some(content::SUPER.0.as_bytes()));
        auth.xid = -4;
        Step::Connect { slot: SUPER_SLOT, handshake, requests: vec![auth] }
    }

    fn connect(&mut self, slot: usize) -> Step {
        let known: Vec<usize> = (0..self.model.sessions.len())
            .filter(|index| self.model.slots[SUPER_SLOT].as_ref().is_none_or(|slot| slot.session != *index))
            .collect();
        let orphans: Vec<usize> = known
            .iter()
            .copied()
            .filter(|index| self.model.sessions[*index].alive && self.model.sessions[*index].slot.is_none())
            .collect();
        let target = match self.rng.below(100) {
            0..50 => Target::New,
            50..80 if !orphans.is_empty() => Target::Known(*self.rng.pick(&orphans)),
            80..96 if !known.is_empty() => Target::Known(*self.rng.pick(&known)),
            96..98 => Target::Unknown,
            _ => Target::New,
        };
        let password = match self.rng.below(20) {
            0 => Password::Wrong,
            1 => Password::Null,
            2 => Password::Short,
            _ => Password::Right,
        };
        let timeout =
            *self.rng.pick(&[40_000_000, 30_000, 0, -1, i32::MIN, i32::MAX, 3_600_000, 3_599_999, 7_200_001]);
        let now = self.model.zxid;
        let last_zxid = match self.rng.below(20) {
            0..10 => 0,
            10..17 => now,
            17 => now + 1,
            18 => i64::MAX,
            _ => -1,
        };
        let handshake = Handshake {
            target,
            password,
            timeout,
            last_zxid,
            read_only: match self.rng.below(10) {
                0..3 => None,
                3..5 => Some(1),
                5 => Some(2),
                _ => Some(0),
            },
            version: *self.rng.pick(&[0, 0, 0, 5, -1]),
            trailing: if self.rng.chance(5) { 3 } else { 0 },
        };
        let requests = if self.rng.chance(40) { self.reads() } else { Vec::new() };
        Step::Connect { slot, handshake, requests }
    }

    fn raw(&mut self, slot: Option<usize>) -> Step {
        let (bytes, text): (Vec<u8>, _) = match (self.rng.below(7), slot) {
            (0, _) => (0x0010_0000_i32.to_be_bytes().to_vec(), "a frame of 1048576 bytes"),
            (1, _) => ((-1_i32).to_be_bytes().to_vec(), "a frame of -1 bytes"),
            (2, _) => (frame(&[]), "an empty frame"),
            (3, _) => (frame(&[0, 0, 0, 1, 0, 0, 0]), "a frame of 7 bytes"),
            (4, _) => (i32::MIN.to_be_bytes().to_vec(), "a frame of the most negative length"),
            (5, None) => (b"abcd".to_vec(), "an unknown word"),
            (5, Some(_)) => (b"ruok".to_vec(), "a word after the handshake"),
            (_, None) => (frame(&[0; 27]), "a ConnectRequest cut off"),
            (_, Some(_)) => (i32::MAX.to_be_bytes().to_vec(), "a frame of the largest length"),
        };
        Step::Raw { slot, bytes, text }
    }

    // ---- groundwork, repairs and extremes

    fn lay(&mut self, path: &str, data: &str) -> Step {
        let body = Enc::new().string(path).buffer(Some(data.as_bytes())).bytes(&content::open_acl()).int(0).0;
        let mut request = Request::new(op::CREATE, body, format!("create {path}"), Place::OnlyWrite);
        self.assign_xid(&mut request, &[]);
        Step::Batch(vec![(SUPER_SLOT, vec![request])])
    }

    /// The super user opens the root again, so that the segment goes on.
    fn reopen_root(&mut self) -> Step {
        self.model.root_open = true;
        let body = Enc::new().string("/").bytes(&content::open_acl()).int(-1).0;
        let mut request = Request::new(op::SET_ACL, body, "set_acl / open".to_owned(), Place::OnlyWrite);
        request.path = Some("/".to_owned());
        self.assign_xid(&mut request, &[]);
        Step::Batch(vec![(SUPER_SLOT, vec![request])])
    }

    /// The largest frame that is allowed, on its own.
    fn huge(&mut self, slot: usize) -> Step {
        let path = self.model.paths().iter().find(|path| !is_quota_area(Some(path.as_bytes())));
        let path = path.cloned().unwrap_or_else(|| "/a".to_owned());
        let fixed = 8 + 4 + path.len() + 4 + 4;
        let data = vec![b'x'; 1_048_575 - fixed];
        let body = Enc::new().string(&path).buffer(Some(&data)).int(-1).0;
        let mut big =
            Request::new(op::SET_DATA, body, format!("set_data {path}, the largest frame"), Place::Write);
        self.xid += 1;
        big.xid = self.xid;
        let body = Enc::new().string(&path).buffer(Some(b"small again")).int(-1).0;
        let mut small = Request::new(op::SET_DATA, body, format!("set_data {path}, small"), Place::Write);
        self.xid += 1;
        small.xid = self.xid;
        Step::Batch(vec![(slot, vec![big, small])])
    }
}
