//! The judges. None of them searches: every reply carries a zxid, so what it must have been is read off the one
//! sequence of transactions.

pub mod answers;
pub mod clients;
pub mod state;
pub mod watches;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes a violation from a text.
#[macro_export]
macro_rules! violation {
    ($($arg:tt)*) => { $crate::check::Violation(format!($($arg)*)) };
}
pub use violation;
