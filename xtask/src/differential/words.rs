//! The shapes of the four-letter words: same lines, keys, order and formats on both servers, whatever the values.
//!
//! Both servers see the same short history first (sessions, ephemerals, watches, quotas), so that every line has a
//! reason to be there. Numbers, times and ids are then masked, and lines whose order is unspecified are sorted.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::super::apache::Apache;
use super::super::interop::client::Client;
use super::super::scratch::Scratch;
use super::super::server::{Kind, Server, Setup, build_ostler, four_letter_word};
use super::content::open_acl;
use super::op;
use super::raw::Enc;

/// Every word, an unknown one, and what telnet sends on an interrupt.
const WORDS: [&str; 20] = [
    "ruok",
    "srvr",
    "stat",
    "mntr",
    "conf",
    "cons",
    "dump",
    "wchs",
    "wchc",
    "wchp",
    "dirs",
    "isro",
    "hash",
    "envi",
    "gtmk",
    "stmk\0\0\0\0\0\0\u{1}\u{32}",
    "crst",
    "srst",
    "abcd",
    "ruok\n",
];

/// Words whose lines stand in no particular order.
const UNORDERED: [&str; 4] = ["mntr", "cons", "wchc", "wchp"];

/// Lines of `envi` that only a Java program has.
const JAVA_ONLY: [&str; 5] = ["java.", "os.memory", "user.dir", "jdk.", "sun."];

/// Compares all words on a pair that allows them all, then on a pair with the default list.
pub(crate) fn run(java_only: bool, lanes: u32) -> Result<()> {
    let apache = Kind::Apache(Apache::install()?);
    let other = if java_only { apache.clone() } else { Kind::Ostler { binary: build_ostler()?, lanes } };
    let mut setup = super::setup();
    let all = compare(&apache, &other, &setup)?;
    setup.config.retain(|line| !line.starts_with("4lw."));
    let few = compare(&apache, &other, &setup)?;
    println!("words: {} answers compared, {} differ", 2 * WORDS.len(), all + few);
    ensure!(all + few == 0, "{} words differ in shape", all + few);
    Ok(())
}

fn compare(apache: &Kind, other: &Kind, setup: &Setup) -> Result<usize> {
    let homes = [Scratch::new("words-a")?, Scratch::new("words-b")?];
    let java = Server::start(apache, setup, homes[0].path())?;
    let ours = Server::start(other, setup, homes[1].path())?;
    let _java_history = history(java.address())?;
    let _our_history = history(ours.address())?;
    let mut differing = 0;
    for word in WORDS {
        let (left, right) = ((java.name(), java.address()), (ours.name(), ours.address()));
        differing += usize::from(differs(word, left, right)?);
    }
    Ok(differing)
}

/// Asks two servers the same word and prints where the shapes of their answers differ.
pub(crate) fn differs(word: &str, left: (&str, SocketAddr), right: (&str, SocketAddr)) -> Result<bool> {
    let name = &word[..4];
    let (left_shape, right_shape) =
        (shape(name, &four_letter_word(left.1, word)?), shape(name, &four_letter_word(right.1, word)?));
    if left_shape == right_shape {
        return Ok(false);
    }
    println!("DIFFERENCE in the word {name} (masked):");
    for line in left_shape.iter().filter(|line| !right_shape.contains(line)) {
        println!("  only {}: {line}", left.0);
    }
    for line in right_shape.iter().filter(|line| !left_shape.contains(line)) {
        println!("  only {}: {line}", right.0);
    }
    if left_shape.iter().all(|line| right_shape.contains(line)) {
        println!("  the same lines in another order or number: {left_shape:?} against {right_shape:?}");
    }
    Ok(true)
}

/// What both servers have seen when they are asked; the sessions stay open while the value lives.
pub(crate) fn history(address: SocketAddr) -> Result<Vec<Client>> {
    let mut clients = vec![Client::connect(address)?, Client::connect(address)?];
    let create = |path: &str, data: &str, flags: i32| {
        (op::CREATE, Enc::new().string(path).string(data).bytes(&open_acl()).int(flags).0)
    };
    let mut requests = vec![
        create("/app", "x", 0),
        create("/app/here", "y", 1),
        create("/zookeeper/quota/app", "", 0),
        create(
            "/zookeeper/quota/app/zookeeper_limits",
            "count=9,bytes=900=;byteHardLimit=1000;countHardLimit=10",
            0,
        ),
        create("/zookeeper/quota/app/zookeeper_stats", "", 0),
        (op::GET_DATA, Enc::new().string("/app").byte(1).0),
        (op::GET_CHILDREN, Enc::new().string("/app").byte(1).0),
        (op::ADD_WATCH, Enc::new().string("/app/here").int(0).0),
    ];
    // Past two multiples of 128, so that the word `hash` has something to list.
    requests.extend((0..300).map(|_| (op::SET_DATA, Enc::new().string("/app/here").string("z").int(-1).0)));
    clients[0].calls(&requests)?;
    clients[1].calls(&[create("/app/there", "y", 1), (op::EXISTS, Enc::new().string("/none").byte(1).0)])?;
    Ok(clients)
}

/// An answer with its values masked, line by line.
fn shape(word: &str, text: &str) -> Vec<String> {
    let mut lines: Vec<String> = match word {
        "conf" => text.lines().map(|line| mask_key_value(line, '=')).collect(),
        "envi" => text
            .lines()
            .map(|line| line.split('=').next().unwrap_or_default().to_owned())
            .filter(|key| !JAVA_ONLY.iter().any(|part| key.starts_with(part)))
            .collect(),
        "dump" => first_of_each(
            text.lines().map(|line| if line.starts_with("\t/") { "\t<path>".to_owned() } else { mask(line) }),
        ),
        _ => text.lines().map(mask).collect(),
    };
    // Runs of equal shapes count once: how many buckets or entries there are is up to the clock.
    lines.dedup();
    if UNORDERED.contains(&word) {
        lines.sort();
        lines.dedup();
    }
    lines.push(if text.ends_with('\n') { "<line end>" } else { "<no line end>" }.to_owned());
    lines
}

/// Each line once, where it first stood: how the clock spread sessions over buckets does not matter.
fn first_of_each(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for line in lines {
        if !kept.contains(&line) {
            kept.push(line);
        }
    }
    kept
}

/// Keeps what both servers were told (and so must show alike), masks paths and ports.
fn mask_key_value(line: &str, separator: char) -> String {
    match line.split_once(separator) {
        Some((key @ ("clientPort" | "dataDirSize" | "dataLogSize" | "electionPort" | "quorumPort"), _)) => {
            format!("{key}{separator}<n>")
        }
        Some((key @ ("dataDir" | "dataLogDir"), path)) => {
            format!("{key}{separator}<dir>/{}", path.rsplit('/').next().unwrap_or_default())
        }
        Some((key, value)) if key.starts_with("server.") => format!("{key}{separator}{}", mask(value)),
        _ => line.to_owned(),
    }
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Masks numbers (whole, with a fraction, hexadecimal), dates and the build's name.
fn mask(line: &str) -> String {
    let line = match (line.split_once("3.9.5-"), line.find(", built on")) {
        (Some((head, _)), Some(at)) => format!("{head}3.9.5-<build>{}", &line[at..]),
        _ => line.to_owned(),
    };
    let mut out = String::new();
    let mut rest = line.as_str();
    while let Some(first) = rest.chars().next() {
        // A digit inside a word (`p99_`, `zk_`) belongs to the word.
        let in_word = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if let Some(hex) = rest.strip_prefix("0x").filter(|_| !in_word) {
            out.push_str("<hex>");
            rest = hex.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        } else if first.is_ascii_digit() && !in_word {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let tail = &rest[end..];
            let fraction =
                tail.strip_prefix('.').filter(|tail| tail.starts_with(|c: char| c.is_ascii_digit()));
            if let Some(fraction) = fraction {
                out.push_str("<f>");
                rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit() || c == 'E' || c == '.');
            } else {
                out.push_str("<n>");
                rest = tail;
            }
        } else if let Some(name) = DAYS.iter().find(|name| rest.starts_with(**name) && !in_word) {
            out.push_str("<day>");
            rest = &rest[name.len()..];
        } else if let Some(name) = MONTHS.iter().find(|name| rest.starts_with(**name) && !in_word) {
            out.push_str("<month>");
            rest = &rest[name.len()..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    // Below zero is a value as well.
    out.replace("-<n>", "<n>").replace("\t-<f>", "\t<f>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_masked_and_words_are_not() {
        assert_eq!(mask("Latency min/avg/max: 0/1.3978/22"), "Latency min/avg/max: <n>/<f>/<n>");
        assert_eq!(mask("zk_p99_readlatency\t12"), "zk_p99_readlatency\t<n>");
        assert_eq!(
            mask("2 expire at Sat Nov 21 07:45:00 UTC 2026:"),
            "<n> expire at <day> <month> <n> <n>:<n>:<n> UTC <n>:"
        );
        assert_eq!(mask("\t0x100000a4e33002a"), "\t<hex>");
    }
}
