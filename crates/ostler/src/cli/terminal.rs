//! The shell on a terminal: a line editor with history across runs, completion of commands, options and paths, hints,
//! and colours. Events of the session appear above the line that is being edited.

use std::borrow::Cow;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ostler_client::Request;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter, HistoryHinter};
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::connection::Connection;
use super::shell::{Next, Shell};
use super::table;

/// How long a completion waits for the server.
const COMPLETION_PATIENCE: Duration = Duration::from_secs(2);
/// How many lines are remembered across runs.
const REMEMBERED: usize = 1000;

/// Reads lines until the user leaves. Says whether colours are used.
pub(super) fn run(shell: &mut Shell, colours: bool) -> rustyline::Result<()> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(REMEMBERED)?
        .history_ignore_space(true)
        .auto_add_history(true)
        .build();
    let mut editor = Editor::<Assistant, FileHistory>::with_config(config)?;
    let screen = Screen::default();
    let assistant = Assistant {
        connection: Arc::default(),
        history: HistoryHinter::new(),
        screen: screen.clone(),
        colours,
    };
    let connection = assistant.connection.clone();
    editor.set_helper(Some(assistant));
    let remembered = history_file();
    if let Some(file) = &remembered {
        // There is none before the first run.
        let _ = editor.load_history(file);
    }
    let (above, state) = (screen.clone(), connection.clone());
    shell
        .console()
        .print_with(Box::new(move |text| above.print(&text, |prompt| paint(prompt, &state, colours))));
    loop {
        *connection.lock().unwrap_or_else(PoisonError::into_inner) = shell.connection().cloned();
        let prompt = shell.prompt();
        screen.begin(&prompt);
        let read = editor.readline(&prompt);
        screen.end();
        match read {
            Ok(line) => {
                if shell.run_line(line.trim()) == Next::Leave {
                    break;
                }
            }
            // Ctrl-C takes back the line, Ctrl-D leaves.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => {
                if let Some(connection) = shell.connection() {
                    connection.close();
                }
                break;
            }
            Err(error) => return Err(error),
        }
        if let Some(file) = &remembered {
            // At once, so that what was typed outlives a terminal that is closed.
            let _ = editor.append_history(file);
        }
    }
    if let Some(file) = &remembered {
        let _ = editor.append_history(file);
    }
    Ok(())
}

/// Where lines are remembered: `$OSTLER_HISTORY`, or a file in the home directory; nowhere if that is empty.
fn history_file() -> Option<PathBuf> {
    match std::env::var_os("OSTLER_HISTORY") {
        Some(file) if file.is_empty() => None,
        Some(file) => Some(PathBuf::from(file)),
        None => Some(PathBuf::from(std::env::var_os("HOME")?).join(".ostler_history")),
    }
}

/// The line that is being edited, for those who print above it. The line editor's own way of doing so stops reading
/// when several keys come at once, as they do when a line is pasted.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Option<Editing>>>);

struct Editing {
    prompt: String,
    line: String,
    /// The cursor, in bytes of the line.
    at: usize,
}

impl Screen {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Editing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, prompt: &str) {
        *self.lock() = Some(Editing { prompt: prompt.to_owned(), line: String::new(), at: 0 });
    }

    fn note(&self, line: &str, at: usize) {
        if let Some(editing) = &mut *self.lock() {
            line.clone_into(&mut editing.line);
            editing.at = at;
        }
    }

    fn end(&self) {
        *self.lock() = None;
    }

    /// Prints a text, and then the line once more, as it was.
    fn print(&self, text: &str, paint: impl Fn(&str) -> String) {
        let editing = self.lock();
        let mut out = std::io::stdout().lock();
        let written = match &*editing {
            None => out.write_all(text.as_bytes()),
            Some(Editing { prompt, line, at }) => {
                let behind = line[*at..].chars().count();
                let back = if behind > 0 { format!("\x1b[{behind}D") } else { String::new() };
                write!(out, "\r\x1b[J{}{}{line}{back}", text.replace('\n', "\r\n"), paint(prompt))
            }
        };
        // A terminal that is gone will be noticed by whoever reads from it.
        drop(written.and_then(|()| out.flush()));
    }
}

/// The prompt in the colour of the connection.
fn paint(prompt: &str, connection: &Mutex<Option<Connection>>, colours: bool) -> String {
    if !colours {
        return prompt.to_owned();
    }
    let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
    let connected = connection.as_ref().is_some_and(|connection| connection.state().starts_with("CONNECTED"));
    let colour = if connected { 32 } else { 31 };
    format!("\x1b[{colour}m{prompt}\x1b[0m")
}

/// What helps while a line is typed.
struct Assistant {
    connection: Arc<Mutex<Option<Connection>>>,
    history: HistoryHinter,
    screen: Screen,
    colours: bool,
}

impl Helper for Assistant {}
impl Validator for Assistant {}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let begun = &line[..at];
        let start = begun.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let word = &begun[start..];
        if start == 0 || begun[..start].trim().is_empty() {
            return Ok((start, commands(word)));
        }
        let unquoted = word.trim_start_matches(['"', '\'']);
        if unquoted.starts_with('/') {
            let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let found = connection.map(|connection| znodes(&connection, unquoted)).unwrap_or_default();
            return Ok((start + word.len() - unquoted.len(), found));
        }
        if word.starts_with('-') {
            return Ok((start, options(begun, word)));
        }
        Ok((start, Vec::new()))
    }
}

fn commands(begun: &str) -> Vec<Pair> {
    let mut found: Vec<Pair> = table::COMMANDS
        .iter()
        .filter(|command| command.name.starts_with(begun) && command.name.len() > 1)
        .map(|command| Pair { display: command.name.to_owned(), replacement: format!("{} ", command.name) })
        .collect();
    found.sort_by(|a, b| a.display.cmp(&b.display));
    found
}

fn options(line: &str, begun: &str) -> Vec<Pair> {
    let Some(command) = line.split_whitespace().next().and_then(table::find) else { return Vec::new() };
    let mut names: Vec<String> = command.options.iter().map(|option| format!("-{}", option.short)).collect();
    names.extend(["--json".to_owned(), "--help".to_owned()]);
    if command.changes {
        names.push("--dry-run".to_owned());
    }
    names.retain(|name| name.starts_with(begun));
    names.into_iter().map(|name| Pair { replacement: format!("{name} "), display: name }).collect()
}

/// The children that the last part of a path may become.
fn znodes(connection: &Connection, begun: &str) -> Vec<Pair> {
    let slash = begun.rfind('/').unwrap_or(0);
    let (parent, prefix) = (if slash == 0 { "/" } else { &begun[..slash] }, &begun[slash + 1..]);
    let request = Request::children(connection.absolute(parent), false);
    let asked =
        async { tokio::time::timeout(COMPLETION_PATIENCE, connection.client().request(&request)).await };
    let Some(Ok(Ok(ostler_client::Response::Children { mut names, .. }))) = connection.until_interrupt(asked)
    else {
        return Vec::new();
    };
    names.sort();
    names
        .into_iter()
        .filter(|name| name.starts_with(prefix))
        .map(|name| Pair { replacement: super::paths::join(parent, &name), display: name })
        .collect()
}

/// What may come next: the rest of an earlier line, which can be taken over, or how a command goes on, which cannot.
struct Suggestion {
    text: String,
    taken: bool,
}

impl Hint for Suggestion {
    fn display(&self) -> &str {
        &self.text
    }

    fn completion(&self) -> Option<&str> {
        self.taken.then_some(&self.text)
    }
}

impl Hinter for Assistant {
    type Hint = Suggestion;

    fn hint(&self, line: &str, at: usize, context: &Context<'_>) -> Option<Suggestion> {
        self.screen.note(line, at);
        if at < line.len() || line.is_empty() {
            return None;
        }
        if let Some(name) = line.strip_suffix(' ')
            && let Some(command) = table::find(name)
            && !command.usage.is_empty()
        {
            return Some(Suggestion { text: command.usage.to_owned(), taken: false });
        }
        let text = self.history.hint(line, at, context)?;
        Some(Suggestion { text, taken: true })
    }
}

impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Owned(paint(prompt, &self.connection, self.colours))
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.colours { Cow::Owned(format!("\x1b[2m{hint}\x1b[0m")) } else { Cow::Borrowed(hint) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_options_are_completed() {
        let names = |found: Vec<Pair>| found.into_iter().map(|pair| pair.display).collect::<Vec<_>>();
        assert_eq!(names(commands("getA")), ["getAcl", "getAllChildrenNumber"]);
        assert!(commands("nope").is_empty());
        assert_eq!(names(options("delete -", "-")), ["-v", "--json", "--help", "--dry-run"]);
        assert!(options("nope -", "-").is_empty());
    }
}
