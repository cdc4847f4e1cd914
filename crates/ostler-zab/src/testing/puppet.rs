//! A server that says what a script makes it say, in place of its own peer: what other implementations send, and what
//! ours would never send. It votes by itself; on the learner port it is mute, and deaf to what the others answer.

use ostler_wire::quorum::{LearnerInfo, Packet};
use ostler_wire::{ServerId, Zxid};

use super::net::Wire;
use super::world::{World, bytes_of, server};
use crate::Proposal;

impl World {
    /// From here on the scripts speaks for this server.
    pub(super) fn make_puppet(&mut self, node: usize) {
        self.puppets.insert(node);
    }

    /// Sends a packet in the name of a puppet over its link to or from `to`.
    pub(super) fn speak(&mut self, from: usize, to: usize, words: &[&str]) {
        assert!(self.puppets.contains(&from), "only puppets can be made to speak");
        let ends = [(from, to), (to, from)];
        let (&id, link) = self
            .links
            .iter()
            .find(|(_, link)| ends.contains(&(link.dialer, link.acceptor)))
            .expect("there is a link between them");
        let to_leader = link.dialer == from;
        let packet = self.packet(from, words);
        self.believe(from, id, &packet);
        // Kept for the checks of what is answered; that it is wrong is the point of some scripts.
        let _ = if to_leader {
            self.wrong_from_learner(from, id, &packet)
        } else {
            self.wrong_from_leader(from, id, &packet)
        };
        let tree = match packet {
            Packet::Snap { zxid } => {
                let disk = &self.nodes[from].disk;
                Some(disk.log[..disk.upto(zxid)].to_vec())
            }
            _ => None,
        };
        let queue = self.links.get_mut(&id).expect("it was just found").queue(to_leader);
        queue.push_back(Wire::Packet(packet));
        queue.extend(tree.map(Wire::Tree));
    }

    fn packet(&mut self, from: usize, words: &[&str]) -> Packet {
        let info = LearnerInfo { server: Some(server(from)), protocol: 0x10000, members_version: 0 };
        let epoch = |word: &str| word.parse::<i64>().expect("an epoch");
        let zxid = super::script::zxid;
        match *words {
            ["FOLLOWERINFO", accepted] => Packet::FollowerInfo { accepted_epoch: epoch(accepted), info },
            ["LEADERINFO", e] => Packet::LeaderInfo { epoch: epoch(e) },
            ["ACKEPOCH", last, current] => {
                Packet::AckEpoch { last: zxid(last), current_epoch: Some(epoch(current)) }
            }
            ["DIFF", z] => Packet::Diff { zxid: zxid(z) },
            ["TRUNC", z] => Packet::Trunc { zxid: zxid(z) },
            ["SNAP", z] => Packet::Snap { zxid: zxid(z) },
            ["PROPOSAL", z] => Packet::Proposal { zxid: zxid(z), entry: self.entry(zxid(z)) },
            ["INFORM", z] => Packet::Inform { zxid: zxid(z), entry: self.entry(zxid(z)) },
            ["COMMIT", z] => Packet::Commit { zxid: zxid(z) },
            ["COMMITANDACTIVATE", z] => Packet::CommitAndActivate { zxid: zxid(z), leader: ServerId(0) },
            ["NEWLEADER", z] => Packet::NewLeader { zxid: zxid(z), members: None },
            ["UPTODATE"] => Packet::UpToDate,
            ["ACK", z] => Packet::Ack { zxid: zxid(z) },
            _ => panic!("{words:?} is no packet"),
        }
    }

    fn entry(&mut self, zxid: Zxid) -> bytes::Bytes {
        self.record.proposed.entry(zxid).or_insert_with(|| bytes_of(zxid)).clone()
    }

    /// What a puppet says is so: its disk and what is known to be committed follow its words.
    fn believe(&mut self, from: usize, id: crate::LinkId, packet: &Packet) {
        match *packet {
            Packet::LeaderInfo { epoch } => self.nodes[from].disk.epochs.accepted = epoch,
            Packet::FollowerInfo { accepted_epoch, .. } => {
                self.nodes[from].disk.epochs.accepted = accepted_epoch;
            }
            Packet::Proposal { zxid, .. } | Packet::Inform { zxid, .. } => self.has(from, zxid),
            Packet::Ack { zxid } if zxid.counter() == 0 => {
                self.nodes[from].disk.epochs.current = i64::from(zxid.epoch());
            }
            Packet::Ack { zxid } => self.has(from, zxid),
            Packet::NewLeader { zxid, .. } => {
                let disk = &mut self.nodes[from].disk;
                disk.epochs.current = i64::from(zxid.epoch());
                let history = disk.log[..disk.upto(self.links[&id].seen.committed)].to_vec();
                self.record.initial.insert(i64::from(zxid.epoch()), (from, history));
            }
            _ => {}
        }
        if let Packet::Commit { zxid }
        | Packet::CommitAndActivate { zxid, .. }
        | Packet::Inform { zxid, .. } = *packet
        {
            let disk = &self.nodes[from].disk;
            self.record.truth = disk.log[..disk.upto(zxid)].to_vec();
        }
    }

    fn has(&mut self, node: usize, zxid: Zxid) {
        if self.nodes[node].disk.last() < zxid {
            let bytes = self.entry(zxid);
            self.nodes[node].disk.log.push(Proposal { zxid, bytes });
        }
    }
}
