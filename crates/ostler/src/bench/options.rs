//! What can be chosen on the command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use super::handshake::{Identity, PATIENCE};

/// Where, and what to do besides.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Common {
    /// The znode below which everything happens; what was created is deleted at the end
    #[arg(long, value_name = "ZNODE", default_value = "/ostler-bench")]
    pub(super) path: String,
    /// Leave what was created
    #[arg(long)]
    pub(super) keep: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Seed of everything that is random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Credentials, for example digest:user:password
    #[arg(long, value_name = "SCHEME:CREDENTIALS")]
    pub(super) auth: Option<String>,
    /// Session timeout to ask for
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(super) session_timeout: Duration,
    /// Measure fdatasync in this directory before and after the run
    #[arg(long, value_name = "DIR")]
    pub(super) fsync_probe: Option<PathBuf>,
}

impl Common {
    pub(super) fn identity(&self) -> Result<Identity> {
        let auth = match self.auth.as_deref().map(|auth| auth.split_once(':')) {
            None => None,
            Some(Some((scheme, auth))) => Some((scheme.to_owned(), auth.to_owned())),
            Some(None) => bail!("--auth wants SCHEME:CREDENTIALS, for example digest:user:password"),
        };
        Ok(Identity { timeout: self.session_timeout, auth, patience: PATIENCE })
    }

    /// The subtree of one workload.
    pub(super) fn subtree(&self, name: &str) -> Result<String> {
        if !ostler_wire::path::is_valid(&self.path) || self.path == "/" || self.path.starts_with("/zookeeper")
        {
            bail!(
                "--path wants a znode of its own below /, for example /ostler-bench, and not {:?}",
                self.path
            );
        }
        Ok(format!("{}/{name}", self.path))
    }
}

/// The shape of a load.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Shape {
    /// Connections, each with a session of its own
    #[arg(short, long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) connections: u32,
    /// Requests in flight per connection (pipelining)
    #[arg(short, long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) depth: u32,
    /// Bytes of data of a znode
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(super) value_size: u32,
    /// Znodes over which reads and sets are spread
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) nodes: u32,
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(super) duration: Duration,
    /// Measure this many operations instead of a time
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    pub(super) ops: Option<u64>,
    /// How long to run before measuring
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub(super) warmup: Duration,
    /// Report every second
    #[arg(long)]
    pub(super) per_second: bool,
    /// Note in which seconds a snapshot file grows in this data directory (of a server on this machine), and report
    /// those seconds apart from the others; implies --per-second
    #[arg(long, value_name = "DIR")]
    pub(super) watch_dir: Option<PathBuf>,
}

/// A time: `10s`, `500ms`, `2m`, or seconds.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time; write for example 10s, 500ms or 2m");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "" | "s" => number,
        "ms" => number / 1000.0,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "10x", "-1s", "1..2s", "99999999999999999999999h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
