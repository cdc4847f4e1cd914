//! The start of a member of an ensemble: what its peer begins with, from configuration and disk, and the two ports
//! at which the others reach it.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use ostler_node::recover::Recovered;
use ostler_node::{Node, NodeConfig};
use ostler_tree::Store;
use ostler_wire::quorum::PeerAddress;
use ostler_wire::quorum::members::Members;
use ostler_zab::{Epochs, History, Limit, Membership, Observing, PeerConfig};

use crate::clock::Clock;
use crate::config::{MemberConfig, ServerConfig};
use crate::inbox::{Inbox, NodeLetter};
use crate::os_disk::OsDisk;
use crate::peers::{Lists, LogSource, PeersConfig};
use crate::run::{StartError, bind};

/// Packets that wait in memory while the own disk is busy, and unsent ones for a learner: beyond that it has to come
/// again.
const MAX_WAITING_BYTES: usize = 128 << 20;
/// The longest to wait for a follower that is to take this observer: there are others.
const MASTER_CONNECT_MS: u64 = 2000;
/// How long to wait for a connection if nothing is configured.
const BACKLOG: u32 = 256;

/// Where a port is open: host and port.
pub(crate) type Spot = (String, u16);

/// The ports of a member.
pub(crate) struct Ports {
    pub(crate) election: Vec<(Spot, TcpListener)>,
    pub(crate) learners: Vec<(Spot, TcpListener)>,
}

/// Where the ports of a member are to be.
pub(crate) struct Spots {
    pub(crate) election: Vec<Spot>,
    pub(crate) learners: Vec<Spot>,
}

impl Spots {
    /// Both at each of these addresses.
    pub(crate) fn of(addresses: &[PeerAddress], all_ips: bool) -> Self {
        let each = |port: fn(&PeerAddress) -> u16| {
            let mut spots: Vec<Spot> = Vec::new();
            for address in addresses {
                let host = if all_ips { "0.0.0.0".to_owned() } else { address.host.clone() };
                let spot = (host, port(address));
                if !spots.contains(&spot) {
                    spots.push(spot);
                }
            }
            spots
        };
        Self {
            election: each(|address| address.election_port),
            learners: each(|address| address.quorum_port),
        }
    }
}

impl Ports {
    /// Opens both.
    pub(crate) fn open(member: &MemberConfig) -> Result<Self, StartError> {
        Self::at(&Spots::of(&member.own().addresses, member.listen_on_all_ips))
    }

    /// Opens all of these.
    pub(crate) fn at(spots: &Spots) -> Result<Self, StartError> {
        let open = |spots: &[Spot], what| {
            let open = |spot: &Spot| Ok((spot.clone(), listen(&spot.0, spot.1, what)?));
            spots.iter().map(open).collect::<Result<Vec<_>, StartError>>()
        };
        Ok(Self { election: open(&spots.election, "election")?, learners: open(&spots.learners, "quorum")? })
    }
}

pub(crate) fn listen(host: &str, port: u16, what: &str) -> Result<TcpListener, StartError> {
    let refused = |source| StartError::Listen {
        address: format!("{host}:{port} ({what} port)"),
        source,
        hint: "; the server.N line of this member must name an address of this machine and free ports, or set quorumListenOnAllIPs=true",
    };
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(refused)?.collect();
    let mut problem = std::io::Error::other("the name resolves to no address");
    for address in addresses {
        match bind(address, Some(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(source) => problem = source,
        }
    }
    Err(refused(problem))
}

/// What a member's node and its sockets begin with.
pub(crate) struct Start<'a> {
    pub(crate) config: &'a ServerConfig,
    pub(crate) member: &'a MemberConfig,
    pub(crate) node_config: &'a Arc<NodeConfig>,
    pub(crate) disk: &'a OsDisk,
    pub(crate) clock: Clock,
    pub(crate) node: &'a Arc<Inbox<NodeLetter>>,
}

impl Start<'_> {
    /// The epochs on disk; a server that was alone until now begins with those of its history.
    pub(crate) fn epochs(&self, recovered: &Recovered) -> ostler_store::Result<Epochs> {
        let epochs = ostler_store::epochs::load_epochs(self.disk, recovered.last)?;
        Ok(Epochs { accepted: epochs.accepted, current: epochs.current })
    }

    /// The node, which looks for a leader at once.
    pub(crate) fn node(&self, recovered: &mut Recovered, epochs: Epochs) -> Node {
        let member = self.member;
        let current = member.members.clone();
        let membership = if self.config.reconfig_enabled {
            Membership::changeable(current, member.next_members.clone())
        } else {
            Membership::fixed(current)
        };
        let membership = membership.expect("groups and weights were checked with the configuration");
        let peer = PeerConfig {
            server: member.id,
            quorum: membership.quorum(),
            observer: member.observer,
            tick_ms: u64::from(self.config.tick_time_ms),
            init_limit_ticks: u64::from(member.init_limit_ticks),
            sync_limit_ticks: u64::from(member.sync_limit_ticks),
            max_waiting_bytes: MAX_WAITING_BYTES,
            force_snapshot: member.force_snapshot_sync,
            log_sync: member.snapshot_size_factor.is_some(),
            observing: self.observing(),
        };
        let limit = Limit { count: member.commit_log_count, ..Limit::default() };
        let recent = std::mem::take(&mut recovered.history.proposals);
        let history = if crate::recovery::is_untrusted(self.config, recovered) {
            History::unknown(limit)
        } else {
            History::new(recovered.history.base, recent, limit)
                .with_whole_log_since(recovered.history.whole_since)
        };
        set_config_node(&mut recovered.store, &member.members, self.clock.now().wall_ms);
        Node::member(
            Arc::clone(self.node_config),
            peer,
            membership,
            epochs,
            history,
            &recovered.store,
            self.clock.now(),
        )
    }

    fn observing(&self) -> Observing {
        let member = self.member;
        let tick_ms = u64::from(self.config.tick_time_ms);
        let connect_ms = tick_ms * u64::from(member.connect_to_learner_master_limit_ticks);
        Observing {
            masters: member.observer_master_port.is_some(),
            connect_ms: connect_ms.min(MASTER_CONNECT_MS),
            reconnect_delay_ms: member.observer_reconnect_delay_ms,
            election_delay_ms: member.observer_election_delay_ms,
            seed: self.node_config.seed,
        }
    }

    /// The sockets.
    pub(crate) fn peers(&self, ports: Ports, store: &Arc<RwLock<Store>>) -> PeersConfig {
        PeersConfig {
            me: self.member.id,
            multi_address: self.member.multi_address,
            listen_on_all_ips: self.member.listen_on_all_ips,
            observer_master_port: self.member.observer_master_port,
            members: RefCell::new(Lists {
                current: Arc::new(self.member.members.clone()),
                last_seen: Arc::new(
                    self.member.next_members.as_ref().unwrap_or(&self.member.members).clone(),
                ),
            }),
            files: self.member.files.clone(),
            log: LogSource { disk: self.disk.clone(), size_factor: self.member.snapshot_size_factor },
            ports: Some(ports),
            connect_timeout: Duration::from_millis(self.member.connect_timeout_ms),
            max_packet: self.config.jute_max_buffer.saturating_add(self.config.jute_extra_size),
            max_unsent: MAX_WAITING_BYTES,
            tree: self.node_config.tree.clone(),
            store: Arc::clone(store),
            node: Arc::clone(self.node),
        }
    }
}

/// `/zookeeper/config` is each server's own view of the members, not a part of the history (section 2.5 of the
/// protocol between servers).
pub(crate) fn set_config_node(store: &mut Store, members: &Members, wall_ms: i64) {
    store.set_config(members.to_string().as_bytes(), members.version, wall_ms);
}
