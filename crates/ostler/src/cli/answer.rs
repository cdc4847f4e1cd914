//! What a command has to say: on standard output, on standard error, and as JSON; or why it failed. Texts, streams and
//! exit codes are those of Java's shell, since scripts look for them. Answers to `CliException` and
//! `CliWrapperException`.

use ostler_wire::{Code, Stat};
use serde_json::{Value, json};

use crate::java::dates;

/// A command line that makes no sense, or an error of the server.
const FAILED: u8 = 1;
/// A command that is not known.
const NOT_FOUND: u8 = 127;
/// Ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// What a command has to say.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// For standard output, line ends included.
    pub(super) out: String,
    /// For standard error.
    pub(super) err: String,
    /// The same for programs.
    pub(super) json: Value,
}

impl Answer {
    /// One that goes to standard output.
    pub(super) fn out(text: impl Into<String>, json: Value) -> Self {
        Self { out: text.into(), err: String::new(), json }
    }

    /// One that goes to standard error.
    pub(super) fn err(text: impl Into<String>, json: Value) -> Self {
        Self { out: String::new(), err: text.into(), json }
    }

    /// It went well, and that is all.
    pub(super) fn done() -> Self {
        Self { out: String::new(), err: String::new(), json: json!({"ok": true}) }
    }

    /// With a Stat behind it, if that was asked for.
    pub(super) fn with_stat(mut self, wanted: bool, stat: &Stat) -> Self {
        if wanted {
            self.out.push_str(&stat_text(stat));
        }
        if let Value::Object(object) = &mut self.json {
            object.insert("stat".to_owned(), stat_json(stat));
        }
        self
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: u8,
    /// What Java says on the way, before the message.
    pub(super) before: String,
    pub(super) message: String,
    pub(super) code: Option<Code>,
    /// The session was lost, or is not there.
    pub(super) lost: bool,
}

impl Failure {
    /// A command line or an input that makes no sense.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { exit: FAILED, before: String::new(), message: message.into(), code: None, lost: false }
    }

    /// A command that is not known.
    pub(super) fn not_found(command: &str) -> Self {
        Self { exit: NOT_FOUND, ..Self::new(format!("Command not found: Command not found {command}")) }
    }

    /// Ended by Ctrl-C.
    pub(super) fn interrupted() -> Self {
        Self { exit: INTERRUPTED, ..Self::new("Interrupted") }
    }

    /// What the server said, about this path; Java's exceptions do not always have one.
    pub(super) fn of_code(code: Code, path: Option<&str>) -> Self {
        let shown = path.unwrap_or("null");
        let message = match code {
            Code::NoNode => format!("Node does not exist: {shown}"),
            Code::NoChildrenForEphemerals => format!("Ephemerals cannot have children: {shown}"),
            Code::NodeExists => format!("Node already exists: {shown}"),
            Code::NotEmpty => format!("Node not empty: {shown}"),
            Code::NotReadOnly => format!("Not a read-only call: {shown}"),
            Code::InvalidAcl => format!("Acl is not valid : {shown}"),
            Code::NoAuth => format!("Insufficient permission : {shown}"),
            Code::BadArguments => format!("Arguments are not valid : {shown}"),
            Code::BadVersion => format!("version No is not valid : {shown}"),
            Code::QuotaExceeded => format!("Quota has exceeded : {shown}"),
            Code::ReconfigInProgress => {
                "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)".to_owned()
            }
            Code::NewConfigNoQuorum => "No quorum of new config is connected and up-to-date with the leader of last \
                                        commmitted config - try invoking reconfiguration after new servers are \
                                        connected and synced"
                .to_owned(),
            other => exception(other, path),
        };
        let lost = matches!(code, Code::ConnectionLoss | Code::SessionExpired | Code::AuthFailed);
        Self { code: Some(code), lost, ..Self::new(message) }
    }

    /// With a line that Java prints before.
    pub(super) fn after(mut self, line: &str) -> Self {
        self.before.push_str(line);
        self.before.push('\n');
        self
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "code": self.code.map(code_text),
            "number": self.code.map(Code::to_int),
        }})
    }
}

/// The message of Java's exception for a code.
pub(super) fn exception(code: Code, path: Option<&str>) -> String {
    match path {
        None | Some("") => format!("KeeperErrorCode = {}", code_text(code)),
        Some(path) => format!("KeeperErrorCode = {} for {path}", code_text(code)),
    }
}

/// What Java calls a code.
fn code_text(code: Code) -> &'static str {
    match code {
        Code::SystemError => "SystemError",
        Code::RuntimeInconsistency => "RuntimeInconsistency",
        Code::DataInconsistency => "DataInconsistency",
        Code::ConnectionLoss => "ConnectionLoss",
        Code::MarshallingError => "MarshallingError",
        Code::Unimplemented => "Unimplemented",
        Code::OperationTimeout => "OperationTimeout",
        Code::BadArguments => "BadArguments",
        Code::UnknownSession => "Unknown error UNKNOWNSESSION",
        Code::NewConfigNoQuorum => "NewConfigNoQuorum",
        Code::ReconfigInProgress => "ReconfigInProgress",
        Code::ApiError => "APIError",
        Code::NoNode => "NoNode",
        Code::NoAuth => "NoAuth",
        Code::BadVersion => "BadVersion",
        Code::NoChildrenForEphemerals => "NoChildrenForEphemerals",
        Code::NodeExists => "NodeExists",
        Code::NotEmpty => "Directory not empty",
        Code::SessionExpired => "Session expired",
        Code::InvalidCallback => "Invalid callback",
        Code::InvalidAcl => "InvalidACL",
        Code::AuthFailed => "AuthFailed",
        Code::SessionMoved => "Session moved",
        Code::NotReadOnly => "Not a read-only call",
        Code::EphemeralOnLocalSession => "Ephemeral node on local session",
        Code::NoWatcher => "No such watcher",
        Code::RequestTimeout => "Unknown error REQUESTTIMEOUT",
        Code::ReconfigDisabled => "Reconfig is disabled",
        Code::SessionClosedRequireSaslAuth => "Session closed because client failed to authenticate",
        Code::QuotaExceeded => "Quota has exceeded",
        Code::ThrottledOp => "Op throttled due to high load",
    }
}

/// A Stat as Java's shell prints it.
pub(super) fn stat_text(stat: &Stat) -> String {
    format!(
        "cZxid = 0x{:x}\nctime = {}\nmZxid = 0x{:x}\nmtime = {}\npZxid = 0x{:x}\ncversion = {}\ndataVersion = {}\n\
         aclVersion = {}\nephemeralOwner = 0x{:x}\ndataLength = {}\nnumChildren = {}\n",
        stat.czxid,
        dates::long(stat.ctime),
        stat.mzxid,
        dates::long(stat.mtime),
        stat.pzxid,
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children
    )
}

/// A Stat for programs.
pub(super) fn stat_json(stat: &Stat) -> Value {
    json!({
        "czxid": format!("0x{:x}", stat.czxid),
        "ctime": dates::iso(stat.ctime),
        "mzxid": format!("0x{:x}", stat.mzxid),
        "mtime": dates::iso(stat.mtime),
        "pzxid": format!("0x{:x}", stat.pzxid),
        "cversion": stat.cversion,
        "version": stat.version,
        "aversion": stat.aversion,
        "ephemeralOwner": format!("0x{:x}", stat.ephemeral_owner),
        "dataLength": stat.data_length,
        "numChildren": stat.num_children,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_in_java() {
        let text = |code, path| Failure::of_code(code, path).message;
        assert_eq!(text(Code::NoNode, Some("/a")), "Node does not exist: /a");
        assert_eq!(text(Code::BadVersion, Some("/a")), "version No is not valid : /a");
        assert_eq!(text(Code::InvalidAcl, None), "Acl is not valid : null");
        assert_eq!(text(Code::ConnectionLoss, Some("/x")), "KeeperErrorCode = ConnectionLoss for /x");
        assert_eq!(text(Code::ReconfigDisabled, Some("")), "KeeperErrorCode = Reconfig is disabled");
        assert_eq!(Failure::not_found("x").exit, 127);
    }
}
