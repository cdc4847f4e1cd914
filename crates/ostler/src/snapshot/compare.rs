//! Two snapshots side by side. `by_depth` is the analysis of Java's `SnapshotComparer`, which weighs subtrees;
//! `differences` says node by node what was added, removed or changed.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result};

use super::content::{Content, Order, join};

/// What is too small to be shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thresholds {
    pub(super) bytes: i64,
    pub(super) nodes: i64,
    /// Say which nodes are compared.
    pub(super) debug: bool,
    /// Say what was left out.
    pub(super) show_small: bool,
}

/// A snapshot, weighed.
#[derive(Debug)]
pub(super) struct Weighed {
    /// By depth, then by path; the root's path is "".
    depths: Vec<BTreeMap<String, Weight>>,
}

/// What a subtree weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weight {
    bytes: i64,
    /// Nodes below.
    nodes: i64,
}

impl Weighed {
    pub(super) fn new(content: &Content) -> Result<Self> {
        let root = content.find("/").context("the snapshot has no root")?;
        let mut weighed = Self { depths: Vec::new() };
        weighed.weigh(content, root, "", 0);
        Ok(weighed)
    }

    fn weigh(&mut self, content: &Content, id: usize, path: &str, depth: usize) -> Weight {
        if self.depths.len() == depth {
            self.depths.push(BTreeMap::new());
        }
        let own = content.node(id).data.as_ref().map_or(0, Vec::len);
        let mut weight = Weight { bytes: i64::try_from(own).expect("a length"), nodes: 0 };
        for child in content.children(id, Order::Name) {
            let path = format!("{path}/{}", content.node(child).name);
            let below = self.weigh(content, child, &path, depth + 1);
            weight.bytes += below.bytes;
            weight.nodes += below.nodes + 1;
        }
        self.depths[depth].insert(path.to_owned(), weight);
        weight
    }

    fn find(&self, path: &str) -> Option<usize> {
        self.depths.iter().position(|nodes| nodes.contains_key(path))
    }

    fn write(&self, out: &mut impl Write) -> Result<()> {
        let count: usize = self.depths.iter().map(BTreeMap::len).sum();
        let size = self.depths.first().and_then(|root| root.get("")).map_or(0, |root| root.bytes);
        writeln!(out, "Node count: {count}\nTotal size: {size}\nMax depth: {}", self.depths.len())?;
        for (depth, nodes) in self.depths.iter().enumerate() {
            writeln!(out, "Count of nodes at depth {depth}: {}", nodes.len())?;
        }
        writeln!(out)?;
        Ok(())
    }
}

/// Reads and weighs a snapshot, saying how long that took.
pub(super) fn load(path: &std::path::Path, out: &mut impl Write) -> Result<Weighed> {
    let begin = Instant::now();
    let content = super::content::read(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    writeln!(out, "Deserialized snapshot in {name} in {:.6} seconds", begin.elapsed().as_secs_f64())?;
    let begin = Instant::now();
    let weighed = Weighed::new(&content)?;
    writeln!(out, "Processed data tree in {:.6} seconds", begin.elapsed().as_secs_f64())?;
    Ok(weighed)
}

/// The whole analysis; `answers` is where an interactive one is led from.
pub(super) fn by_depth(
    left: &Weighed,
    right: &Weighed,
    thresholds: Thresholds,
    answers: Option<&mut dyn BufRead>,
    out: &mut impl Write,
) -> Result<()> {
    left.write(out)?;
    right.write(out)?;
    let depths = left.depths.len().max(right.depths.len());
    match answers {
        None => {
            put_thresholds(thresholds, out)?;
            for depth in 0..depths {
                writeln!(out, "Analysis for depth {depth}")?;
                at_depth(left, right, depth, thresholds, out)?;
            }
        }
        Some(answers) => interactive(left, right, depths, thresholds, answers, out)?,
    }
    writeln!(out, "All layers compared.")?;
    Ok(())
}

fn interactive(
    left: &Weighed,
    right: &Weighed,
    depths: usize,
    thresholds: Thresholds,
    answers: &mut dyn BufRead,
    out: &mut impl Write,
) -> Result<()> {
    let thresholds = Thresholds { show_small: true, ..thresholds };
    let mut current = 0;
    while current < depths {
        writeln!(
            out,
            "Current depth is {current}\n- Press enter to move to print current depth layer;\n- Type a number to \
             jump to and print all nodes at a given depth;\n- Enter an ABSOLUTE path to print the immediate subtree \
             of a node. Path must start with '/'."
        )?;
        out.flush()?;
        let mut line = String::new();
        if answers.read_line(&mut line)? == 0 {
            anyhow::bail!("No line found");
        }
        let line = line.trim_end_matches(['\n', '\r']);
        put_thresholds(thresholds, out)?;
        if line.is_empty() {
            writeln!(out, "Analysis for depth {current}")?;
            at_depth(left, right, current, thresholds, out)?;
            current += 1;
        } else if line.starts_with('/') {
            writeln!(out, "Analysis for node {line}")?;
            below(left, right, line, thresholds, out)?;
        } else if let Ok(depth) = line.parse::<i64>() {
            match usize::try_from(depth).ok().filter(|depth| *depth < depths) {
                Some(depth) => {
                    current = depth;
                    writeln!(out, "Analysis for depth {current}")?;
                    at_depth(left, right, current, thresholds, out)?;
                }
                None => {
                    writeln!(out, "Depth must be in range [0, {}]", depths - 1)?;
                    continue;
                }
            }
        } else {
            writeln!(
                out,
                "Input {line} is not valid. Depth must be in range [0, {}]. Path must be an absolute path which \
                 starts with '/'.",
                depths - 1
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn put_thresholds(thresholds: Thresholds, out: &mut impl Write) -> Result<()> {
    let Thresholds { bytes, nodes, .. } = thresholds;
    writeln!(
        out,
        "Printing analysis for nodes difference larger than {bytes} bytes or node count difference larger than {nodes}."
    )?;
    Ok(())
}

fn at_depth(
    left: &Weighed,
    right: &Weighed,
    depth: usize,
    thresholds: Thresholds,
    out: &mut impl Write,
) -> Result<()> {
    let none = BTreeMap::new();
    let left = left.depths.get(depth).unwrap_or(&none);
    let right = right.depths.get(depth).unwrap_or(&none);
    put_both(left, right, thresholds, out)
}

fn below(
    left: &Weighed,
    right: &Weighed,
    path: &str,
    thresholds: Thresholds,
    out: &mut impl Write,
) -> Result<()> {
    let children = |tree: &Weighed| -> BTreeMap<String, Weight> {
        let prefix = format!("{path}/");
        let Some(depth) = tree.find(path) else { return BTreeMap::new() };
        let Some(next) = tree.depths.get(depth + 1) else { return BTreeMap::new() };
        next.iter()
            .filter(|(child, _)| child.starts_with(&prefix))
            .map(|(child, weight)| (child.clone(), *weight))
            .collect()
    };
    if left.find(path).is_none() && right.find(path).is_none() {
        writeln!(out, "Path {path} is neither found in left tree nor right tree.")?;
        return Ok(());
    }
    let (left, right) = (children(left), children(right));
    put_both(&left, &right, thresholds, out)
}

/// The nodes of both sides in the order of their paths.
fn put_both(
    left: &BTreeMap<String, Weight>,
    right: &BTreeMap<String, Weight>,
    thresholds: Thresholds,
    out: &mut impl Write,
) -> Result<()> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => {
                let order = a.cmp(b);
                if thresholds.debug {
                    let words = match order {
                        Ordering::Less => "left is less",
                        Ordering::Equal => "same",
                        Ordering::Greater => "right is less",
                    };
                    writeln!(out, "Comparing {a} to {b}\n{words}")?;
                }
                order
            }
        };
        let a = if order == Ordering::Greater { None } else { left.next() };
        let b = if order == Ordering::Less { None } else { right.next() };
        let line = match (a, b) {
            (Some((path, a)), Some((_, b))) => two_sided(path, *a, *b, thresholds),
            (Some((path, a)), None) => one_sided(path, *a, "left", thresholds),
            (None, Some((path, b))) => one_sided(path, *b, "right", thresholds),
            (None, None) => None,
        };
        if let Some(line) = line {
            writeln!(out, "{line}")?;
        }
    }
}

fn one_sided(path: &str, weight: Weight, side: &str, thresholds: Thresholds) -> Option<String> {
    let Weight { bytes, nodes } = weight;
    if bytes > thresholds.bytes || nodes > thresholds.nodes {
        return Some(format!(
            "Node {path} found only in {side} tree. Descendant size: {bytes}. Descendant count: {nodes}"
        ));
    }
    thresholds.show_small.then(|| format!("Filtered {side} node {path} of size {bytes}"))
}

fn two_sided(path: &str, left: Weight, right: Weight, thresholds: Thresholds) -> Option<String> {
    let (bytes, nodes) = (right.bytes - left.bytes, right.nodes - left.nodes);
    if bytes.abs() > thresholds.bytes || nodes.abs() > thresholds.nodes {
        return Some(format!("Node {path} found in both trees. Delta: {bytes} bytes, {nodes} descendants"));
    }
    thresholds
        .show_small
        .then(|| format!("Filtered node {path} of left size {}, right size {}", left.bytes, right.bytes))
}

/// How a node differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    Added,
    Removed,
    /// Data, ACL, or anything of the Stat.
    Data,
    Acl,
    Stat,
}

/// Every node that is not the same in both, by path.
pub(super) fn differences(left: &Content, right: &Content) -> Vec<(String, Difference)> {
    let mut found = BTreeMap::new();
    let mut pairs = vec![(left.find("/"), right.find("/"), "/".to_owned())];
    while let Some((a, b, path)) = pairs.pop() {
        let mut children = BTreeMap::<String, (Option<usize>, Option<usize>)>::new();
        for child in a.into_iter().flat_map(|id| left.children(id, Order::Name)) {
            children.entry(left.node(child).name.clone()).or_default().0 = Some(child);
        }
        for child in b.into_iter().flat_map(|id| right.children(id, Order::Name)) {
            children.entry(right.node(child).name.clone()).or_default().1 = Some(child);
        }
        pairs.extend(children.into_iter().map(|(name, (a, b))| (a, b, join(&path, &name))));
        let difference = match (a, b) {
            (Some(_), None) => Some(Difference::Removed),
            (None, Some(_)) => Some(Difference::Added),
            (Some(a), Some(b)) => changed(left, a, right, b),
            (None, None) => None,
        };
        if let Some(difference) = difference {
            found.insert(path, difference);
        }
    }
    found.into_iter().collect()
}

fn changed(left: &Content, a: usize, right: &Content, b: usize) -> Option<Difference> {
    let (a, b) = (left.node(a), right.node(b));
    if a.data != b.data {
        Some(Difference::Data)
    } else if left.acls.get(&a.acl_id) != right.acls.get(&b.acl_id) {
        Some(Difference::Acl)
    } else if a.stat != b.stat {
        Some(Difference::Stat)
    } else {
        None
    }
}
