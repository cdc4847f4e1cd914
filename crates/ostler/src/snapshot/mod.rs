//! `ostler snapshot`: looking at snapshots, Java's and ours, of every compression.

mod compare;
mod content;
mod formatter;
mod java_tools;

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use compare::{Difference, Thresholds};
use content::{Content, Order};
use ostler_store::disk::Dir;
use ostler_store::names;
use ostler_store::snapshot::{self as store, Limits};
use ostler_wire::disk::CONTAINER_OWNER;
use serde_json::{Map, Value, json};

use crate::files::Folder;
use crate::java::dates;
use crate::log::json as values;

/// Look at snapshots: summary, tree, JSON, compare, verify, convert.
#[derive(ClapArgs)]
#[command(after_help = "\
Examples:
  ostler snapshot summary version-2/snapshot.1f               what is in it, and which subtrees are large
  ostler snapshot tree version-2/snapshot.1f /app --depth 2   the names
  ostler snapshot dump -d version-2/snapshot.1f               every node with its Stat, as zkSnapShotToolkit.sh
  ostler snapshot json version-2/snapshot.1f | jq .path       one line of JSON for each node
  ostler snapshot compare snapshot.1f snapshot.2a             what was added, removed, changed
  ostler snapshot verify /var/lib/zookeeper                   is every snapshot whole?
  ostler snapshot convert --to gz version-2/snapshot.1f       writes snapshot.1f.gz beside it")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What is in it: sessions, nodes, bytes, the largest subtrees.
    #[command(after_help = "Example:\n  ostler snapshot summary snapshot.1f /app --depth 1")]
    Summary {
        /// The snapshot
        file: PathBuf,
        /// Below this node only
        #[arg(default_value = "/")]
        node: String,
        /// How deep to go into details; 0 is all
        #[arg(long, default_value_t = 1)]
        depth: usize,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// The names as a tree, with the bytes of data.
    #[command(after_help = "Example:\n  ostler snapshot tree snapshot.1f /app")]
    Tree {
        /// The snapshot
        file: PathBuf,
        /// Below this node only
        #[arg(default_value = "/")]
        node: String,
        /// How deep to go; 0 is all
        #[arg(long, default_value_t = 0)]
        depth: usize,
    },
    /// Every node with its Stat, as Java's SnapshotFormatter prints it.
    #[command(after_help = "Example:\n  ostler snapshot dump -d snapshot.1f")]
    Dump {
        /// The snapshot
        file: PathBuf,
        /// The data, too, in base64
        #[arg(short)]
        data: bool,
    },
    /// One line of JSON for each node; or with --ncdu the tree for the disk usage viewer ncdu.
    #[command(after_help = "Example:\n  ostler snapshot json --ncdu snapshot.1f | ncdu -f -")]
    Json {
        /// The snapshot
        file: PathBuf,
        /// The format of ncdu, as `zkSnapShotToolkit.sh -json` writes it
        #[arg(long)]
        ncdu: bool,
    },
    /// What differs between two snapshots. Exits with 1 if anything does.
    #[command(after_help = "Examples:\n  ostler snapshot compare snapshot.1f snapshot.2a.gz\n  \
        ostler snapshot compare --by-depth --bytes 100 --nodes 5 snapshot.1f snapshot.2a")]
    Compare {
        /// The older one
        left: PathBuf,
        /// The newer one
        right: PathBuf,
        /// One JSON object for each node that differs
        #[arg(long, conflicts_with = "by_depth")]
        json: bool,
        /// Weigh subtrees depth by depth, as Java's SnapshotComparer does
        #[arg(long)]
        by_depth: bool,
        /// With --by-depth: differences of so many bytes are too small to be shown
        #[arg(long, default_value_t = 0)]
        bytes: i64,
        /// With --by-depth: differences of so many nodes are too small to be shown
        #[arg(long, default_value_t = 0)]
        nodes: i64,
    },
    /// Read snapshots whole and check every seal. Exits with 1 if one is damaged.
    #[command(after_help = "Example:\n  ostler snapshot verify /var/lib/zookeeper")]
    Verify {
        /// Snapshots, or data directories
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// One line of JSON for each snapshot
        #[arg(long)]
        json: bool,
    },
    /// Write it once more beside itself with another compression; the old one stays.
    #[command(after_help = "Example:\n  ostler snapshot convert --to snappy snapshot.1f")]
    Convert {
        /// The snapshot
        file: PathBuf,
        /// The compression of the new one
        #[arg(long)]
        to: Method,
    },
    /// The command line of Java's SnapshotFormatter.
    #[command(hide = true, disable_help_flag = true)]
    Formatter {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// The command line of Java's SnapshotRecursiveSummary.
    #[command(hide = true, disable_help_flag = true)]
    RecursiveSummary {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// The command line of Java's SnapshotComparer.
    #[command(hide = true, disable_help_flag = true)]
    Comparer {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

/// How a snapshot is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    None,
    Gz,
    Snappy,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let outcome = match args.what {
        What::Formatter { words } => return java_tools::format(&words),
        What::RecursiveSummary { words } => return java_tools::summary(&words),
        What::Comparer { words } => return java_tools::compare(&words),
        What::Summary { file, node, depth, json } => summary(&file, &node, depth, json).map(|()| true),
        What::Tree { file, node, depth } => tree(&file, &node, depth).map(|()| true),
        What::Dump { file, data } => dump(&file, data).map(|()| true),
        What::Json { file, ncdu } => json_lines(&file, ncdu).map(|()| true),
        What::Compare { left, right, json, by_depth: false, .. } => differences(&left, &right, json),
        What::Compare { left, right, bytes, nodes, .. } => {
            by_depth(&left, &right, bytes, nodes).map(|()| true)
        }
        What::Verify { paths, json } => verify(&paths, json),
        What::Convert { file, to } => convert(&file, to).map(|()| true),
    };
    match outcome {
        Ok(right) => ExitCode::from(u8::from(!right)),
        Err(error) if crate::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ostler snapshot: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn summary(file: &Path, node: &str, depth: usize, as_json: bool) -> Result<()> {
    let content = content::read(file)?;
    let from = content.find(node).with_context(|| format!("there is no node {node} in the snapshot"))?;
    let (mut nodes, mut bytes, mut ephemerals, mut containers, mut newest) = (0_u64, 0_u64, 0_u64, 0_u64, 0);
    let mut largest = (0, String::new());
    content.walk(from, node, Order::Name, &mut |id, path, _| {
        let node = content.node(id);
        let size = node.data.as_ref().map_or(0, |data| data.len() as u64);
        nodes += 1;
        bytes += size;
        match node.stat.ephemeral_owner {
            0 => {}
            CONTAINER_OWNER => containers += 1,
            _ => ephemerals += 1,
        }
        newest = newest.max(node.stat.mzxid).max(node.stat.pzxid);
        if size > largest.0 {
            largest = (size, path.to_owned());
        }
    });
    if as_json {
        let digest = content.info.digest.map(|digest| {
            json!({"zxid": format!("0x{:x}", digest.zxid.0), "version": digest.version, "digest": digest.digest})
        });
        let object = json!({
            "file": file.display().to_string(),
            "zxid": format!("0x{:x}", content.named.zxid.0),
            "lastProcessedZxid": content.info.last_processed.map(|zxid| format!("0x{:x}", zxid.0)),
            "newestZxid": format!("0x{newest:x}"),
            "sessions": content.sessions.len(),
            "acls": content.acls.len(),
            "node": node,
            "nodes": nodes,
            "dataBytes": bytes,
            "ephemerals": ephemerals,
            "containers": containers,
            "largest": {"path": largest.1, "bytes": largest.0},
            "uncompressedBytes": content.info.bytes,
            "digest": digest,
        });
        println!("{object}");
        return Ok(());
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(
        out,
        "{}: zxid 0x{:x}, {} bytes uncompressed",
        file.display(),
        content.named.zxid.0,
        content.info.bytes
    )?;
    writeln!(out, "  sessions     {}", content.sessions.len())?;
    writeln!(out, "  ACLs         {}", content.acls.len())?;
    writeln!(out, "  newest zxid  0x{newest:x}")?;
    if let Some(digest) = content.info.digest {
        writeln!(out, "  digest       {} at zxid 0x{:x}", digest.digest, digest.zxid.0)?;
    }
    writeln!(
        out,
        "  below {node}: {nodes} nodes with {bytes} bytes of data, {ephemerals} ephemeral or with a TTL, {containers} containers"
    )?;
    if largest.0 > 0 {
        writeln!(out, "  largest      {} with {} bytes", largest.1, largest.0)?;
    }
    writeln!(out)?;
    write!(out, "{}", formatter::summary(&content, node, depth)?)?;
    Ok(out.flush()?)
}

fn tree(file: &Path, node: &str, depth: usize) -> Result<()> {
    let content = content::read(file)?;
    let from = content.find(node).with_context(|| format!("there is no node {node} in the snapshot"))?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    put_branch(&content, from, node, "", "", depth, 0, &mut out)?;
    Ok(out.flush()?)
}

#[allow(
    clippy::too_many_arguments,
    reason = "what a line begins with differs from what those below it begin with"
)]
fn put_branch(
    content: &Content,
    id: usize,
    name: &str,
    indent: &str,
    below: &str,
    max_depth: usize,
    depth: usize,
    out: &mut impl std::io::Write,
) -> Result<()> {
    let node = content.node(id);
    let size = node.data.as_ref().map_or(0, Vec::len);
    let owner = match node.stat.ephemeral_owner {
        0 => String::new(),
        CONTAINER_OWNER => ", container".to_owned(),
        owner => format!(", owner 0x{owner:x}"),
    };
    writeln!(out, "{indent}{name} ({size} bytes{owner})")?;
    if max_depth > 0 && depth == max_depth {
        return Ok(());
    }
    let children = content.children(id, Order::Name);
    for (at, child) in children.iter().enumerate() {
        let last = at + 1 == children.len();
        let (own, further) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
        let (indent, below) = (format!("{below}{own}"), format!("{below}{further}"));
        put_branch(content, *child, &content.node(*child).name, &indent, &below, max_depth, depth + 1, out)?;
    }
    Ok(())
}

fn dump(file: &Path, with_data: bool) -> Result<()> {
    let content = content::read(file)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    formatter::details(&content, with_data, &mut out)?;
    Ok(out.flush()?)
}

fn json_lines(file: &Path, ncdu: bool) -> Result<()> {
    let content = content::read(file)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    if ncdu {
        formatter::ncdu(&content, &mut out)?;
        return Ok(out.flush()?);
    }
    let root = content.find("/").context("the snapshot has no root")?;
    let mut failed = Ok(());
    content.walk(root, "/", Order::Name, &mut |id, path, _| {
        if failed.is_ok() {
            failed = writeln!(out, "{}", node_json(&content, id, path));
        }
    });
    failed?;
    Ok(out.flush()?)
}

fn node_json(content: &Content, id: usize, path: &str) -> Value {
    let node = content.node(id);
    let stat = &node.stat;
    let hex = |value: i64| format!("0x{value:x}");
    let mut object = Map::new();
    object.insert("path".into(), json!(path));
    values::put_data(node.data.as_deref(), &mut object);
    let acl = match node.acl_id {
        -1 => values::acl_list(Some(&ostler_wire::Acl::open())),
        id => values::acl_list(content.acls.get(&id).map(Vec::as_slice)),
    };
    object.insert("acl".into(), acl);
    object.insert(
        "stat".into(),
        json!({
            "czxid": hex(stat.czxid), "mzxid": hex(stat.mzxid), "pzxid": hex(stat.pzxid),
            "ctime": dates::iso(stat.ctime), "mtime": dates::iso(stat.mtime),
            "version": stat.version, "cversion": stat.cversion, "aversion": stat.aversion,
            "ephemeralOwner": hex(stat.ephemeral_owner),
        }),
    );
    Value::Object(object)
}

fn differences(left: &Path, right: &Path, as_json: bool) -> Result<bool> {
    let (left, right) = (content::read(left)?, content::read(right)?);
    let found = compare::differences(&left, &right);
    let mut out = BufWriter::new(std::io::stdout().lock());
    for (path, difference) in &found {
        if as_json {
            let word = match difference {
                Difference::Added => "added",
                Difference::Removed => "removed",
                Difference::Data => "data",
                Difference::Acl => "acl",
                Difference::Stat => "stat",
            };
            writeln!(out, "{}", json!({"path": path, "difference": word}))?;
        } else {
            let word = match difference {
                Difference::Added => "+",
                Difference::Removed => "-",
                Difference::Data => "data",
                Difference::Acl => "acl ",
                Difference::Stat => "stat",
            };
            writeln!(out, "{word:4} {path}")?;
        }
    }
    if !as_json {
        writeln!(out, "{} nodes and {} nodes, {} differ", left.len(), right.len(), found.len())?;
    }
    out.flush()?;
    Ok(found.is_empty())
}

fn by_depth(left: &Path, right: &Path, bytes: i64, nodes: i64) -> Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let left = compare::load(left, &mut out)?;
    let right = compare::load(right, &mut out)?;
    let thresholds = Thresholds { bytes, nodes, debug: false, show_small: false };
    compare::by_depth(&left, &right, thresholds, None, &mut out)?;
    Ok(out.flush()?)
}

fn verify(paths: &[PathBuf], as_json: bool) -> Result<bool> {
    let mut right = true;
    for path in paths {
        let (folder, snapshots) = if path.is_dir() {
            let folder = Folder::of_data(path);
            let snapshots = names::snapshots(&folder)?;
            if snapshots.is_empty() {
                bail!("there is no snapshot in {}", path.display());
            }
            (folder, snapshots)
        } else {
            let (folder, file) = Folder::of_file(path, Dir::Snap)?;
            (folder, vec![names::given_snapshot(file)])
        };
        for snapshot in snapshots {
            let shown = folder.path(&snapshot.path).display().to_string();
            let checked = store::verify(&folder, &snapshot, Limits::default());
            right &= checked.is_ok();
            match checked {
                Ok(info) if as_json => println!(
                    "{}",
                    json!({"file": shown, "ok": true, "nodes": info.nodes, "sessions": info.sessions, "bytes": info.bytes})
                ),
                Ok(info) => {
                    println!(
                        "{shown}: {} nodes, {} sessions, {} bytes\n  OK",
                        info.nodes, info.sessions, info.bytes
                    );
                }
                Err(error) if as_json => {
                    println!("{}", json!({"file": shown, "ok": false, "problem": error.to_string()}));
                }
                Err(error) => println!("{shown}:\n  DAMAGED: {error}"),
            }
        }
    }
    Ok(right)
}

fn convert(file: &Path, to: Method) -> Result<()> {
    let (folder, path) = Folder::of_file(file, Dir::Snap)?;
    let to = match to {
        Method::None => names::Compression::None,
        Method::Gz => names::Compression::Gzip,
        Method::Snappy => names::Compression::Snappy,
    };
    let (target, bytes) = store::convert(&folder, &names::given_snapshot(path), to, Limits::default())?;
    println!("{}: {bytes} bytes", folder.path(&target.path).display());
    Ok(())
}
