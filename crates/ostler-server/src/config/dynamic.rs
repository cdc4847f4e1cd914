//! The files that hold the member list once it may change while the ensemble runs: `<zoo.cfg>.dynamic.<version>` for
//! the list in force, `<zoo.cfg>.dynamic.next` for the one that was proposed last, and the `zoo.cfg` itself, which then
//! names the first of them. Java reads and writes the same files, so that either server can go on from them; here
//! comments and the order of lines survive. Answers to `QuorumPeerConfig.writeDynamicConfig` and `editStaticConfig`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ostler_wire::ServerId;
use ostler_wire::quorum::Members;

/// The files beside one `zoo.cfg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersFiles {
    path: PathBuf,
    /// Whether the `zoo.cfg` names a dynamic file already.
    split: bool,
}

impl MembersFiles {
    /// Those beside this `zoo.cfg`.
    #[must_use]
    pub fn beside(zoo_cfg: &Path, split: bool) -> Self {
        // A server may change its working directory, and the entry is for whoever reads the file from elsewhere.
        Self { path: fs::canonicalize(zoo_cfg).unwrap_or_else(|_| zoo_cfg.to_owned()), split }
    }

    /// The list that was proposed last, if its change was not finished.
    ///
    /// # Errors
    /// There is one that cannot be read.
    pub fn read_next(&self) -> io::Result<Option<Members>> {
        let text = match fs::read(self.next()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let members = Members::decode(&text);
        members.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
    }

    /// Keeps the `zoo.cfg` as it is as long as it holds the members itself: it is going to be rewritten.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn back_up(&self) -> io::Result<()> {
        if self.split {
            return Ok(());
        }
        replace(&self.with_suffix(".bak"), &fs::read(&self.path)?)
    }

    /// A list was proposed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_next(&self, members: &Members) -> io::Result<()> {
        replace(&self.next(), lines(members, true).as_bytes())
    }

    /// A list is in force: writes its file and makes the `zoo.cfg` name it. With `settled` there is none behind it.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn write_current(&self, members: &Members, me: ServerId, settled: bool) -> io::Result<()> {
        let dynamic = self.with_suffix(&format!(".dynamic.{:x}", members.version));
        replace(&dynamic, lines(members, false).as_bytes())?;
        let has_client = members.servers.get(&me).is_some_and(|own| own.client.is_some());
        let text = fs::read(&self.path)?;
        replace(&self.path, &edit(&text, &dynamic, has_client))?;
        if settled {
            match fs::remove_file(self.next()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn next(&self) -> PathBuf {
        self.with_suffix(".dynamic.next")
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }
}

/// The lines of a list, sorted as Java sorts them; no line end behind the last.
fn lines(members: &Members, with_version: bool) -> String {
    let text = members.to_string();
    let mut lines: Vec<&str> =
        text.lines().filter(|line| with_version || !line.starts_with("version")).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The text of a `zoo.cfg` without what the dynamic file says, and with its name.
fn edit(text: &[u8], dynamic: &Path, has_client: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 80);
    let mut goes = false;
    let mut continues = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if !continues {
            goes = is_replaced(line, has_client);
        }
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        let start = body.iter().position(|byte| !b" \t\x0c".contains(byte)).unwrap_or(body.len());
        let comment = !continues && matches!(body.get(start), Some(b'#' | b'!'));
        // An odd number of backslashes at the end hides the line end.
        let hidden = body.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
        if !goes {
            out.extend_from_slice(line);
        }
        continues = hidden && !comment;
    }
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend_from_slice(format!("dynamicConfigFile={}\n", escape(dynamic)).as_bytes());
    out
}

/// Whether the dynamic file says what this line says.
fn is_replaced(line: &[u8], has_client: bool) -> bool {
    let text: String = line.iter().copied().map(char::from).collect();
    let text = text.trim_start();
    let keys = ["server.", "group", "weight", "dynamicConfigFile", "peerType"];
    keys.iter().any(|key| text.starts_with(key)) || (has_client && text.starts_with("clientPort"))
}

/// A path as a value of a file of properties, which is read as ISO-8859-1.
fn escape(path: &Path) -> String {
    let mut text = String::new();
    for unit in path.to_string_lossy().encode_utf16() {
        match u8::try_from(unit) {
            Ok(b'\\') => text.push_str("\\\\"),
            Ok(byte) if byte.is_ascii() => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\u{unit:04x}")),
        }
    }
    text
}

/// Writes a file so that a crash leaves the old or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Members {
        Members::parse(text).expect("a list")
    }

    #[test]
    fn what_the_dynamic_file_says_goes_and_all_else_stays() {
        let text = "# a comment\ntickTime=2000\nserver.1=a:1:2\\\n;2181\n  server.2=b:1:2\nclientPort=2181\n\
                    peerType=observer\n#server.9=x\ndynamicConfigFile=/old\ngroup.1=1:2\nweight.1=1\ninitLimit=5";
        let path = Path::new("/etc/zoo.cfg.dynamic.a");
        let edited = String::from_utf8(edit(text.as_bytes(), path, true)).expect("text");
        assert_eq!(
            edited,
            "# a comment\ntickTime=2000\n#server.9=x\ninitLimit=5\ndynamicConfigFile=/etc/zoo.cfg.dynamic.a\n"
        );
        let kept = String::from_utf8(edit(text.as_bytes(), path, false)).expect("text");
        assert!(kept.contains("clientPort=2181\n"));
        assert_eq!(edit(edited.as_bytes(), path, true), edited.as_bytes(), "twice is once");
        assert_eq!(escape(Path::new("/ä\\b")), "/\\u00e4\\\\b");
    }

    #[test]
    fn the_files_of_a_change() {
        let dir = std::env::temp_dir().join(format!("ostler-dynamic-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let zoo_cfg = dir.join("zoo.cfg");
        fs::write(&zoo_cfg, "dataDir=/d\nclientPort=2181\nserver.1=a:1:2\nserver.2=b:1:2").expect("a file");
        let files = MembersFiles::beside(&zoo_cfg, false);
        assert_eq!(files.read_next().expect("nothing"), None);
        files.back_up().expect("a copy");

        let next = members("server.2=b:1:2\nserver.10=c:1:2;2181\nserver.1=a:1:2\nversion=100000002");
        files.write_next(&next).expect("written");
        let read = files.read_next().expect("read").expect("there");
        assert_eq!((&read, read.version), (&next, 0x1_0000_0002));

        files.write_current(&next, ServerId(1), false).expect("written");
        assert!(files.read_next().expect("read").is_some(), "another change is under way");
        files.write_current(&next, ServerId(1), true).expect("written");
        assert_eq!(files.read_next().expect("nothing"), None);
        let dynamic = fs::read_to_string(dir.join("zoo.cfg.dynamic.100000002")).expect("a file");
        assert_eq!(
            dynamic,
            "server.10=c:1:2:participant;0.0.0.0:2181\nserver.1=a:1:2:participant\nserver.2=b:1:2:participant"
        );
        let text = fs::read_to_string(&zoo_cfg).expect("a file");
        assert!(text.starts_with("dataDir=/d\nclientPort=2181\ndynamicConfigFile=/"), "{text}");
        assert!(text.ends_with("zoo.cfg.dynamic.100000002\n"), "{text}");
        assert!(fs::read_to_string(dir.join("zoo.cfg.bak")).expect("a copy").contains("server.2"));
        fs::remove_dir_all(&dir).expect("gone");
    }
}
