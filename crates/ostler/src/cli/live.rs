//! What goes on until Ctrl-C: the changes of a subtree, and the figures of all servers.

use std::io::{IsTerminal as _, Write as _};
use std::net::ToSocketAddrs as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ostler_client::{EventType, WatchEvent};
use ostler_wire::client::read::AddWatchMode;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::answer::{Answer, Failure};
use super::connection::Connection;
use super::nodes::check;
use super::table::Call;
use crate::java::dates;
use crate::log::json as values;

/// How long a server may take to answer a four-letter word.
const WORD_PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer that is read.
const LONGEST_ANSWER: u64 = 1 << 20;

pub(super) fn watch(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = call.arg(1);
    check(path)?;
    let limit = call.number::<u64>("n")?;
    let end = call.number::<u64>("t")?.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut stream =
        on.wait(on.client().add_watch(&on.absolute(path), AddWatchMode::PersistentRecursive), Some(path))?;
    let mut seen = 0;
    while limit.is_none_or(|limit| seen < limit) {
        let next = async {
            match end {
                None => Some(stream.next().await),
                Some(end) => tokio::time::timeout_at(end.into(), stream.next()).await.ok(),
            }
        };
        match on.until_interrupt(next) {
            // Ctrl-C, or the time is up.
            None | Some(None) => break,
            Some(Some(None)) => return Err(Failure::new("the session is over")),
            Some(Some(Some(event))) => {
                show(on, call, &event)?;
                seen += 1;
            }
        }
    }
    Ok(Answer { json: json!({"events": seen}), ..Answer::default() })
}

fn show(on: &Connection, call: &Call, event: &WatchEvent) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let time = dates::iso(i64::try_from(now).unwrap_or(i64::MAX));
    let mut object = Map::new();
    object.insert("time".to_owned(), json!(time));
    let line = match event {
        WatchEvent::Reconnected => {
            object.insert("type".to_owned(), json!("reconnected"));
            "-- the connection was lost and is back; changes may be missing here".to_owned()
        }
        WatchEvent::Overflow => {
            object.insert("type".to_owned(), json!("overflow"));
            "-- changes came too fast; some are missing here".to_owned()
        }
        WatchEvent::Changed(event) => {
            let path = on.relative(&event.path);
            let (word, has_data) = match event.kind {
                EventType::NodeCreated => ("created", true),
                EventType::NodeDataChanged => ("changed", true),
                EventType::NodeDeleted => ("deleted", false),
                EventType::NodeChildrenChanged => ("children", false),
            };
            object.insert("type".to_owned(), json!(word));
            object.insert("path".to_owned(), json!(path));
            object.insert("zxid".to_owned(), json!(event.zxid.0));
            let mut line = format!("{word:8} {path} (zxid 0x{:x})", event.zxid.0);
            if has_data && call.parsed.has("d") {
                // It may be gone or changed again by now.
                match on.data(&path, false) {
                    Ok((data, stat)) => {
                        values::put_data(data.as_deref(), &mut object);
                        let text = String::from_utf8_lossy(data.as_deref().unwrap_or(b"null")).into_owned();
                        line.push_str(&format!("\n         version {}: {text}", stat.version));
                    }
                    Err(failure) if failure.lost || failure.exit > 1 => return Err(failure),
                    Err(_) => {}
                }
            }
            line
        }
    };
    let mut out = std::io::stdout().lock();
    let written = if call.json {
        writeln!(out, "{}", Value::Object(object))
    } else {
        writeln!(out, "{} {line}", &time[time.len().saturating_sub(13)..time.len().saturating_sub(1)])
    };
    written.and_then(|()| out.flush()).map_err(|error| Failure::new(error.to_string()))
}

pub(super) fn top(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let every = Duration::from_secs(call.number::<u64>("i")?.unwrap_or(2).max(1));
    let rounds = call.number::<u64>("n")?;
    let mut before: Vec<Option<Figures>> = vec![None; on.servers().len()];
    let mut round = 0;
    while rounds.is_none_or(|rounds| round < rounds) {
        if round > 0 && on.until_interrupt(async { tokio::time::sleep(every).await }).is_none() {
            break;
        }
        let Some(now) = on.until_interrupt(ask_all(on.servers())) else { break };
        round += 1;
        let mut out = std::io::stdout().lock();
        let text = if call.json {
            let servers: Vec<Value> = on
                .servers()
                .iter()
                .zip(&now)
                .map(|(server, figures)| match figures {
                    Ok(figures) => json!({"server": server, "figures": figures.json()}),
                    Err(why) => json!({"server": server, "problem": why}),
                })
                .collect();
            format!("{}\n", json!({"servers": servers}))
        } else {
            table(on.servers(), &now, &before, every)
        };
        let clear = if out.is_terminal() && !call.json && rounds.is_none() { "\x1b[H\x1b[2J" } else { "" };
        let written = write!(out, "{clear}{text}").and_then(|()| out.flush());
        written.map_err(|error| Failure::new(error.to_string()))?;
        before = now.into_iter().map(Result::ok).collect();
    }
    Ok(Answer { json: json!({"rounds": round}), ..Answer::default() })
}

/// What `mntr` says, or `srvr` where that is not allowed.
#[derive(Debug, Clone, PartialEq)]
struct Figures(Vec<(String, String)>);

impl Figures {
    fn parse_mntr(text: &str) -> Option<Self> {
        let lines: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(key, value)| (key.trim_start_matches("zk_").to_owned(), value.to_owned()))
            .collect();
        (!lines.is_empty()).then_some(Self(lines))
    }

    fn parse_srvr(text: &str) -> Option<Self> {
        let mut lines = Vec::new();
        for (key, value) in text.lines().filter_map(|line| line.split_once(": ")) {
            let name = match key {
                "Mode" => "server_state",
                "Latency min/avg/max" => {
                    let parts: Vec<&str> = value.split('/').collect();
                    lines.push(("avg_latency".to_owned(), (*parts.get(1)?).to_owned()));
                    lines.push(("max_latency".to_owned(), (*parts.get(2)?).to_owned()));
                    continue;
                }
                "Received" => "packets_received",
                "Sent" => "packets_sent",
                "Connections" => "num_alive_connections",
                "Outstanding" => "outstanding_requests",
                "Node count" => "znode_count",
                _ => continue,
            };
            lines.push((name.to_owned(), value.to_owned()));
        }
        (!lines.is_empty()).then_some(Self(lines))
    }

    fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("-", |(_, value)| value)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.text(name).parse().ok()
    }

    fn json(&self) -> Value {
        let value = |text: &str| text.parse::<f64>().map_or_else(|_| json!(text), |number| json!(number));
        self.0.iter().map(|(key, text)| (key.clone(), value(text))).collect::<Map<_, _>>().into()
    }
}

async fn ask_all(servers: &[String]) -> Vec<Result<Figures, String>> {
    let mut tasks = Vec::new();
    for server in servers {
        tasks.push(tokio::spawn(figures(server.clone())));
    }
    let mut found = Vec::with_capacity(tasks.len());
    for task in tasks {
        found.push(task.await.unwrap_or_else(|error| Err(error.to_string())));
    }
    found
}

async fn figures(server: String) -> Result<Figures, String> {
    if let Some(figures) = Figures::parse_mntr(&word(&server, "mntr").await?) {
        return Ok(figures);
    }
    let answer = word(&server, "srvr").await?;
    Figures::parse_srvr(&answer).ok_or_else(|| answer.lines().next().unwrap_or("no answer").to_owned())
}

/// The answer of a server to a four-letter word.
pub(crate) async fn word(server: &str, word: &str) -> Result<String, String> {
    let address = if server.contains(':') { server.to_owned() } else { format!("{server}:2181") };
    let asked = async {
        let resolved = tokio::task::spawn_blocking(move || address.to_socket_addrs().map(Vec::from_iter));
        let addresses = resolved.await.map_err(std::io::Error::other)??;
        let mut stream = tokio::net::TcpStream::connect(&addresses[..]).await?;
        stream.write_all(word.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    match tokio::time::timeout(WORD_PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

fn table(
    servers: &[String],
    now: &[Result<Figures, String>],
    before: &[Option<Figures>],
    every: Duration,
) -> String {
    let mut text = format!(
        "{:24} {:12} {:>8} {:>8} {:>7} {:>7} {:>9} {:>8} {:>10} {:>10}\n",
        "SERVER", "STATE", "AVG ms", "MAX ms", "CONNS", "OUTST", "ZNODES", "WATCHES", "RECEIVED/s", "SENT/s"
    );
    for ((server, figures), before) in servers.iter().zip(now).zip(before) {
        match figures {
            Err(why) => text.push_str(&format!("{server:24} {why}\n")),
            Ok(figures) => {
                let rate = |name| {
                    let before = before.as_ref().and_then(|before| before.number(name));
                    match (figures.number(name), before) {
                        (Some(now), Some(before)) => format!("{:.1}", (now - before) / every.as_secs_f64()),
                        _ => "-".to_owned(),
                    }
                };
                text.push_str(&format!(
                    "{server:24} {:12} {:>8} {:>8} {:>7} {:>7} {:>9} {:>8} {:>10} {:>10}\n",
                    figures.text("server_state"),
                    figures.text("avg_latency"),
                    figures.text("max_latency"),
                    figures.text("num_alive_connections"),
                    figures.text("outstanding_requests"),
                    figures.text("znode_count"),
                    figures.text("watch_count"),
                    rate("packets_received"),
                    rate("packets_sent"),
                ));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_from_either_word() {
        let mntr = Figures::parse_mntr("zk_server_state\tleader\nzk_avg_latency\t0.5\n").unwrap();
        assert_eq!((mntr.text("server_state"), mntr.number("avg_latency")), ("leader", Some(0.5)));
        assert_eq!(Figures::parse_mntr("mntr is not executed because it is not in the whitelist.\n"), None);
        let srvr = "Zookeeper version: 3.9.5\nLatency min/avg/max: 0/2.5/29\nReceived: 7\nMode: follower\n";
        let srvr = Figures::parse_srvr(srvr).unwrap();
        assert_eq!((srvr.text("server_state"), srvr.text("max_latency")), ("follower", "29"));
        assert_eq!(srvr.number("packets_received"), Some(7.0));
    }

    #[test]
    fn rates_come_from_two_rounds() {
        let of = |count: u32| Figures(vec![("packets_sent".to_owned(), count.to_string())]);
        let servers = ["a:1".to_owned(), "b:1".to_owned()];
        let text = table(
            &servers,
            &[Ok(of(30)), Err("refused".to_owned())],
            &[Some(of(10)), None],
            Duration::from_secs(2),
        );
        assert!(text.contains("10.0") && text.contains("refused"), "{text}");
    }
}
