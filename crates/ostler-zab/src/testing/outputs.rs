//! What a server wants done is done here, and looked at: each packet has its place.

use ostler_wire::quorum::{Packet, PeerState};

use super::disk::{EpochWrite, LogWrite, Search};
use super::net::{Dial, Wire};
use super::show;
use super::world::{World, node_of, server};
use crate::{Door, Input, LinkId, Output, Reason};

impl World {
    /// Does everything that a server wants.
    pub(super) fn drain(&mut self, node: usize) {
        loop {
            let Some(running) = &mut self.nodes[node].running else { return };
            let Some(output) = running.peer.poll_output() else { break };
            self.output(node, output);
        }
        self.check_node(node);
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Append { proposal, generation } => {
                self.pend(node, LogWrite::Append(proposal, generation));
            }
            Output::Commit { upto } => {
                let disk = &self.nodes[node].disk;
                let count = disk.upto(upto);
                if count == 0 || disk.log[count - 1].zxid != upto {
                    return self
                        .fail(|| format!("s{} is to apply {upto}, which is not on its disk", node + 1));
                }
                let done = self.nodes[node].running.as_ref().map_or(0, |running| running.applied.len());
                if count <= done {
                    return self.fail(|| format!("s{} is to apply {upto} again", node + 1));
                }
                let fresh = disk.log[done..count].to_vec();
                if let Some(running) = &mut self.nodes[node].running {
                    running.applied.extend(fresh);
                }
            }
            Output::WriteEpoch { which, epoch, generation } => {
                self.say(|| format!("s{} writes {} epoch {epoch}", node + 1, show::kind(which)));
                if let Some(running) = &mut self.nodes[node].running {
                    running.pending.epochs.push_back(EpochWrite { which, epoch, generation });
                }
            }
            Output::Truncate { to, generation } => {
                self.say(|| format!("s{} cuts its log at {}", node + 1, show::zxid(to)));
                self.check_forgotten(node, to);
                self.pend(node, LogWrite::Truncate(to, generation));
            }
            Output::SaveSnapshot { link, zxid, generation } => {
                let Some(running) = &mut self.nodes[node].running else { return };
                let Some(tree) = running.held.remove(&link) else {
                    return self.fail(|| format!("s{} saves a tree that did not arrive", node + 1));
                };
                self.say(|| format!("s{} saves the tree of {}", node + 1, show::zxid(zxid)));
                self.check_forgotten(node, zxid);
                self.pend(node, LogWrite::Save { zxid, tree, generation });
            }
            Output::Notify { to, notification } => {
                self.check_vote(node, &notification);
                self.say(|| format!("  s{} tells s{to}: {}", node + 1, show::vote(&notification)));
                let to = node_of(to);
                if let Some(votes) = self.votes.get_mut(&(node, to)) {
                    votes.waiting = Some(notification);
                }
            }
            Output::Connect { server: leader, door, generation, .. } => {
                match door {
                    Door::Leader => {
                        self.stats.elections += 1;
                        self.say(|| format!("s{} elects s{leader}", node + 1));
                    }
                    Door::Master => self.say(|| format!("s{} goes to s{leader}", node + 1)),
                }
                let leader = node_of(leader);
                if let Some(running) = &mut self.nodes[node].running {
                    running.dials.push_back(Dial { leader, door, generation });
                }
            }
            Output::Send { link, packet } => self.send(node, link, packet),
            Output::SendSnapshot { link, zxid } => {
                let Some(running) = &self.nodes[node].running else { return };
                let mut tree = running.applied.clone();
                tree.retain(|proposal| proposal.zxid <= zxid);
                if tree.last().map_or(0, |last| last.zxid.0) != zxid.0 {
                    return self.fail(|| format!("s{} sends a tree that is not at {zxid}", node + 1));
                }
                if let Some(link) = self.links.get_mut(&link)
                    && link.dialer_open
                {
                    link.to_learner.push_back(Wire::Tree(tree));
                }
                self.input(node, Input::SnapshotSent { link });
            }
            Output::SearchLog { link, peer, upto, .. } => {
                self.say(|| format!("s{} looks for {} in its log", node + 1, show::zxid(peer)));
                if let Some(running) = &mut self.nodes[node].running {
                    running.pending.searches.push_back(Search { link, peer, upto });
                }
            }
            Output::SendLog { link, after, upto } => {
                let Some(part) = self.nodes[node].disk.part(after, upto) else {
                    return self.fail(|| format!("s{} sends a log that it does not have", node + 1));
                };
                self.stats.from_logs += 1;
                for proposal in part {
                    let zxid = proposal.zxid;
                    self.send(node, link, Packet::Proposal { zxid, entry: proposal.bytes });
                    self.send(node, link, Packet::Commit { zxid });
                }
            }
            Output::Close { link, reason } => {
                self.say(|| format!("s{} closes link {}: {reason}", node + 1, link.0));
                match reason {
                    Reason::CannotTruncate => self.stats.cannot_truncate += 1,
                    Reason::EpochExhausted => self.stats.exhausted += 1,
                    _ => {}
                }
                if let Some(link) = self.links.get_mut(&link) {
                    link.close(node);
                }
                self.links.retain(|_, link| !link.is_dead());
            }
            Output::FromLeader { link, packet: Packet::Ping { zxid, .. } } => {
                self.send(node, link, Packet::Ping { zxid, data: bytes::Bytes::new() });
            }
            Output::FromLearner { .. }
            | Output::FromLeader { .. }
            | Output::LearnerGone { .. }
            | Output::MembersSeen(_)
            | Output::MembersActivated { .. } => {}
            Output::Standing(standing) => {
                self.say(|| format!("s{} {}", node + 1, show::standing(standing)));
                self.check_standing(node, standing);
                if let Some(running) = &mut self.nodes[node].running {
                    running.standing = standing;
                }
            }
        }
    }

    fn pend(&mut self, node: usize, write: LogWrite) {
        if let Some(running) = &mut self.nodes[node].running {
            running.pending.log.push_back(write);
        }
    }

    /// A server that looks tells what is on its disk, or what somebody else told.
    fn check_vote(&mut self, node: usize, notification: &ostler_wire::quorum::Notification) {
        let disk = &self.nodes[node].disk;
        let vote = notification.vote;
        if notification.state == PeerState::Looking
            && vote.leader == server(node)
            && (vote.zxid, vote.epoch) != (disk.last(), disk.epochs.current)
        {
            let (last, epochs) = (disk.last(), disk.epochs);
            self.fail(|| format!("s{} votes {vote:?}, its disk has {last} and {epochs:?}", node + 1));
        }
    }

    fn send(&mut self, node: usize, id: LinkId, packet: Packet) {
        if self.puppets.contains(&node) {
            return;
        }
        if let Packet::Commit { zxid } | Packet::Inform { zxid, .. } = packet
            && self.nodes[node].running.as_ref().is_some_and(|running| running.is_leading())
        {
            self.extend_truth(node, zxid);
        }
        if let Packet::Inform { zxid, .. } = packet
            && !self.record.truth.iter().rev().any(|known| known.zxid == zxid)
        {
            self.fail(|| format!("s{} tells of {zxid}, which is not committed", node + 1));
        }
        let Some(link) = self.links.get(&id) else { return };
        let to_leader = link.dialer == node;
        let other = if to_leader { link.acceptor } else { link.dialer };
        if !matches!(packet, Packet::Ping { .. }) {
            self.say(|| format!("s{} → s{} {}", node + 1, other + 1, show::packet(&packet)));
        }
        let looking = self.peer(node).is_none_or(|peer| peer.state() == PeerState::Looking);
        let wrong = if looking && !matches!(packet, Packet::Ping { .. }) {
            // The last words of a role leave before the role is over, so this is none of them.
            None
        } else if to_leader {
            self.wrong_from_learner(node, id, &packet)
        } else {
            self.wrong_from_leader(node, id, &packet)
        };
        if let Some(wrong) = wrong {
            self.fail(|| format!("s{} sends s{} {}: {wrong}", node + 1, other + 1, show::packet(&packet)));
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let (open, heard) = if to_leader {
            (link.dialer_open, link.acceptor_open)
        } else {
            (link.acceptor_open, link.dialer_open)
        };
        // What is sent to one that closed is lost; what is sent after a cut as well.
        let ended = link.queue(!to_leader).back() == Some(&Wire::End);
        if open && heard && !ended {
            link.queue(to_leader).push_back(Wire::Packet(packet));
        }
    }

    pub(super) fn wrong_from_learner(
        &mut self,
        node: usize,
        id: LinkId,
        packet: &Packet,
    ) -> Option<&'static str> {
        let disk = &self.nodes[node].disk;
        let epochs = disk.epochs;
        let last = disk.last();
        let seen = &mut self.links.get_mut(&id).expect("it was just seen").seen;
        match *packet {
            Packet::FollowerInfo { accepted_epoch, .. } | Packet::ObserverInfo { accepted_epoch, .. } => {
                (accepted_epoch != epochs.accepted).then_some("not what the disk has")
            }
            Packet::AckEpoch { last: said, current_epoch } => {
                if seen.epoch.is_none_or(|epoch| epochs.accepted < epoch) {
                    Some("the promise is not on disk")
                } else if said != last && said != ostler_wire::Zxid(-1) {
                    Some("not the end of the log")
                } else {
                    current_epoch
                        .filter(|current| *current != epochs.current)
                        .map(|_| "not what the disk has")
                }
            }
            Packet::Ack { zxid } if zxid.counter() == 0 => {
                let epoch = i64::from(zxid.epoch());
                let lacks = seen.history > last;
                if !seen.newleader_taken {
                    return Some("nobody asked");
                }
                if epochs.current != epoch {
                    return Some("the epoch is not on disk");
                }
                if lacks {
                    return Some("the history is not on disk");
                }
                self.check_history_of_epoch(node, epoch, "acknowledges");
                None
            }
            Packet::Ack { zxid } => {
                let ordered = zxid > seen.acked;
                seen.acked = zxid;
                if zxid > last {
                    Some("it is not on disk")
                } else if zxid > seen.taken {
                    Some("nobody proposed it here")
                } else {
                    (!ordered).then_some("out of order")
                }
            }
            _ => None,
        }
    }

    pub(super) fn wrong_from_leader(
        &mut self,
        node: usize,
        id: LinkId,
        packet: &Packet,
    ) -> Option<&'static str> {
        let disk = &self.nodes[node].disk;
        let epochs = disk.epochs;
        let voter = self.links[&id].dialer < self.setup.voters;
        let by_master = self.links[&id].door == Door::Master;
        let seen = &mut self.links.get_mut(&id).expect("it was just seen").seen;
        match *packet {
            Packet::LeaderInfo { epoch } => {
                seen.epoch = Some(epoch);
                (epochs.accepted < epoch).then_some("the promise is not on disk")
            }
            Packet::Diff { .. } | Packet::Trunc { .. } | Packet::Snap { .. } => {
                match packet {
                    Packet::Diff { .. } => self.stats.diffs += 1,
                    Packet::Trunc { .. } => self.stats.truncs += 1,
                    _ => self.stats.snaps += 1,
                }
                let twice = seen.plan;
                seen.plan = true;
                if let Packet::Trunc { zxid } | Packet::Snap { zxid } = *packet {
                    seen.proposed = Some(zxid);
                    seen.committed = zxid;
                    seen.history = zxid;
                }
                twice.then_some("a second way to sync")
            }
            Packet::Proposal { zxid, .. } | Packet::Inform { zxid, .. } => {
                let inform = matches!(packet, Packet::Inform { .. });
                let hole = seen.proposed.is_some_and(|before| {
                    zxid != before.next() && !(zxid.epoch() > before.epoch() && zxid.counter() == 1)
                });
                seen.proposed = Some(zxid);
                if inform {
                    seen.committed = zxid;
                }
                if !seen.plan {
                    Some("before the learner is synced")
                } else if inform && voter {
                    Some("a follower is not informed")
                } else {
                    hole.then_some("a hole")
                }
            }
            Packet::Commit { zxid } => {
                let ordered = zxid > seen.committed;
                seen.committed = zxid;
                if !seen.newleader {
                    seen.history = zxid;
                }
                if seen.proposed.is_none_or(|proposed| zxid > proposed) {
                    Some("it was not proposed here")
                } else if seen.newleader && !seen.uptodate {
                    Some("between NEWLEADER and UPTODATE")
                } else {
                    (!ordered).then_some("out of order")
                }
            }
            Packet::NewLeader { zxid, .. } => {
                seen.newleader = true;
                let epoch = i64::from(zxid.epoch());
                if by_master {
                    self.stats.by_masters += 1;
                    let established = self.record.established.contains_key(&epoch);
                    return (!established || epochs.current != epoch || voter).then_some("it is no master");
                }
                let log = self.nodes[node].disk.log.clone();
                let (leader, _) = self.record.initial.entry(epoch).or_insert((node, log));
                if *leader != node {
                    Some("another server leads this epoch")
                } else {
                    (epochs.current != epoch).then_some("the epoch is not on disk")
                }
            }
            Packet::UpToDate => {
                seen.uptodate = true;
                if !seen.synced {
                    Some("the learner did not acknowledge the history")
                } else {
                    let established = self.record.established.contains_key(&epochs.current);
                    (!established).then_some("the epoch is not established")
                }
            }
            _ => None,
        }
    }
}
