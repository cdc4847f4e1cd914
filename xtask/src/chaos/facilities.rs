//! What this machine can do: programs that are installed if they are missing, and facilities of the kernel, each
//! tried in a namespace that ends with the trial. What is missing is said aloud and left out.

use std::process::{Command, Stdio};

use anyhow::Result;

use super::plan::Class;

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Facilities {
    /// Classes that cannot be done; `None` if nothing can.
    pub(super) without: Option<Vec<Class>>,
    /// What is missing, and why that is believed.
    pub(super) skipped: Vec<String>,
}

/// A program and the package that has it.
const PROGRAMS: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("mkfs.ext4", "e2fsprogs"),
    ("xfs_io", "xfsprogs"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
];

const NETWORK: [Class; 6] =
    [Class::Halves, Class::LeaderAlone, Class::OneWay, Class::Bridge, Class::Reset, Class::Slow];

/// Looks, and installs.
pub(super) fn probe() -> Result<Facilities> {
    let mut found = Facilities::default();
    install(&mut found.skipped);
    let base = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if let Err(why) = attempt("ip link set lo up", &base) {
        found.skipped.push(format!("namespaces (root is needed): {why}"));
        return Ok(found);
    }
    let cable = "ip link add br0 type bridge && ip link add veth0 type veth peer name veth1 && ip link set veth0 master br0";
    if let Err(why) = attempt(cable, &base) {
        found.skipped.push(format!("bridge and veth: {why}"));
        return Ok(found);
    }
    let disk = "cd $(mktemp -d) && truncate -s 16M i && mkfs.ext4 -q -F i && mkdir m && mount -o loop i m && \
                fallocate -l 4096 m/x && xfs_io -x -c shutdown m && umount m && rm -r $PWD";
    if let Err(why) = attempt(disk, &base) {
        found
            .skipped
            .push(format!("a loop-mounted ext4 with SHUTDOWN, on which all members' data lies: {why}"));
        return Ok(found);
    }
    let mut without = Vec::new();
    if let Err(why) = attempt(
        "echo 'table ip t { chain c { type filter hook input priority 0; ip saddr 10.0.0.1 meta l4proto tcp reject with tcp reset; iif lo numgen random mod 100 < 5 drop; }; }' | nft -f -",
        &base,
    ) {
        found.skipped.push(format!("partitions, resets and loss, for want of nftables: {why}"));
        without.extend(NETWORK);
    } else if let Err(why) =
        attempt("tc qdisc add dev lo root tbf rate 96kbit burst 2000 latency 900ms", &base)
    {
        found.skipped.push(format!("slow links, for want of tbf: {why}"));
        without.push(Class::Slow);
    } else if let Err(why) = attempt("tc qdisc add dev lo root netem delay 1ms", &base) {
        found
            .skipped
            .push(format!("delay by netem (slow links have the delay of tbf's queue, and loss): {why}"));
    }
    found.without = Some(without);
    Ok(found)
}

fn install(skipped: &mut Vec<String>) {
    let is_there = |program: &str| {
        Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let mut packages: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect();
    packages.dedup();
    if packages.is_empty() {
        return;
    }
    eprintln!("installing {}", packages.join(" "));
    let status = Command::new("apt-get")
        .args(["install", "-y", "-q"])
        .args(&packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !status.is_ok_and(|status| status.success()) {
        skipped.push(format!("apt-get could not install {}", packages.join(" ")));
    }
}

/// Runs a line of shell in namespaces of its own; an error is what it said.
fn attempt(line: &str, namespaces: &[&str]) -> Result<(), String> {
    let output = Command::new("unshare")
        .args(namespaces)
        .args(["sh", "-c", line])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.lines().next().unwrap_or("it said nothing").to_owned())
}
