//! Short words for packets and states, for traces and scripts.

use ostler_wire::Zxid;
use ostler_wire::quorum::{Notification, Packet, PeerState};

use crate::{EpochKind, Standing};

/// Epoch and counter.
pub(super) fn zxid(zxid: Zxid) -> String {
    match zxid.0 {
        -1 => "none".to_owned(),
        _ => format!("{}:{}", zxid.epoch(), zxid.counter()),
    }
}

pub(super) fn kind(which: EpochKind) -> &'static str {
    match which {
        EpochKind::Accepted => "accepted",
        EpochKind::Current => "current",
    }
}

pub(super) fn standing(standing: Standing) -> String {
    match standing {
        Standing::Looking => "serves nobody".to_owned(),
        Standing::Solo => "is alone".to_owned(),
        Standing::Leading { epoch } => format!("leads epoch {epoch}"),
        Standing::Following { leader, observer: false, .. } => format!("follows s{leader}"),
        Standing::Following { leader, master, observer: true, .. } if leader == master => {
            format!("observes s{leader}")
        }
        Standing::Following { leader, master, .. } => format!("observes s{leader} by way of s{master}"),
    }
}

pub(super) fn state(state: PeerState) -> &'static str {
    match state {
        PeerState::Looking => "looking",
        PeerState::Following => "following",
        PeerState::Leading => "leading",
        PeerState::Observing => "observing",
    }
}

pub(super) fn vote(notification: &Notification) -> String {
    let vote = notification.vote;
    format!(
        "{} round {} for {} epoch {} at {}",
        state(notification.state),
        notification.round,
        if vote.leader.0 == i64::MIN { "nobody".to_owned() } else { format!("s{}", vote.leader) },
        if vote.epoch == i64::MIN { -1 } else { vote.epoch },
        if vote.zxid.0 == i64::MIN { "none".to_owned() } else { zxid(vote.zxid) }
    )
}

pub(super) fn packet(packet: &Packet) -> String {
    match packet {
        Packet::Proposal { zxid: z, .. } => format!("PROPOSAL {}", zxid(*z)),
        Packet::Ack { zxid: z } => format!("ACK {}", zxid(*z)),
        Packet::Commit { zxid: z } => format!("COMMIT {}", zxid(*z)),
        Packet::Inform { zxid: z, .. } => format!("INFORM {}", zxid(*z)),
        Packet::NewLeader { zxid: z, .. } => format!("NEWLEADER {}", zxid(*z)),
        Packet::FollowerInfo { accepted_epoch, .. } => format!("FOLLOWERINFO {accepted_epoch}"),
        Packet::ObserverInfo { accepted_epoch, .. } => format!("OBSERVERINFO {accepted_epoch}"),
        Packet::UpToDate => "UPTODATE".to_owned(),
        Packet::Diff { zxid: z } => format!("DIFF {}", zxid(*z)),
        Packet::Trunc { zxid: z } => format!("TRUNC {}", zxid(*z)),
        Packet::Snap { zxid: z } => format!("SNAP {}", zxid(*z)),
        Packet::LeaderInfo { epoch } => format!("LEADERINFO {epoch}"),
        Packet::AckEpoch { last, current_epoch: Some(current) } => {
            format!("ACKEPOCH at {}, has {current}", zxid(*last))
        }
        Packet::AckEpoch { last, current_epoch: None } => format!("ACKEPOCH at {}, again", zxid(*last)),
        other => format!("{other:?}"),
    }
}
