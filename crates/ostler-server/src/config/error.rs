//! What can be wrong with the configuration, said so that the operator can mend it without a manual.
//!
//! An [`Error`] refuses the start; a [`Warning`] is logged by the caller, who decides how. Answers to
//! `QuorumPeerConfig.ConfigException`.

use std::fmt;

/// Where a setting was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or the name of the environment variable, or `command line`.
    pub file: String,
    /// The line in it, from 1.
    pub line: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// Why the server does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The file, or the name of the environment variable, or `command line`.
    pub file: String,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// The key, as it was written; empty where the file as a whole is meant.
    pub key: String,
    /// What was read; `None` where something is missing.
    pub value: Option<String>,
    /// What is wanted instead.
    pub hint: String,
}

impl Error {
    pub(super) fn at(place: &Place, key: &str, value: &str, hint: impl Into<String>) -> Self {
        Self {
            file: place.file.clone(),
            line: place.line,
            key: key.to_owned(),
            value: Some(value.to_owned()),
            hint: hint.into(),
        }
    }

    pub(super) fn missing(file: &str, key: &str, hint: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, key: key.to_owned(), value: None, hint: hint.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = Place { file: self.file.clone(), line: self.line };
        write!(f, "{place}: ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        if let Some(value) = &self.value {
            write!(f, "read {value:?}; ")?;
        }
        f.write_str(&self.hint)
    }
}

/// How loud to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Good to know, as "accepted, not active yet".
    Info,
    /// Probably not what was meant.
    Warn,
}

/// Something that does not stop the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// How loud.
    pub severity: Severity,
    /// Where it was read.
    pub place: Place,
    /// The key, as it was written.
    pub key: String,
    /// What about it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.key, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_that_says_where_what_and_what_instead() {
        let place = Place { file: "zoo.cfg".to_owned(), line: Some(7) };
        let error = Error::at(&place, "tickTime", "soon", "wants a whole number from 1 to 9");
        assert_eq!(
            error.to_string(),
            r#"zoo.cfg:7: tickTime: read "soon"; wants a whole number from 1 to 9"#
        );
        let error = Error::missing("zoo.cfg", "dataDir", "is missing");
        assert_eq!(error.to_string(), "zoo.cfg: dataDir: is missing");
        let error = Error::missing("zoo.cfg", "", "cannot be read");
        assert_eq!(error.to_string(), "zoo.cfg: cannot be read");
    }
}
