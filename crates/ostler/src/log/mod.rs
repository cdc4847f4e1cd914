//! `ostler log`: looking at transaction logs, Java's and ours. A log is only ever read; what is repaired or cut off
//! becomes a new file beside it.

mod dump;
pub(crate) mod json;
mod repair;
mod text;
mod toolkit;
mod verify;

use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, Subcommand};
use dump::Shape;
use ostler_wire::Zxid;

/// Look at transaction logs: print, follow, verify, repair.
#[derive(ClapArgs)]
#[command(after_help = "\
Examples:
  ostler log dump /var/lib/zookeeper/version-2/log.1        every transaction, as zkTxnLogToolkit.sh prints it
  ostler log dump --json log.1 | jq 'select(.path==\"/a\")'   one line of JSON each
  ostler log follow /var/lib/zookeeper                      what the server writes, as it writes it
  ostler log verify /var/lib/zookeeper                      is every log whole, and none missing?
  ostler log repair log.1                                   asks at each wrong checksum, writes log.1.fixed")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Print every transaction of a log.
    #[command(after_help = "Example:\n  ostler log dump --json version-2/log.100000001")]
    Dump {
        /// The log
        file: PathBuf,
        /// One line of JSON for each transaction
        #[arg(long)]
        json: bool,
    },
    /// Print what is added to a log, and to the next one, until Ctrl-C.
    #[command(after_help = "Example:\n  ostler log follow --new /var/lib/zookeeper")]
    Follow {
        /// A log, or a data directory, whose newest log it is then
        path: PathBuf,
        /// One line of JSON for each transaction
        #[arg(long)]
        json: bool,
        /// Only what is new
        #[arg(long)]
        new: bool,
    },
    /// Check logs: checksums, records, the order of zxids, gaps. Exits with 1 if something is wrong.
    #[command(after_help = "Example:\n  ostler log verify /var/lib/zookeeper/version-2")]
    Verify {
        /// Logs, or data directories
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// One line of JSON for each log
        #[arg(long)]
        json: bool,
    },
    /// Write a copy with right checksums, LOG.fixed, asking at each wrong one.
    #[command(after_help = "Example:\n  ostler log repair -y version-2/log.1")]
    Repair {
        /// The log
        file: PathBuf,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// Print every transaction, not only those with wrong checksums
        #[arg(short, long)]
        verbose: bool,
    },
    /// Write a copy that ends with this zxid, `LOG.chopped<zxid>`.
    #[command(after_help = "Example:\n  ostler log chop version-2/log.1 0x10")]
    Chop {
        /// The log
        file: PathBuf,
        /// The last zxid to keep, decimal or 0x…
        zxid: String,
    },
    /// The command line of Java's TxnLogToolkit, for zkTxnLogToolkit.sh.
    #[command(hide = true, disable_help_flag = true)]
    Toolkit {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

pub(crate) fn run(args: Args) -> ExitCode {
    let outcome = match args.what {
        What::Toolkit { words } => return toolkit::run(&words),
        What::Dump { file, json } => dump(&file, shape(json)),
        What::Follow { path, json, new } => {
            dump::follow(&path, shape(json), new, &mut BufWriter::new(std::io::stdout().lock()))
                .map(|()| ExitCode::SUCCESS)
        }
        What::Verify { paths, json } => {
            verify::verify(&paths, json).map(|right| ExitCode::from(u8::from(!right)))
        }
        What::Repair { file, yes, verbose } => repair(&file, repair::Choice { yes, verbose }),
        What::Chop { file, zxid } => chop(&file, &zxid),
    };
    outcome.unwrap_or_else(|error| {
        if crate::is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("ostler log: {error:#}");
        ExitCode::FAILURE
    })
}

fn shape(json: bool) -> Shape {
    if json { Shape::Json } else { Shape::Text }
}

fn dump(file: &std::path::Path, shape: Shape) -> Result<ExitCode> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let dumped = dump::dump(file, shape, &mut out);
    out.flush()?;
    dumped?;
    Ok(ExitCode::SUCCESS)
}

fn repair(file: &std::path::Path, choice: repair::Choice) -> Result<ExitCode> {
    if !choice.yes && !std::io::stdin().is_terminal() {
        eprintln!("(answers are read from standard input: Yes, No or Abort)");
    }
    let outcome = repair::repair(file, choice, &mut std::io::stdin().lock(), &mut std::io::stdout().lock())?;
    Ok(match outcome {
        repair::Outcome::Written => ExitCode::SUCCESS,
        repair::Outcome::Aborted => {
            eprintln!("ostler log: aborted; the .fixed file holds what was copied so far");
            ExitCode::FAILURE
        }
    })
}

fn chop(file: &std::path::Path, zxid: &str) -> Result<ExitCode> {
    let zxid = number(zxid).with_context(|| format!("'{zxid}' is no zxid, such as 0x10"))?;
    let chopped = repair::chop(file, Zxid(zxid), &mut std::io::stdout().lock())?;
    Ok(ExitCode::from(u8::from(!chopped)))
}

/// A number as Java's `Long.decode` reads it: decimal, 0x…, #…, or octal with a leading zero.
pub(crate) fn number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(hex) = lower.strip_prefix("0x").or_else(|| lower.strip_prefix('#')) {
        (16, hex)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// Whether a length that reaches beyond the end of the file is that of a record, which was cut off then.
fn reaches_the_end(length: i32) -> bool {
    const LONGEST: i32 = 2 * 0xf_ffff;
    (1..=LONGEST).contains(&length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decoded_as_in_java() {
        assert_eq!(number("0x10"), Some(16));
        assert_eq!(number("#ff"), Some(255));
        assert_eq!(number("010"), Some(8));
        assert_eq!(number("-5"), Some(-5));
        assert_eq!(number("0"), Some(0));
        assert_eq!((number(""), number("x"), number("0x-5"), number("--5")), (None, None, None, None));
    }
}
