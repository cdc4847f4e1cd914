//! What happened to a member of an ensemble, counted for its operators: elections, time without service, proposals.
//!
//! Watches what goes in and out of the peer and decides nothing. Answers to the metrics that Java's `QuorumPeer`,
//! `Leader` and `Learner` keep.

use ostler_tree::namespaces::Figures;
use ostler_wire::quorum::{Packet, PeerState};
use ostler_zab::{Input, Output, Standing};

/// Counters and times of a member.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// How often this server looked for a leader.
    pub looking: u64,
    /// Milliseconds that elections took.
    pub election_ms: Figures,
    /// Milliseconds without service, whatever the server became.
    pub unavailable_ms: Figures,
    /// Those that ended with this server as the leader.
    pub leader_unavailable_ms: Figures,
    /// Milliseconds from the election to service as a follower.
    pub follower_sync_ms: Figures,
    /// As an observer.
    pub observer_sync_ms: Figures,
    /// Proposals of this leader.
    pub proposals: u64,
    /// Their sizes in bytes, and that of the last, since it leads.
    pub proposal_bytes: Figures,
    /// See above.
    pub last_proposal_bytes: u64,
    /// Learners that were sent what they miss.
    pub diffs: u64,
    /// Learners that were sent a whole tree.
    pub trees: u64,
    /// Proposals from the leader.
    pub proposals_received: u64,
    /// Commits from the leader.
    pub commits_received: u64,
    /// Since when the server has had its standing (monotonic milliseconds).
    pub since_ms: u64,
    /// What the peer did last.
    state: Option<PeerState>,
    /// When it began to do so.
    state_ms: u64,
    /// Since when nobody has been served.
    unavailable_since_ms: Option<u64>,
}

impl Tally {
    /// The peer has done something; perhaps it does something else now.
    pub(crate) fn on_state(&mut self, now_ms: u64, state: PeerState) {
        if self.state == Some(state) {
            return;
        }
        match state {
            PeerState::Looking => {
                self.looking += 1;
                self.unavailable_since_ms.get_or_insert(now_ms);
            }
            PeerState::Leading | PeerState::Following | PeerState::Observing => {
                if self.state == Some(PeerState::Looking) {
                    self.election_ms.add(now_ms.saturating_sub(self.state_ms));
                }
            }
        }
        (self.state, self.state_ms) = (Some(state), now_ms);
    }

    pub(crate) fn on_standing(&mut self, now_ms: u64, standing: Standing) {
        self.since_ms = now_ms;
        if standing == Standing::Looking {
            self.unavailable_since_ms.get_or_insert(now_ms);
            return;
        }
        let unavailable = self.unavailable_since_ms.take().map(|since| now_ms.saturating_sub(since));
        if let Some(ms) = unavailable {
            self.unavailable_ms.add(ms);
        }
        match standing {
            Standing::Leading { .. } => {
                if let Some(ms) = unavailable {
                    self.leader_unavailable_ms.add(ms);
                }
                (self.proposal_bytes, self.last_proposal_bytes) = (Figures::default(), 0);
            }
            Standing::Following { observer, .. } => {
                let figures = if observer { &mut self.observer_sync_ms } else { &mut self.follower_sync_ms };
                figures.add(now_ms.saturating_sub(self.state_ms));
            }
            Standing::Looking | Standing::Solo => {}
        }
    }

    pub(crate) fn on_input(&mut self, input: &Input) {
        let Input::Packet { packet, .. } = input else { return };
        match packet {
            Packet::Proposal { .. } => self.proposals_received += 1,
            Packet::Commit { .. }
            | Packet::CommitAndActivate { .. }
            | Packet::Inform { .. }
            | Packet::InformAndActivate { .. } => self.commits_received += 1,
            _ => {}
        }
    }

    pub(crate) fn on_output(&mut self, output: &Output) {
        match output {
            Output::Send { packet: Packet::Diff { .. }, .. } => self.diffs += 1,
            Output::SendSnapshot { .. } => self.trees += 1,
            _ => {}
        }
    }

    pub(crate) fn on_proposed(&mut self, bytes: usize) {
        self.proposals += 1;
        self.last_proposal_bytes = bytes as u64;
        self.proposal_bytes.add(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use ostler_wire::{ServerId, Zxid};
    use ostler_zab::LinkId;

    use super::*;

    fn one(sample: u64) -> Figures {
        Figures { count: 1, sum: sample, min: sample, max: sample }
    }

    #[test]
    fn an_election_and_a_term() {
        let mut tally = Tally::default();
        tally.on_state(100, PeerState::Looking);
        tally.on_state(150, PeerState::Looking);
        tally.on_state(400, PeerState::Leading);
        tally.on_standing(450, Standing::Leading { epoch: 1 });
        assert_eq!((tally.looking, tally.since_ms), (1, 450));
        assert_eq!((tally.election_ms, tally.unavailable_ms), (one(300), one(350)));
        assert_eq!(tally.leader_unavailable_ms, one(350));
        tally.on_proposed(70);
        tally.on_proposed(50);
        assert_eq!((tally.proposals, tally.last_proposal_bytes), (2, 50));
        assert_eq!((tally.proposal_bytes.min, tally.proposal_bytes.max), (50, 70));

        // Deposed, and a follower next.
        tally.on_standing(1000, Standing::Looking);
        tally.on_state(1010, PeerState::Looking);
        tally.on_state(1100, PeerState::Following);
        let link = LinkId(1);
        tally.on_standing(
            1130,
            Standing::Following { leader: ServerId(2), master: ServerId(2), link, observer: false },
        );
        assert_eq!((tally.looking, tally.unavailable_ms.sum, tally.unavailable_ms.max), (2, 480, 350));
        assert_eq!((tally.leader_unavailable_ms, tally.follower_sync_ms), (one(350), one(30)));
        tally.on_input(&Input::Packet { link, packet: Packet::Commit { zxid: Zxid(1) } });
        tally.on_input(&Input::Packet { link, packet: Packet::UpToDate });
        assert_eq!((tally.proposals_received, tally.commits_received), (0, 1));

        // A new term counts the sizes of its proposals from the start.
        tally.on_standing(2000, Standing::Leading { epoch: 3 });
        assert_eq!((tally.proposals, tally.proposal_bytes), (2, Figures::default()));
        tally.on_output(&Output::SendSnapshot { link, zxid: Zxid(1) });
        tally.on_output(&Output::Send { link, packet: Packet::Diff { zxid: Zxid(1) } });
        assert_eq!((tally.diffs, tally.trees), (1, 1));
    }

    #[test]
    fn a_server_alone_was_never_without_service() {
        let mut tally = Tally::default();
        tally.on_state(5, PeerState::Leading);
        tally.on_standing(5, Standing::Solo);
        assert_eq!((tally.unavailable_ms.count, tally.election_ms.count, tally.looking), (0, 0, 0));
    }
}
