//! How long a server takes to serve: from now, or from the start of a command, until a session is open and a read
//! is answered.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ostler_wire::OpCode;
use ostler_wire::client::encode;
use serde::Serialize;

use super::handshake::Control;
use super::options::{Common, parse_duration};
use super::process;
use super::report::{mib, print_text};
use super::run::Target;

const RETRY: Duration = Duration::from_millis(1);
/// A server that is starting may take a connection and never answer on it, so an attempt lasts only this long, or a
/// twentieth of the time so far, which bounds the error.
const ATTEMPT: Duration = Duration::from_millis(50);

/// What to wait for.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ReadyArgs {
    /// Give up after this time
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    pub(super) timeout: Duration,
    /// Measure memory this long after the first answer
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    pub(super) settle: Duration,
    /// Leave the command running
    #[arg(long)]
    pub(super) leave: bool,
    /// A command that starts the server; it is ended by SIGTERM afterwards. Its output is dropped
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Ready {
    address: String,
    ready_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_bytes: Option<u64>,
}

/// Runs it.
pub(super) fn run(target: &Target, args: &ReadyArgs, common: &Common) -> Result<()> {
    if !args.command.is_empty() && std::net::TcpStream::connect(target.servers.first()).is_ok() {
        bail!("something listens on {} already, before the command was started", target.servers);
    }
    let began = Instant::now();
    let mut child = spawn(&args.command)?;
    let result = measure(target, args, common, began, child.as_mut());
    if let Some(mut child) = child
        && (!args.leave || result.is_err())
    {
        end(&mut child)?;
    }
    let ready = result?;
    if common.json {
        print_text(&format!("{}\n", serde_json::to_string_pretty(&ready)?));
    } else {
        let memory = ready.rss_bytes.map_or_else(String::new, |bytes| format!(", RSS {}", mib(bytes)));
        print_text(&format!("{} served after {:.1} ms{memory}\n", ready.address, ready.ready_ms));
    }
    Ok(())
}

fn spawn(command: &[String]) -> Result<Option<Child>> {
    let Some((program, arguments)) = command.split_first() else { return Ok(None) };
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    Ok(Some(child))
}

fn measure(
    target: &Target,
    args: &ReadyArgs,
    common: &Common,
    began: Instant,
    mut child: Option<&mut Child>,
) -> Result<Ready> {
    let mut identity = common.identity()?;
    loop {
        identity.patience = ATTEMPT.max(began.elapsed() / 20);
        let attempt = Control::connect(target.servers.first(), &identity).and_then(|mut control| {
            let answer = control.ask(OpCode::GetData, |out| encode::path_watch_body("/", false, out))?;
            let ready = began.elapsed();
            control.close();
            Ok((answer, ready))
        });
        match attempt {
            Ok((Ok(_), ready)) => {
                std::thread::sleep(args.settle);
                let pid = target.pids.first().copied().or_else(|| child.map(|child| child.id()));
                return Ok(Ready {
                    address: target.servers.first().to_string(),
                    ready_ms: ready.as_secs_f64() * 1000.0,
                    pid,
                    rss_bytes: pid.map(process::resident_bytes).transpose()?,
                });
            }
            Ok((Err(_), _)) | Err(_) if began.elapsed() < args.timeout => {}
            Ok((Err(err), _)) => bail!("the root cannot be read: {}", super::handshake::code_name(err)),
            Err(error) => return Err(error.context(format!("not ready within {:?}", args.timeout))),
        }
        if let Some(status) = child.as_mut().map(|child| child.try_wait()).transpose()?.flatten() {
            bail!("the command ended before it served: {status}");
        }
        std::thread::sleep(RETRY);
    }
}

fn end(child: &mut Child) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .context("cannot end the command")?;
    }
    child.wait()?;
    Ok(())
}
