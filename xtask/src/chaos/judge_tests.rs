//! The judge must be able to say no: histories that are right but for one thing, and each is to be rejected.

use std::collections::BTreeSet;

use ostler_client::Request;
use ostler_sim::history::{History, Item, Op, Outcome, Sent, SessionStory};
use ostler_sim::model::Model;
use ostler_wire::acl::Acl;
use ostler_wire::client::event::EventType;
use ostler_wire::client::read::Read;
use ostler_wire::client::response::Response;
use ostler_wire::client::write::{CreateMode, Write};
use ostler_wire::txn::{Txn, TxnEntry, TxnHeader};
use ostler_wire::{SessionId, Zxid};

use super::judge;

/// The wall clock when the history began, in milliseconds.
const EPOCH_MS: i64 = 1_000_000;
const TIMEOUT_MS: u64 = 4_000;
const STEP_MS: i64 = 10;

/// A history that is right, made step by step, 10 ms each.
struct Scene {
    model: Model,
    truth: Vec<TxnEntry>,
    history: History,
    now_ms: i64,
    xids: Vec<i32>,
    led_by_us: BTreeSet<u32>,
}

impl Scene {
    /// Two sessions and a node with data.
    fn new() -> Self {
        let history = History { many_servers: true, ..History::default() };
        let mut scene = Self {
            model: Model::new(),
            truth: Vec::new(),
            history,
            now_ms: EPOCH_MS,
            xids: vec![0, 0],
            led_by_us: BTreeSet::from([1]),
        };
        for place in 0..2 {
            let session = scene.session(place);
            scene.order(session, 0, Txn::CreateSession { timeout_ms: 4_000 });
            scene.history.sessions.push(SessionStory {
                items: vec![Item::Connected(session)],
                id: Some(session),
                timeout_ms: TIMEOUT_MS,
                close_xid: None,
            });
        }
        scene.create(0, "/n0", CreateMode::Persistent);
        scene
    }

    fn session(&self, place: usize) -> SessionId {
        SessionId(100 + i64::try_from(place).unwrap())
    }

    fn order(&mut self, session: SessionId, cxid: i32, txn: Txn) -> Zxid {
        let last = self.truth.last().map_or_else(|| Zxid::new(1, 0), |entry| entry.header.zxid);
        self.now_ms += STEP_MS;
        let header = TxnHeader { session, cxid, zxid: last.next(), time_ms: self.now_ms };
        let entry = TxnEntry { header, txn, digest: None };
        self.model.apply(&entry, &mut Vec::new()).unwrap();
        self.truth.push(entry);
        last.next()
    }

    fn op(&mut self, place: usize, request: Request, zxid: Zxid, response: Response) -> usize {
        self.xids[place] += 1;
        let at_us = u64::try_from((self.now_ms - EPOCH_MS) * 1000).unwrap();
        let at = self.history.ops.len();
        self.history.ops.push(Op {
            owner: place,
            request,
            floor: Zxid::ZERO,
            sent: Some(Sent { session: self.session(place), xid: self.xids[place], at_us }),
            asked_us: at_us,
            outcome: Outcome::Answered { zxid, result: Ok(response) },
            done_us: at_us + 1,
            by_deposed: false,
        });
        self.history.sessions[place].items.push(Item::Reply(at));
        at
    }

    fn write(&mut self, place: usize, request: Request) -> (Zxid, Txn) {
        let Request::Write(write) = &request else { panic!("a write") };
        let txn = self.model.decide(write, self.session(place), self.now_ms + STEP_MS);
        (self.order(self.session(place), self.xids[place] + 1, txn.clone()), txn)
    }

    fn create(&mut self, place: usize, path: &str, mode: CreateMode) -> usize {
        let request = Request::create(path, "data", &Acl::open(), mode);
        let (zxid, txn) = self.write(place, request.clone());
        let Txn::Create(create) = txn else { panic!("it is created") };
        let stat = self.model.stat(&create.path).unwrap();
        self.op(place, request, zxid, Response::Created { path: create.path, stat })
    }

    fn set(&mut self, place: usize, path: &str) -> usize {
        let request = Request::set_data(path, "other", -1);
        let (zxid, _) = self.write(place, request.clone());
        let stat = self.model.stat(path).unwrap();
        self.op(place, request, zxid, Response::Stat(stat))
    }

    fn read(&mut self, place: usize, path: &str, watch: bool) -> usize {
        let node = self.model.node(path).unwrap();
        let response = Response::Data { data: node.data.clone(), stat: self.model.stat(path).unwrap() };
        self.op(place, Request::get_data(path.to_owned(), watch), self.model.zxid(), response)
    }

    fn sync(&mut self, place: usize) -> usize {
        let request = Request::Read(Read::Sync { path: Some("/n0".into()) });
        self.op(place, request, self.model.zxid(), Response::Synced { path: Some("/n0".to_owned()) })
    }

    /// The verdict; an error is why not.
    fn verdict(mut self) -> Result<usize, String> {
        let verdict = judge::judge(&self.truth, &mut self.history, EPOCH_MS, &self.led_by_us);
        verdict.map(|verdict| verdict.expired).map_err(|error| format!("{error:#}"))
    }
}

#[track_caller]
fn rejects(scene: Scene, sign: &str) {
    let why = scene.verdict().expect_err("this is not right");
    assert!(why.contains(sign), "rejected, and not for {sign:?}: {why}");
}

#[test]
fn what_is_right_passes() {
    let mut scene = Scene::new();
    scene.read(1, "/n0", true);
    let set = scene.set(0, "/n0");
    let Outcome::Answered { zxid, .. } = scene.history.ops[set].outcome else { panic!("answered") };
    let event = Item::Event { kind: EventType::NodeDataChanged, path: "/n0".to_owned(), zxid };
    scene.history.sessions[1].items.push(event);
    scene.sync(1);
    scene.read(1, "/n0", false);
    assert_eq!(scene.verdict(), Ok(0));
}

#[test]
fn a_lost_write() {
    let mut scene = Scene::new();
    scene.set(0, "/n0");
    scene.truth.pop();
    rejects(scene, "lost");
}

#[test]
fn a_write_that_came_twice() {
    let mut scene = Scene::new();
    scene.set(0, "/n0");
    let mut again = scene.truth.last().unwrap().clone();
    again.header.zxid = again.header.zxid.next();
    scene.truth.push(again);
    rejects(scene, "comes after xid");
}

#[test]
fn a_write_that_was_said_not_to_have_happened() {
    let mut scene = Scene::new();
    let set = scene.set(0, "/n0");
    scene.history.ops[set].outcome = Outcome::NotDone;
    scene.history.sessions[0].items.pop();
    rejects(scene, "not to have happened");
}

#[test]
fn a_write_that_nobody_asked_for() {
    let mut scene = Scene::new();
    scene.set(0, "/n0");
    scene.history.ops.pop();
    scene.history.sessions[0].items.pop();
    rejects(scene, "asked for by nobody");
}

#[test]
fn writes_in_another_order_than_time() {
    let mut scene = Scene::new();
    let set = scene.set(0, "/n0");
    scene.history.ops[set].floor = Zxid::new(1, 9);
    rejects(scene, "was asked after somebody saw");
}

#[test]
fn a_read_of_what_never_was() {
    let mut scene = Scene::new();
    let read = scene.read(1, "/n0", false);
    if let Outcome::Answered { result: Ok(Response::Data { data, .. }), .. } =
        &mut scene.history.ops[read].outcome
    {
        *data = Some("something else".into());
    }
    rejects(scene, "was answered");
}

#[test]
fn a_stale_answer_after_sync() {
    let stale = || {
        let mut scene = Scene::new();
        let sync = scene.sync(1);
        scene.set(0, "/n0");
        scene.history.ops[sync].floor = Zxid::new(1, 4);
        scene
    };
    rejects(stale(), "was asked after somebody saw");
    // While nobody knows who leads, a leader that was deposed may answer.
    let mut scene = stale();
    scene.history.unsettled_us.push((0, 1_000_000));
    assert_eq!(scene.verdict(), Ok(0));
}

#[test]
fn a_session_that_goes_back() {
    let mut scene = Scene::new();
    scene.read(1, "/n0", false);
    scene.set(0, "/n0");
    scene.read(1, "/n0", false);
    let items = &mut scene.history.sessions[1].items;
    let count = items.len();
    items.swap(count - 1, count - 2);
    rejects(scene, "after 0x");
}

#[test]
fn a_missed_event() {
    let mut scene = Scene::new();
    scene.read(1, "/n0", true);
    scene.set(0, "/n0");
    scene.read(1, "/n0", false);
    rejects(scene, "came before the event");
}

#[test]
fn an_event_that_nobody_waits_for() {
    let mut scene = Scene::new();
    let set = scene.set(0, "/n0");
    let Outcome::Answered { zxid, .. } = scene.history.ops[set].outcome else { panic!("answered") };
    let event = Item::Event { kind: EventType::NodeDataChanged, path: "/n0".to_owned(), zxid };
    scene.history.sessions[1].items.push(event);
    rejects(scene, "nobody waited for it");
}

#[test]
fn an_early_expiry() {
    let after = |wait_ms: i64| {
        let mut scene = Scene::new();
        scene.create(0, "/n1", CreateMode::Ephemeral);
        scene.now_ms += wait_ms;
        let session = scene.session(0);
        scene.order(session, 0, Txn::CloseSession { paths: Some(vec!["/n1".to_owned()]) });
        scene
    };
    rejects(after(3_900), "expired");
    assert_eq!(after(4_000).verdict(), Ok(1));
    let mut by_apache = after(3_900);
    by_apache.led_by_us.clear();
    assert_eq!(by_apache.verdict(), Ok(1));
}

#[test]
fn an_ephemeral_that_outlives_its_session() {
    let mut scene = Scene::new();
    scene.create(0, "/n1", CreateMode::Ephemeral);
    scene.now_ms += 5_000;
    let mut entry = scene.truth.last().unwrap().clone();
    entry.header.zxid = entry.header.zxid.next();
    entry.header.cxid = 0;
    entry.txn = Txn::CloseSession { paths: Some(Vec::new()) };
    scene.truth.push(entry);
    rejects(scene, "owns");
}

#[test]
fn a_sequential_name_that_two_clients_got() {
    let mut scene = Scene::new();
    let first = scene.create(0, "/n0/seq-", CreateMode::PersistentSequential);
    assert_eq!(judge::check_names(&scene.history).unwrap(), 1);
    let outcome = scene.history.ops[first].outcome.clone();
    let second = scene.create(1, "/n0/seq-", CreateMode::PersistentSequential);
    scene.history.ops[second].outcome = outcome;
    assert!(judge::check_names(&scene.history).is_err());
    rejects(scene, "was acknowledged with");
}

#[test]
fn a_close_that_was_asked_for_is_no_expiry() {
    let mut scene = Scene::new();
    scene.history.sessions[0].close_xid = Some(2);
    let session = scene.session(0);
    let txn = scene.model.decide(&Write::CloseSession, session, scene.now_ms);
    scene.order(session, 2, txn);
    assert_eq!(scene.verdict(), Ok(0));
}

#[test]
fn a_multi_of_a_session_that_moved_away_is_refused_part_by_part() {
    let with_codes = |codes: &[i32]| {
        let mut scene = Scene::new();
        let set = Write::SetData { path: Some("/n0".into()), data: Some("other".into()), version: -1 };
        let multi = Request::Write(Write::Multi(vec![set.clone(), set]));
        scene.xids[0] += 1;
        let at_us = u64::try_from((scene.now_ms - EPOCH_MS) * 1000).unwrap();
        scene.history.ops.push(Op {
            owner: 0,
            request: multi,
            floor: Zxid::ZERO,
            sent: Some(Sent { session: scene.session(0), xid: scene.xids[0], at_us }),
            asked_us: at_us,
            outcome: Outcome::Unknown,
            done_us: at_us + 1,
            by_deposed: false,
        });
        let parts = codes.iter().map(|code| Txn::Error { code: *code }).collect();
        scene.order(scene.session(0), scene.xids[0], Txn::Multi(parts));
        scene
    };
    assert_eq!(with_codes(&[-118, -2]).verdict(), Ok(0));
    rejects(with_codes(&[-101, -2]), "became");
}
