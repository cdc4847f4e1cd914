//! One segment: two fresh servers, one planner, every step taken on both and compared before the next.

use std::collections::HashSet;

use anyhow::Result;

use super::explained;
use super::model::{SLOTS, SUPER_SLOT};
use super::op::{self, Place, Request};
use super::plan::{Handshake, Password, Planner, Step, Target};
use super::reply::{Item, decode};
use super::report::{History, Report};
use super::side::{Accepted, End, Side, is_notification};

/// A pair of servers under comparison; the first is the reference.
pub(crate) struct Segment<'a> {
    a: Side,
    b: Side,
    /// True when the second side is Ostler, which may be sent what harms the reference.
    ours: bool,
    planner: Planner,
    report: &'a mut Report,
    histories: [History; SLOTS],
    /// Zxids of closed sessions: the order in which their ephemerals go is unspecified.
    unordered: HashSet<i64>,
    label: String,
    verbose: bool,
    failed: bool,
    sent: u64,
}

/// What one connection answered to one batch, sorted out.
struct Answers {
    /// Notifications and ordinary replies in order, the latter with the request's index.
    main: Vec<(Item, Option<usize>)>,
    /// Replies of pings, auth and SASL by the request's index.
    aside: Vec<(Item, usize)>,
    end: End,
}

impl<'a> Segment<'a> {
    /// A segment on two servers that were just started on empty directories.
    pub(crate) fn new(
        a: Side,
        b: Side,
        ours: bool,
        planner: Planner,
        report: &'a mut Report,
        label: String,
    ) -> Self {
        Self {
            a,
            b,
            ours,
            planner,
            report,
            histories: Default::default(),
            unordered: HashSet::new(),
            label,
            verbose: std::env::var_os("XTASK_TRACE").is_some(),
            failed: false,
            sent: 0,
        }
    }

    /// Runs steps until `operations` requests were sent or the sides differ; true if they never did.
    pub(crate) fn run(&mut self, operations: u64) -> Result<bool> {
        while self.sent < operations && !self.failed {
            let step = self.planner.next_step();
            self.take(step)?;
        }
        if !self.failed {
            self.drain();
        }
        if !self.failed {
            self.dump()?;
        }
        if !self.failed && self.ours {
            self.spring_traps();
        }
        Ok(!self.failed)
    }

    fn take(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Connect { slot, handshake, requests } => self.connect(slot, &handshake, &requests),
            Step::Batch(parts) => {
                self.batch(&parts);
                Ok(())
            }
            Step::HangUp(slot) => {
                self.note(slot, "hang up".to_owned());
                self.forget(slot);
                Ok(())
            }
            Step::Raw { slot, bytes, text } => self.raw(slot, &bytes, text),
        }
    }

    fn note(&mut self, slot: usize, line: String) {
        if self.verbose {
            eprintln!("[{slot}] {line}");
        }
        self.histories[slot].push(line);
    }

    fn differ(&mut self, slot: usize, what: &str, java: &str, ours: &str) {
        self.failed = true;
        let text = format!(
            "{what}\n  on connection {slot}, {}\n  A: {java}\n  B: {ours}\n  last exchanges on this connection:\n{}",
            self.label,
            self.histories[slot].text()
        );
        self.report.differences.push(text);
    }

    fn forget(&mut self, slot: usize) {
        self.a.drop_conn(slot);
        self.b.drop_conn(slot);
        self.planner.model.drop_slot(slot);
    }

    // ---- connecting

    fn connect(&mut self, slot: usize, handshake: &Handshake, requests: &[Request]) -> Result<()> {
        self.note(slot, format!("connect {handshake:?} + {} requests", requests.len()));
        let behind: Vec<u8> = requests.iter().flat_map(Request::frame).collect();
        self.a.connect(slot, handshake, &behind)?;
        let java = self.a.accept(slot, handshake.target);
        self.b.connect(slot, handshake, &behind)?;
        let ours = self.b.accept(slot, handshake.target);
        self.report.handshakes += 1;
        if java != ours {
            self.differ(slot, "handshake answered differently", &format!("{java:?}"), &format!("{ours:?}"));
            return Ok(());
        }
        let before = match handshake.target {
            Target::Known(index) => self.planner.model.sessions[index].slot,
            Target::New | Target::Unknown => None,
        };
        match java {
            Accepted::Session { .. } => {
                let session = match handshake.target {
                    Target::Known(index) => index,
                    Target::New | Target::Unknown => {
                        self.planner.model.sessions.push(super::model::Session { alive: true, slot: None });
                        self.planner.model.sessions.len() - 1
                    }
                };
                if let Some(old) = before {
                    self.expect_closed(old, "a connection whose session moved to another");
                }
                self.planner.model.bind(slot, session);
                if !requests.is_empty() {
                    self.answers(&[(slot, requests.to_vec())]);
                }
            }
            Accepted::Expired(_) => {
                let (_, java_end) = self.a.collect(slot, 0, true);
                let (_, ours_end) = self.b.collect(slot, 0, true);
                self.compare_ends(slot, "after an expired answer", java_end, ours_end);
                self.forget(slot);
                // The reference hangs up on a session's live connection before it looks at the password.
                if let Some(old) = before
                    && handshake.password != Password::Right
                {
                    self.forget(old);
                }
            }
            Accepted::Closed => self.forget(slot),
            Accepted::Silent | Accepted::Odd(_) => {
                self.differ(
                    slot,
                    "both sides answered a handshake with nonsense",
                    &format!("{java:?}"),
                    "the same",
                );
            }
        }
        Ok(())
    }

    /// Reads what is left of a connection that the server must have ended.
    fn expect_closed(&mut self, slot: usize, what: &str) {
        let (java, java_end) = self.a.collect(slot, 0, true);
        let (ours, ours_end) = self.b.collect(slot, 0, true);
        let java = self.sort_out(&self.a, &java, &[], java_end);
        let ours = self.sort_out(&self.b, &ours, &[], ours_end);
        self.compare_answers(slot, &[], java, ours);
        self.compare_ends(slot, what, java_end, ours_end);
        self.forget(slot);
    }

    fn compare_ends(&mut self, slot: usize, what: &str, java: End, ours: End) {
        self.report.closings += 1;
        if java != ours {
            self.differ(
                slot,
                &format!("connection ended differently {what}"),
                &format!("{java:?}"),
                &format!("{ours:?}"),
            );
        }
    }

    fn raw(&mut self, slot: Option<usize>, bytes: &[u8], text: &str) -> Result<()> {
        if let Some(slot) = slot {
            self.note(slot, format!("raw: {text}"));
            self.a.send(slot, bytes);
            self.b.send(slot, bytes);
            self.expect_closed(slot, text);
        } else {
            let java = self.a.raw(bytes)?;
            let ours = self.b.raw(bytes)?;
            self.report.closings += 1;
            if java != ours {
                self.differ(
                    SUPER_SLOT,
                    &format!("raw bytes ({text})"),
                    &format!("{java:?}"),
                    &format!("{ours:?}"),
                );
            }
        }
        Ok(())
    }

    // ---- batches

    fn batch(&mut self, parts: &[(usize, Vec<Request>)]) {
        if let [(slot, requests)] = parts
            && let [request] = requests.as_slice()
            && let Some(reason) = request.ours_alone
        {
            self.ours_alone(*slot, request, reason);
            return;
        }
        for (slot, requests) in parts {
            let bytes: Vec<u8> = requests.iter().flat_map(Request::frame).collect();
            self.a.send(*slot, &bytes);
            self.b.send(*slot, &bytes);
        }
        self.answers(parts);
    }

    fn answers(&mut self, parts: &[(usize, Vec<Request>)]) {
        for (slot, requests) in parts {
            let slot = *slot;
            for request in requests {
                self.note(slot, format!("-> xid={} {}", request.xid, request.text));
            }
            self.sent += requests.len() as u64;
            let closing = requests.iter().any(|request| request.place == Place::Closing);
            let (java, java_end) = self.a.collect(slot, requests.len(), closing);
            let (ours, ours_end) = self.b.collect(slot, requests.len(), closing);
            let java = self.sort_out(&self.a, &java, requests, java_end);
            let ours = self.sort_out(&self.b, &ours, requests, ours_end);
            self.learn(slot, requests, &java);
            let end = java.end;
            self.compare_answers(slot, requests, java, ours);
            if self.failed {
                return;
            }
            if closing {
                self.report.closings += 1;
            }
            if let Some(slot_state) = &mut self.planner.model.slots[slot] {
                slot_state.idle = 0;
            }
            if end != End::Complete {
                self.forget(slot);
            }
        }
    }

    fn sort_out(&self, side: &Side, frames: &[Vec<u8>], requests: &[Request], end: End) -> Answers {
        let mut answers = Answers { main: Vec::new(), aside: Vec::new(), end };
        let is_aside = |request: &Request| request.op == op::PING || request.place == Place::Immediate;
        let mut ordinary = requests.iter().enumerate().filter(|(_, request)| !is_aside(request));
        let mut taken = vec![false; requests.len()];
        for frame in frames {
            if is_notification(frame) {
                answers.main.push((decode(side, frame, None), None));
                continue;
            }
            let xid = frame.first_chunk::<4>().map_or(0, |head| i32::from_be_bytes(*head));
            let aside = requests.iter().enumerate().find(|(index, request)| {
                !taken[*index]
                    && is_aside(request)
                    && (request.xid == xid || (request.op == op::PING && xid == -2))
            });
            if let Some((index, request)) = aside {
                taken[index] = true;
                answers.aside.push((decode(side, frame, Some(request.op)), index));
            } else if let Some((index, request)) = ordinary.next() {
                answers.main.push((decode(side, frame, Some(request.op)), Some(index)));
            } else {
                answers.main.push((decode(side, frame, Some(op::PING)), None));
            }
        }
        answers.aside.sort_by_key(|(_, index)| *index);
        answers
    }

    fn compare_answers(&mut self, slot: usize, requests: &[Request], mut java: Answers, mut ours: Answers) {
        self.order_events(&mut java.main);
        self.order_events(&mut ours.main);
        self.report.events += java.main.iter().filter(|(_, index)| index.is_none()).count() as u64;
        let pairs = java.main.len().max(ours.main.len());
        for position in 0..pairs {
            let (left, right) = (java.main.get(position), ours.main.get(position));
            let request = left.or(right).and_then(|(_, index)| index.map(|index| &requests[index]));
            self.compare_pair(slot, request, left.map(|(item, _)| item), right.map(|(item, _)| item));
            if self.failed {
                return;
            }
        }
        for position in 0..java.aside.len().max(ours.aside.len()) {
            let (left, right) = (java.aside.get(position), ours.aside.get(position));
            let request = left.or(right).map(|(_, index)| &requests[*index]);
            self.compare_pair(slot, request, left.map(|(item, _)| item), right.map(|(item, _)| item));
            if self.failed {
                return;
            }
        }
        if java.end != ours.end {
            self.differ(
                slot,
                "batch ended differently",
                &format!("{:?}", java.end),
                &format!("{:?}", ours.end),
            );
        }
    }

    fn compare_pair(
        &mut self,
        slot: usize,
        request: Option<&Request>,
        java: Option<&Item>,
        ours: Option<&Item>,
    ) {
        let (java_line, ours_line) = (
            java.map_or_else(|| "nothing".to_owned(), Item::line),
            ours.map_or_else(|| "nothing".to_owned(), Item::line),
        );
        self.note(slot, format!("<- {java_line}"));
        if let (Some(request), Some(java)) = (request, java) {
            self.report.requests += 1;
            self.report.count_answer(request.op, java.err);
        }
        if java_line == ours_line {
            return;
        }
        if let (Some(request), Some(java), Some(ours)) = (request, java, ours)
            && let Some(entry) = explained::find(request.op, java, ours)
        {
            *self.report.explained.entry(entry.name).or_default() += 1;
            if entry.name == explained::UNDECODABLE_MULTI {
                self.spend_zxid(true);
            }
            return;
        }
        let what = request.map_or_else(
            || "notification differs".to_owned(),
            |request| format!("answer differs: {} (xid {})", request.text, request.xid),
        );
        self.differ(slot, &what, &java_line, &ours_line);
    }

    /// Sorts runs of notifications that belong to a closed session.
    fn order_events(&self, main: &mut [(Item, Option<usize>)]) {
        let mut start = 0;
        while start < main.len() {
            let zxid = main[start].0.zxid;
            let run =
                main[start..].iter().take_while(|(item, index)| index.is_none() && item.zxid == zxid).count();
            if run > 1 && self.unordered.contains(&zxid) {
                main[start..start + run].sort_by(|left, right| left.0.body.cmp(&right.0.body));
            }
            start += run.max(1);
        }
    }

    /// Updates the beliefs from the reference's answers.
    fn learn(&mut self, slot: usize, requests: &[Request], java: &Answers) {
        let session = self.planner.model.slots[slot].as_ref().map(|slot| slot.session);
        for (item, index) in &java.main {
            let Some(request) = index.map(|index| &requests[index]) else { continue };
            self.planner.model.zxid = self.planner.model.zxid.max(item.zxid);
            if item.success {
                for path in &request.deletes {
                    self.planner.model.remove_path(path);
                }
            }
            for path in &item.created {
                let short_lived = request.text.contains("flags=1") || request.text.contains("flags=3");
                self.planner.model.add_path(path.clone(), session.filter(|_| short_lived));
            }
            match (request.op, item.err, &request.path) {
                (_, -101, Some(path)) => self.planner.model.remove_path(path),
                (op::SET_ACL, 0, Some(path)) if path == "/" => {
                    self.planner.model.root_open = request.text == "set_acl / open";
                }
                (op::SET_ACL, 0, None) => self.planner.model.root_open = false,
                (op::CLOSE_SESSION, 0, _) => {
                    self.unordered.insert(item.zxid);
                    if let Some(session) = session {
                        self.planner.model.close_session(session);
                    }
                }
                _ => {}
            }
        }
    }

    /// A request that only Ostler gets: it must refuse and live.
    fn ours_alone(&mut self, slot: usize, request: &Request, reason: &str) {
        self.sent += 1;
        if !self.ours {
            return;
        }
        self.note(slot, format!("-> to Ostler alone ({reason}): {}", request.text));
        self.report.ours_alone += 1;
        self.b.send(slot, &request.frame());
        let (frames, end) = self.b.collect(slot, 1, false);
        let answers = self.sort_out(&self.b, &frames, std::slice::from_ref(request), end);
        let refused = answers.main.iter().any(|(item, index)| index.is_some() && item.err < 0);
        if !refused {
            let lines: Vec<String> = answers.main.iter().map(|(item, _)| item.line()).collect();
            self.differ(
                slot,
                &format!("not refused: {}", request.text),
                "(not asked)",
                &format!("{lines:?} {end:?}"),
            );
            return;
        }
        let used = answers.main.iter().map(|(item, _)| item.zxid).max().unwrap_or(0);
        let closes = matches!(request.op, op::DELETE_CONTAINER | -10);
        if closes {
            let (_, end) = self.b.collect(slot, 0, true);
            if end != End::Closed {
                self.differ(
                    slot,
                    "a refused internal operation left the connection open",
                    "(not asked)",
                    "open",
                );
            }
            self.forget(slot);
        } else if used > 0 {
            // Ours used a zxid for the refusal; let the reference refuse something as well.
            self.forget(slot);
            self.spend_zxid(false);
        }
    }

    /// Makes one side spend a zxid on a plain refusal that the other side does not see.
    fn spend_zxid(&mut self, ours: bool) {
        let body =
            super::raw::Enc::new().string("/x").buffer(None).bytes(&super::content::open_acl()).int(7).0;
        let mut request = Request::new(op::CREATE, body, String::new(), Place::Write);
        request.xid = 1;
        let side = if ours { &mut self.b } else { &mut self.a };
        side.aside(SUPER_SLOT, &request.frame());
    }

    // ---- the end of a segment

    /// Reads whatever notifications are still under way on every connection.
    fn drain(&mut self) {
        for slot in 0..SLOTS {
            if self.planner.model.slots[slot].is_some() && !self.failed {
                self.finish_reading(slot);
            }
        }
    }

    /// One harmless request, whose answer comes behind every notification under way.
    fn finish_reading(&mut self, slot: usize) {
        let mut request = Request::new(op::WHO_AM_I, Vec::new(), "who_am_i".to_owned(), Place::Read);
        request.xid = 1_000_000_000;
        self.batch(&[(slot, vec![request])]);
    }

    /// Compares every node, as the super user sees it.
    fn dump(&mut self) -> Result<()> {
        if self.planner.model.slots[SUPER_SLOT].is_none() {
            let step = self.planner.next_step();
            self.take(step)?;
        }
        let mut waiting = vec!["/".to_owned()];
        while let Some(path) = waiting.pop() {
            let body = super::raw::Enc::new().string(&path);
            let watched = body.clone().byte(0).0;
            let mut requests = vec![
                Request::new(
                    op::GET_CHILDREN2,
                    watched.clone(),
                    format!("dump children of {path}"),
                    Place::Read,
                ),
                Request::new(op::GET_DATA, watched, format!("dump data of {path}"), Place::Read),
                Request::new(op::GET_ACL, body.0, format!("dump acl of {path}"), Place::Read),
            ];
            for (index, request) in requests.iter_mut().enumerate() {
                request.xid = index as i32 + 1;
            }
            let bytes: Vec<u8> = requests.iter().flat_map(Request::frame).collect();
            self.a.send(SUPER_SLOT, &bytes);
            self.b.send(SUPER_SLOT, &bytes);
            let (java, java_end) = self.a.collect(SUPER_SLOT, 3, false);
            let (ours, ours_end) = self.b.collect(SUPER_SLOT, 3, false);
            let children = java.first().and_then(|frame| child_names(frame)).unwrap_or_default();
            let java = self.sort_out(&self.a, &java, &requests, java_end);
            let ours = self.sort_out(&self.b, &ours, &requests, ours_end);
            self.compare_answers(SUPER_SLOT, &requests, java, ours);
            self.report.dumped_nodes += 1;
            if self.failed {
                return Ok(());
            }
            let base = if path == "/" { "" } else { path.as_str() };
            waiting.extend(children.iter().map(|name| format!("{base}/{name}")));
        }
        Ok(())
    }

    /// Sends Ostler alone what ends the reference for good; last, since the trees differ from here on.
    fn spring_traps(&mut self) {
        for (index, mut request) in super::harm::quota_traps().into_iter().enumerate() {
            request.xid = index as i32 + 1;
            self.note(SUPER_SLOT, format!("-> to Ostler alone: {}", request.text));
            self.report.ours_alone += 1;
            self.b.send(SUPER_SLOT, &request.frame());
            let (_, end) = self.b.collect(SUPER_SLOT, 1, false);
            if end != End::Complete {
                self.differ(
                    SUPER_SLOT,
                    &format!("no answer to {}", request.text),
                    "(not asked)",
                    &format!("{end:?}"),
                );
                return;
            }
        }
    }

    /// Addresses of both sides, for messages.
    pub(crate) fn addresses(&self) -> String {
        format!("A={} B={}", self.a.address(), self.b.address())
    }
}

fn child_names(frame: &[u8]) -> Option<Vec<String>> {
    let mut dec = super::raw::Dec::new(frame);
    dec.int()?;
    dec.long()?;
    if dec.int()? != 0 {
        return Some(Vec::new());
    }
    let count = dec.count()?;
    (0..count).map(|_| dec.string()).collect()
}
