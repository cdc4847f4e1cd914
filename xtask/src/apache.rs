//! Apache ZooKeeper 3.9.5, the reference: fetched once from Maven's default repository, then run from its jars.
//!
//! It may assume `java` and `mvn` on the path. The jars land in `target/xtask/apache-3.9.5/lib`, next to the pom that
//! asked for them and a logback configuration that only speaks from WARN up. Ensembles are also tried with an older
//! release, which is fetched in the same way.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::scratch;

/// The release that Ostler answers to.
pub(crate) const VERSION: &str = "3.9.5";

/// What the server and the shell need at run time besides the server and its logger: group, artifact, version.
const DEPENDENCIES: [(&str, &str, &str); 4] = [
    ("commons-cli", "commons-cli", "1.5.0"),
    ("org.jline", "jline", "3.25.1"),
    ("io.dropwizard.metrics", "metrics-core", "4.1.12.1"),
    ("org.xerial.snappy", "snappy-java", "1.1.10.5"),
];

const LOGBACK: &str = r#"<configuration>
  <statusListener class="ch.qos.logback.core.status.NopStatusListener"/>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <target>System.err</target>
    <encoder><pattern>%d{ISO8601} %-5p [%t:%C{1}@%L] - %m%n</pattern></encoder>
  </appender>
  <root level="${zookeeper.log.level:-WARN}"><appender-ref ref="OUT"/></root>
</configuration>
"#;

/// An installed copy of the reference.
#[derive(Debug, Clone)]
pub(crate) struct Apache {
    home: PathBuf,
    version: String,
}

impl Apache {
    /// Finds the jars from an earlier run, or fetches them with Maven.
    pub(crate) fn install() -> Result<Self> {
        Self::install_version(VERSION)
    }

    /// The same for another release, 3.8 or 3.9.
    pub(crate) fn install_version(version: &str) -> Result<Self> {
        let plain = version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        ensure!(plain && version.starts_with("3."), "{version:?} is no release of Apache ZooKeeper 3");
        let home = scratch::keep_dir()?.join(format!("apache-{version}"));
        let done = home.join("complete");
        if !done.exists() {
            eprintln!("fetching Apache ZooKeeper {version} with mvn into {}", home.display());
            let conf = home.join("conf");
            std::fs::create_dir_all(&conf).with_context(|| format!("create {}", conf.display()))?;
            std::fs::write(home.join("pom.xml"), pom(version))?;
            std::fs::write(conf.join("logback.xml"), LOGBACK)?;
            let output = Command::new("mvn")
                .args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"])
                .current_dir(&home)
                .stdin(Stdio::null())
                .output()
                .context("run mvn (Maven is needed to fetch the reference)")?;
            ensure!(
                output.status.success(),
                "mvn could not fetch Apache ZooKeeper {version}:\n{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            ensure!(
                home.join(format!("lib/zookeeper-{version}.jar")).exists(),
                "mvn left no zookeeper jar in lib/"
            );
            std::fs::write(&done, version)?;
        }
        Ok(Self { home, version: version.to_owned() })
    }

    /// Which release this is.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The class path of server and shell: the logging configuration, then every jar.
    pub(crate) fn classpath(&self) -> String {
        format!("{}:{}", self.home.join("conf").display(), self.home.join("lib").join("*").display())
    }

    /// `java` running the server on a configuration file; nothing is started yet.
    pub(crate) fn server_command(&self, conf: &Path, jvm_flags: &[String]) -> Command {
        let mut command = Command::new("java");
        command
            .args(["-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8"])
            .arg("-Dzookeeper.admin.enableServer=false")
            .args(jvm_flags)
            .args(["-cp", &self.classpath(), "org.apache.zookeeper.server.quorum.QuorumPeerMain"])
            .arg(conf);
        command
    }

    /// The shell without its line editor, so that it reads plain lines and writes nothing but answers.
    pub(crate) fn plain_shell_command(&self, address: &str) -> Result<Command> {
        let lib = self.home.join("lib");
        let mut classpath = vec![self.home.join("conf").display().to_string()];
        for entry in std::fs::read_dir(&lib).with_context(|| format!("list {}", lib.display()))? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with("jline") {
                classpath.push(entry.path().display().to_string());
            }
        }
        let mut command = Command::new("java");
        command
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8"])
            .arg("-Dzookeeper.log.level=OFF")
            .args(["-cp", &classpath.join(":"), "org.apache.zookeeper.ZooKeeperMain", "-server", address]);
        Ok(command)
    }

    /// `java` running the interactive shell against an address; further arguments are one command.
    pub(crate) fn shell_command(&self, address: &str) -> Command {
        let mut command = Command::new("java");
        command
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8"])
            .arg("-Dzookeeper.log.level=OFF")
            .args(["-cp", &self.classpath(), "org.apache.zookeeper.ZooKeeperMain", "-server", address]);
        command
    }
}

fn pom(version: &str) -> String {
    // Up to 3.8 the server speaks the first interface of the logger, from 3.9 on the second.
    let logger = if version.starts_with("3.8") { "1.2.13" } else { "1.3.15" };
    let dependencies: String =
        [("org.apache.zookeeper", "zookeeper", version), ("ch.qos.logback", "logback-classic", logger)]
            .iter()
            .chain(&DEPENDENCIES)
            .map(|(group, artifact, version)| {
                format!(
                    "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>\n"
                )
            })
            .collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>ostler</groupId>\n  <artifactId>reference</artifactId>\n  <version>1</version>\n  \
         <dependencies>\n{dependencies}  </dependencies>\n</project>\n"
    )
}
