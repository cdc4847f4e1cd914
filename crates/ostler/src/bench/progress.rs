//! The line on the terminal that says how far a long run is. On stderr, and only on a terminal.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use super::report::thousands;

/// A progress line.
pub(super) struct Progress {
    label: String,
    total: Option<u64>,
    began: Instant,
    shown: bool,
    terminal: bool,
}

impl Progress {
    /// A line that begins with `label`; `total` is how many operations there will be, if that is known.
    pub(super) fn new(label: impl Into<String>, total: Option<u64>) -> Self {
        Self {
            label: label.into(),
            total,
            began: Instant::now(),
            shown: false,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Shows how many operations are done.
    pub(super) fn show(&mut self, done: u64) {
        let elapsed = self.began.elapsed().as_secs_f64();
        if !self.terminal || elapsed < 0.2 {
            return;
        }
        self.shown = true;
        let text = self.text(done, elapsed);
        // A terminal that went away is no reason to stop.
        drop(write!(std::io::stderr(), "\r\x1b[2K{text}"));
    }

    fn text(&self, done: u64, elapsed: f64) -> String {
        #[expect(clippy::cast_precision_loss, reason = "for eyes")]
        let (done_f, total_f) = (done as f64, self.total.unwrap_or(0) as f64);
        let rate = done_f / elapsed;
        match self.total {
            Some(total) if rate > 0.0 => format!(
                "{}: {} of {} ({:.0} %), {}/s, {:.0} s left",
                self.label,
                thousands(done_f),
                thousands(total_f),
                100.0 * done_f / (total as f64).max(1.0),
                thousands(rate),
                (total_f - done_f).max(0.0) / rate,
            ),
            _ => format!("{}: {elapsed:.0} s, {} done, {}/s", self.label, thousands(done_f), thousands(rate)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            drop(write!(std::io::stderr(), "\r\x1b[2K"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_much_is_left() {
        let progress = Progress::new("fill", Some(1000));
        assert_eq!(progress.text(250, 5.0), "fill: 250 of 1,000 (25 %), 50/s, 15 s left");
        assert_eq!(Progress::new("get", None).text(2500, 5.0), "get: 5 s, 2,500 done, 500/s");
    }
}
