//! `ostler server`: starts a server from a zoo.cfg, from the legacy arguments, or on the embedded default.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::Args as ClapArgs;
use ostler_server::config::{EnvSettings, ServerConfig, Severity};
use ostler_server::{Serving, exit};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// Start a server.
#[derive(ClapArgs, Default)]
#[command(after_help = "\
Examples:
  ostler server                            port 2181, data in ./ostler-data
  ostler server conf/zoo.cfg               as the file says
  ostler server 2181 /var/lib/ostler       port and data directory
  ostler server 2181 /var/lib/ostler 2000 100
                                           and tickTime, and maxClientCnxns
  OSTLER_LOG=debug ostler server           tell more

Settings that zkServer.sh users keep in SERVER_JVMFLAGS or JVMFLAGS as -Dkey=value are read as well.")]
pub(crate) struct Args {
    /// A zoo.cfg, or the client port of the legacy form
    #[arg(value_name = "CONF | PORT")]
    first: Option<String>,
    /// The data directory of the legacy form
    #[arg(value_name = "DIR")]
    dir: Option<String>,
    /// tickTime of the legacy form, in milliseconds
    #[arg(value_name = "TICK_TIME")]
    tick_time: Option<String>,
    /// maxClientCnxns of the legacy form
    #[arg(value_name = "MAX_CLIENT_CNXNS")]
    max_client_cnxns: Option<String>,
    /// How much to log: error, warn, info, debug, trace, or a filter such as `ostler_server=debug`
    #[arg(long, env = "OSTLER_LOG", value_name = "LEVEL")]
    log_level: Option<String>,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let env = EnvSettings::from_process();
    let embedded = args.first.is_none();
    let config = match (&args.first, &args.dir) {
        (None, _) => ServerConfig::embedded_default(&env),
        (Some(conf), None) => ServerConfig::from_file(Path::new(conf), &env),
        (Some(port), Some(dir)) => ServerConfig::from_legacy_args(
            port,
            dir,
            args.tick_time.as_deref(),
            args.max_client_cnxns.as_deref(),
            &env,
        ),
    };
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            eprintln!("ostler: {error}");
            return exit_code(exit::BAD_CONFIG);
        }
    };
    if let Err(error) = start_logging(args.log_level.as_deref(), &config) {
        eprintln!("ostler: {error}");
        return exit_code(exit::BAD_CONFIG);
    }
    for warning in &config.warnings {
        match warning.severity {
            Severity::Info => info!("{warning}"),
            Severity::Warn => warn!("{warning}"),
        }
    }
    let origin = config.origin.clone();
    match ostler_server::run(config, |serving| greet(serving, &origin, embedded)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ostler: {error}");
            exit_code(error.exit_code())
        }
    }
}

/// A few lines for whoever started it: what, where, and what to do next.
fn greet(serving: &Serving, origin: &str, embedded: bool) {
    let port = serving.address.port();
    let what = match serving.member {
        None => "a standalone server".to_owned(),
        Some((id, voters)) => format!("server {id} of an ensemble with {voters} voters"),
    };
    println!("Ostler {}, {what} that speaks the protocol of ZooKeeper 3.9", env!("CARGO_PKG_VERSION"));
    println!("  listening on  {} (settings: {origin})", serving.address);
    println!(
        "  data in       {} ({} nodes, zxid {})",
        serving.data_dir.display(),
        serving.nodes,
        serving.zxid
    );
    println!(
        "  connect with  zkCli.sh -server localhost:{port}    or, in Python: KazooClient('localhost:{port}')"
    );
    if embedded {
        println!("  stop with     Ctrl-C; settings of your own: ostler server zoo.cfg");
    }
}

fn start_logging(level: Option<&str>, config: &ServerConfig) -> Result<(), String> {
    let level =
        level.map_or_else(|| config.log_level.map_or("info", |level| level.text()).to_owned(), str::to_owned);
    let filter = EnvFilter::try_new(&level).map_err(|error| {
        format!("the log level '{level}' is none of error, warn, info, debug, trace: {error}")
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
