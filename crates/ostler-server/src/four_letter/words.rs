//! The four-letter words themselves: which four bytes are one, and which of them an operator has opened.
//!
//! Assumes nothing: the caller hands over the first four bytes of a fresh connection, before they are taken as a frame
//! length. Answers to `FourLetterCommands` of the Java server.

use std::fmt;

/// A four-letter word, or the interrupt that a telnet client sends when its user closes the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// The settings the server runs with.
    Conf,
    /// One line for each connection.
    Cons,
    /// Set the statistics of all connections to zero.
    Crst,
    /// Sizes of the data and log directories.
    Dirs,
    /// Sessions, ephemeral nodes and connections.
    Dump,
    /// The environment of the process.
    Envi,
    /// Read the trace mask.
    Gtmk,
    /// The recent tree digests.
    Hash,
    /// Does this server accept writes?
    Isro,
    /// All metrics.
    Mntr,
    /// Is the process alive?
    Ruok,
    /// Set the statistics of the server to zero.
    Srst,
    /// The statistics of the server.
    Srvr,
    /// `srvr` and the connected clients.
    Stat,
    /// Set the trace mask; eight bytes with the new mask follow the word.
    Stmk,
    /// Watches by session.
    Wchc,
    /// Watches by path.
    Wchp,
    /// A summary of the watches.
    Wchs,
    /// The bytes `ff f4 ff fd`, known only so that they are not reported as a frame of negative length.
    TelnetClose,
}

/// Every word, in the order of their names; the index of a word here is its bit in a [`Whitelist`].
pub const ALL: [Word; 19] = [
    Word::Conf,
    Word::Cons,
    Word::Crst,
    Word::Dirs,
    Word::Dump,
    Word::Envi,
    Word::Gtmk,
    Word::Hash,
    Word::Isro,
    Word::Mntr,
    Word::Ruok,
    Word::Srst,
    Word::Srvr,
    Word::Stat,
    Word::Stmk,
    Word::Wchc,
    Word::Wchp,
    Word::Wchs,
    Word::TelnetClose,
];

/// What every word but a few answers while the server is not serving.
pub const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

impl Word {
    /// The word these four bytes are, if they are one.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 4]) -> Option<Self> {
        if bytes == [0xff, 0xf4, 0xff, 0xfd] {
            return Some(Self::TelnetClose);
        }
        Self::from_name(std::str::from_utf8(&bytes).ok()?)
    }

    /// The word of this name, as the whitelist spells it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|word| word.name() == name)
    }

    /// The name, as the whitelist and the refusal spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conf => "conf",
            Self::Cons => "cons",
            Self::Crst => "crst",
            Self::Dirs => "dirs",
            Self::Dump => "dump",
            Self::Envi => "envi",
            Self::Gtmk => "gtmk",
            Self::Hash => "hash",
            Self::Isro => "isro",
            Self::Mntr => "mntr",
            Self::Ruok => "ruok",
            Self::Srst => "srst",
            Self::Srvr => "srvr",
            Self::Stat => "stat",
            Self::Stmk => "stmk",
            Self::Wchc => "wchc",
            Self::Wchp => "wchp",
            Self::Wchs => "wchs",
            Self::TelnetClose => "telnet close",
        }
    }

    /// How many bytes belong to the word beyond its four letters.
    #[must_use]
    pub const fn argument_bytes(self) -> usize {
        if matches!(self, Self::Stmk) { 8 } else { 0 }
    }

    /// What a server that is not serving answers, or `None` where the word answers as always.
    #[must_use]
    pub fn not_serving_text(self) -> Option<String> {
        match self {
            Self::Ruok | Self::Envi | Self::Gtmk | Self::Stmk | Self::TelnetClose => None,
            Self::Isro => Some("null".to_owned()),
            // The one command that forgets the line end.
            Self::Hash => Some(NOT_SERVING.to_owned()),
            Self::Conf
            | Self::Cons
            | Self::Crst
            | Self::Dirs
            | Self::Dump
            | Self::Mntr
            | Self::Srst
            | Self::Srvr
            | Self::Stat
            | Self::Wchc
            | Self::Wchp
            | Self::Wchs => Some(format!("{NOT_SERVING}\n")),
        }
    }

    /// The refusal of a word that the whitelist does not name.
    #[must_use]
    pub fn not_whitelisted_text(self) -> String {
        format!("{} is not executed because it is not in the whitelist.\n", self.name())
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The words an operator has opened. `srvr` always is, since `zkServer.sh status` asks it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Whitelist(u32);

impl Default for Whitelist {
    fn default() -> Self {
        Self(Word::Srvr.bit())
    }
}

impl Whitelist {
    /// Every word is open.
    #[must_use]
    pub fn all() -> Self {
        ALL.into_iter().fold(Self::default(), Self::with)
    }

    /// Reads the text of `4lw.commands.whitelist`: names with commas between them, or `*`. The names that are no words
    /// come back beside it.
    #[must_use]
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let mut list = Self::default();
        let mut unknown = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name == "*" {
                return (Self::all(), unknown);
            }
            match Word::from_name(name) {
                Some(word) => list = list.with(word),
                None => unknown.push(name.to_owned()),
            }
        }
        (list, unknown)
    }

    /// This list and one word more.
    #[must_use]
    pub const fn with(self, word: Word) -> Self {
        Self(self.0 | word.bit())
    }

    /// Is this word open?
    #[must_use]
    pub const fn contains(self, word: Word) -> bool {
        self.0 & word.bit() != 0
    }
}

impl fmt::Debug for Whitelist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(ALL.into_iter().filter(|word| self.contains(*word)).map(Word::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bytes_are_a_word_or_are_not() {
        for word in ALL {
            if word != Word::TelnetClose {
                let bytes: [u8; 4] = word.name().as_bytes().try_into().unwrap();
                assert_eq!(Word::from_bytes(bytes), Some(word));
            }
        }
        assert_eq!(Word::from_bytes([0xff, 0xf4, 0xff, 0xfd]), Some(Word::TelnetClose));
        for no_word in [*b"icfg", *b"RUOK", [0, 0, 0, 45], [0xff; 4], *b"tele"] {
            assert_eq!(Word::from_bytes(no_word), None, "{no_word:?}");
        }
    }

    #[test]
    fn the_whitelist_reads_what_java_reads() {
        let open = |text: &str| {
            let (list, unknown) = Whitelist::parse(text);
            (ALL.into_iter().filter(|word| list.contains(*word)).count(), unknown)
        };
        assert_eq!(open(""), (1, vec![]));
        assert_eq!(open("stat, ruok ,,mntr"), (4, vec![]));
        assert_eq!(open("srvr"), (1, vec![]));
        assert_eq!(open("*"), (ALL.len(), vec![]));
        assert_eq!(open("rouk, *"), (ALL.len(), vec!["rouk".to_owned()]));
        assert!(!Whitelist::default().contains(Word::Ruok));
        assert!(Whitelist::default().contains(Word::Srvr));
        assert_eq!(format!("{:?}", Whitelist::parse("ruok").0), r#"{"ruok", "srvr"}"#);
    }

    #[test]
    fn refusals() {
        assert_eq!(
            Word::Ruok.not_whitelisted_text(),
            "ruok is not executed because it is not in the whitelist.\n"
        );
        assert_eq!(
            Word::TelnetClose.not_whitelisted_text(),
            "telnet close is not executed because it is not in the whitelist.\n"
        );
        assert_eq!(Word::Isro.not_serving_text().as_deref(), Some("null"));
        assert_eq!(Word::Ruok.not_serving_text(), None);
        assert!(Word::Mntr.not_serving_text().unwrap().ends_with("requests\n"));
        assert!(Word::Hash.not_serving_text().unwrap().ends_with("requests"));
    }
}
