//! The members of an ensemble, as `server.N`, `group.G` and `weight.N` name them.
//!
//! ```text
//! server.1 = host:2888:3888[:participant|:observer] [| host:2888:3888]… [;[host:]2181]
//! ```
//!
//! Checks the form; whether the members make an ensemble is decided by the caller. Resolves no names. Answers to
//! `QuorumPeer.QuorumServer`.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};

use super::error::Error;
use super::keys;
use super::settings::Setting;

/// Where a server listens: a port, on one address or on all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address without brackets; `None` for all addresses of the host.
    pub host: Option<String>,
    /// The port; 0 lets the system choose one.
    pub port: u16,
}

impl HostPort {
    /// The addresses to listen on, best first. Asks the resolver when the host is a name.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.host {
            // Takes IPv4 as well, where the system does not forbid it.
            None => Ok(vec![
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.port)),
                SocketAddr::from(([0, 0, 0, 0], self.port)),
            ]),
            Some(host) => Ok((host.as_str(), self.port).to_socket_addrs()?.collect()),
        }
    }

    /// Does this mean every address of the host?
    #[must_use]
    pub fn is_any(&self) -> bool {
        matches!(self.host.as_deref(), None | Some("0.0.0.0" | "::" | "0:0:0:0:0:0:0:0"))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_deref() {
            None => write!(f, "0.0.0.0:{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

/// Does a member vote?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It votes.
    #[default]
    Participant,
    /// It follows.
    Observer,
}

/// One of the addresses at which a member meets the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// A name or an address without brackets.
    pub host: String,
    /// Where learners connect to it while it leads.
    pub quorum_port: u16,
    /// Where votes are exchanged.
    pub election_port: u16,
}

/// One `server.N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// N.
    pub id: i64,
    /// Never empty.
    pub addresses: Vec<PeerAddress>,
    /// Does it vote?
    pub role: Role,
    /// Where it listens to clients, if the line says so.
    pub client: Option<HostPort>,
    /// The line it stands on.
    pub line: Option<u32>,
}

const FORM: &str = "wants host:quorumPort:electionPort[:participant|:observer][;[host:]clientPort]";

/// Reads a `server.N` line.
pub(super) fn member(setting: &Setting, multi_address: bool) -> Result<Member, Error> {
    let refuse = |hint: &str| setting.refuse(hint);
    let id = keys::member(setting.key, &setting.written)
        .parse::<i64>()
        .ok()
        .filter(|id| (0..=255).contains(id))
        .ok_or_else(|| refuse("wants a server id from 0 to 255 behind the dot of its key"))?;

    let mut parts = setting.value.split(';');
    let servers = parts.next().unwrap_or_default();
    let client = parts.next();
    if parts.next().is_some() {
        return Err(refuse(FORM));
    }

    let mut addresses = Vec::new();
    let mut role = None;
    for server in servers.split('|') {
        let (address, named) = peer_address(setting, server.trim())?;
        if role.is_some() && named.is_some() && role != named {
            return Err(refuse("wants the same role at all addresses of one server"));
        }
        role = role.or(named);
        addresses.push(address);
    }
    if addresses.len() > 1 && !multi_address {
        return Err(refuse("names several addresses, which wants multiAddress.enabled=true"));
    }

    let client = match client.map(|text| split_host(text.trim())) {
        None => None,
        Some(Some((host, rest))) => {
            let (host, port) = match (host, rest.as_slice()) {
                (port, []) => (None, port),
                (host, [port]) => (Some(host), *port),
                _ => return Err(refuse(FORM)),
            };
            Some(HostPort { host: host.map(str::to_owned), port: read_port(setting, port)? })
        }
        Some(None) => return Err(refuse(FORM)),
    };
    Ok(Member { id, addresses, role: role.unwrap_or_default(), client, line: setting.place.line })
}

/// Reads a `group.G`: ids with colons between them.
pub(super) fn group(setting: &Setting) -> Result<(i64, Vec<i64>), Error> {
    let refuse =
        || setting.refuse("wants server ids with colons between them, as 1:2:3, behind group.<number>");
    let id = keys::member(setting.key, &setting.written).parse().map_err(|_| refuse())?;
    let ids = setting
        .value
        .split(':')
        .map(|id| id.trim().parse().map_err(|_| refuse()))
        .collect::<Result<_, _>>()?;
    Ok((id, ids))
}

/// Reads a `weight.N`.
pub(super) fn weight(setting: &Setting) -> Result<(i64, u64), Error> {
    let refuse = || setting.refuse("wants a weight of 0 or more behind weight.<server id>");
    let id = keys::member(setting.key, &setting.written).parse().map_err(|_| refuse())?;
    Ok((id, setting.value.parse().map_err(|_| refuse())?))
}

fn peer_address(setting: &Setting, text: &str) -> Result<(PeerAddress, Option<Role>), Error> {
    let refuse = || setting.refuse(FORM);
    let (host, rest) = split_host(text).filter(|(host, _)| !host.is_empty()).ok_or_else(refuse)?;
    let (quorum, election, role) = match rest.as_slice() {
        [quorum, election] => (quorum, election, None),
        [quorum, election, role] => (quorum, election, Some(*role)),
        _ => return Err(refuse()),
    };
    let role = match role.map(|role| role.trim().to_ascii_lowercase()).as_deref() {
        None => None,
        Some("participant") => Some(Role::Participant),
        Some("observer") => Some(Role::Observer),
        Some(_) => return Err(setting.refuse("wants participant or observer as the role")),
    };
    let (quorum_port, election_port) = (read_port(setting, quorum)?, read_port(setting, election)?);
    if quorum_port == election_port {
        return Err(setting.refuse("wants two different ports for quorum and election"));
    }
    Ok((PeerAddress { host: host.to_owned(), quorum_port, election_port }, role))
}

fn read_port(setting: &Setting, text: &str) -> Result<u16, Error> {
    text.trim().parse().map_err(|_| setting.refuse(format!("{text:?} is no port; {FORM}")))
}

/// Splits at the colons, except inside the brackets of an address at the start.
fn split_host(text: &str) -> Option<(&str, Vec<&str>)> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(rest) => Some((host, rest.split(':').collect())),
            None => rest.is_empty().then(|| (host, Vec::new())),
        };
    }
    let mut parts = text.split(':');
    let host = parts.next()?;
    Some((host, parts.collect()))
}

#[cfg(test)]
mod tests {
    use super::super::error::Place;
    use super::*;

    fn setting(key: &str, value: &str) -> Setting {
        Setting {
            key: keys::find(key).unwrap(),
            written: key.to_owned(),
            value: value.to_owned(),
            place: Place { file: "zoo.cfg".to_owned(), line: Some(3) },
        }
    }

    fn read(value: &str) -> Result<Member, Error> {
        member(&setting("server.1", value), true)
    }

    #[test]
    fn each_form_of_a_member() {
        let address =
            |host: &str| PeerAddress { host: host.to_owned(), quorum_port: 2888, election_port: 3888 };
        let client = |host: Option<&str>, port| Some(HostPort { host: host.map(str::to_owned), port });
        use Role::{Observer, Participant};
        let table = [
            ("zoo1:2888:3888", vec![address("zoo1")], Participant, None),
            ("zoo1:2888:3888;2181", vec![address("zoo1")], Participant, client(None, 2181)),
            ("zoo1:2888:3888:Observer;2181", vec![address("zoo1")], Observer, client(None, 2181)),
            (
                "zoo1:2888:3888;127.0.0.1:2181",
                vec![address("zoo1")],
                Participant,
                client(Some("127.0.0.1"), 2181),
            ),
            ("[::1]:2888:3888;[::]:2181", vec![address("::1")], Participant, client(Some("::"), 2181)),
            (
                "a:2888:3888|b:2888:3888 ; 2181",
                vec![address("a"), address("b")],
                Participant,
                client(None, 2181),
            ),
            ("a:2888:3888:observer|b:2888:3888", vec![address("a"), address("b")], Observer, None),
        ];
        for (text, addresses, role, client) in table {
            let member = read(text).unwrap();
            assert_eq!((member.id, member.line), (1, Some(3)), "{text}");
            assert_eq!((member.addresses, member.role, member.client), (addresses, role, client), "{text}");
        }
    }

    #[test]
    fn what_is_no_member() {
        for text in [
            "",
            "zoo1",
            "zoo1:2888",
            "zoo1:2888:2888",
            "zoo1:2888:3888:leader",
            "zoo1:2888:3888:participant:x",
            "zoo1:x:3888",
            "zoo1:2888:70000",
            "zoo1:2888:3888;",
            "zoo1:2888:3888;x",
            "zoo1:2888:3888;a:b:1",
            "zoo1:2888:3888;1;2",
            "[::1:2888:3888",
            "[::1]2888:3888",
            ":2888:3888",
            "a:2888:3888|",
            "a:2888:3888:observer|b:2888:3888:participant",
        ] {
            assert!(read(text).is_err(), "{text:?} is {:?}", read(text));
        }
        assert!(member(&setting("server.1", "a:1:2|b:1:2"), false).is_err());
        for key in ["server.x", "server.256", "server.-1", "server.1.2"] {
            assert!(member(&setting(key, "a:1:2"), false).is_err(), "{key}");
        }
    }

    #[test]
    fn groups_and_weights() {
        assert_eq!(group(&setting("group.2", "1: 2:3")).unwrap(), (2, vec![1, 2, 3]));
        assert_eq!(weight(&setting("weight.2", "0")).unwrap(), (2, 0));
        for (key, value) in [("group.x", "1"), ("group.1", "1:x"), ("group.1", "")] {
            assert!(group(&setting(key, value)).is_err(), "{key}={value}");
        }
        for (key, value) in [("weight.x", "1"), ("weight.1", "-1"), ("weight.1", "")] {
            assert!(weight(&setting(key, value)).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn where_to_listen() {
        let any = HostPort { host: None, port: 2181 };
        assert!(any.is_any());
        assert_eq!(any.to_string(), "0.0.0.0:2181");
        assert_eq!(any.resolve().unwrap()[0].to_string(), "[::]:2181");
        let local = HostPort { host: Some("::1".to_owned()), port: 1 };
        assert!(!local.is_any());
        assert_eq!(local.to_string(), "[::1]:1");
        assert_eq!(local.resolve().unwrap(), ["[::1]:1".parse().unwrap()]);
    }
}
