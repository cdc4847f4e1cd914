//! What is wrong with bytes that do not decode: which field, where, what was expected and what was there.

/// Bytes that do not decode. The one who sent them is at fault: close, refuse or answer -5, and say this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode {what} at byte {at}: {problem}")]
pub struct DecodeError {
    /// The field.
    pub what: &'static str,
    /// Its offset in the frame or record.
    pub at: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// The ways in which bytes fail to decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The bytes end too early.
    #[error("{wanted} bytes wanted, {left} left")]
    End {
        /// How many bytes the field takes.
        wanted: usize,
        /// How many there are.
        left: usize,
    },
    /// A length that no honest peer sends.
    #[error("unreasonable length {length} (at most {limit})")]
    Length {
        /// The length as it was sent.
        length: i64,
        /// The most that is accepted.
        limit: usize,
    },
    /// Null where a value is needed.
    #[error("null is not allowed here")]
    Null,
    /// A number that names nothing.
    #[error("unknown value {0}")]
    Unknown(i64),
    /// A text that is not what it should be.
    #[error("not {0}")]
    Form(&'static str),
    /// A checksum that does not match.
    #[error("checksum {read:#x} does not match the bytes ({computed:#x})")]
    Checksum {
        /// As written.
        read: i64,
        /// Of the bytes.
        computed: i64,
    },
}

impl DecodeError {
    /// The bytes end too early.
    #[must_use]
    pub fn end(what: &'static str, at: usize, wanted: usize, left: usize) -> Self {
        Self { what, at, problem: Problem::End { wanted, left } }
    }

    /// A length out of bounds.
    #[must_use]
    pub fn length(what: &'static str, at: usize, length: i64, limit: usize) -> Self {
        Self { what, at, problem: Problem::Length { length, limit } }
    }

    /// Null where a value is needed.
    #[must_use]
    pub fn null(what: &'static str, at: usize) -> Self {
        Self { what, at, problem: Problem::Null }
    }

    /// A text that is not `wanted`.
    #[must_use]
    pub fn form(what: &'static str, at: usize, wanted: &'static str) -> Self {
        Self { what, at, problem: Problem::Form(wanted) }
    }

    /// A value that names nothing.
    #[must_use]
    pub fn unknown(what: &'static str, at: usize, value: i64) -> Self {
        Self { what, at, problem: Problem::Unknown(value) }
    }
}
