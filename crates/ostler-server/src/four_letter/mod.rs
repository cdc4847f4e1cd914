//! The four-letter words: small questions an operator types on the client port, answered in plain text.
//!
//! [`words`] recognises them and knows which are open, [`report`] is what the server must know to answer, [`render`] and
//! `mntr` are the texts. Everything here is pure; the lanes gather the reports and close the connection after the
//! answer. Answers to the `org.apache.zookeeper.server.command` package; the texts are those of 3.9.5, and the recorded
//! answers of such a server are in `fixtures`.

mod java_text;
mod metric_names;
mod mntr;
pub mod render;
pub mod report;
#[cfg(test)]
mod tests;
pub mod words;

pub use metric_names::{ADVANCED_SUMMARIES, BASIC_SUMMARIES, COUNTERS};
pub use mntr::mntr;
pub use words::{Whitelist, Word};

/// The version of the reference whose behaviour this server has. Clients parse it and decide by it.
pub const REFERENCE_VERSION: &str = "3.9.5";

/// When this was built, as far as the build was told; else the day of the release.
const BUILT: &str = match option_env!("OSTLER_BUILD_DATE") {
    Some(date) => date,
    None => "2026-11-21 00:00",
};

/// The full version: `3.9.5-ostler-0.1.0, built on 2026-11-21 00:00 UTC`.
///
/// Clients take the digits and dots up to the first dash, or the text behind `Zookeeper version: `.
#[must_use]
pub fn version() -> String {
    format!("{REFERENCE_VERSION}-ostler-{}, built on {BUILT} UTC", env!("CARGO_PKG_VERSION"))
}
