//! The commands of the shell: their names, options, usage, help with an example, and who carries them out. The first
//! 28 are those of Java's shell 3.9, with the usage that it prints; the others are ours.

use ostler_wire::client::read::WatcherType;

use super::answer::{Answer, Failure};
use super::connection::Connection;
use super::{edit, live, quota, read, subtree, watches, write};
use crate::java::options::{Opt, Parsed, flag, value};

/// A command line that was taken apart.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) parsed: Parsed,
    /// Say what would be done, and do nothing.
    pub(super) dry_run: bool,
    /// The answer goes to a program.
    pub(super) json: bool,
}

impl Call {
    /// A word that is no option; the command is number 0. Empty if it is not there.
    pub(super) fn arg(&self, at: usize) -> &str {
        self.parsed.args.get(at).map_or("", String::as_str)
    }

    /// How many words are no options, the command counted.
    pub(super) fn len(&self) -> usize {
        self.parsed.args.len()
    }

    /// The value of an option as a number.
    pub(super) fn number<N: std::str::FromStr>(&self, option: &str) -> Result<Option<N>, Failure> {
        let Some(text) = self.parsed.value(option) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Failure::new(format!("For input string: \"{text}\"")))
    }

    /// What is said instead of doing it.
    pub(super) fn would(&self, what: impl std::fmt::Display) -> Answer {
        Answer::out(format!("would {what}\n"), serde_json::json!({"dryRun": true, "would": what.to_string()}))
    }
}

type Run = fn(&Connection, &Call) -> Result<Answer, Failure>;

/// Who carries a command out.
#[derive(Clone, Copy)]
pub(super) enum Runner {
    /// The shell itself.
    Shell,
    /// With a session.
    Session(Run),
}

/// A command.
#[derive(Clone, Copy)]
pub(super) struct Command {
    pub(super) name: &'static str,
    /// What comes behind the name; for Java's commands as Java prints it.
    pub(super) usage: &'static str,
    pub(super) options: &'static [Opt],
    /// Lines that Java prints below the usage.
    pub(super) usage_options: &'static str,
    /// How many words there must be at least, the command counted.
    pub(super) least: usize,
    /// Whether Java's shell has it.
    pub(super) java: bool,
    /// Whether it changes something that a dry run can leave alone.
    pub(super) changes: bool,
    pub(super) about: &'static str,
    pub(super) example: &'static str,
    pub(super) run: Runner,
}

const fn java(name: &'static str, usage: &'static str, least: usize, run: Run) -> Command {
    Command {
        name,
        usage,
        options: &[],
        usage_options: "",
        least,
        java: true,
        changes: false,
        about: "",
        example: "",
        run: Runner::Session(run),
    }
}

const fn own(name: &'static str, usage: &'static str, least: usize, run: Run) -> Command {
    Command { java: false, ..java(name, usage, least, run) }
}

const fn shell(name: &'static str, usage: &'static str) -> Command {
    Command { run: Runner::Shell, ..java(name, usage, 1, nothing) }
}

fn nothing(_: &Connection, _: &Call) -> Result<Answer, Failure> {
    Ok(Answer::done())
}

impl Command {
    const fn options(mut self, options: &'static [Opt]) -> Self {
        self.options = options;
        self
    }

    const fn help(mut self, about: &'static str, example: &'static str) -> Self {
        self.about = about;
        self.example = example;
        self
    }

    const fn changes(mut self) -> Self {
        self.changes = true;
        self
    }

    const fn lists(mut self, usage_options: &'static str) -> Self {
        self.usage_options = usage_options;
        self
    }

    const fn ours(mut self) -> Self {
        self.java = false;
        self
    }

    /// What Java says when a command line makes no sense.
    pub(super) fn usage_text(&self) -> String {
        let mut text = format!("{} {}", self.name, self.usage);
        if !self.usage_options.is_empty() {
            text.push('\n');
            text.push_str(self.usage_options);
        }
        text
    }
}

const STAT: Opt = flag("s");
const WATCH: Opt = flag("w");

/// All of them, by name.
pub(super) const COMMANDS: [Command; 43] = [
    java("addWatch", "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE", 2, watches::add)
        .options(&[value("m")])
        .help("Set a watch that stays, on a znode or on it and all below", "addWatch -m PERSISTENT /app"),
    java("addauth", "scheme auth", 2, write::add_auth)
        .help("Present credentials", "addauth digest bob:secret"),
    shell("close", "").help("End the session", "close"),
    java("config", "[-c] [-w] [-s]", 1, read::config)
        .options(&[STAT, WATCH, flag("c")])
        .help("Show the members of the ensemble; -c as a connection string", "config -c"),
    shell("connect", "host:port").help("Begin a session, perhaps with other servers", "connect zoo2:2181"),
    java("create", "[-s] [-e] [-c] [-t ttl] path [data] [acl]", 2, write::create)
        .options(&[flag("e"), flag("s"), flag("c"), value("t")])
        .changes()
        .help(
            "Create a znode: -s sequential, -e ephemeral, -c container, -t with a time to live in ms",
            "create -s /queue/job- 'some data' world:anyone:cdrwa",
        ),
    java("delete", "[-v version] path", 2, write::delete)
        .options(&[value("v")])
        .changes()
        .help("Delete a znode without children", "delete -v 3 /app/old"),
    java("deleteall", "path [-b batch size]", 2, write::delete_all)
        .options(&[value("b")])
        .changes()
        .help("Delete a znode and everything below it", "deleteall --dry-run /app/old"),
    java("delquota", "[-n|-b|-N|-B] path", 2, quota::delete)
        .options(&[flag("n").in_group(1), flag("b").in_group(1), flag("N").in_group(1), flag("B").in_group(1)])
        .changes()
        .help("Take off a quota, or one limit of it", "delquota -n /app"),
    java("get", "[-s] [-w] [-b] [-x] path", 2, read::get)
        .options(&[STAT, WATCH, flag("b"), flag("x")])
        .lists(
            " -b   Output data in base64 format\n -s   Print znode stats additionally\n -w   Watch for changes on \
             the znode\n -x   Output data in hexdump format\n",
        )
        .help("Show the data: -s with the Stat, -w and watch it, -b in base64, -x as a table", "get -s /app"),
    java("getAcl", "[-s] path", 2, read::get_acl)
        .options(&[STAT])
        .help("Show who may do what", "getAcl /app"),
    java("getAllChildrenNumber", "path", 2, read::get_all_children_number)
        .help("Count everything below a znode", "getAllChildrenNumber /app"),
    java("getEphemerals", "path", 1, read::get_ephemerals)
        .help("List this session's ephemerals whose paths begin so", "getEphemerals /app"),
    shell("history", "").help("List the last commands", "history"),
    java("listquota", "path", 2, quota::list).help("Show a quota, and what is used of it", "listquota /app"),
    java("ls", "[-s] [-w] [-R] path", 1, read::ls)
        .options(&[flag("?"), STAT, WATCH, flag("R")])
        .help("List the children: -s with the Stat, -w and watch them, -R everything below", "ls -R /app"),
    shell("printwatches", "on|off").help("Whether watch events are printed", "printwatches off"),
    shell("quit", "").help("End the session and leave", "quit"),
    java(
        "reconfig",
        "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | [-add \
         serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
        1,
        write::reconfig,
    )
    .options(&[STAT, value("v"), value("file"), value("members"), value("add"), value("remove")])
    .changes()
    .help("Change the members of the ensemble", "reconfig -remove 3 -add 5=zoo5:2888:3888;2181"),
    shell("redo", "cmdno").help("Run a command of the history again", "redo 3"),
    java("removewatches", "path [-c|-d|-a] [-l]", 2, watches::remove)
        .options(&[flag("c"), flag("d"), flag("p"), flag("r"), flag("a"), flag("l")])
        .help(
            "Take off watches: -c of children, -d of data, -p persistent, -r recursive; -l also without a connection",
            "removewatches /app -d",
        ),
    java("set", "path data [-s] [-v version] [-b]", 3, write::set)
        .options(&[STAT, value("v"), flag("b")])
        .lists(
            " -b         Supply data in base64 format\n -s         Print znode stats additionally\n -v <arg>   Set \
             with an expected version\n",
        )
        .changes()
        .help("Change the data: -v only if it has this version, -b the data is in base64", "set -v 2 /app 'new data'"),
    java("setAcl", "[-s] [-v version] [-R] path acl", 3, write::set_acl)
        .options(&[STAT, value("v"), flag("R")])
        .changes()
        .help("Change who may do what; -R also below", "setAcl -R /app auth::cdrwa,world:anyone:r"),
    java("setquota", "-n|-b|-N|-B val path", 2, quota::set)
        .options(&[value("n").in_group(1), value("b").in_group(1), value("N").in_group(1), value("B").in_group(1)])
        .changes()
        .help("Limit the znodes (-n, hard -N) or bytes (-b, hard -B) of a subtree", "setquota -N 1000 /app"),
    java("stat", "[-w] path", 2, read::stat).options(&[WATCH]).help("Show the Stat of a znode", "stat /app"),
    java("sync", "path", 2, read::sync)
        .help("Wait until the server is as new as the leader is now", "sync /app"),
    java("version", "", 1, read::version).help("Show the version of the shell", "version"),
    java("whoami", "", 1, read::who_am_i).help("Show who the server takes this session for", "whoami"),
    // From here on: not in Java's shell of today.
    own("cp", "[-a] [-f] from to", 3, subtree::copy)
        .options(&[flag("a"), flag("f")])
        .changes()
        .help("Copy a subtree: -a with its ACLs, -f over what is there; ephemerals stay behind", "cp -a /app /backup/app"),
    own("du", "[-d depth] [path]", 1, subtree::du)
        .options(&[value("d")])
        .help("Bytes of data and znodes of subtrees, down to a depth (1)", "du -d 2 /"),
    own("edit", "path", 2, edit::edit)
        .changes()
        .help("Change the data in $VISUAL or $EDITOR, unless somebody else changed it meanwhile", "edit /app/config"),
    shell("exit", "").ours().help("End the session and leave, as quit", "exit"),
    own("export", "[-a] path [file]", 2, subtree::export)
        .options(&[flag("a")])
        .help("Write a subtree as lines of JSON to a file, or to standard output: -a with its ACLs", "export -a /app app.jsonl"),
    own("find", "[-name glob] [-data text] [-type p|e] [-size +n|-n] [path]", 1, subtree::find)
        .options(&[value("name"), value("data"), value("type"), value("size")])
        .help(
            "Find znodes by name, by what their data contains, by kind (persistent, ephemeral), by bytes",
            "find -name 'lock-*' -type e /locks",
        ),
    shell("help", "[command]").ours().help("List the commands, or explain one", "help create"),
    own("import", "[-a] [-f] file path", 3, subtree::import)
        .options(&[flag("a"), flag("f")])
        .changes()
        .help("Create what an export holds below a path: -a with its ACLs, -f over what is there; '-' is standard input", "import app.jsonl /restored"),
    own("ls2", "path [watch]", 1, read::ls2).help("As ls -s (from older shells)", "ls2 /app"),
    own("rmr", "path", 2, write::rmr).changes().help("As deleteall (from older shells)", "rmr /app/old"),
    own("top", "[-i seconds] [-n rounds]", 1, live::top)
        .options(&[value("i"), value("n")])
        .help("Live figures of all servers of the connection string; Ctrl-C ends it", "top -i 2"),
    own("tree", "[-d depth] [path]", 1, subtree::tree)
        .options(&[value("d")])
        .help("The names below a znode as a tree", "tree -d 2 /app"),
    own("watch", "[-d] [-n events] [-t seconds] path", 2, live::watch)
        .options(&[flag("d"), value("n"), value("t")])
        .help("Follow every change of a znode and all below, live: -d with the new data; Ctrl-C ends it", "watch -d /app"),
    // Not real commands, but words that people type.
    shell("h", "").ours().help("As help", "h"),
    shell("?", "").ours().help("As help", "?"),
];

/// The command of a name.
pub(super) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// What Java prints for a command that it does not know.
pub(super) fn java_usage() -> String {
    let mut lines: Vec<String> = COMMANDS
        .iter()
        .filter(|command| command.java)
        .map(|command| format!("\t{} {}\n", command.name, command.usage))
        .collect();
    lines.sort();
    format!("ZooKeeper -server host:port -client-configuration properties-file cmd args\n{}", lines.concat())
}

/// The help of a command.
pub(super) fn help(command: &Command) -> String {
    let origin = if command.java { "" } else { " (not in Java's shell)" };
    let mut text = format!(
        "{} {}\n  {}.{origin}\n\n  --json  the answer as JSON\n",
        command.name, command.usage, command.about
    );
    if command.changes {
        text.push_str("  --dry-run  only say what would be done\n");
    }
    text.push_str(&format!("\nExample:\n  {}\n", command.example));
    text
}

/// The help of all commands.
pub(super) fn overview() -> String {
    let list = |java: bool| -> String {
        let mut lines: Vec<String> = COMMANDS
            .iter()
            .filter(|command| command.java == java && !matches!(command.name, "h" | "?"))
            .map(|command| format!("  {:22}{}\n", command.name, command.about))
            .collect();
        lines.sort();
        lines.concat()
    };
    format!(
        "Commands of Java's zkCli.sh:\n{}\nBeyond zkCli.sh:\n{}\nEvery command takes --json; those that change \
         something take --dry-run. 'help create' or 'create --help' explains one.\n",
        list(true),
        list(false)
    )
}

/// The kind of watch that options name.
pub(super) fn watcher_type(call: &Call) -> WatcherType {
    let kinds = [
        ("c", WatcherType::Children),
        ("d", WatcherType::Data),
        ("p", WatcherType::Persistent),
        ("r", WatcherType::PersistentRecursive),
    ];
    kinds.into_iter().find(|(option, _)| call.parsed.has(option)).map_or(WatcherType::Any, |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_there_once_and_explained() {
        for (at, command) in COMMANDS.iter().enumerate() {
            assert!(!command.about.is_empty() && !command.example.is_empty(), "{}", command.name);
            assert!(COMMANDS[at + 1..].iter().all(|other| other.name != command.name), "{}", command.name);
            assert!(help(command).contains("Example:"));
        }
        assert_eq!(COMMANDS.iter().filter(|command| command.java).count(), 28);
        assert_eq!(java_usage().lines().count(), 29);
    }
}
