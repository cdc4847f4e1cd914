//! The network of a round: one namespace for each server, joined by a bridge in the namespace that the round itself
//! runs in, where each client has an address of its own. Faults are rules of each server's own packet filter and
//! queue, so they have a direction.
//!
//! It may assume root, and a network namespace that nobody else uses. A namespace lives as long as the process that
//! holds it, and that one as long as the round's process namespace: nothing is left behind, whatever ends the round.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// From here the round itself asks servers how they are; no fault touches it.
pub(super) const WATCHTOWER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// The address of a server by its number, from 0.
pub(super) fn server_address(server: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, 11 + u8::try_from(server).expect("few servers"))
}

/// The address of a client by its number, from 0.
pub(super) fn client_address(client: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, 101 + u8::try_from(client).expect("few clients"))
}

/// What stands between one server and the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// Nothing from these arrives.
    pub(super) deaf_to: BTreeSet<Ipv4Addr>,
    /// Nothing to these leaves.
    pub(super) mute_to: BTreeSet<Ipv4Addr>,
    /// So many percent of what comes from other machines are lost.
    pub(super) loss_percent: u32,
    /// Every packet of these is answered with a reset.
    pub(super) resets: BTreeSet<Ipv4Addr>,
    /// The queue behind which everything waits that leaves, in kbit a second.
    pub(super) rate_kbit: Option<u32>,
    /// How long everything that leaves is on its way, where the kernel can do it.
    pub(super) delay_ms: Option<u32>,
}

/// The namespaces of a round.
#[derive(Debug)]
pub(super) struct Net {
    holders: Vec<Child>,
    filters: Vec<Filter>,
    has_netem: bool,
}

impl Net {
    /// Lays the cables.
    pub(super) fn lay(servers: usize, clients: usize) -> Result<Self> {
        ip("link set lo up")?;
        ip("link add br0 type bridge")?;
        ip("link set br0 up")?;
        ip(&format!("address add {WATCHTOWER}/24 dev br0"))?;
        for client in 0..clients {
            ip(&format!("address add {}/24 dev br0", client_address(client)))?;
        }
        let mut net =
            Self { holders: Vec::new(), filters: vec![Filter::default(); servers], has_netem: false };
        for server in 0..servers {
            let holder = Command::new("unshare")
                .args(["--net", "sleep", "infinity"])
                .stdin(Stdio::null())
                .spawn()
                .context("run unshare")?;
            let pid = holder.id();
            net.holders.push(holder);
            await_namespace(pid)?;
            ip(&format!("link add veth{server} type veth peer name eth0 netns {pid}"))?;
            ip(&format!("link set veth{server} master br0 up"))?;
            net.run(server, &["ip", "link", "set", "lo", "up"])?;
            net.run(
                server,
                &["ip", "address", "add", &format!("{}/24", server_address(server)), "dev", "eth0"],
            )?;
            net.run(server, &["ip", "link", "set", "eth0", "up"])?;
        }
        net.has_netem = has_netem();
        Ok(net)
    }

    /// A command that runs in the namespace of a server.
    pub(super) fn command(&self, server: usize, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holders[server].id())).arg("--").arg(program);
        command
    }

    /// What stands before a server now.
    pub(super) fn filter(&self, server: usize) -> &Filter {
        &self.filters[server]
    }

    /// Puts something else before a server.
    pub(super) fn set_filter(&mut self, server: usize, filter: Filter) -> Result<()> {
        if self.filters[server] == filter {
            return Ok(());
        }
        let mut child = self
            .command(server, "nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .context("run nft (package nftables)")?;
        child.stdin.take().context("a pipe")?.write_all(rules(&filter).as_bytes())?;
        ensure!(child.wait()?.success(), "nft refused the rules of server {}", server + 1);
        let old = &self.filters[server];
        if (old.rate_kbit, old.delay_ms) != (filter.rate_kbit, filter.delay_ms) {
            if old.rate_kbit.is_some() || old.delay_ms.is_some() {
                self.run(server, &["tc", "qdisc", "del", "dev", "eth0", "root"])?;
            }
            if let Some(line) = self.queue(&filter) {
                let words: Vec<&str> = line.split(' ').collect();
                self.run(server, &words)?;
            }
        }
        self.filters[server] = filter;
        Ok(())
    }

    /// Takes everything away.
    pub(super) fn heal(&mut self) -> Result<()> {
        for server in 0..self.filters.len() {
            self.set_filter(server, Filter::default())?;
        }
        Ok(())
    }

    fn queue(&self, filter: &Filter) -> Option<String> {
        match (filter.delay_ms.filter(|_| self.has_netem), filter.rate_kbit) {
            (Some(delay), Some(rate)) => Some(format!(
                "tc qdisc add dev eth0 root netem delay {delay}ms {}ms rate {rate}kbit",
                delay / 4
            )),
            (Some(delay), None) => {
                Some(format!("tc qdisc add dev eth0 root netem delay {delay}ms {}ms", delay / 4))
            }
            // Without netem the delay is that of the queue: what is sent waits for what was sent before.
            (None, Some(rate)) => {
                Some(format!("tc qdisc add dev eth0 root tbf rate {rate}kbit burst 2000 latency 900ms"))
            }
            (None, None) => None,
        }
    }

    fn run(&self, server: usize, words: &[&str]) -> Result<()> {
        let output = self.command(server, words[0]).args(&words[1..]).output().context("run nsenter")?;
        ensure!(
            output.status.success(),
            "{} at server {}: {}",
            words.join(" "),
            server + 1,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// Whether this kernel delays packets. Tried on the loopback of our own namespace.
pub(super) fn has_netem() -> bool {
    let tried = ip_like("tc", "qdisc add dev lo root netem delay 1ms");
    if tried.is_ok() {
        let _ = ip_like("tc", "qdisc del dev lo root");
    }
    tried.is_ok()
}

fn rules(filter: &Filter) -> String {
    let mut text = String::from("flush ruleset\n");
    if *filter == Filter::default() {
        return text;
    }
    let list = |set: &BTreeSet<Ipv4Addr>| set.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    text.push_str("table ip chaos {\n chain arrive {\n  type filter hook input priority 0;\n");
    let _ = writeln!(text, "  ip saddr {WATCHTOWER} accept");
    if !filter.deaf_to.is_empty() {
        let _ = writeln!(text, "  ip saddr {{ {} }} drop", list(&filter.deaf_to));
    }
    if !filter.resets.is_empty() {
        let _ = writeln!(
            text,
            "  ip saddr {{ {} }} meta l4proto tcp reject with tcp reset",
            list(&filter.resets)
        );
    }
    if filter.loss_percent > 0 {
        let _ = writeln!(text, "  iif eth0 numgen random mod 100 < {} drop", filter.loss_percent);
    }
    text.push_str(" }\n chain leave {\n  type filter hook output priority 0;\n");
    let _ = writeln!(text, "  ip daddr {WATCHTOWER} accept");
    if !filter.mute_to.is_empty() {
        let _ = writeln!(text, "  ip daddr {{ {} }} drop", list(&filter.mute_to));
    }
    text.push_str(" }\n}\n");
    text
}

/// Waits until `unshare` has made its namespace: until then the process is in ours.
fn await_namespace(pid: u32) -> Result<()> {
    let own = std::fs::read_link("/proc/self/ns/net")?;
    for _ in 0..500 {
        if std::fs::read_link(format!("/proc/{pid}/ns/net"))? != own {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    anyhow::bail!("unshare made no network namespace")
}

fn ip(words: &str) -> Result<()> {
    ip_like("ip", words)
}

fn ip_like(program: &str, words: &str) -> Result<()> {
    let output =
        Command::new(program).args(words.split(' ')).output().with_context(|| format!("run {program}"))?;
    ensure!(output.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_a_direction() {
        let peer = server_address(1);
        let filter = Filter { deaf_to: [peer].into(), ..Filter::default() };
        let text = rules(&filter);
        assert!(text.contains("ip saddr { 10.99.0.12 } drop") && !text.contains("daddr { 10.99.0.12"));
        assert_eq!(rules(&Filter::default()), "flush ruleset\n");
    }
}
