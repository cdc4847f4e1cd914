//! The sockets between servers, on the node's own thread: votes on the election port, everything else on the learner
//! port. What is said and when is decided by the node's peer; here are connections, queues and their bounds.

mod dial;
mod doors;
mod election;
mod learners;
mod link;
mod log_part;
mod status;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use ostler_node::Input;
use ostler_tree::{Store, TreeConfig};
use ostler_wire::ServerId;
use ostler_wire::quorum::{Members, PeerAddress};
use ostler_zab::Reason;
use tokio::task::spawn_local;
use tokio::time::Instant;
use tracing::info;

use crate::config::MembersFiles;
use crate::inbox::{Inbox, NodeLetter};
use crate::member::{Ports, Spots};
use crate::os_disk::OsDisk;
use crate::run::StartError;

/// What the sockets between servers need to know.
pub(crate) struct PeersConfig {
    pub(crate) me: ServerId,
    /// Tell others of all addresses of this server, as servers before 3.6 do not understand.
    pub(crate) multi_address: bool,
    /// Open the ports on every address of the machine.
    pub(crate) listen_on_all_ips: bool,
    /// Where followers take observers.
    pub(crate) observer_master_port: Option<u16>,
    pub(crate) members: RefCell<Lists>,
    /// Where changes of the members are kept.
    pub(crate) files: Option<MembersFiles>,
    /// Where learners that lag are sent the log from.
    pub(crate) log: LogSource,
    /// The open ports, until the sockets take them.
    pub(crate) ports: Option<Ports>,
    /// How long to wait for a connection, and for the first words on one.
    pub(crate) connect_timeout: Duration,
    /// The longest buffer in a packet, in bytes.
    pub(crate) max_packet: usize,
    /// Unsent bytes at which a link is given up.
    pub(crate) max_unsent: usize,
    pub(crate) tree: TreeConfig,
    pub(crate) store: Arc<RwLock<Store>>,
    pub(crate) node: Arc<Inbox<NodeLetter>>,
}

/// The log on disk.
#[derive(Clone)]
pub(crate) struct LogSource {
    pub(crate) disk: OsDisk,
    /// How large a part of it may be beside a snapshot to be sent in place of a tree; `None` for never.
    pub(crate) size_factor: Option<f64>,
}

/// The member list in force, and the one that was proposed last.
pub(crate) struct Lists {
    pub(crate) current: Arc<Members>,
    pub(crate) last_seen: Arc<Members>,
}

/// The sockets between servers.
pub(crate) struct Peers {
    config: Rc<PeersConfig>,
    election: Rc<election::Post>,
    learners: Rc<learners::Links>,
    standing: Rc<Standing>,
}

/// Since when this member has no leader, and why its last role ended.
struct Standing {
    alone_since: Cell<Option<Instant>>,
    last_end: Cell<Option<Reason>>,
    told: Cell<ostler_zab::Standing>,
}

/// How often to say why there is no quorum.
const STATUS_EVERY: Duration = Duration::from_secs(10);

impl Peers {
    /// Opens both ports. To be called on the thread of the node, inside of its runtime.
    pub(crate) fn start(mut config: PeersConfig) -> Self {
        let Ports { election, learners } =
            config.ports.take().expect("whoever opened the ports hands them over once");
        let shared = Rc::new(config);
        let peers = Self {
            config: Rc::clone(&shared),
            election: election::Post::open(Rc::clone(&shared), election),
            learners: learners::Links::open(Rc::clone(&shared), learners),
            standing: Rc::new(Standing {
                alone_since: Cell::new(Some(Instant::now())),
                last_end: Cell::new(None),
                told: Cell::new(ostler_zab::Standing::Looking),
            }),
        };
        let (election, standing) = (Rc::clone(&peers.election), Rc::clone(&peers.standing));
        spawn_local(tell_status(shared, election, standing));
        peers
    }

    /// Notes what this member is, and why its last role ended; says so when it changed.
    pub(crate) fn note(&self, now: ostler_zab::Standing, last_end: Option<Reason>) {
        let standing = &self.standing;
        standing.last_end.set(last_end);
        if standing.told.replace(now) == now {
            return;
        }
        let takes_observers = matches!(now, ostler_zab::Standing::Following { observer: false, .. });
        self.learners.take_observers(takes_observers);
        let because = || last_end.map_or_else(|| "it starts".to_owned(), |reason| reason.to_string());
        match now {
            ostler_zab::Standing::Looking => info!(because = because(), "looking for a leader"),
            ostler_zab::Standing::Leading { epoch } => info!(epoch, "leading"),
            ostler_zab::Standing::Following { leader, observer: false, .. } => info!(%leader, "following"),
            ostler_zab::Standing::Following { leader, master, observer: true, .. } => {
                info!(%leader, %master, "observing");
            }
            ostler_zab::Standing::Solo => {}
        }
        let alone = now == ostler_zab::Standing::Looking;
        standing.alone_since.set(alone.then(Instant::now));
    }

    /// Leaves the others: no connection stays, and none is taken.
    pub(crate) fn close(&self) {
        self.learners.close_all();
        self.election.close_all();
    }

    /// Does what the peer wants of the network.
    pub(crate) fn carry_out(&self, output: ostler_zab::Output) {
        match output {
            ostler_zab::Output::Notify { to, notification } => self.election.send(to, &notification),
            ostler_zab::Output::Connect { server, door, within_ms, generation } => {
                self.learners.connect(server, door, Duration::from_millis(within_ms), generation);
            }
            ostler_zab::Output::Send { link, packet } => self.learners.send(link, &packet),
            ostler_zab::Output::SendSnapshot { link, zxid } => self.learners.send_tree(link, zxid),
            ostler_zab::Output::SearchLog { link, peer, through, upto } => {
                log_part::search(Rc::clone(&self.config), link, (peer, through, upto));
            }
            ostler_zab::Output::SendLog { link, after, upto } => self.learners.send_log(link, after, upto),
            ostler_zab::Output::Close { link, reason } => self.learners.close(link, reason),
            ostler_zab::Output::MembersSeen(members) => self.on_members_seen(members),
            ostler_zab::Output::MembersActivated { members, .. } => self.on_members(members),
            output => unreachable!("not a matter of the network: {output:?}"),
        }
    }
}

impl Peers {
    /// A change of the members was proposed.
    fn on_members_seen(&self, members: Arc<Members>) {
        if let Some(files) = &self.config.files
            && let Err(error) = files.write_next(&members)
        {
            tracing::error!(%error, "cannot keep the member list that was proposed");
        }
        self.config.members.borrow_mut().last_seen = members;
        self.election.connect_members();
    }

    /// A change of the members is in force.
    fn on_members(&self, members: Arc<Members>) {
        let me = self.config.me;
        info!(version = format!("{:x}", members.version), members = %members.to_string().replace('\n', " "), "the member list changed");
        let (before, settled) = {
            let mut lists = self.config.members.borrow_mut();
            if lists.last_seen.version < members.version {
                lists.last_seen = Arc::clone(&members);
            }
            let settled = lists.last_seen.version == members.version;
            (std::mem::replace(&mut lists.current, Arc::clone(&members)), settled)
        };
        if let Some(files) = &self.config.files
            && let Err(error) = files.write_current(&members, me, settled)
        {
            tracing::error!(%error, "cannot keep the member list that is in force");
        }
        self.election.connect_members();
        let own = |members: &Members| members.servers.get(&me).map(|own| own.addresses.clone());
        match own(&members) {
            Some(addresses) if own(&before).as_ref() != Some(&addresses) => {
                if let Err(error) = self.move_to(&Spots::of(&addresses, self.config.listen_on_all_ips)) {
                    tracing::error!(%error, "the other members do not find this server where the new list has it");
                }
                let told = self.standing.told.get();
                if matches!(told, ostler_zab::Standing::Following { observer: false, .. }) {
                    self.learners.take_observers(true);
                }
            }
            _ => {}
        }
    }

    /// Opens what is not open yet, and then closes what is not wanted any more; nothing is closed if something cannot be
    /// opened.
    fn move_to(&self, wanted: &Spots) -> Result<(), StartError> {
        let missing = Spots {
            election: self.election.missing(&wanted.election),
            learners: self.learners.missing(&wanted.learners),
        };
        let ports = Ports::at(&missing)?;
        self.election.listen(&wanted.election, ports.election);
        self.learners.listen(&wanted.learners, ports.learners);
        Ok(())
    }
}

/// Says every now and then why there is no quorum, for as long as there is none.
async fn tell_status(config: Rc<PeersConfig>, election: Rc<election::Post>, standing: Rc<Standing>) {
    let mut told = Instant::now();
    loop {
        tokio::time::sleep(STATUS_EVERY / 10).await;
        let Some(since) = standing.alone_since.get() else { continue };
        if since.elapsed() < STATUS_EVERY || told.elapsed() < STATUS_EVERY {
            continue;
        }
        told = Instant::now();
        let members = config.members();
        let facts = status::Facts {
            me: config.me,
            members: &members,
            since_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
            last_end: standing.last_end.get(),
            others: election.others(),
        };
        tracing::warn!("{}", status::no_quorum(&facts));
    }
}

impl PeersConfig {
    /// The member list in force.
    fn members(&self) -> Arc<Members> {
        Arc::clone(&self.members.borrow().current)
    }

    /// Where a member is found: by the list in force, and where it is to be if that is elsewhere.
    fn addresses(&self, server: ServerId, port: fn(&PeerAddress) -> u16) -> Vec<(String, u16)> {
        let lists = self.members.borrow();
        let mut found = Vec::new();
        for members in [&lists.current, &lists.last_seen] {
            for address in members.servers.get(&server).iter().flat_map(|member| &member.addresses) {
                let address = (address.host.clone(), port(address));
                if !found.contains(&address) {
                    found.push(address);
                }
            }
        }
        found
    }

    fn tell(&self, input: ostler_zab::Input) {
        self.node.push(NodeLetter::Input(Input::Peer(input)));
    }
}

#[cfg(test)]
mod tests {
    use ostler_tree::Store;

    use super::*;
    use crate::os_disk::DiskOptions;

    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn members(ports: [u16; 2], version: u32) -> Members {
        let [quorum, election] = ports;
        let text = format!("server.1=127.0.0.1:{quorum}:{election}:participant\nversion={version:x}");
        Members::parse(&text).unwrap()
    }

    /// Whether somebody listens, once the tasks that were ended are gone.
    async fn is_open(port: u16) -> bool {
        tokio::time::sleep(Duration::from_millis(20)).await;
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    }

    #[test]
    fn each_of_the_two_ports_moves_by_itself_and_the_old_one_is_closed() {
        let dir = std::env::temp_dir().join(format!("ostler-doors-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let options = DiskOptions { data_dir: dir.clone(), data_log_dir: dir.clone(), autocreate: true };
        let disk = OsDisk::open(&options).unwrap();
        let [quorum, election, other_quorum, other_election] = std::array::from_fn(|_| free_port());
        let first = members([quorum, election], 1);
        let ports = Ports::at(&Spots::of(&first.servers[&ServerId(1)].addresses, false)).unwrap();
        let config = PeersConfig {
            me: ServerId(1),
            multi_address: false,
            listen_on_all_ips: false,
            observer_master_port: None,
            members: RefCell::new(Lists { current: Arc::new(first.clone()), last_seen: Arc::new(first) }),
            files: None,
            log: LogSource { disk, size_factor: None },
            ports: Some(ports),
            connect_timeout: Duration::from_secs(1),
            max_packet: 1 << 20,
            max_unsent: 1 << 20,
            tree: TreeConfig::default(),
            store: Arc::new(RwLock::new(Store::new(TreeConfig::default()))),
            node: Arc::new(Inbox::new()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        runtime.block_on(local.run_until(async {
            let peers = Peers::start(config);
            assert!(is_open(quorum).await && is_open(election).await);
            peers.on_members(Arc::new(members([other_quorum, election], 2)));
            assert!(is_open(other_quorum).await, "the port that moved");
            assert!(is_open(election).await, "the port that stayed");
            assert!(!is_open(quorum).await, "nobody is to find it where it was");
            peers.on_members(Arc::new(members([other_quorum, other_election], 3)));
            assert!(is_open(other_quorum).await && is_open(other_election).await);
            assert!(!is_open(election).await);
            // What cannot be opened leaves everything as it is.
            let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let taken_port = taken.local_addr().unwrap().port();
            peers.on_members(Arc::new(members([quorum, taken_port], 4)));
            assert!(is_open(other_quorum).await && is_open(other_election).await && !is_open(quorum).await);
            peers.close();
            assert!(!is_open(other_quorum).await && !is_open(other_election).await);
        }));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
