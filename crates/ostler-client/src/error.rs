//! The one error of the client. What matters to a caller is not what broke but what to do, so that is what
//! `kind()` says; the text says what broke.

use std::borrow::Cow;

use ostler_wire::Code;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The server answered no, and why. Nothing happened; the session goes on.
    Rejected(Code),
    /// Nothing happened (or it was only a read): asking again is safe.
    Retry,
    /// The connection was lost after the request was sent: it may have happened or not. Look before you ask again.
    Unknown,
    /// The session is over, its ephemerals are gone or will be, and this client is of no further use.
    SessionLost,
    /// The request makes no sense, or the client was closed: a bug of the caller.
    Misuse,
}

/// An error of the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    kind: ErrorKind,
    what: Cow<'static, str>,
    operation: Option<usize>,
}

impl Error {
    /// An error of this kind, with a sentence that says what broke.
    pub fn new(kind: ErrorKind, what: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, what: what.into(), operation: None }
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The code with which the server refused, if that is what happened.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self.kind {
            ErrorKind::Rejected(code) => Some(code),
            ErrorKind::Retry | ErrorKind::Unknown | ErrorKind::SessionLost | ErrorKind::Misuse => None,
        }
    }

    /// Which write of a transaction was refused, counted from 0.
    #[must_use]
    pub fn operation(&self) -> Option<usize> {
        self.operation
    }

    /// The error of a transaction whose write at this place was refused.
    #[must_use]
    pub fn of_operation(err: i32, place: usize) -> Self {
        let error = Self::from_wire(err);
        let what = Cow::Owned(format!("write {place} of the transaction: {}", error.what));
        Self { what, operation: Some(place), ..error }
    }

    /// The error for the code in a reply. A number that this client does not know counts as a system error and is
    /// named in the text.
    #[must_use]
    pub fn from_wire(err: i32) -> Self {
        match Code::from_int(err) {
            Some(code) => Self::new(ErrorKind::Rejected(code), format!("the server refused: {code} ({err})")),
            None => Self::new(
                ErrorKind::Rejected(Code::SystemError),
                format!("the server refused with the unknown code {err}"),
            ),
        }
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self::from_wire(code.to_int())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_their_number_in_the_text() {
        let error = Error::from_wire(-101);
        assert_eq!(error.code(), Some(Code::NoNode));
        assert_eq!(error.to_string(), "the server refused: no node (-101)");
        assert!(Error::from_wire(-999).to_string().contains("-999"));
    }
}
