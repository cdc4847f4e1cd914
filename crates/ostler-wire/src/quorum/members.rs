//! The members of an ensemble and their text form, which is gossiped, stored in `/zookeeper/config` and written to
//! dynamic configuration files. Lines may come in any order and are printed in the one that Java prints. Whether the
//! members make a quorum is decided elsewhere. Answers to the text form of `QuorumMaj` and `QuorumHierarchical`.

use std::collections::BTreeMap;
use std::fmt;

use crate::ServerId;
use crate::jute::decode_utf8;

use super::java_map;
use super::member::{Member, MemberError, MemberRole};

/// All members and what makes a quorum of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Members {
    /// Counts the changes of membership: the zxid of the change; 0 if there was none.
    pub version: i64,
    /// The members by id.
    pub servers: BTreeMap<ServerId, Member>,
    /// `group.G`: the voters by group; empty if a simple majority decides.
    pub groups: BTreeMap<i64, Vec<ServerId>>,
    /// `weight.N`; a voter that is not here weighs 1.
    pub weights: BTreeMap<ServerId, u64>,
}

/// A text that is no list of members.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {key:?}: {problem}")]
pub struct MembersError {
    /// The line, counted from 1.
    pub line: usize,
    /// How the line begins.
    pub key: String,
    /// What is wrong with it.
    pub problem: LineProblem,
}

/// What is wrong with a line of a member list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// A key that no member list has.
    #[error("is none of server.N, group.G, weight.N and version")]
    Unknown,
    /// Said before.
    #[error("stands there a second time")]
    Twice,
    /// No number behind the dot.
    #[error("wants a number behind its dot")]
    Number,
    /// No member behind `server.N`.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// No list of ids behind `group.G`.
    #[error("wants server ids with colons between them, as 1:2:3")]
    Group,
    /// A server that stands in a group already.
    #[error("names server {0}, which is in a group already")]
    InTwoGroups(ServerId),
    /// No weight behind `weight.N`.
    #[error("wants a weight of 0 or more")]
    Weight,
    /// No version.
    #[error("wants a hexadecimal number")]
    Version,
}

impl Members {
    /// Reads a member list from bytes.
    ///
    /// # Errors
    /// The text is no list of members.
    pub fn decode(bytes: &[u8]) -> Result<Self, MembersError> {
        Self::parse(&decode_utf8(bytes))
    }

    /// Reads a member list. Empty lines and comments are passed over; without a version it is 0.
    ///
    /// # Errors
    /// The text is no list of members.
    pub fn parse(text: &str) -> Result<Self, MembersError> {
        let mut members = Self::default();
        let mut version = None;
        let mut home = BTreeMap::new();
        for (index, line) in text.split(['\n', '\r']).enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let (key, value) = split_line(line);
            let read = match key.split_once('.') {
                Some(("server", id)) => members.read_server(id, value),
                Some(("group", id)) => members.read_group(id, value, &mut home),
                Some(("weight", id)) => members.read_weight(id, value),
                _ if key == "version" => read_version(&mut version, value),
                _ => Err(LineProblem::Unknown),
            };
            read.map_err(|problem| MembersError {
                line: index + 1,
                key: key.chars().take(40).collect(),
                problem,
            })?;
        }
        members.version = version.unwrap_or_default();
        Ok(members)
    }

    fn read_server(&mut self, id: &str, value: &str) -> Result<(), LineProblem> {
        let member = Member::parse(value)?;
        insert(&mut self.servers, ServerId(read_number(id)?), member)
    }

    fn read_group(
        &mut self,
        id: &str,
        value: &str,
        home: &mut BTreeMap<ServerId, i64>,
    ) -> Result<(), LineProblem> {
        let group = read_number(id)?;
        let mut servers = Vec::new();
        for server in value.split(':') {
            let server = ServerId(server.trim().parse().map_err(|_| LineProblem::Group)?);
            if home.insert(server, group).is_some() {
                return Err(LineProblem::InTwoGroups(server));
            }
            servers.push(server);
        }
        servers.sort_unstable();
        insert(&mut self.groups, group, servers)
    }

    fn read_weight(&mut self, id: &str, value: &str) -> Result<(), LineProblem> {
        let weight: i64 = value.parse().map_err(|_| LineProblem::Weight)?;
        let weight = u64::try_from(weight).map_err(|_| LineProblem::Weight)?;
        insert(&mut self.weights, ServerId(read_number(id)?), weight)
    }

    /// Who votes.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        self.with_role(MemberRole::Participant)
    }

    /// Who follows without a vote.
    pub fn observers(&self) -> impl Iterator<Item = ServerId> {
        self.with_role(MemberRole::Observer)
    }

    fn with_role(&self, role: MemberRole) -> impl Iterator<Item = ServerId> {
        self.servers.iter().filter(move |(_, member)| member.role == role).map(|(id, _)| *id)
    }

    /// Whether groups and weights decide, not a simple majority.
    #[must_use]
    pub fn is_hierarchical(&self) -> bool {
        !self.groups.is_empty() || !self.weights.is_empty()
    }

    /// Whether a server takes one for the other: of one version, or of one content. A list with groups is never the
    /// same as one without.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        if self.is_hierarchical() != other.is_hierarchical() {
            return false;
        }
        if self.version == other.version {
            return true;
        }
        let pairs = self.servers.iter().zip(&other.servers);
        self.servers.len() == other.servers.len()
            && pairs.into_iter().all(|((a, left), (b, right))| a == b && left.is_same(right))
            && (!self.is_hierarchical()
                || self.homes() == other.homes() && self.full_weights() == other.full_weights())
    }

    /// The group of each server that has one.
    fn homes(&self) -> BTreeMap<ServerId, i64> {
        let homes = self.groups.iter();
        homes.flat_map(|(group, servers)| servers.iter().map(|server| (*server, *group))).collect()
    }

    /// The weights with those that nobody wrote down.
    fn full_weights(&self) -> BTreeMap<ServerId, u64> {
        let mut weights: BTreeMap<_, _> = self.voters().map(|voter| (voter, 1)).collect();
        weights.extend(&self.weights);
        weights
    }
}

/// The text as servers tell it to each other. The order is that of Java as long as no two ids share a place in its
/// map, which ids below 16 do not; those that do stand in ascending order here.
impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut servers: Vec<_> = self.servers.iter().collect();
        java_map::sort(&mut servers, |(id, _)| id.0);
        for (id, member) in servers {
            writeln!(f, "server.{id}={member}")?;
        }
        if self.is_hierarchical() {
            let mut homes: Vec<_> = self.homes().into_iter().collect();
            java_map::sort(&mut homes, |(server, _)| server.0);
            let mut groups: Vec<(i64, String)> = Vec::new();
            let mut place = BTreeMap::new();
            for (server, group) in homes {
                let at = *place.entry(group).or_insert_with(|| {
                    groups.push((group, String::new()));
                    groups.len() - 1
                });
                let text = &mut groups[at].1;
                if !text.is_empty() {
                    text.push(':');
                }
                text.push_str(&server.to_string());
            }
            java_map::sort(&mut groups, |(group, _)| *group);
            for (group, servers) in groups {
                writeln!(f, "group.{group}={servers}")?;
            }
            let mut weights: Vec<_> = self.full_weights().into_iter().collect();
            java_map::sort(&mut weights, |(server, _)| server.0);
            for (server, weight) in weights {
                writeln!(f, "weight.{server}={weight}")?;
            }
        }
        write!(f, "version={:x}", self.version)
    }
}

/// Key and value, separated as in a file of properties.
fn split_line(line: &str) -> (&str, &str) {
    let end = line.find(|c: char| matches!(c, '=' | ':') || c.is_whitespace()).unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    (key, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start())
}

fn read_number(text: &str) -> Result<i64, LineProblem> {
    text.parse().map_err(|_| LineProblem::Number)
}

fn read_version(version: &mut Option<i64>, value: &str) -> Result<(), LineProblem> {
    let read = version_of_hex(value).ok_or(LineProblem::Version)?;
    match version.replace(read) {
        None => Ok(()),
        Some(_) => Err(LineProblem::Twice),
    }
}

/// A version in hexadecimal. One below zero may have a sign, as Java reads it, or none, as Java and this write it and
/// Java cannot read it.
#[must_use]
pub fn version_of_hex(text: &str) -> Option<i64> {
    let unsigned = || u64::from_str_radix(text, 16).ok().map(u64::cast_signed);
    i64::from_str_radix(text, 16).ok().or_else(unsigned)
}

fn insert<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V) -> Result<(), LineProblem> {
    match map.insert(key, value) {
        None => Ok(()),
        Some(_) => Err(LineProblem::Twice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Members {
        Members::parse(text).unwrap()
    }

    #[test]
    fn lines_come_in_any_order_and_go_in_one() {
        let text = "# moved\nversion=1f0000000a\r\nserver.17 = c:1:2:observer;9\n\nserver.2=b:1:2\n  server.16:a:1:2";
        let canonical = "server.16=a:1:2:participant\nserver.17=c:1:2:observer;0.0.0.0:9\n\
             server.2=b:1:2:participant\nversion=1f0000000a";
        let members = parse(text);
        assert_eq!(members.to_string(), canonical);
        assert_eq!(parse(canonical), members);
        assert_eq!(members.version, 0x1f_0000_000a);
        assert!(members.voters().eq([ServerId(2), ServerId(16)]));
        assert!(members.observers().eq([ServerId(17)]));
        assert_eq!(parse(""), Members::default());
        assert_eq!(Members::default().to_string(), "version=0");
        let below_zero = parse("version=-a");
        assert_eq!(below_zero.to_string(), "version=fffffffffffffff6");
        assert_eq!(parse("version=fffffffffffffff6"), below_zero);
    }

    #[test]
    fn groups_and_weights_in_full() {
        let members = parse(
            "weight.2=3\ngroup.20=1:18\ngroup.3=2:33\nserver.1=a:1:2\nserver.2=b:1:2\n\
             server.18=c:1:2\nserver.33=d:1:2\nserver.4=e:1:2:observer\nversion=a",
        );
        // As the same list is printed by Java, ids that share a place apart.
        assert_eq!(
            members.to_string(),
            "server.1=a:1:2:participant\nserver.33=d:1:2:participant\nserver.2=b:1:2:participant\n\
             server.18=c:1:2:participant\nserver.4=e:1:2:observer\ngroup.3=33:2\ngroup.20=1:18\n\
             weight.1=1\nweight.33=1\nweight.2=3\nweight.18=1\nversion=a"
        );
        assert!(parse(&members.to_string()).is_same(&members));
    }

    #[test]
    fn sameness_is_of_version_or_content() {
        let base = parse("server.1=a:1:2\nserver.2=b:1:2\nversion=1");
        for (text, same) in [
            ("server.9=z:1:2\nversion=1", true),
            ("server.2=b:1:2:participant\nserver.1=a:1:2\nversion=2", true),
            ("server.1=a:1:2\nversion=2", false),
            ("server.1=a:1:2\nserver.3=b:1:2\nversion=2", false),
            ("server.1=a:1:2\nserver.2=b:1:3\nversion=2", false),
            ("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2\nversion=1", false),
        ] {
            assert_eq!(base.is_same(&parse(text)), same, "{text}");
            assert_eq!(parse(text).is_same(&base), same, "{text}");
        }
        let servers = "server.1=a:1:2\nserver.2=b:1:2";
        let grouped = parse(&format!("{servers}\ngroup.1=1:2"));
        for (text, same) in [
            ("group.1=2:1\nweight.1=1", true),
            ("group.2=1:2", false),
            ("group.1=1:2\nweight.1=2", false),
            ("group.1=1\ngroup.2=2", false),
        ] {
            let other = parse(&format!("{servers}\n{text}\nversion=1"));
            assert_eq!(grouped.is_same(&other), same, "{text}");
        }
    }

    #[test]
    fn what_is_no_member_list() {
        use LineProblem::{Group, InTwoGroups, Number, Twice, Unknown, Version, Weight};
        for (text, problem) in [
            ("servers.1=a:1:2", Unknown),
            ("server", Unknown),
            ("version.1=2", Unknown),
            ("dataDir=/tmp", Unknown),
            ("server.x=a:1:2", Number),
            ("server.1.2=a:1:2", Number),
            ("server.1=a:1", LineProblem::Member(MemberError::Form)),
            ("server.1=a:1:2\nserver.01=b:1:2", Twice),
            ("version=0\nversion=0", Twice),
            ("version=0x1", Version),
            ("version=10000000000000000", Version),
            ("version=", Version),
            ("group.1=", Group),
            ("group.1=1:x", Group),
            ("group.1=1:1", InTwoGroups(ServerId(1))),
            ("group.1=1\ngroup.2=2:1", InTwoGroups(ServerId(1))),
            ("weight.1=-1", Weight),
            ("weight.1=9223372036854775808", Weight),
        ] {
            assert_eq!(Members::parse(text).unwrap_err().problem, problem, "{text}");
        }
        let error = Members::parse("version=1\n\nserver.x=a:1:2").unwrap_err();
        assert_eq!(error.to_string(), "line 3, \"server.x\": wants a number behind its dot");
    }
}
