//! The command lines of Java's three snapshot tools, for scripts that call their shell scripts.

use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use super::compare::{self, Thresholds};
use super::{content, formatter};
use crate::java::options::{self, flag, value};

/// Arguments or files that make no sense.
const INVALID: u8 = 2;

/// `zkSnapShotToolkit.sh [-d|-json] FILE`.
pub(super) fn format(words: &[String]) -> ExitCode {
    let (mut with_data, mut as_json, mut file) = (false, false, None);
    let mut words = words.iter();
    for word in words.by_ref() {
        match word.as_str() {
            "-d" => with_data = true,
            "-json" => as_json = true,
            name => {
                file = Some(name);
                break;
            }
        }
    }
    let (Some(file), None) = (file, words.next()) else {
        eprintln!("USAGE: SnapshotFormatter [-d|-json] snapshot_file");
        eprintln!("       -d dump the data for each znode");
        eprintln!("       -json dump znode info in json format");
        return ExitCode::from(INVALID);
    };
    let path = Path::new(file);
    if let Err(problem) = readable(path) {
        eprintln!("{problem}");
        return ExitCode::from(INVALID);
    }
    if with_data && as_json {
        eprintln!("Cannot specify both data dump (-d) and json mode (-json) in same call");
        return ExitCode::from(INVALID);
    }
    end(content::read(path).and_then(|content| {
        let mut out = BufWriter::new(std::io::stdout().lock());
        if as_json {
            formatter::ncdu(&content, &mut out)?;
        } else {
            formatter::details(&content, with_data, &mut out)?;
        }
        Ok(out.flush()?)
    }))
}

/// `zkSnapshotRecursiveSummaryToolkit.sh FILE NODE DEPTH`.
pub(super) fn summary(words: &[String]) -> ExitCode {
    let depth = words.get(2).and_then(|depth| depth.parse::<i32>().ok());
    let ([file, node, _], Some(depth)) = (words, depth) else {
        eprintln!(
            "USAGE:\n\n\nSnapshotRecursiveSummary  <snapshot_file>  <starting_node>  <max_depth>\n\n\nsnapshot_file:    \
             path to the zookeeper snapshot\nstarting_node:    the path in the zookeeper tree where the traversal \
             should begin\nmax_depth:        defines the depth where the tool still writes to the output. 0 means \
             there is no depth limit, every non-leaf node's stats will be displayed, 1 means it will only contain \
             the starting node's and it's children's stats, 2 ads another level and so on. This ONLY affects the \
             level of details displayed, NOT the calculation."
        );
        return ExitCode::from(INVALID);
    };
    end(content::read(Path::new(file)).and_then(|content| {
        // A negative depth shows nothing in Java, since no level is below it.
        let text = match usize::try_from(depth) {
            Ok(depth) => formatter::summary(&content, node, depth)?,
            Err(_) => String::new(),
        };
        println!("{text}");
        Ok(())
    }))
}

/// `zkSnapshotComparer.sh -l FILE -r FILE -b BYTES -n NODES [-d] [-i]`.
pub(super) fn compare(words: &[String]) -> ExitCode {
    let options = [
        value("l").long("left").required(),
        value("r").long("right").required(),
        value("b").long("bytes").required(),
        value("n").long("nodes").required(),
        flag("d").long("debug"),
        flag("i").long("interactive"),
    ];
    let parsed = match options::parse(&options, words) {
        Ok(parsed) => parsed,
        Err(refused) => {
            eprintln!("{refused}");
            print!("{COMPARER_HELP}");
            return ExitCode::from(INVALID);
        }
    };
    let text = |name| parsed.value(name).unwrap_or_default();
    let (Ok(bytes), Ok(nodes)) = (text("b").parse::<i32>(), text("n").parse::<i32>()) else {
        eprintln!("-b and -n take numbers, not '{}' and '{}'", text("b"), text("n"));
        return ExitCode::FAILURE;
    };
    let thresholds = Thresholds {
        bytes: i64::from(bytes),
        nodes: i64::from(nodes),
        debug: parsed.has("d"),
        show_small: parsed.has("d"),
    };
    let run = || -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "Successfully parsed options!")?;
        let left = compare::load(Path::new(text("l")), &mut out)?;
        let right = compare::load(Path::new(text("r")), &mut out)?;
        let mut stdin = std::io::stdin().lock();
        let answers: Option<&mut dyn std::io::BufRead> =
            if parsed.has("i") { Some(&mut stdin) } else { None };
        compare::by_depth(&left, &right, thresholds, answers, &mut out)
    };
    end(run())
}

const COMPARER_HELP: &str = "\
usage: java -cp <classPath> org.apache.zookeeper.server.SnapshotComparer
 -b,--bytes <BYTETHRESHOLD>   (Required) The node data delta size threshold, in bytes, for printing the node.
 -d,--debug                   Use debug output.
 -i,--interactive             Enter interactive mode.
 -l,--left <LEFT>             (Required) The left snapshot file.
 -n,--nodes <NODETHRESHOLD>   (Required) The descendant node delta size threshold, in nodes, for printing the node.
 -r,--right <RIGHT>           (Required) The right snapshot file.
";

fn readable(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Err(_) => Err(format!("File '{}' does not exist.", absolute(path))),
        Ok(metadata) if metadata.is_dir() => {
            Err(format!("'{}' is a directory. it must be a file.", absolute(path)))
        }
        Ok(_) if std::fs::File::open(path).is_err() => {
            Err(format!("Read permission is denied on the file '{}'", absolute(path)))
        }
        Ok(_) => Ok(()),
    }
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn end(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if crate::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
