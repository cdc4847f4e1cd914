//! A client of a world: the real client's session, and what its driver and its user would do.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ostler_client::session::{Completion, Event, Output, RequestId, Session, State};
use ostler_client::{ErrorKind, Options, Request};
use ostler_wire::{OpCode, Zxid};

use crate::history::{History, Item, Op, Outcome, Sent, SessionStory};
use crate::workload::Habits;

/// A client.
#[derive(Debug)]
pub struct Client {
    /// The session, as users have it.
    pub session: Session,
    /// Its place in the history.
    pub story: usize,
    /// The connection it has.
    pub pipe: Option<usize>,
    /// What it does by itself, if anything.
    pub habits: Option<Habits>,
    /// It makes the next connection, or the next session, no sooner.
    pub retry_at_us: u64,
    /// It reads nothing before.
    pub deaf_until_us: u64,
    /// It is gone for good, without a word.
    pub dead: bool,
    /// How long its sessions live, as it asks for.
    pub timeout_ms: u64,
    ops: BTreeMap<RequestId, usize>,
    /// Submitted and not seen to go out, oldest first.
    unsent: VecDeque<usize>,
    /// The next frame is a handshake.
    handshake: bool,
}

/// What the world has to do for a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Close the connection.
    HangUp,
}

impl Client {
    /// A client that never connected.
    pub fn new(timeout_ms: u64, habits: Option<Habits>, history: &mut History) -> Self {
        let mut client = Self {
            session: Session::new(options(timeout_ms)),
            story: 0,
            pipe: None,
            habits,
            retry_at_us: 0,
            deaf_until_us: 0,
            dead: false,
            timeout_ms,
            ops: BTreeMap::new(),
            unsent: VecDeque::new(),
            handshake: false,
        };
        client.begin_story(history);
        client
    }

    /// After the end of a session: another one.
    pub fn renew(&mut self, history: &mut History) {
        self.session = Session::new(options(self.timeout_ms));
        self.ops.clear();
        self.unsent.clear();
        self.begin_story(history);
    }

    /// How many requests wait for their end.
    pub fn pending(&self) -> usize {
        self.ops.len()
    }

    /// Asks for something. Its place in the history, or `None` if the session does not take it.
    pub fn submit(&mut self, now_us: u64, request: Request, history: &mut History) -> Option<usize> {
        let id = self.session.submit(micros(now_us), &request).ok()?;
        let place = history.ops.len();
        let floor = history.told;
        history.ops.push(Op {
            owner: self.story,
            request,
            floor,
            sent: None,
            asked_us: now_us,
            outcome: Outcome::Open,
            done_us: 0,
            by_deposed: false,
        });
        self.ops.insert(id, place);
        self.unsent.push_back(place);
        Some(place)
    }

    /// A connection was made.
    pub fn connected(&mut self, now_us: u64, pipe: usize) {
        self.pipe = Some(pipe);
        self.handshake = true;
        self.session.handle_connected(micros(now_us));
    }

    /// Takes what the session wants; an error is a reason that no server of ours may give.
    pub fn drain(
        &mut self,
        now_us: u64,
        history: &mut History,
        wishes: &mut Vec<Wish>,
    ) -> Result<(), String> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Transmit(bytes) => {
                    self.note_sent(now_us, &bytes, history);
                    wishes.push(Wish::Send(bytes.to_vec()));
                }
                Output::Completed(completion) => self.on_completed(now_us, completion, history),
                Output::Event(event) => self.on_event(event, history),
                Output::Disconnect(why) => {
                    if BROKEN.iter().any(|sign| why.contains(sign)) {
                        return Err(format!("client {}: {why}", self.story));
                    }
                    wishes.push(Wish::HangUp);
                }
            }
        }
        Ok(())
    }

    /// Whether it waits for nothing: connected, or over.
    pub fn is_settled(&self) -> bool {
        self.dead || (self.pending() == 0 && self.session.state() == State::Connected)
    }

    fn begin_story(&mut self, history: &mut History) {
        self.story = history.sessions.len();
        history.sessions.push(SessionStory::default());
    }

    /// Reads the xids off the frames that go out: they name the requests in the log.
    fn note_sent(&mut self, now_us: u64, bytes: &[u8], history: &mut History) {
        let mut rest = bytes;
        while let Some((len, body)) = rest.split_first_chunk::<4>() {
            let len = usize::try_from(i32::from_be_bytes(*len)).expect("a frame of our own");
            let (frame, after) = body.split_at(len);
            rest = after;
            if std::mem::take(&mut self.handshake) {
                continue;
            }
            let int = |at: usize| i32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"));
            let (xid, op) = (int(0), int(4));
            if xid <= 0 {
                continue;
            }
            if op == OpCode::CloseSession.to_int() {
                history.sessions[self.story].close_xid = Some(xid);
            } else if let Some(place) = self.unsent.pop_front() {
                let session = self.session.credentials().0;
                history.ops[place].sent = Some(Sent { session, xid, at_us: now_us });
            }
        }
    }

    fn on_completed(&mut self, now_us: u64, completion: Completion, history: &mut History) {
        let Some(place) = self.ops.remove(&completion.id) else { return };
        self.unsent.retain(|unsent| *unsent != place);
        let zxid = completion.zxid.unwrap_or(Zxid(-1));
        let answered = |result| Outcome::Answered { zxid, result };
        history.ops[place].done_us = now_us;
        history.ops[place].outcome = match completion.result {
            Ok(response) => answered(Ok(response)),
            Err(error) => match error.kind() {
                ErrorKind::Rejected(code) => answered(Err(code)),
                ErrorKind::Unknown => Outcome::Unknown,
                ErrorKind::Retry | ErrorKind::SessionLost | ErrorKind::Misuse => Outcome::NotDone,
            },
        };
        if let Outcome::Answered { zxid, .. } = history.ops[place].outcome {
            history.told = history.told.max(zxid);
            history.sessions[self.story].items.push(Item::Reply(place));
        }
    }

    fn on_event(&mut self, event: Event, history: &mut History) {
        let story = &mut history.sessions[self.story];
        let item = match event {
            Event::Watch { kind, path, zxid } => Item::Event { kind, path, zxid },
            Event::WatchesRemoved { .. } | Event::Lapsed | Event::Overflow => return,
            Event::Connected { session, timeout, .. } => {
                story.id = Some(session);
                story.timeout_ms = u64::try_from(timeout.as_millis()).expect("a timeout is below 2^31 ms");
                Item::Connected(session)
            }
            Event::Disconnected => Item::Disconnected,
            Event::Ended(ending) => Item::Ended(ending),
        };
        story.items.push(item);
    }
}

/// Time as the session takes it.
#[must_use]
pub fn micros(now_us: u64) -> Duration {
    Duration::from_micros(now_us)
}

/// Signs that the server broke the protocol.
const BROKEN: [&str; 4] = ["out of order", "to nothing", "cannot be read", "frame that is too long"];

fn options(timeout_ms: u64) -> Options {
    Options { session_timeout: Duration::from_millis(timeout_ms), max_pending: 1000, ..Options::default() }
}
