//! One member of an ensemble, and the text behind `server.N=`:
//!
//! ```text
//! host:2888:3888[:participant|:observer] [| host:2888:3888]… [;[host:]2181]
//! ```
//!
//! Checks the form and resolves no names. Answers to Java's `QuorumPeer.QuorumServer`.

use core::net::Ipv6Addr;
use std::borrow::Cow;
use std::fmt;

/// The host of a client address that names none: every address of the host.
pub const ANY_HOST: &str = "0.0.0.0";

/// One `server.N`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// Where the others reach it; never empty.
    pub addresses: Vec<PeerAddress>,
    /// Does it vote?
    pub role: MemberRole,
    /// Where it listens to clients, host and port, if the line says so.
    pub client: Option<(String, u16)>,
}

/// One of the addresses at which a member meets the others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// A name or an address without brackets.
    pub host: String,
    /// Where learners connect to it while it leads.
    pub quorum_port: u16,
    /// Where votes are exchanged.
    pub election_port: u16,
}

/// Does a member vote?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MemberRole {
    /// It votes.
    #[default]
    Participant,
    /// It follows.
    Observer,
}

/// A text that is no member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Parts are missing or too many.
    #[error("wants host:quorumPort:electionPort[:participant|:observer][;[host:]clientPort]")]
    Form,
    /// A role that nobody has.
    #[error("wants participant or observer as the role")]
    Role,
    /// Two roles.
    #[error("wants the same role at all addresses of one server")]
    Roles,
    /// A port that is none.
    #[error("{0:?} is no port; {form}", form = Self::Form)]
    Port(String),
    /// One port for two purposes.
    #[error("wants two different ports for quorum and election")]
    SamePorts,
}

impl Member {
    /// Reads what stands behind `server.N=`.
    ///
    /// # Errors
    /// The text is no member.
    pub fn parse(text: &str) -> Result<Self, MemberError> {
        let mut parts = text.split(';');
        let servers = parts.next().unwrap_or_default();
        let client = parts.next();
        if parts.next().is_some() {
            return Err(MemberError::Form);
        }
        let mut addresses = Vec::new();
        let mut role = None;
        for server in servers.split('|') {
            let (address, named) = read_address(server.trim())?;
            if role.is_some() && named.is_some() && role != named {
                return Err(MemberError::Roles);
            }
            role = role.or(named);
            addresses.push(address);
        }
        let client = client.map(|text| read_client(text.trim())).transpose()?;
        Ok(Self { addresses, role: role.unwrap_or_default(), client })
    }

    /// Whether both are the same to others: reached at the same places, in the same role.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let client = |member: &Self| {
            let client = member.client.as_ref();
            client.map(|(host, port)| (canonical_host(host).to_ascii_lowercase(), *port))
        };
        let ports = |member: &Self, port: fn(&PeerAddress) -> u16| {
            let mut ports: Vec<_> = member
                .addresses
                .iter()
                .map(|address| (canonical_host(&address.host).to_ascii_lowercase(), port(address)))
                .collect();
            ports.sort_unstable();
            ports.dedup();
            ports
        };
        self.role == other.role
            && ports(self, |address| address.quorum_port) == ports(other, |address| address.quorum_port)
            && ports(self, |address| address.election_port) == ports(other, |address| address.election_port)
            && client(self) == client(other)
    }
}

/// The text behind `server.N=` as servers write it: addresses by name, and the role once.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut written: Vec<&PeerAddress> = Vec::new();
        let mut addresses: Vec<&PeerAddress> = self.addresses.iter().collect();
        addresses.sort_by_cached_key(|address| canonical_host(&address.host));
        for address in addresses {
            if written.contains(&address) {
                continue;
            }
            if !written.is_empty() {
                text.push('|');
            }
            write_host(&mut text, &address.host);
            text.push_str(&format!(":{}:{}", address.quorum_port, address.election_port));
            written.push(address);
        }
        text.push_str(match self.role {
            MemberRole::Participant => ":participant",
            MemberRole::Observer => ":observer",
        });
        if let Some((host, port)) = &self.client {
            text.push(';');
            write_host(&mut text, host);
            text.push_str(&format!(":{port}"));
        }
        f.write_str(&text)
    }
}

fn read_address(text: &str) -> Result<(PeerAddress, Option<MemberRole>), MemberError> {
    let (host, rest) = split_host(text).filter(|(host, _)| is_host(host)).ok_or(MemberError::Form)?;
    let (quorum, election, role) = match rest.as_slice() {
        [quorum, election] => (quorum, election, None),
        [quorum, election, role] => (quorum, election, Some(*role)),
        _ => return Err(MemberError::Form),
    };
    let role = match role.map(|role| role.trim().to_ascii_lowercase()).as_deref() {
        None => None,
        Some("participant") => Some(MemberRole::Participant),
        Some("observer") => Some(MemberRole::Observer),
        Some(_) => return Err(MemberError::Role),
    };
    let (quorum_port, election_port) = (read_port(quorum)?, read_port(election)?);
    if quorum_port == election_port {
        return Err(MemberError::SamePorts);
    }
    Ok((PeerAddress { host: host.to_owned(), quorum_port, election_port }, role))
}

fn read_client(text: &str) -> Result<(String, u16), MemberError> {
    let (host, rest) = split_host(text).ok_or(MemberError::Form)?;
    let (host, port) = match rest.as_slice() {
        [] => (ANY_HOST, host),
        [port] if is_host(host) => (host, *port),
        _ => return Err(MemberError::Form),
    };
    Ok((host.to_owned(), read_port(port)?))
}

fn read_port(text: &str) -> Result<u16, MemberError> {
    text.trim().parse().map_err(|_| MemberError::Port(text.to_owned()))
}

/// Whether it can be printed and read again as the same host.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && !host.contains(|c: char| matches!(c, '[' | ']') || c.is_whitespace() || c.is_control())
}

/// Splits at the colons, except inside the brackets of an address at the start.
pub(super) fn split_host(text: &str) -> Option<(&str, Vec<&str>)> {
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

/// Appends a host as servers write it, in brackets if need be.
pub(super) fn write_host(text: &mut String, host: &str) {
    let host = canonical_host(host);
    if host.contains(':') {
        text.extend(["[", &host, "]"]);
    } else {
        text.push_str(&host);
    }
}

/// A host as Java prints it: IPv6 in full, or as IPv4 if it stands for that.
fn canonical_host(host: &str) -> Cow<'_, str> {
    let Ok(address) = host.parse::<Ipv6Addr>() else { return Cow::Borrowed(host) };
    match address.to_ipv4_mapped() {
        Some(address) => Cow::Owned(address.to_string()),
        None => Cow::Owned(address.segments().map(|segment| format!("{segment:x}")).join(":")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> String {
        Member::parse(text).unwrap().to_string()
    }

    #[test]
    fn a_member_is_printed_as_java_prints_it() {
        for (text, expected) in [
            ("zoo1:2888:3888", "zoo1:2888:3888:participant"),
            ("zoo1:2888:3888:Observer ; 2181", "zoo1:2888:3888:observer;0.0.0.0:2181"),
            ("zoo1:2888:3888;zoo1:2181", "zoo1:2888:3888:participant;zoo1:2181"),
            ("[::1]:1:2;[::]:3", "[0:0:0:0:0:0:0:1]:1:2:participant;[0:0:0:0:0:0:0:0]:3"),
            ("[2001:DB8::1:0:0:1]:1:2", "[2001:db8:0:0:1:0:0:1]:1:2:participant"),
            ("[::ffff:1.2.3.4]:1:2", "1.2.3.4:1:2:participant"),
            ("[::1.2.3.4]:1:2", "[0:0:0:0:0:0:102:304]:1:2:participant"),
            ("[fe80::1%1]:1:2", "[fe80::1%1]:1:2:participant"),
            ("b:1:2|a:3:4:observer|b:1:2", "a:3:4|b:1:2:observer"),
        ] {
            assert_eq!(printed(text), expected, "{text}");
            assert_eq!(printed(expected), expected, "{text}");
        }
    }

    #[test]
    fn sameness_is_of_places_and_role() {
        for (a, b, same) in [
            ("a:1:2", "a:1:2:participant", true),
            ("a:1:2", "A:1:2", true),
            ("a:1:2", "a:1:2:observer", false),
            ("a:1:2|b:3:4", "b:3:4|a:1:2|b:3:4", true),
            ("a:1:2", "a:1:3", false),
            ("a:1:2", "a:3:2", false),
            ("a:1:2;5", "a:1:2;0.0.0.0:5", true),
            ("a:1:2;5", "a:1:2", false),
            ("[::1]:1:2", "[0:0::0:1]:1:2", true),
        ] {
            let (left, right) = (Member::parse(a).unwrap(), Member::parse(b).unwrap());
            assert_eq!(left.is_same(&right), same, "{a} {b}");
            assert_eq!(right.is_same(&left), same, "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_member() {
        use MemberError::{Form, Role, Roles, SamePorts};
        let port = |text: &str| MemberError::Port(text.to_owned());
        for (text, error) in [
            ("", Form),
            ("a:1", Form),
            ("a:1:1", SamePorts),
            ("a:1:2:leader", Role),
            ("a:1:2:participant:x", Form),
            ("a:1:65536", port("65536")),
            ("a:1:2;", port("")),
            ("a:1:2;b:c:1", Form),
            ("a:1:2;1;2", Form),
            ("[::1:2888:3888", Form),
            ("[::1]2888:3888", Form),
            ("a b:1:2", Form),
            (":1:2", Form),
            ("a:1:2|", Form),
            ("a:1:2:observer|b:1:2:participant", Roles),
        ] {
            assert_eq!(Member::parse(text), Err(error), "{text}");
        }
        assert_eq!(
            port("x").to_string(),
            "\"x\" is no port; wants host:quorumPort:electionPort[:participant|:observer][;[host:]clientPort]"
        );
    }
}
