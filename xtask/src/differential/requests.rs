//! One random request of a given kind, valid or broken.
//!
//! Which kinds harm the reference is decided in `harm`, not here: a request built here may still be withheld from it.

use super::content::{self, AclChoice};
use super::model::Model;
use super::op::{self, Place, Request};
use super::raw::{Enc, show};
use crate::rng::Rng;

/// Where quotas are set; everything below is written one request at a time.
const QUOTA_ROOTS: [&str; 2] = ["/q0", "/q0/in"];

/// The dice's weights for ordinary operations.
const WEIGHTS: [(i32, usize); 25] = [
    (op::EXISTS, 8),
    (op::GET_DATA, 10),
    (op::GET_CHILDREN, 5),
    (op::GET_CHILDREN2, 5),
    (op::GET_ACL, 4),
    (op::GET_ALL_CHILDREN_NUMBER, 2),
    (op::GET_EPHEMERALS, 2),
    (op::WHO_AM_I, 2),
    (op::SYNC, 2),
    (op::PING, 3),
    (op::MULTI_READ, 4),
    (op::ADD_WATCH, 4),
    (op::REMOVE_WATCHES, 4),
    (op::CHECK_WATCHES, 3),
    (op::SET_WATCHES, 2),
    (op::SET_WATCHES2, 2),
    (op::CREATE, 11),
    (op::CREATE2, 7),
    (op::CREATE_CONTAINER, 3),
    (op::CREATE_TTL, 4),
    (op::DELETE, 10),
    (op::SET_DATA, 10),
    (op::SET_ACL, 3),
    (op::MULTI, 8),
    (op::RECONFIG, 1),
];

/// Index into `WEIGHTS` before which everything only reads.
const READS: usize = 16;

/// Makes requests from dice and beliefs.
pub(crate) struct Maker<'a> {
    /// The dice.
    pub(crate) rng: &'a mut Rng,
    /// The beliefs.
    pub(crate) model: &'a Model,
}

impl Maker<'_> {
    /// Any request that may share a batch.
    pub(crate) fn any(&mut self) -> Request {
        let weights = WEIGHTS.map(|(_, weight)| weight);
        let code = WEIGHTS[self.rng.weighted(&weights)].0;
        self.broken_or(code)
    }

    /// A request that changes nothing.
    pub(crate) fn read(&mut self) -> Request {
        let weights: Vec<usize> = WEIGHTS[..READS].iter().map(|(_, weight)| *weight).collect();
        let code = WEIGHTS[self.rng.weighted(&weights)].0;
        self.broken_or(code)
    }

    fn broken_or(&mut self, code: i32) -> Request {
        let request = self.of(code);
        if code != op::PING && self.rng.chance(5) { self.damage(request) } else { request }
    }

    /// Breaks a body: cut off, longer, a byte changed, or nothing left.
    fn damage(&mut self, mut request: Request) -> Request {
        let how = match self.rng.below(5) {
            0 => {
                request.body.clear();
                "no body"
            }
            1 if !request.body.is_empty() => {
                request.body.truncate(self.rng.below(request.body.len()));
                "truncated"
            }
            2 => {
                let more = 1 + self.rng.below(9);
                request.body.extend((0..more).map(|_| self.rng.next() as u8).collect::<Vec<u8>>());
                "trailing bytes"
            }
            _ if !request.body.is_empty() => {
                // The first bytes are lengths, flags and types more often than not.
                let reach = if self.rng.chance(50) { request.body.len().min(8) } else { request.body.len() };
                let at = self.rng.below(reach);
                request.body[at] = *self.rng.pick(&[0, 1, 2, 4, 0x2f, 0x7f, 0x80, 0xff]);
                "a byte changed"
            }
            _ => "as it was",
        };
        request.text = format!("{} [{how}: {}]", request.text, show(&request.body));
        if how != "trailing bytes" {
            request.ends_batch |= request.op == op::MULTI;
            request.path = None;
            request.deletes.clear();
            if request.place == Place::Write {
                request.place = Place::LastWrite;
            }
        }
        request
    }

    /// A request of one kind with a well-formed body.
    pub(crate) fn of(&mut self, code: i32) -> Request {
        match code {
            op::EXISTS | op::GET_DATA | op::GET_CHILDREN | op::GET_CHILDREN2 => self.watched_read(code),
            op::GET_ACL | op::GET_ALL_CHILDREN_NUMBER | op::SYNC => self.path_only(code),
            op::GET_EPHEMERALS => self.ephemerals(),
            op::WHO_AM_I | op::PING => Request::new(code, Vec::new(), op::name(code), Place::Read),
            op::MULTI_READ => self.multi_read(),
            op::ADD_WATCH | op::REMOVE_WATCHES | op::CHECK_WATCHES => self.watch_request(code),
            op::SET_WATCHES | op::SET_WATCHES2 => self.set_watches(code),
            op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => self.create(code),
            op::DELETE => self.delete(),
            op::SET_DATA => self.set_data(),
            op::SET_ACL => self.set_acl(),
            op::MULTI => self.multi(),
            op::RECONFIG => self.reconfig(),
            other => Request::new(other, Vec::new(), op::name(other), Place::Closing),
        }
    }

    // ---- paths

    fn existing(&mut self) -> String {
        let known = self.model.paths();
        if known.is_empty() || self.rng.chance(6) { "/".to_owned() } else { self.rng.pick(known).clone() }
    }

    fn fresh(&mut self) -> String {
        let parent = if self.model.paths().len() < 12 || self.rng.chance(20) {
            "/".to_owned()
        } else {
            self.existing()
        };
        let name = content::child_name(self.rng);
        if parent.len() > 40 || parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
    }

    fn quota_path(&mut self) -> String {
        let root = *self.rng.pick(&QUOTA_ROOTS);
        match self.rng.below(10) {
            0 => root.to_owned(),
            1..6 => format!("{root}/{}", content::child_name(self.rng)),
            6 => format!("/zookeeper/quota{root}"),
            7 => format!("/zookeeper/quota{root}/zookeeper_limits"),
            8 => format!("/zookeeper/quota{root}/zookeeper_stats"),
            _ => "/zookeeper/quota/q0/in".to_owned(),
        }
    }

    /// A path for reading or changing something that is probably there.
    fn target(&mut self) -> Option<Vec<u8>> {
        match self.rng.below(100) {
            0..4 => content::bad_path(self.rng),
            4..8 => Some(content::special_path(self.rng).into_bytes()),
            8..12 => Some(self.quota_path().into_bytes()),
            12..24 => Some(self.fresh().into_bytes()),
            _ => Some(self.existing().into_bytes()),
        }
    }

    /// A path for something new.
    fn place_for_new(&mut self) -> Option<Vec<u8>> {
        match self.rng.below(100) {
            0..4 => content::bad_path(self.rng),
            4..6 => Some(content::special_path(self.rng).into_bytes()),
            6..12 => Some(self.quota_path().into_bytes()),
            12..20 => Some(self.existing().into_bytes()),
            20..23 => Some(format!("{}/", self.existing()).into_bytes()),
            _ => Some(self.fresh().into_bytes()),
        }
    }

    // ---- reads

    fn watched_read(&mut self, code: i32) -> Request {
        let path = self.target();
        let watch = match self.rng.below(20) {
            0..13 => 0,
            13..19 => 1,
            _ => 2,
        };
        let text = format!("{} {} watch={watch}", op::name(code), show_path(path.as_deref()));
        let body = Enc::new().buffer(path.as_deref()).byte(watch).0;
        with_path(Request::new(code, body, text, Place::Read), path.as_deref())
    }

    fn path_only(&mut self, code: i32) -> Request {
        let path = self.target();
        let text = format!("{} {}", op::name(code), show_path(path.as_deref()));
        with_path(
            Request::new(code, Enc::new().buffer(path.as_deref()).0, text, Place::Read),
            path.as_deref(),
        )
    }

    fn ephemerals(&mut self) -> Request {
        let prefix: Option<Vec<u8>> = match self.rng.below(8) {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(b"/".to_vec()),
            3 => Some(b" / ".to_vec()),
            4 => Some(b"  ".to_vec()),
            5 => Some(b"/a".to_vec()),
            _ => self.target(),
        };
        let text = format!("get_ephemerals {}", show_path(prefix.as_deref()));
        Request::new(op::GET_EPHEMERALS, Enc::new().buffer(prefix.as_deref()).0, text, Place::Read)
    }

    fn multi_read(&mut self) -> Request {
        let mut enc = Enc::new();
        let mut text = "multi_read".to_owned();
        for _ in 0..self.rng.below(5) {
            let code = match self.rng.below(40) {
                0 => op::EXISTS,
                1 => op::CREATE,
                2 => op::CHECK,
                3 => 99,
                4..20 => op::GET_CHILDREN,
                _ => op::GET_DATA,
            };
            let path = self.target();
            let watch = self.rng.below(2) as u8;
            text.push_str(&format!(" {}({})", op::name(code), show_path(path.as_deref())));
            enc = enc.int(code).byte(0).int(-1).buffer(path.as_deref()).byte(watch);
        }
        Request::new(op::MULTI_READ, self.multi_end(enc).0, text, Place::Read)
    }

    fn multi_end(&mut self, enc: Enc) -> Enc {
        if self.rng.chance(3) { enc } else { enc.int(-1).byte(1).int(-1) }
    }

    // ---- watches

    fn watch_request(&mut self, code: i32) -> Request {
        let path = self.target();
        let kind = match (code, self.rng.below(20)) {
            (_, 0) => *self.rng.pick(&[-1, 2, 6, i32::MAX]),
            (op::ADD_WATCH, 1..10) => 0,
            (op::ADD_WATCH, _) => 1,
            _ => 1 + self.rng.below(5) as i32,
        };
        let text = format!("{} {} kind={kind}", op::name(code), show_path(path.as_deref()));
        Request::new(code, Enc::new().buffer(path.as_deref()).int(kind).0, text, Place::Read)
    }

    fn set_watches(&mut self, code: i32) -> Request {
        let now = self.model.zxid;
        let zxid = match self.rng.below(8) {
            0 => 0,
            1 => -1,
            2 => i64::MAX,
            3 => i64::MIN,
            4 => now,
            5 => now + 5,
            _ => now - (self.rng.below(60) as i64),
        };
        let mut enc = Enc::new().long(zxid);
        let mut text = format!("{} zxid={zxid:#x}", op::name(code));
        let lists = if code == op::SET_WATCHES { 3 } else { 5 };
        for list in 0..lists {
            if self.rng.chance(2) {
                enc = enc.int(*self.rng.pick(&[-1, -2, i32::MAX]));
                continue;
            }
            let count = self.rng.below(4);
            enc = enc.int(count as i32);
            for _ in 0..count {
                let path = self.target();
                text.push_str(&format!(" {list}:{}", show_path(path.as_deref())));
                enc = enc.buffer(path.as_deref());
            }
        }
        Request::new(code, enc.0, text, Place::Read)
    }

    // ---- writes

    fn create(&mut self, code: i32) -> Request {
        let (enc, text, place) = self.create_body(code, false);
        Request::new(code, enc.0, text, place)
    }

    fn create_body(&mut self, code: i32, in_multi: bool) -> (Enc, String, Place) {
        let path = self.place_for_new();
        let quota = path.as_deref().and_then(quota_text);
        let data = match quota {
            Some(kind) => Some(self.quota_data(kind)),
            None => content::data(self.rng),
        };
        let acl = if quota.is_some() || path.as_deref() == Some(b"/q0") {
            AclChoice { bytes: content::open_acl(), text: "open".to_owned(), breaks: false }
        } else {
            content::acl(self.rng)
        };
        let flags: i32 = match (code, self.rng.below(40)) {
            (_, 0) => *self.rng.pick(&[7, -1, i32::MAX, i32::MIN]),
            (_, 1) => self.rng.below(7) as i32,
            (op::CREATE_TTL, 2..20) => 5,
            (op::CREATE_TTL, _) => 6,
            (op::CREATE_CONTAINER, 2..30) => 4,
            (op::CREATE_CONTAINER, _) => self.rng.below(5) as i32,
            (_, 2..20) => 0,
            (_, 20..27) => 1,
            (_, 27..33) => 2,
            (_, 33..37) => 3,
            _ => 4,
        };
        let mut text =
            format!("{} {} flags={flags} acl={}", op::name(code), show_path(path.as_deref()), acl.text);
        let mut enc = Enc::new().buffer(path.as_deref()).buffer(data.as_deref()).bytes(&acl.bytes).int(flags);
        if code == op::CREATE_TTL {
            let ttl: i64 = match self.rng.below(20) {
                0 => 0,
                1 => -1,
                2 => 1 << 40,
                3 => (1 << 40) - 1,
                4 => i64::MIN,
                5 => 1,
                _ => 3_600_000 + self.rng.below(1000) as i64,
            };
            text.push_str(&format!(" ttl={ttl}"));
            enc = enc.long(ttl);
        }
        let place = if is_quota_area(path.as_deref()) {
            Place::OnlyWrite
        } else if acl.breaks || (in_multi && path.is_none()) {
            Place::LastWrite
        } else {
            Place::Write
        };
        (enc, text, place)
    }

    fn quota_data(&mut self, kind: &str) -> Vec<u8> {
        if kind == "zookeeper_stats" {
            return b"count=1,bytes=0".to_vec();
        }
        let n = self.rng.below(12);
        match self.rng.below(9) {
            0 => format!("count={n},bytes=-1"),
            1 => format!("count=-1,bytes={}", n * 20),
            2 => format!("count={n},bytes={}", n * 20),
            3 => format!("count=3,bytes=10=;byteHardLimit={};countHardLimit={n}", n * 30),
            4 => format!("count=-1,bytes=-1=;countHardLimit={n}"),
            5 => format!("countHardLimit={n}"),
            6 => format!("byteHardLimit={};;,count=", n * 25),
            7 => "count=-1,bytes=-1".to_owned(),
            _ => "count=x".to_owned(),
        }
        .into_bytes()
    }

    fn delete(&mut self) -> Request {
        let (enc, text, place, path) = self.delete_body();
        let mut request = with_path(Request::new(op::DELETE, enc.0, text, place), path.as_deref());
        request.deletes.extend(request.path.clone());
        request
    }

    fn delete_body(&mut self) -> (Enc, String, Place, Option<Vec<u8>>) {
        let path = self.target();
        let version = content::version(self.rng);
        let text = format!("delete {} version={version}", show_path(path.as_deref()));
        (Enc::new().buffer(path.as_deref()).int(version), text, place_of(path.as_deref()), path)
    }

    fn set_data(&mut self) -> Request {
        let (enc, text, place, path) = self.set_data_body();
        with_path(Request::new(op::SET_DATA, enc.0, text, place), path.as_deref())
    }

    fn set_data_body(&mut self) -> (Enc, String, Place, Option<Vec<u8>>) {
        let path = self.target();
        let quota = path.as_deref().and_then(quota_text);
        let data = match quota {
            Some(kind) => Some(self.quota_data(kind)),
            None => content::data(self.rng),
        };
        let version = content::version(self.rng);
        let text = format!(
            "set_data {} {} bytes version={version}",
            show_path(path.as_deref()),
            data.as_ref().map_or(-1, |data| data.len() as i64)
        );
        let enc = Enc::new().buffer(path.as_deref()).buffer(data.as_deref()).int(version);
        (enc, text, place_of(path.as_deref()), path)
    }

    fn set_acl(&mut self) -> Request {
        let path = self.target();
        let acl = content::acl(self.rng);
        let version = content::version(self.rng);
        let text = format!("set_acl {} {} version={version}", show_path(path.as_deref()), acl.text);
        let body = Enc::new().buffer(path.as_deref()).bytes(&acl.bytes).int(version).0;
        let place =
            if place_of(path.as_deref()) == Place::OnlyWrite { Place::OnlyWrite } else { Place::LastWrite };
        with_path(Request::new(op::SET_ACL, body, text, place), path.as_deref())
    }

    fn multi(&mut self) -> Request {
        let mut enc = Enc::new();
        let mut text = "multi".to_owned();
        let mut place = Place::Write;
        let mut deletes = Vec::new();
        for _ in 0..self.rng.below(6) {
            let code = match self.rng.below(60) {
                0 => op::GET_DATA,
                1 => op::SET_ACL,
                2 => 99,
                3 => op::CLOSE_SESSION,
                4..20 => op::CREATE,
                20..26 => op::CREATE2,
                26..28 => op::CREATE_CONTAINER,
                28..30 => op::CREATE_TTL,
                30..40 => op::DELETE,
                40..52 => op::SET_DATA,
                _ => op::CHECK,
            };
            let (body, part, part_place) = match code {
                op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
                    self.create_body(code, true)
                }
                op::DELETE => {
                    let (body, part, place, path) = self.delete_body();
                    deletes.extend(path.and_then(|path| String::from_utf8(path).ok()));
                    (body, part, place)
                }
                op::SET_DATA => {
                    let (body, part, place, _) = self.set_data_body();
                    (body, part, place)
                }
                _ => {
                    let path = self.target();
                    let version = content::version(self.rng);
                    let part = format!("{} {} version={version}", op::name(code), show_path(path.as_deref()));
                    (Enc::new().buffer(path.as_deref()).int(version), part, place_of(path.as_deref()))
                }
            };
            place = match (place, part_place) {
                (Place::OnlyWrite, _) | (_, Place::OnlyWrite) => Place::OnlyWrite,
                (Place::LastWrite, _) | (_, Place::LastWrite) => Place::LastWrite,
                _ => place,
            };
            text.push_str(&format!(" ({part})"));
            enc = enc.int(code).byte(0).int(*self.rng.pick(&[-1, -1, -1, 0])).bytes(&body.0);
        }
        let ended = self.multi_end(enc);
        let whole = ended.0.ends_with(&[0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]);
        let mut request = Request::new(op::MULTI, ended.0, text, place);
        request.ends_batch = !whole || !super::harm::multi_decodes(&request.body);
        request.deletes = deletes;
        request
    }

    fn reconfig(&mut self) -> Request {
        let members = "server.1=127.0.0.1:2888:3888:participant;2181";
        let body = Enc::new().string(members).buffer(None).buffer(None).long(-1).0;
        Request::new(op::RECONFIG, body, "reconfig".to_owned(), Place::Write)
    }
}

fn with_path(mut request: Request, path: Option<&[u8]>) -> Request {
    request.path = path.and_then(|path| std::str::from_utf8(path).ok()).map(str::to_owned);
    request
}

fn show_path(path: Option<&[u8]>) -> String {
    path.map_or_else(|| "<null>".to_owned(), show)
}

/// The last component if the path names one of the two quota nodes.
fn quota_text(path: &[u8]) -> Option<&'static str> {
    ["zookeeper_limits", "zookeeper_stats"].into_iter().find(|name| path.ends_with(name.as_bytes()))
}

/// True for paths whose writes touch quota accounting.
pub(crate) fn is_quota_area(path: Option<&[u8]>) -> bool {
    path.is_some_and(|path| path.starts_with(b"/q") || path.starts_with(b"/zookeeper"))
}

fn place_of(path: Option<&[u8]>) -> Place {
    if is_quota_area(path) {
        Place::OnlyWrite
    } else if path.is_none() {
        Place::LastWrite
    } else {
        Place::Write
    }
}
