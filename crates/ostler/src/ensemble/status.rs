//! How the servers are, asked with four-letter words as any operator would.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::Event;
use super::layout::Layout;

/// The pause between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(500);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// No answer is longer.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// What a server answered. Everything but the id is missing while it serves nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) id: i64,
    pub(crate) mode: Option<String>,
    zxid: Option<String>,
    connections: Option<String>,
    nodes: Option<String>,
    /// Of a leader: learners in sync, and all.
    learners: Option<(u64, u64)>,
}

/// Asks all servers again and again, until nobody wants to know.
pub(super) fn poll_forever(servers: Vec<(i64, u16)>, events: Sender<Event>) {
    loop {
        let statuses = servers.iter().map(|(id, port)| ask(*id, *port)).collect();
        if events.send(Event::Statuses(statuses)).is_err() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

fn ask(id: i64, port: u16) -> Status {
    let mut status = parse_srvr(id, &word(port, "srvr").unwrap_or_default());
    if status.mode.as_deref() == Some("leader") {
        status.learners = parse_learners(&word(port, "mntr").unwrap_or_default());
    }
    status
}

fn word(port: u16, word: &str) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(word.as_bytes())?;
    let mut text = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn parse_srvr(id: i64, text: &str) -> Status {
    let value = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
    };
    Status {
        id,
        mode: value("Mode"),
        zxid: value("Zxid"),
        connections: value("Connections"),
        nodes: value("Node count"),
        learners: None,
    }
}

fn parse_learners(mntr: &str) -> Option<(u64, u64)> {
    let value = |name: &str| -> Option<u64> {
        mntr.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'))?.parse().ok()
    };
    Some((value("zk_synced_followers")? + value("zk_synced_observers")?, value("zk_learners")?))
}

/// The table: a heading and a row for each server.
pub(super) fn rows(layout: &Layout, pid: impl Fn(i64) -> Option<u32>, statuses: &[Status]) -> Vec<String> {
    let row = |cells: [&str; 9]| {
        let widths = [6, 6, 6, 8, 10, 14, 8, 9, 8];
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<String>().trim_end().to_owned()
    };
    let heading = row(["server", "", "port", "pid", "mode", "zxid", "clients", "znodes", "in sync"]);
    let members = layout.members.iter().map(|member| {
        let status = statuses.iter().find(|status| status.id == member.id).cloned().unwrap_or_default();
        let pid = pid(member.id);
        let mode = match (pid, &status.mode) {
            (None, _) => "ended",
            (Some(_), None) => "no service",
            (Some(_), Some(mode)) => mode,
        };
        // The one that asks is no client.
        let clients = status.connections.as_deref().and_then(|text| text.parse::<u64>().ok());
        let clients = clients.map_or(String::new(), |count| count.saturating_sub(1).to_string());
        row([
            &member.id.to_string(),
            if member.java.is_some() { "java" } else { "ostler" },
            &member.client_port.to_string(),
            &pid.map_or(String::new(), |pid| pid.to_string()),
            mode,
            status.zxid.as_deref().unwrap_or_default(),
            &clients,
            status.nodes.as_deref().unwrap_or_default(),
            &status.learners.map_or(String::new(), |(synced, all)| format!("{synced} of {all}")),
        ])
    });
    std::iter::once(heading).chain(members).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let srvr = "Zookeeper version: 3.9.5-x, built on y\nLatency min/avg/max: 0/0.0/0\nReceived: 2\nSent: 1\n\
                    Connections: 3\nOutstanding: 0\nZxid: 0x100000042\nMode: leader\nNode count: 8\n\
                    Proposal sizes last/min/max: 78/48/97\n";
        let status = parse_srvr(3, srvr);
        assert_eq!((status.id, status.mode.as_deref()), (3, Some("leader")));
        assert_eq!((status.zxid.as_deref(), status.nodes.as_deref()), (Some("0x100000042"), Some("8")));
        let silent = parse_srvr(1, "This ZooKeeper instance is not currently serving requests\n");
        assert_eq!(silent, Status { id: 1, ..Status::default() });
        let mntr = "zk_synced_followers\t2\nzk_synced_observers\t0\nzk_learners\t3\n";
        assert_eq!(parse_learners(mntr), Some((2, 3)));
        assert_eq!(parse_learners(""), None);
    }
}
