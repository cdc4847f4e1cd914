//! The learner port, and a follower's port for observers: accepts learners, dials the leader or a follower that takes
//! observers, and keeps the links of all kinds by number. Answers to Java's `LearnerCnxAcceptor`, to the listening half
//! of `ObserverMaster`, and to the connecting half of `Learner`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use ostler_wire::quorum::{Packet, Side};
use ostler_wire::{ServerId, Zxid};
use ostler_zab::{Door, Generation, Input, LinkId, Reason};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::PeersConfig;
use super::dial::dial;
use super::doors::Doors;
use super::link::Link;
use crate::member::{Spot, listen};

/// Links at once: more than an ensemble has learners, less than what a flood would take.
const MAX_LINKS: usize = 1000;
/// A leader of Java opens its port some time after its followers know that it leads: it waits for a better vote first,
/// and takes its time on a busy machine. Whoever gives up too early begins another round of votes, to which that leader
/// does not listen for as long as `initLimit`.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often to try to open the port for observers.
const REOPEN_EVERY: Duration = Duration::from_secs(2);
const TELL_EVERY: Duration = Duration::from_secs(10);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

/// All links.
pub(super) struct Links {
    config: Rc<PeersConfig>,
    next: Cell<u64>,
    open: RefCell<BTreeMap<LinkId, Open>>,
    /// The tasks that take connections.
    doors: Doors,
    /// Those that take observers, while this server is a follower that serves.
    observers: Doors,
    /// The one that opens them.
    opener: RefCell<Option<AbortHandle>>,
    /// When the log last told of a voter that cannot be let in.
    stranger_told: Cell<Option<Instant>>,
}

struct Open {
    link: Rc<Link>,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Links {
    pub(super) fn open(config: Rc<PeersConfig>, ports: Vec<(Spot, TcpListener)>) -> Rc<Self> {
        let links = Rc::new(Self {
            config,
            next: Cell::new(1),
            open: RefCell::default(),
            doors: Doors::default(),
            observers: Doors::default(),
            opener: RefCell::default(),
            stranger_told: Cell::new(None),
        });
        let wanted: Vec<Spot> = ports.iter().map(|(spot, _)| spot.clone()).collect();
        links.listen(&wanted, ports);
        links
    }

    /// Where connections are to be taken and are not.
    pub(super) fn missing(&self, wanted: &[Spot]) -> Vec<Spot> {
        self.doors.missing(wanted)
    }

    /// Takes connections where it is wanted, and nowhere else; what was not open yet comes with it.
    pub(super) fn listen(self: &Rc<Self>, wanted: &[Spot], fresh: Vec<(Spot, TcpListener)>) {
        let serve = |door| self.serve(door, |link| Input::LearnerArrived { link });
        self.doors.change(wanted, fresh.into_iter().map(serve));
    }

    fn serve(
        self: &Rc<Self>,
        (spot, listener): (Spot, TcpListener),
        arrived: fn(LinkId) -> Input,
    ) -> (Spot, AbortHandle) {
        (spot, spawn_local(Rc::clone(self).accept(listener, arrived)).abort_handle())
    }

    /// Opens the port for observers if there is to be one, where this server is found now, or closes it.
    pub(super) fn take_observers(self: &Rc<Self>, takes: bool) {
        if !takes {
            return self.close_for_observers();
        }
        if let Some(opener) = self.opener.take() {
            opener.abort();
        }
        if let Some(port) = self.config.observer_master_port {
            let opener = spawn_local(Rc::clone(self).open_for_observers(port)).abort_handle();
            self.opener.replace(Some(opener));
        }
    }

    fn close_for_observers(&self) {
        if let Some(opener) = self.opener.take() {
            opener.abort();
        }
        self.observers.close_all();
    }

    /// Opens the port beside every address at which this server is found, and tries again as long as one is taken: a
    /// follower follows whether or not it takes observers.
    async fn open_for_observers(self: Rc<Self>, port: u16) {
        let mut told = false;
        loop {
            let own = self.config.addresses(self.config.me, |_| 0);
            let host = |host| if self.config.listen_on_all_ips { "0.0.0.0".to_owned() } else { host };
            let mut wanted: Vec<Spot> = own.into_iter().map(|(name, _)| (host(name), port)).collect();
            wanted.sort();
            wanted.dedup();
            self.observers.change(&wanted, []);
            let mut problem = None;
            for spot in self.observers.missing(&wanted) {
                match listen(&spot.0, spot.1, "observer master") {
                    Ok(listener) => {
                        let door =
                            self.serve((spot.clone(), listener), |link| Input::ObserverArrived { link });
                        self.observers.change(&wanted, [door]);
                    }
                    Err(error) => problem = Some(error),
                }
            }
            match problem {
                None if told => return info!(port, "observers are taken now"),
                None => return,
                Some(error) if !told => {
                    warn!(%error, "this follower takes no observers");
                    told = true;
                }
                Some(_) => {}
            }
            tokio::time::sleep(REOPEN_EVERY).await;
        }
    }

    async fn accept(self: Rc<Self>, listener: TcpListener, arrived: fn(LinkId) -> Input) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return warn!(%error, "cannot accept learners"),
        };
        loop {
            match listener.accept().await {
                Ok((_, from)) if self.open.borrow().len() >= MAX_LINKS => {
                    debug!(%from, "too many connections on the learner port");
                }
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let link = self.keep(stream, Side::Master);
                    self.config.tell(arrived(link));
                }
                Err(error) => {
                    warn!(%error, "cannot accept a learner");
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
            }
        }
    }

    /// Ends all connections and takes no more.
    pub(super) fn close_all(&self) {
        self.close_for_observers();
        self.doors.close_all();
        self.open.take();
    }

    /// Connects to a leader, or to a follower that may take this observer.
    pub(super) fn connect(
        self: &Rc<Self>,
        server: ServerId,
        door: Door,
        within: Duration,
        generation: Generation,
    ) {
        let links = Rc::clone(self);
        spawn_local(async move {
            match links.dial(server, door, within).await {
                Ok(stream) => {
                    let link = links.keep(stream, Side::Learner);
                    links.config.tell(Input::LeaderReached { link, generation });
                }
                Err(error) => {
                    match door {
                        Door::Leader => info!(leader = %server, %error, "cannot reach the leader"),
                        Door::Master => debug!(%server, %error, "it takes no observers at the moment"),
                    }
                    links.config.tell(Input::LeaderUnreachable { generation });
                }
            }
        });
    }

    async fn dial(&self, server: ServerId, door: Door, within: Duration) -> std::io::Result<TcpStream> {
        let mut addresses = self.config.addresses(server, |address| address.quorum_port);
        if addresses.is_empty() {
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "it is not in the member list"));
        }
        match (door, self.config.observer_master_port) {
            (Door::Master, Some(port)) => {
                addresses.iter_mut().for_each(|address| address.1 = port);
                addresses.dedup();
                dial(&addresses, within).await
            }
            _ => keep_dialling(&addresses, within.min(PATIENCE)).await,
        }
    }

    fn keep(self: &Rc<Self>, stream: TcpStream, side: Side) -> LinkId {
        let id = LinkId(self.next.get());
        self.next.set(id.0 + 1);
        let link = Rc::new(Link::new(id, side));
        let (links, own) = (Rc::clone(self), Rc::clone(&link));
        let task = spawn_local(async move {
            own.run(Rc::clone(&links.config), stream).await;
            if links.open.borrow_mut().remove(&id).is_some() {
                links.config.tell(Input::LinkDown { link: id });
            }
        });
        self.open.borrow_mut().insert(id, Open { link, task: task.abort_handle() });
        id
    }

    pub(super) fn send(&self, link: LinkId, packet: &Packet) {
        let behind = match self.open.borrow().get(&link) {
            Some(open) => !open.link.send(packet, self.config.max_unsent),
            None => false,
        };
        if behind {
            warn!(link = link.0, "a learner does not read what it is sent; it has to come again");
            self.open.borrow_mut().remove(&link);
            self.config.tell(Input::LinkDown { link });
        }
    }

    pub(super) fn send_tree(&self, link: LinkId, zxid: Zxid) {
        if let Some(open) = self.open.borrow().get(&link) {
            open.link.send_tree(zxid);
        }
    }

    pub(super) fn send_log(&self, link: LinkId, after: Zxid, upto: Zxid) {
        if let Some(open) = self.open.borrow().get(&link) {
            open.link.send_log(after, upto);
        }
    }

    pub(super) fn close(&self, link: LinkId, reason: Reason) {
        if self.open.borrow_mut().remove(&link).is_some() {
            if reason == Reason::Stranger
                && self.stranger_told.get().is_none_or(|at| at.elapsed() > TELL_EVERY)
            {
                // It comes again several times a second.
                self.stranger_told.set(Some(Instant::now()));
                warn!(link = link.0, %reason, "a voter cannot be let in");
            }
            debug!(link = link.0, %reason, "closed a connection between servers");
        }
    }
}

/// Tries until somebody answers or the time is over.
async fn keep_dialling(addresses: &[(String, u16)], within: Duration) -> std::io::Result<TcpStream> {
    let until = Instant::now() + within;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match dial(addresses, left).await {
            Err(_) if left > BETWEEN_ATTEMPTS => tokio::time::sleep(BETWEEN_ATTEMPTS).await,
            end => return end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_opens_its_port_late_is_reached() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // The port is known, and nobody listens on it yet.
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let addresses = [("127.0.0.1".to_owned(), port)];
            let late = async {
                tokio::time::sleep(Duration::from_millis(900)).await;
                tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap()
            };
            let (reached, _listener) = tokio::join!(keep_dialling(&addresses, PATIENCE), late);
            reached.unwrap();
        });
    }

    #[test]
    fn a_leader_that_is_gone_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let began = Instant::now();
            let end = keep_dialling(&[("127.0.0.1".to_owned(), port)], Duration::from_millis(300)).await;
            assert!(end.is_err());
            assert!(began.elapsed() < Duration::from_secs(2));
        });
    }
}
