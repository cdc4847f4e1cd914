//! `cargo xtask interop recipes`: the client's recipes together with those of Curator (Java) and kazoo (Python), on the
//! same znodes of one server.
//!
//! Each side is a small program that does the same. Whether two hold at once is judged by a file that only one can
//! create, so a program that finds it there fails, and with it the run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::apache::Apache;
use crate::scratch::{self, Scratch};
use crate::server::{Kind, Server, Setup, build_ostler};

const CURATOR: &str = "5.7.1";

/// Options of the stage.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Ostler's lanes.
    #[arg(long, default_value_t = 1)]
    lanes: u32,
    /// How often the lock is acquired, by all together.
    #[arg(long, default_value_t = 10_000)]
    acquisitions: usize,
    /// On Apache's server in place of Ostler's.
    #[arg(long)]
    apache: bool,
}

/// The programs.
struct Agents {
    ostler: PathBuf,
    python: PathBuf,
    script: PathBuf,
    classpath: String,
    java: PathBuf,
}

/// What a program is to do.
struct Job<'a> {
    who: &'static str,
    what: &'a str,
    id: String,
    count: usize,
}

/// Runs every part and prints the counts.
pub(crate) fn run(options: &Options) -> Result<()> {
    let kind = if options.apache {
        Kind::Apache(Apache::install()?)
    } else {
        Kind::Ostler { binary: build_ostler()?, lanes: options.lanes }
    };
    let agents = Agents::install()?;
    let scratch = Scratch::new("recipes")?;
    let setup = Setup { config: vec!["maxClientCnxns=0".to_owned()], ..Setup::default() };
    let server = Server::start(&kind, &setup, &scratch.path().join("server"))?;
    let address = server.address().to_string();
    println!("on {}:", server.name());

    let share = options.acquisitions.div_ceil(6);
    let contenders = |who: &'static str| [1, 2].map(|n| job(who, "lock", format!("{who}-{n}"), share));
    let jobs: Vec<_> = ["ostler", "curator", "kazoo"].into_iter().flat_map(contenders).collect();
    agents.together(&address, scratch.path(), &jobs)?;
    println!("  lock: {} acquisitions by 2 of each (Ostler, Curator, kazoo), never two holders", share * 6);

    let turns = ["ostler", "curator"].into_iter().zip(["even", "odd"]);
    let turns: Vec<_> = turns.map(|(who, id)| job(who, "revoke", id.to_owned(), 20)).collect();
    agents.together(&address, scratch.path(), &turns)?;
    println!(
        "  revocation: 10 times of Curator by Ostler, 10 times the reverse, each asked before it let go"
    );

    let rounds = 50;
    let members = |what: &'static str, count: usize| {
        ["ostler", "curator"].map(|who| [1, 2].map(|n| job(who, what, format!("{who}-{n}"), count)))
    };
    agents.together(&address, scratch.path(), members("elect", rounds).as_flattened())?;
    println!(
        "  leader election: {} reigns, 2 candidates of each (Ostler, Curator), never two leaders",
        rounds * 4
    );
    agents.together(&address, scratch.path(), members("barrier", 20).as_flattened())?;
    println!("  double barrier: 20 rounds of 4 members, 2 of each (Ostler, Curator)");
    agents.together(&address, scratch.path(), members("discover", 20).as_flattened())?;
    println!("  discovery: 20 services of 4 providers, 2 of each (Ostler, Curator), all seen by all");

    let values = 500;
    agents.together(&address, scratch.path(), &[job("kazoo", "put", "python".to_owned(), values)])?;
    agents.together(&address, scratch.path(), &[job("ostler", "take", String::new(), values)])?;
    agents.together(&address, scratch.path(), &[job("ostler", "put", "ostler".to_owned(), values)])?;
    agents.together(&address, scratch.path(), &[job("kazoo", "take", String::new(), values)])?;
    println!("  queue: {values} values from kazoo to Ostler, {values} back, each once and in order");
    Ok(())
}

fn job<'a>(who: &'static str, what: &'a str, id: String, count: usize) -> Job<'a> {
    Job { who, what, id, count }
}

impl Agents {
    fn install() -> Result<Self> {
        let root = scratch::workspace_root()?;
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", "ostler-client", "--example", "recipe-agent"])
            .current_dir(&root)
            .status()
            .context("run cargo build")?;
        ensure!(status.success(), "the agent does not build");
        let target = scratch::metadata()?.target_directory.clone().into_std_path_buf();
        let sources = root.join("xtask/src/interop/recipes");
        let (classpath, java) = install_curator(&sources)?;
        Ok(Self {
            ostler: target.join("debug/examples/recipe-agent"),
            python: super::kazoo::python()?,
            script: sources.join("agent.py"),
            classpath,
            java,
        })
    }

    /// Runs jobs side by side; all have to succeed.
    fn together(&self, server: &str, scratch: &Path, jobs: &[Job<'_>]) -> Result<()> {
        let directory = scratch.join(format!("files-{}", jobs.first().map_or("", |job| job.what)));
        std::fs::create_dir_all(&directory)?;
        let began = Instant::now();
        let mut running = Vec::new();
        for job in jobs {
            let mut command = match job.who {
                "ostler" => Command::new(&self.ostler),
                "kazoo" => {
                    let mut command = Command::new(&self.python);
                    command.arg(&self.script);
                    command
                }
                _ => {
                    let mut command = Command::new("java");
                    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
                    command.arg(format!("{}:{}", self.java.display(), self.classpath)).arg("Agent");
                    command
                }
            };
            let child = command
                .args([server, job.what])
                .arg(&directory)
                .args([&job.id, &job.count.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("start the agent of {}", job.who))?;
            running.push((job, child));
        }
        let mut failed = Vec::new();
        for (job, child) in running {
            let output = child.wait_with_output()?;
            let said = String::from_utf8_lossy(&output.stdout);
            if !output.status.success() || said.trim() != job.count.to_string() {
                let errors = String::from_utf8_lossy(&output.stderr);
                let tail: Vec<&str> = errors.lines().rev().take(12).collect();
                failed.push(format!(
                    "{} of {}:\n{}",
                    job.what,
                    job.who,
                    tail.into_iter().rev().collect::<Vec<_>>().join("\n")
                ));
            }
        }
        if !failed.is_empty() {
            bail!("{}", failed.join("\n"));
        }
        eprintln!("  ({} agents, {:.1?})", jobs.len(), began.elapsed());
        Ok(())
    }
}

/// Fetches Curator with Maven and compiles the agent: the class path of the jars, and where the agent is.
fn install_curator(sources: &Path) -> Result<(String, PathBuf)> {
    let home = scratch::keep_dir()?.join(format!("curator-{CURATOR}"));
    std::fs::create_dir_all(&home)?;
    let dependency = |artifact| {
        format!(
            "<dependency><groupId>org.apache.curator</groupId><artifactId>{artifact}</artifactId>\
             <version>{CURATOR}</version></dependency>"
        )
    };
    let jars = home.join("lib");
    let classpath = format!("{}/*", jars.display());
    if !home.join("complete").exists() {
        eprintln!("fetching Curator {CURATOR} with mvn into {}", home.display());
        std::fs::write(
            home.join("pom.xml"),
            format!(
                "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
                 <groupId>ostler</groupId><artifactId>curator</artifactId><version>1</version><dependencies>\
                 {}</dependencies></project>\n",
                ["curator-recipes", "curator-x-discovery"].map(dependency).concat()
            ),
        )?;
        let status = Command::new("mvn")
            .args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"])
            .current_dir(&home)
            .stdin(Stdio::null())
            .status()
            .context("run mvn (Maven is needed to fetch Curator)")?;
        ensure!(status.success(), "mvn could not fetch Curator {CURATOR}");
        std::fs::write(home.join("complete"), CURATOR)?;
    }
    let classes = home.join("classes");
    let status = Command::new("javac")
        .args(["-cp", &classpath, "-d"])
        .arg(&classes)
        .arg(sources.join("Agent.java"))
        .status()
        .context("run javac")?;
    ensure!(status.success(), "the agent in Java does not compile");
    Ok((classpath, classes))
}
