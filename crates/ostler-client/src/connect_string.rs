//! The text that says where an ensemble is: `host:port,host:port/chroot`. Answers to `ConnectStringParser`. Names are
//! kept as they are; whoever connects resolves them, each time anew.

use std::fmt;
use std::str::FromStr;

use ostler_wire::path;

use crate::error::{Error, ErrorKind};

/// The port of a server that is named without one.
pub const DEFAULT_PORT: u16 = 2181;

/// A server: a name or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub name: String,
    /// The client port.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// Servers, and the subtree below which all paths of the client are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectString {
    /// At least one server.
    pub hosts: Vec<Host>,
    /// An absolute path, or empty for the whole tree.
    pub chroot: String,
}

impl FromStr for ConnectString {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |what: String| Error::new(ErrorKind::Misuse, what);
        let (servers, chroot) = text.split_at(text.find('/').unwrap_or(text.len()));
        if !chroot.is_empty() && !path::is_valid(chroot) {
            return Err(wrong(format!("the chroot {chroot:?} is not a valid path")));
        }
        let hosts: Vec<Host> = servers
            .split(',')
            .map(str::trim)
            .filter(|server| !server.is_empty())
            .map(|server| host(server).ok_or_else(|| wrong(format!("{server:?} is not host:port"))))
            .collect::<Result<_, _>>()?;
        if hosts.is_empty() {
            return Err(wrong(format!("{text:?} names no server")));
        }
        let chroot = if chroot == path::ROOT { String::new() } else { chroot.to_owned() };
        Ok(Self { hosts, chroot })
    }
}

impl fmt::Display for ConnectString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, host) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}", if i == 0 { "" } else { "," })?;
        }
        f.write_str(&self.chroot)
    }
}

fn host(text: &str) -> Option<Host> {
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (name, rest) = rest.split_once(']')?;
        (
            name,
            rest.strip_prefix(':')
                .map_or(Some(""), Some)
                .filter(|_| rest.is_empty() || rest.starts_with(':'))?,
        )
    } else if text.matches(':').count() > 1 {
        // An IPv6 address without brackets cannot say a port.
        (text, "")
    } else {
        text.split_once(':').unwrap_or((text, ""))
    };
    let port = if port.is_empty() && !text.ends_with(':') { DEFAULT_PORT } else { port.parse().ok()? };
    (!name.is_empty()).then(|| Host { name: name.to_owned(), port })
}

/// Puts paths below the chroot and takes them out again.
#[cfg(feature = "driver")]
#[derive(Debug, Clone, Default)]
pub(crate) struct Chroot(pub(crate) String);

#[cfg(feature = "driver")]
impl Chroot {
    /// The path as the server knows it.
    pub(crate) fn absolute(&self, path: &str) -> String {
        match (self.0.as_str(), path) {
            ("", path) => path.to_owned(),
            (chroot, path::ROOT) => chroot.to_owned(),
            // What is no path stays recognisable as none.
            (_, path) if !path.starts_with('/') => path.to_owned(),
            (chroot, path) => format!("{chroot}{path}"),
        }
    }

    /// The path as the caller knows it. What is not below the chroot (the configuration) stays as it is.
    pub(crate) fn relative(&self, path: String) -> String {
        if self.0.is_empty() {
            return path;
        }
        match path.strip_prefix(&self.0) {
            Some("") => path::ROOT.to_owned(),
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            _ => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String) {
        let parsed: ConnectString = text.parse().unwrap();
        (parsed.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), parsed.chroot)
    }

    #[test]
    fn forms() {
        for (text, hosts, chroot) in [
            ("a", "a:2181", ""),
            ("a:1,b:2", "a:1 b:2", ""),
            ("a:1, b ,/", "a:1 b:2181", ""),
            ("a:1,b:2/app/x", "a:1 b:2", "/app/x"),
            ("[::1]:7,[::2]/c", "[::1]:7 [::2]:2181", "/c"),
            ("fe80::1", "[fe80::1]:2181", ""),
        ] {
            assert_eq!(parsed(text), (hosts.to_owned(), chroot.to_owned()), "{text}");
        }
        for bad in ["", "/", "a:x", "a:70000", "a:", "a/b/", "a//b", "[::1]7", ":1", ","] {
            let error = bad.parse::<ConnectString>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misuse, "{bad}");
        }
        let text = "a:1,[::1]:2/c";
        assert_eq!(text.parse::<ConnectString>().unwrap().to_string(), text);
    }

    #[test]
    fn a_chroot_goes_on_and_comes_off() {
        let chroot = Chroot("/app".to_owned());
        for (inside, outside) in [("/", "/app"), ("/a", "/app/a"), ("/a/b", "/app/a/b")] {
            assert_eq!(chroot.absolute(inside), outside);
            assert_eq!(chroot.relative(outside.to_owned()), inside);
        }
        assert_eq!(chroot.relative("/zookeeper/config".to_owned()), "/zookeeper/config");
        assert_eq!(chroot.relative("/apple".to_owned()), "/apple");
        assert_eq!(chroot.absolute("a"), "a");
        let none = Chroot::default();
        assert_eq!((none.absolute("/a"), none.relative("/a".to_owned())), ("/a".to_owned(), "/a".to_owned()));
    }
}
