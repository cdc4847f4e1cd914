//! A data directory's way: Ostler fills it, Apache opens and changes it, Ostler opens it again; and the other way round.
//!
//! After each opening the whole tree is read and must equal what the server before showed: data, access lists, every
//! field of every Stat. Both servers check the digest of every transaction they replay, and the digests that the word
//! `hash` lists for the same zxids must agree.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::super::apache::Apache;
use super::super::differential;
use super::super::scratch::Scratch;
use super::super::server::{Kind, Server, Setup, build_ostler, four_letter_word};
use super::fill::{self, Tree};

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// About how many nodes.
    #[arg(long, default_value_t = 100_000)]
    nodes: usize,
    /// Ostler's lanes.
    #[arg(long, default_value_t = 1)]
    lanes: u32,
    /// Check the checker: Apache hands over to Apache.
    #[arg(long)]
    java_only: bool,
}

/// Runs both directions.
pub(crate) fn run(options: &Options) -> Result<()> {
    let apache = Kind::Apache(Apache::install()?);
    let ours = if options.java_only {
        apache.clone()
    } else {
        Kind::Ostler { binary: build_ostler()?, lanes: options.lanes }
    };
    // A snapshot in the middle of filling, so that what follows it has to be replayed from the log.
    let snap_count = options.nodes * 2 / 3 + 100;
    relay(options, &[&ours, &apache, &ours, &apache], snap_count)?;
    if options.java_only {
        return Ok(());
    }
    relay(options, &[&apache, &ours, &apache, &ours], snap_count)
}

fn setup(snap_count: usize) -> Setup {
    let mut setup = differential::setup();
    setup.config.push(format!("snapCount={snap_count}"));
    setup
}

/// Hands one directory from server to server.
fn relay(options: &Options, kinds: &[&Kind], snap_count: usize) -> Result<()> {
    let names: Vec<String> = kinds.iter().map(|kind| kind.name()).collect();
    println!("round trip of {} nodes: {}", options.nodes, names.join(" -> "));
    let home = Scratch::new("roundtrip")?;
    let setup = setup(snap_count);
    let mut before: Option<(Tree, BTreeMap<String, String>)> = None;
    let mut common_digests = 0;
    for (leg, kind) in kinds.iter().enumerate() {
        let started = Instant::now();
        let server = Server::start(kind, &setup, home.path())
            .with_context(|| format!("leg {leg}: {}", kind.name()))?;
        let opened = started.elapsed();
        let address = server.address();
        let mut owners = None;
        if let Some((tree, digests)) = &before {
            let now = fill::dump(address)?;
            compare(tree, &now)
                .with_context(|| format!("leg {leg}: {} opened what {} left", kind.name(), names[leg - 1]))?;
            check_mismatches(&server)?;
            let replayed = digest_list(&server)?;
            for (zxid, digest) in &replayed {
                if let Some(known) = digests.get(zxid) {
                    common_digests += 1;
                    ensure!(known == digest, "leg {leg}: digest at zxid {zxid} is {digest}, was {known}");
                }
            }
            let done = fill::change(address, leg)?;
            println!(
                "  {} opened it in {:.1} s: {} nodes equal; {done} changes made",
                kind.name(),
                opened.as_secs_f64(),
                now.len()
            );
        } else {
            let filled = fill::fill(address, options.nodes)?;
            println!("  {} filled it: {:?}", kind.name(), filled.done);
            owners = Some(filled);
        }
        let tree = fill::dump(address)?;
        ensure!(tree.len() * 10 > options.nodes * 9, "only {} nodes are there", tree.len());
        let digests = digest_list(&server)?;
        before = Some((tree, digests));
        let status = server.stop()?;
        // A JVM that SIGTERM ended says 143; ours says 0.
        let in_order = matches!(kind, Kind::Apache(_)) || status.success();
        ensure!(in_order, "{} stopped with {status}", kind.name());
        drop(owners);
    }
    println!("  {common_digests} digests listed on both sides of a hand-over agree");
    ensure!(common_digests > 0, "no digest could be compared");
    Ok(())
}

fn compare(before: &Tree, now: &Tree) -> Result<()> {
    let mut differing = 0;
    for path in before.keys().chain(now.keys().filter(|path| !before.contains_key(*path))) {
        let (was, is) = (before.get(path), now.get(path));
        if was != is {
            differing += 1;
            if differing <= 5 {
                println!("    {path:?}\n      was {was:02x?}\n      is  {is:02x?}");
            }
        }
    }
    ensure!(differing == 0, "{differing} of {} nodes differ", before.len());
    Ok(())
}

/// The word `hash`: zxid to digest.
fn digest_list(server: &Server) -> Result<BTreeMap<String, String>> {
    let text = four_letter_word(server.address(), "hash")?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(zxid, digest)| (zxid.trim_start_matches("0x").to_owned(), digest.to_owned()))
        .collect())
}

/// The metric that counts replayed transactions whose digest did not fit must be there and be 0.
fn check_mismatches(server: &Server) -> Result<()> {
    let text = four_letter_word(server.address(), "mntr")?;
    let line = text.lines().find(|line| line.starts_with("zk_digest_mismatches_count"));
    let line = line.with_context(|| format!("{} lists no digest_mismatches_count", server.name()))?;
    let value = line.split('\t').nth(1).unwrap_or_default();
    ensure!(value == "0", "{} counted digest mismatches: {line}", server.name());
    Ok(())
}
