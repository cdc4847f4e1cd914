//! `edit`: the data of a znode in the user's editor. It is written back only if nobody changed it meanwhile; if
//! somebody did, the edited text stays in its file.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use ostler_wire::Code;
use serde_json::json;

use super::answer::{Answer, Failure};
use super::connection::Connection;
use super::table::Call;

pub(super) fn edit(on: &Connection, call: &Call) -> Result<Answer, Failure> {
    let path = call.arg(1);
    let (data, stat) = on.data(path, false)?;
    let before = data.unwrap_or_default();
    let file = write_file(path, &before)?;
    let after = run_editor(&file).and_then(|()| {
        std::fs::read(&file).map_err(|error| Failure::new(format!("cannot read {}: {error}", file.display())))
    });
    let after = match after {
        Ok(after) => after,
        Err(failure) => {
            let _ = std::fs::remove_file(&file);
            return Err(failure);
        }
    };
    // Most editors end the last line, whether it was ended or not.
    let ended = after.strip_suffix(b"\n").unwrap_or(&after);
    let after = if before.ends_with(b"\n") { &after[..] } else { ended };
    if after == &before[..] {
        let _ = std::fs::remove_file(&file);
        return Ok(Answer::out(format!("{path} is unchanged\n"), json!({"path": path, "changed": false})));
    }
    if call.dry_run {
        let _ = std::fs::remove_file(&file);
        return Ok(call.would(format!(
            "set {path} to {} bytes, if it still has version {}",
            after.len(),
            stat.version
        )));
    }
    match on.set(path, Some(Bytes::copy_from_slice(after)), stat.version) {
        Ok(stat) => {
            let _ = std::fs::remove_file(&file);
            let version = stat.version;
            Ok(Answer::out(
                format!("{path} has version {version} now\n"),
                json!({"path": path, "changed": true, "version": version}),
            ))
        }
        Err(mut failure) => {
            if failure.code == Some(Code::BadVersion) {
                failure.message.push_str(" (somebody changed it meanwhile)");
            }
            failure.message.push_str(&format!("; your text is in {}", file.display()));
            Err(failure)
        }
    }
}

fn write_file(path: &str, data: &[u8]) -> Result<PathBuf, Failure> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let name: String = name
        .chars()
        .map(|letter| if letter.is_alphanumeric() || "-_.".contains(letter) { letter } else { '_' })
        .collect();
    for attempt in 0..1000 {
        let file = std::env::temp_dir().join(format!("ostler-{}-{attempt}-{name}", std::process::id()));
        let mut options = std::fs::File::options();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // A new file of ours, that nobody else reads.
        match options.write(true).create_new(true).open(&file) {
            Ok(mut to) => {
                let written = to.write_all(data);
                return written
                    .map(|()| file.clone())
                    .map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Failure::new(format!("cannot create {}: {error}", file.display()))),
        }
    }
    Err(Failure::new("no name is free for a temporary file"))
}

fn run_editor(file: &std::path::Path) -> Result<(), Failure> {
    let set = |name| std::env::var(name).ok().filter(|editor: &String| !editor.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(file).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(format!("{program} ended with {status}: nothing was changed"))),
        Err(error) => Err(Failure::new(format!("cannot run {program}: {error}; set EDITOR"))),
    }
}
