//! The requests that wait for their answer on this connection, in the order in which they were sent. Those that were sent
//! together and differ in nothing but the path take one place.

use std::collections::VecDeque;
use std::time::Duration;

use ostler_wire::OpCode;

use super::RequestId;
use crate::watches::Wish;

/// A request that was sent, or several with ids and xids in a row.
#[derive(Debug)]
pub(super) struct Sent {
    /// `None` for what the session itself asked (setWatches).
    pub id: Option<RequestId>,
    pub xid: i32,
    pub op: OpCode,
    pub wish: Option<Box<Wish>>,
    pub sent_at: Duration,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// Each with how many it stands for, 1 or more. The first of them is what is written down.
    runs: VecDeque<(Sent, usize)>,
    len: usize,
}

/// Ordinary xids are positive and wrap to 1.
pub(super) fn xid_after(xid: i32) -> i32 {
    xid.checked_add(1).unwrap_or(1)
}

impl InFlight {
    /// How many requests.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, sent: Sent) {
        self.push_run(sent, 1);
    }

    /// So many requests in a row; what they wish for is nothing.
    pub(super) fn push_run(&mut self, first: Sent, count: usize) {
        debug_assert!(count == 1 || first.wish.is_none(), "a wish is that of one request");
        if count > 0 {
            self.runs.push_back((first, count));
            self.len += count;
        }
    }

    /// The one whose answer comes next.
    #[inline]
    pub(super) fn first(&self) -> Option<&Sent> {
        self.runs.front().map(|(first, _)| first)
    }

    /// Takes the first out.
    pub(super) fn pop(&mut self) -> Option<Sent> {
        let (first, _) = self.runs.front_mut()?;
        let taken = Sent { wish: first.wish.take(), ..*first };
        self.pass();
        Some(taken)
    }

    /// Forgets the first, which has no wish.
    #[inline]
    pub(super) fn pass(&mut self) {
        let Some((first, left)) = self.runs.front_mut() else { return };
        self.len -= 1;
        if *left == 1 {
            self.runs.pop_front();
            return;
        }
        *left -= 1;
        first.xid = xid_after(first.xid);
        if let Some(RequestId(id)) = &mut first.id {
            *id += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(id: u64, xid: i32) -> Sent {
        Sent { id: Some(RequestId(id)), xid, op: OpCode::GetData, wish: None, sent_at: Duration::ZERO }
    }

    #[test]
    fn a_run_is_as_many_requests() {
        let mut in_flight = InFlight::default();
        in_flight.push(sent(4, i32::MAX - 2));
        in_flight.push_run(sent(5, i32::MAX - 1), 4);
        in_flight.push_run(sent(9, 3), 0);
        in_flight.push(sent(9, 3));
        let mut seen = Vec::new();
        while let Some(first) = in_flight.first() {
            seen.push((first.id.unwrap().0, first.xid, in_flight.len()));
            if seen.len() % 2 == 0 {
                in_flight.pass();
            } else {
                let popped = in_flight.pop().unwrap();
                assert_eq!(
                    (popped.id.unwrap().0, popped.xid),
                    (seen[seen.len() - 1].0, seen[seen.len() - 1].1)
                );
            }
        }
        let xids = [i32::MAX - 2, i32::MAX - 1, i32::MAX, 1, 2, 3];
        let expected: Vec<_> = (0..6).map(|at| (4 + at as u64, xids[at], 6 - at)).collect();
        assert_eq!(seen, expected);
        assert!(in_flight.pop().is_none());
    }
}
