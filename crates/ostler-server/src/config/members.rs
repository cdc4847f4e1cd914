//! The members of an ensemble, as `server.N`, `group.G` and `weight.N` name them in a file of settings, and the
//! addresses to listen on.
//!
//! Checks the form; whether the members make an ensemble is decided by the caller. Resolves no names unless asked.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};

use ostler_wire::ServerId;
use ostler_wire::quorum::Member;

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
    /// Where a member listens to clients, if the list of members says so.
    #[must_use]
    pub fn of_clients(member: &Member) -> Option<Self> {
        let (host, port) = member.client.as_ref()?;
        let listed = Self { host: Some(host.clone()), port: *port };
        Some(if listed.is_any() { Self { host: None, ..listed } } else { listed })
    }

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

/// One `server.N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberLine {
    /// N.
    pub id: ServerId,
    /// What stands behind it.
    pub member: Member,
    /// The line it stands on.
    pub line: Option<u32>,
}

impl MemberLine {
    /// Where it listens to clients, if the line says so.
    #[must_use]
    pub fn client(&self) -> Option<HostPort> {
        HostPort::of_clients(&self.member)
    }
}

/// Reads a `server.N` line.
pub(super) fn member(setting: &Setting, multi_address: bool) -> Result<MemberLine, Error> {
    let id = keys::member(setting.key, &setting.written)
        .parse::<i64>()
        .ok()
        .filter(|id| (0..=255).contains(id))
        .ok_or_else(|| setting.refuse("wants a server id from 0 to 255 behind the dot of its key"))?;
    let member = Member::parse(&setting.value).map_err(|error| setting.refuse(error.to_string()))?;
    if member.addresses.len() > 1 && !multi_address {
        return Err(setting.refuse("names several addresses, which wants multiAddress.enabled=true"));
    }
    Ok(MemberLine { id: ServerId(id), member, line: setting.place.line })
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

#[cfg(test)]
mod tests {
    use ostler_wire::quorum::{MemberRole, PeerAddress};

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

    fn read(value: &str) -> Result<MemberLine, Error> {
        member(&setting("server.1", value), true)
    }

    #[test]
    fn each_form_of_a_member() {
        use MemberRole::{Observer, Participant};
        let address =
            |host: &str| PeerAddress { host: host.to_owned(), quorum_port: 2888, election_port: 3888 };
        let client = |host: Option<&str>, port| Some(HostPort { host: host.map(str::to_owned), port });
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
            ("[::1]:2888:3888;[::]:2181", vec![address("::1")], Participant, client(None, 2181)),
            ("[::1]:2888:3888;[::1]:2181", vec![address("::1")], Participant, client(Some("::1"), 2181)),
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
            assert_eq!((member.id, member.line, member.client()), (ServerId(1), Some(3), client), "{text}");
            assert_eq!((member.member.addresses, member.member.role), (addresses, role), "{text}");
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
