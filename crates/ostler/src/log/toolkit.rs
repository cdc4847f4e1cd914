//! The command line of Java's `TxnLogToolkit`, for scripts that call `zkTxnLogToolkit.sh`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use ostler_wire::Zxid;

use super::dump::{self, Shape};
use super::repair::{self, Choice, Outcome};
use crate::java::options::{self, Opt, Parsed, flag, value};

const OPTIONS: [Opt; 7] = [
    flag("h").long("help"),
    flag("r").long("recover"),
    flag("v").long("verbose"),
    flag("d").long("dump"),
    flag("y").long("yes"),
    flag("c").long("chop"),
    value("z").long("zxid"),
];

const HELP: &str = "\
usage: TxnLogToolkit [-dhrvc] <txn_log_file_name> (-z <zxid>)
 -c,--chop          Chop mode. Chop txn file to a zxid.
 -d,--dump          Dump mode. Dump all entries of the log file with printing the content of a nodepath (default)
 -h,--help          Print help message
 -r,--recover       Recovery mode. Re-calculate CRC for broken entries.
 -v,--verbose       Be verbose in recovery mode: print all entries, not just fixed ones.
 -y,--yes           Non-interactive mode: repair all CRC errors without asking
 -z,--zxid <arg>    Used with chop. Zxid to which to chop.
";

/// Runs it; standard output and error and the exit code are those of Java.
pub(super) fn run(words: &[String]) -> ExitCode {
    let parsed = match options::parse(&OPTIONS, words) {
        Ok(parsed) => parsed,
        Err(refused) => {
            eprintln!("{refused}\n");
            print!("{HELP}");
            return ExitCode::FAILURE;
        }
    };
    if parsed.has("h") || parsed.args.is_empty() {
        print!("{HELP}");
        return if parsed.has("h") { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match carry_out(&parsed) {
        Ok(Outcome::Written) => ExitCode::SUCCESS,
        Ok(Outcome::Aborted) => {
            eprintln!("Recovery aborted.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(if error.to_string().starts_with("Invalid magic") { 2 } else { 1 })
        }
    }
}

fn carry_out(parsed: &Parsed) -> Result<Outcome> {
    let name = &parsed.args[0];
    let path = Path::new(name);
    if std::fs::File::open(path).is_err() {
        bail!("File doesn't exist or not readable: {name}");
    }
    let mut out = std::io::stdout().lock();
    if parsed.has("c")
        && let Some(zxid) = parsed.value("z")
    {
        let Some(zxid) = super::number(zxid) else { bail!("For input string: \"{zxid}\"") };
        // Java says what is wrong on standard output, and succeeds.
        match repair::chop(path, Zxid(zxid), &mut out) {
            Ok(true) => {}
            Ok(false) => println_to(&mut out, &format!("Got exception: Failed to chop {}", file_name(path)))?,
            Err(error) => println_to(&mut out, &format!("Got exception: {error}"))?,
        }
        return Ok(Outcome::Written);
    }
    if parsed.has("r") {
        let choice = Choice { yes: parsed.has("y"), verbose: parsed.has("v") };
        return repair::repair(path, choice, &mut std::io::stdin().lock(), &mut out);
    }
    dump::dump(path, Shape::Text, &mut out)?;
    Ok(Outcome::Written)
}

fn println_to(out: &mut impl std::io::Write, text: &str) -> Result<()> {
    Ok(writeln!(out, "{text}")?)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
