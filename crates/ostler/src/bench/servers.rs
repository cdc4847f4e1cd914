//! The servers under load: one, or all members of an ensemble, over which connections are dealt out in turn; and their
//! processes, which are metered together.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::{handshake, process};

/// At least one address.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    first: SocketAddr,
    rest: Vec<SocketAddr>,
}

impl Servers {
    /// `HOST:PORT`, or several with commas between them.
    pub(super) fn resolve(text: &str) -> Result<Self> {
        let (first, rest) = text.split_once(',').map_or((text, None), |(first, rest)| (first, Some(rest)));
        let rest = rest.into_iter().flat_map(|rest| rest.split(','));
        Ok(Self {
            first: handshake::resolve(first)?,
            rest: rest.map(handshake::resolve).collect::<Result<_>>()?,
        })
    }

    /// The one at which a benchmark is prepared and tidied up.
    pub(super) fn first(&self) -> SocketAddr {
        self.first
    }

    /// The others.
    pub(super) fn rest(&self) -> &[SocketAddr] {
        &self.rest
    }

    /// The one for this connection.
    pub(super) fn of(&self, connection: usize) -> SocketAddr {
        match connection % (1 + self.rest.len()) {
            0 => self.first,
            n => self.rest[n - 1],
        }
    }
}

impl From<SocketAddr> for Servers {
    fn from(first: SocketAddr) -> Self {
        Self { first, rest: Vec::new() }
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.rest.iter().try_for_each(|address| write!(f, ",{address}"))
    }
}

/// CPU time of all these processes so far.
pub(super) fn cpu_time(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|pid| process::cpu_time(*pid)).sum()
}

/// Resident memory of all these processes.
pub(super) fn resident_bytes(pids: &[u32]) -> Result<u64> {
    pids.iter().map(|pid| process::resident_bytes(*pid)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_dealt_out_in_turn() {
        let servers = Servers::resolve("127.0.0.1:1,127.0.0.1,[::1]:3").unwrap();
        assert_eq!(servers.to_string(), "127.0.0.1:1,127.0.0.1:2181,[::1]:3");
        let ports: Vec<u16> = (0..5).map(|connection| servers.of(connection).port()).collect();
        assert_eq!(ports, [1, 2181, 3, 1, 2181]);
        assert_eq!(servers.first().port(), 1);
        assert!(Servers::resolve("127.0.0.1:1,").is_err());
    }
}
