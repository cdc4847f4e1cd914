//! Why there is no quorum: one line that says which members answer, which do not, and why.
//!
//! A pure function from what is known of the other members to text. Nothing in Java answers to it; there an operator
//! reads stack traces of each attempt to connect.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;

use ostler_wire::ServerId;
use ostler_wire::quorum::{Member, MemberRole, Members, PeerState};
use ostler_zab::{Quorum, Reason};

/// A member that was silent for longer is said to be.
const SILENCE_MS: u64 = 30_000;

/// How many differences of two member lists are told.
const MAX_DIFFERENCES: usize = 3;

/// What is known while no quorum forms.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// This server.
    pub(crate) me: ServerId,
    /// The members, as they are configured here.
    pub(crate) members: &'a Members,
    /// For how long there has been no quorum.
    pub(crate) since_ms: u64,
    /// Why the last role ended, if there was one.
    pub(crate) last_end: Option<Reason>,
    /// The other members, in any order; those that are not here have not been heard of.
    pub(crate) others: Vec<Other>,
}

/// What is known of one other member.
#[derive(Debug, Clone)]
pub(crate) struct Other {
    /// Its id.
    pub(crate) server: ServerId,
    /// A connection for notifications stands, whoever dialled it.
    pub(crate) connected: bool,
    /// How long ago the last such connection went, if one did.
    pub(crate) gone_ms: Option<u64>,
    /// How the last attempt to reach it ended.
    pub(crate) dial: Dial,
    /// The last notification from it.
    pub(crate) heard: Option<Heard>,
}

impl Other {
    /// A member that was neither dialled nor heard of.
    pub(crate) const fn unknown(server: ServerId) -> Self {
        Self { server, connected: false, gone_ms: None, dial: Dial::NotTried, heard: None }
    }
}

/// How an attempt to connect ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dial {
    /// There was none, or the first is under way.
    NotTried,
    /// It took the connection.
    Answered,
    /// Nobody listens there.
    Refused,
    /// Nothing came back.
    TimedOut,
    /// Its name is unknown; what the system said.
    NotResolved(String),
    /// Something else; what the system said.
    Failed(String),
}

impl Dial {
    /// What an error means.
    pub(crate) fn failed(error: &io::Error) -> Self {
        let text = error.to_string();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            // The system's resolver has no kind of its own.
            _ if text.contains("lookup address") || text.contains("resolve") => Self::NotResolved(text),
            _ => Self::Failed(text),
        }
    }
}

/// What a member said last.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// How long ago.
    pub(crate) ago_ms: u64,
    /// What it does.
    pub(crate) state: PeerState,
    /// Whom it votes for, or follows.
    pub(crate) leader: ServerId,
    /// Its member list: `None` if it sent none, the error if it sent what is no list.
    pub(crate) members: Option<Result<Members, String>>,
}

/// The line.
pub(crate) fn no_quorum(facts: &Facts<'_>) -> String {
    let me = facts.me;
    let mut others: Vec<Other> = facts
        .members
        .servers
        .keys()
        .filter(|server| **server != me)
        .map(|server| facts.other(*server))
        .collect();
    // Voters first: it is they who are missed.
    others.sort_by_key(|other| (!facts.is_voter(other.server), other.server));
    let mut answering: BTreeSet<ServerId> =
        others.iter().filter(|other| facts.agrees(other)).map(|other| other.server).collect();
    answering.insert(me);
    answering.retain(|server| facts.is_voter(*server));

    let mut text = format!("no quorum for {} s: ", facts.since_ms / 1000);
    let voters = facts.members.voters().count();
    let enough = Quorum::of(facts.members).is_ok_and(|quorum| quorum.is_quorum(&answering));
    put(&mut text, format_args!("{} of {voters} voters answer", answering.len()));
    if facts.is_voter(me) {
        put(&mut text, format_args!(" (this one, server {me}, among them)"));
    } else {
        put(&mut text, format_args!(" to this observer, server {me}"));
    }
    text.push_str(if enough { ", which is enough: an election is under way" } else { ", which is too few" });
    for other in &others {
        put(
            &mut text,
            format_args!("; server {}{} {}", other.server, facts.address(other.server), facts.state(other)),
        );
    }
    if let Some(reason) = facts.last_end {
        put(&mut text, format_args!("; the last attempt ended because: {reason}"));
    }
    text
}

impl Facts<'_> {
    fn other(&self, server: ServerId) -> Other {
        let known = self.others.iter().find(|other| other.server == server);
        known.cloned().unwrap_or_else(|| Other::unknown(server))
    }

    fn is_voter(&self, server: ServerId) -> bool {
        self.members.servers.get(&server).is_some_and(|member| member.role == MemberRole::Participant)
    }

    /// Does it answer, with a list that has the same voters?
    fn agrees(&self, other: &Other) -> bool {
        other.connected
            && other.heard.as_ref().is_some_and(|heard| {
                heard.ago_ms <= SILENCE_MS
                    && heard.members.as_ref().is_none_or(|members| {
                        members.as_ref().is_ok_and(|members| members.voters().eq(self.members.voters()))
                    })
            })
    }

    fn address(&self, server: ServerId) -> String {
        let addresses = self.members.servers.get(&server).map(|member| {
            let each =
                member.addresses.iter().map(|address| format!("{}:{}", address.host, address.election_port));
            each.collect::<Vec<_>>().join("|")
        });
        let observer = if self.is_voter(server) { "" } else { ", observer" };
        addresses.map_or_else(String::new, |addresses| format!(" ({addresses}{observer})"))
    }

    fn state(&self, other: &Other) -> String {
        match (&other.heard, other.connected) {
            (Some(heard), true) => self.said(heard),
            (None, true) => "is connected and has said nothing yet".to_owned(),
            (_, false) => {
                let mut text = self.not_connected(other);
                if let Some(gone_ms) = other.gone_ms {
                    put(&mut text, format_args!("; it was there until {} s ago", gone_ms / 1000));
                }
                text
            }
        }
    }

    fn not_connected(&self, other: &Other) -> String {
        let (me, server) = (self.me, other.server);
        match &other.dial {
            Dial::NotTried => "has not been reached yet".to_owned(),
            // Of two members the larger id keeps the connection that it dialled.
            Dial::Answered if me < server => format!(
                "takes connections and does not call back: can it reach this server at{}?",
                self.address(me).trim_end_matches(", observer)").trim_end_matches(')').replace(" (", " ")
            ),
            Dial::Answered => {
                "takes connections and closes them: is it a member with this id and this election port?"
                    .to_owned()
            }
            Dial::Refused => "refuses the connection: is it running, with this election port?".to_owned(),
            Dial::TimedOut => "does not answer: is it up, is a firewall in between?".to_owned(),
            Dial::NotResolved(problem) => format!("has a name that is not resolved ({problem})"),
            Dial::Failed(problem) => format!("cannot be reached ({problem})"),
        }
    }

    fn said(&self, heard: &Heard) -> String {
        let mut text = match heard.state {
            PeerState::Looking => format!("answers and votes for server {}", heard.leader),
            PeerState::Leading => "answers and leads".to_owned(),
            PeerState::Following => format!("answers and follows server {}", heard.leader),
            PeerState::Observing => format!("answers and observes server {}", heard.leader),
        };
        if heard.state == PeerState::Looking && !self.members.servers.contains_key(&heard.leader) {
            // An observer votes for nobody.
            "answers and looks for a leader".clone_into(&mut text);
        }
        if heard.ago_ms > SILENCE_MS {
            put(&mut text, format_args!(", but was last heard {} s ago", heard.ago_ms / 1000));
        }
        match &heard.members {
            None => {}
            Some(Err(problem)) => {
                put(&mut text, format_args!(", with a member list that cannot be read ({problem})"))
            }
            Some(Ok(theirs)) => {
                let differences = differences(self.members, theirs);
                if !differences.is_empty() {
                    put(&mut text, format_args!(", but has another member list: {differences}"));
                } else if theirs.version != self.members.version {
                    put(
                        &mut text,
                        format_args!(
                            ", with version {:x} of the member list (here: {:x})",
                            theirs.version, self.members.version
                        ),
                    );
                }
            }
        }
        text
    }
}

/// What their list says otherwise; empty if both are the same but for the version. Where clients connect is left out:
/// it does not matter to a quorum.
fn differences(ours: &Members, theirs: &Members) -> String {
    let mut found = Vec::new();
    for (server, member) in &ours.servers {
        match theirs.servers.get(server) {
            None => found.push(format!("it does not know server {server}")),
            Some(other) if !is_same_peer(member, other) => {
                found.push(format!("server {server} is {} there and {} here", peer(other), peer(member)));
            }
            Some(_) => {}
        }
    }
    for server in theirs.servers.keys().filter(|server| !ours.servers.contains_key(server)) {
        found.push(format!("it knows a server {server}"));
    }
    let groups = |members: &Members| (members.groups.clone(), members.weights.clone());
    if found.is_empty() && ours.is_hierarchical() != theirs.is_hierarchical() {
        found.push(
            format!("it has {} groups", if theirs.is_hierarchical() { "" } else { "no" }).replace("  ", " "),
        );
    } else if found.is_empty() && !ours.is_same(theirs) && groups(ours) != groups(theirs) {
        found.push("it has other groups or weights".to_owned());
    }
    let more = found.len().saturating_sub(MAX_DIFFERENCES);
    found.truncate(MAX_DIFFERENCES);
    let mut text = found.join(", ");
    if more > 0 {
        put(&mut text, format_args!(", and {more} more differences"));
    }
    text
}

fn is_same_peer(left: &Member, right: &Member) -> bool {
    let without_client = |member: &Member| Member { client: None, ..member.clone() };
    without_client(left).is_same(&without_client(right))
}

fn peer(member: &Member) -> String {
    Member { client: None, ..member.clone() }.to_string()
}

fn put(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a String takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888";

    fn members(text: &str) -> Members {
        Members::parse(text).unwrap()
    }

    fn heard(state: PeerState, leader: i64, list: &str) -> Option<Heard> {
        Some(Heard { ago_ms: 100, state, leader: ServerId(leader), members: Some(Ok(members(list))) })
    }

    fn other(server: i64, dial: Dial) -> Other {
        Other { dial, ..Other::unknown(ServerId(server)) }
    }

    fn connected(server: i64, heard: Option<Heard>) -> Other {
        Other { connected: true, dial: Dial::Answered, heard, ..Other::unknown(ServerId(server)) }
    }

    fn line(me: i64, list: &str, others: Vec<Other>) -> String {
        let members = members(list);
        no_quorum(&Facts { me: ServerId(me), members: &members, since_ms: 12_345, last_end: None, others })
    }

    #[test]
    fn nobody_there() {
        assert_eq!(
            line(2, LIST, vec![other(1, Dial::Refused), other(3, Dial::TimedOut)]),
            "no quorum for 12 s: 1 of 3 voters answer (this one, server 2, among them), which is too few; server 1 \
             (a:3888) refuses the connection: is it running, with this election port?; server 3 (c:3888) does not \
             answer: is it up, is a firewall in between?"
        );
    }

    #[test]
    fn each_way_not_to_be_connected() {
        for (me, dial, said) in [
            (2, Dial::NotTried, "has not been reached yet"),
            (
                2,
                Dial::NotResolved("a: no such name".to_owned()),
                "has a name that is not resolved (a: no such name)",
            ),
            (2, Dial::Failed("no route to host".to_owned()), "cannot be reached (no route to host)"),
            (2, Dial::Answered, "takes connections and closes them: is it a member with this id"),
        ] {
            let text = line(me, LIST, vec![other(1, dial)]);
            assert!(text.contains(&format!("; server 1 (a:3888) {said}")), "{text}");
        }
        let text = line(1, LIST, vec![other(2, Dial::Answered)]);
        assert!(text.contains("does not call back: can it reach this server at a:3888?; server 3"), "{text}");
        let gone = Other {
            connected: false,
            gone_ms: Some(20_400),
            dial: Dial::Refused,
            ..connected(1, heard(PeerState::Looking, 1, LIST))
        };
        let text = line(2, LIST, vec![gone]);
        assert!(text.contains("with this election port?; it was there until 20 s ago;"), "{text}");
    }

    #[test]
    fn errors_of_the_system() {
        let of = |kind, text: &str| Dial::failed(&io::Error::new(kind, text.to_owned()));
        assert_eq!(of(io::ErrorKind::ConnectionRefused, "x"), Dial::Refused);
        assert_eq!(of(io::ErrorKind::TimedOut, "x"), Dial::TimedOut);
        let text = "zoo1: failed to lookup address information: Name or service not known";
        assert_eq!(of(io::ErrorKind::Other, text), Dial::NotResolved(text.to_owned()));
        assert_eq!(of(io::ErrorKind::NetworkUnreachable, "x"), Dial::Failed("x".to_owned()));
    }

    #[test]
    fn those_who_answer() {
        let text = line(1, LIST, vec![connected(2, heard(PeerState::Looking, 2, LIST))]);
        assert!(text.starts_with("no quorum for 12 s: 2 of 3 voters answer"), "{text}");
        assert!(text.contains(
            "which is enough: an election is under way; server 2 (b:3888) answers and votes for server 2;"
        ));
        let text =
            line(1, LIST, vec![connected(2, heard(PeerState::Following, 3, LIST)), other(3, Dial::TimedOut)]);
        assert!(
            text.contains(
                "server 2 (b:3888) answers and follows server 3; server 3 (c:3888) does not answer"
            )
        );
        assert!(line(1, LIST, vec![connected(2, None)]).contains("is connected and has said nothing yet"));
        let mut silent = connected(2, heard(PeerState::Looking, 2, LIST));
        silent.heard.as_mut().unwrap().ago_ms = 70_000;
        let text = line(1, LIST, vec![silent]);
        assert!(
            text.contains("1 of 3 voters answer") && text.contains("but was last heard 70 s ago"),
            "{text}"
        );
    }

    #[test]
    fn other_lists_and_versions() {
        for (theirs, said) in [
            ("server.1=a:2888:3888\nserver.2=b:2888:3888", "it does not know server 3"),
            (&format!("{LIST}\nserver.4=d:2888:3888"), "it knows a server 4"),
            (
                &LIST.replace("b:2888", "b:2889"),
                "server 2 is b:2889:3888:participant there and b:2888:3888:participant here",
            ),
            (
                &format!("{LIST}:observer"),
                "server 3 is c:2888:3888:observer there and c:2888:3888:participant here",
            ),
            (&format!("{LIST}\ngroup.1=1:2:3"), "it has groups"),
            (
                "server.7=x:1:2\nversion=9",
                "it does not know server 1, it does not know server 2, it does not know server 3, and 1 more differences",
            ),
        ] {
            let text = line(1, LIST, vec![connected(2, heard(PeerState::Looking, 2, theirs))]);
            assert!(text.contains(&format!(", but has another member list: {said};")), "{theirs}: {text}");
        }
        // The version decides nothing while the content is the same.
        let newer = format!("{LIST}\nversion=10000004f");
        let text = line(1, LIST, vec![connected(2, heard(PeerState::Looking, 2, &newer))]);
        assert!(
            text.contains("votes for server 2, with version 10000004f of the member list (here: 0);"),
            "{text}"
        );
        assert!(text.contains("2 of 3 voters answer"), "{text}");
        // Where clients connect matters to nobody here.
        let clients = LIST.replace("a:2888:3888", "a:2888:3888;2181");
        let text = line(1, LIST, vec![connected(2, heard(PeerState::Looking, 2, &clients))]);
        assert!(!text.contains("another member list"), "{text}");
        let mut garbled = connected(2, heard(PeerState::Looking, 2, LIST));
        garbled.heard.as_mut().unwrap().members = Some(Err("line 1".to_owned()));
        let text = line(1, LIST, vec![garbled]);
        assert!(text.contains("with a member list that cannot be read (line 1)"), "{text}");
    }

    #[test]
    fn observers_are_told_of_and_not_counted() {
        let list = format!("{LIST}\nserver.0=o:2888:3888:observer");
        let text = line(0, &list, vec![connected(1, heard(PeerState::Leading, 1, &list))]);
        assert!(
            text.starts_with("no quorum for 12 s: 1 of 3 voters answer to this observer, server 0,"),
            "{text}"
        );
        let looking = connected(0, heard(PeerState::Looking, i64::MIN, &list));
        let text = line(1, &list, vec![looking]);
        assert!(text.contains("1 of 3 voters"), "{text}");
        assert!(text.ends_with("; server 0 (o:3888, observer) answers and looks for a leader"), "{text}");
        let members = members(LIST);
        let facts = Facts {
            me: ServerId(1),
            members: &members,
            since_ms: 0,
            last_end: Some(Reason::NoQuorum),
            others: vec![],
        };
        assert!(no_quorum(&facts).ends_with("; the last attempt ended because: no quorum in time"));
    }
}
