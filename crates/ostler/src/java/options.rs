//! Command lines as `commons-cli` takes them apart, which Java's shell and tools use: options in any place, `-ab` for
//! `-a -b`, `-z5` for `-z 5`, unambiguous beginnings of long names, groups of which one may be given. The messages are
//! the same too, since scripts see them.

use std::fmt;

/// One option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opt {
    /// After one hyphen.
    pub(crate) short: &'static str,
    /// After two, or "".
    pub(crate) long: &'static str,
    /// How many values it takes.
    pub(crate) takes: Takes,
    /// Options with the same number other than 0 exclude each other.
    pub(crate) group: u8,
    /// Whether it must be there.
    pub(crate) required: bool,
}

/// How many values an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    One,
}

/// A plain option.
pub(crate) const fn flag(short: &'static str) -> Opt {
    Opt { short, long: "", takes: Takes::Nothing, group: 0, required: false }
}

/// An option with a value.
pub(crate) const fn value(short: &'static str) -> Opt {
    Opt { short, long: "", takes: Takes::One, group: 0, required: false }
}

impl Opt {
    pub(crate) const fn long(mut self, long: &'static str) -> Self {
        self.long = long;
        self
    }

    pub(crate) const fn in_group(mut self, group: u8) -> Self {
        self.group = group;
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// What was on a command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// Options in order, by their short names, with their values.
    given: Vec<(&'static str, Vec<String>)>,
    /// Everything else.
    pub(crate) args: Vec<String>,
}

/// Why a command line is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    Unrecognized(String),
    MissingValue(&'static str),
    AlreadySelected { given: &'static str, before: &'static str },
    MissingOptions(Vec<&'static str>),
    Ambiguous { given: String, candidates: Vec<&'static str> },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unrecognized(word) => write!(f, "Unrecognized option: {word}"),
            Self::MissingValue(option) => write!(f, "Missing argument for option: {option}"),
            Self::AlreadySelected { given, before } => write!(
                f,
                "The option '{given}' was specified but an option from this group has already been selected: '{before}'"
            ),
            Self::MissingOptions(options) => {
                let plural = if options.len() == 1 { "" } else { "s" };
                write!(f, "Missing required option{plural}: {}", options.join(", "))
            }
            Self::Ambiguous { given, candidates } => {
                let candidates: Vec<String> = candidates.iter().map(|name| format!("'{name}'")).collect();
                write!(f, "Ambiguous option: '{given}'  (could be: {})", candidates.join(", "))
            }
        }
    }
}

impl Refused {
    /// The class that Java throws.
    pub(crate) fn java_class(&self) -> &'static str {
        match self {
            Self::Unrecognized(_) => "org.apache.commons.cli.UnrecognizedOptionException",
            Self::MissingValue(_) => "org.apache.commons.cli.MissingArgumentException",
            Self::AlreadySelected { .. } => "org.apache.commons.cli.AlreadySelectedException",
            Self::MissingOptions(_) => "org.apache.commons.cli.MissingOptionException",
            Self::Ambiguous { .. } => "org.apache.commons.cli.AmbiguousOptionException",
        }
    }
}

impl Parsed {
    /// Whether an option was given.
    pub(crate) fn has(&self, short: &str) -> bool {
        self.given.iter().any(|(name, _)| *name == short)
    }

    /// The first value of an option.
    pub(crate) fn value(&self, short: &str) -> Option<&str> {
        self.given
            .iter()
            .filter(|(name, _)| *name == short)
            .flat_map(|(_, values)| values)
            .next()
            .map(String::as_str)
    }
}

/// Takes a command line apart.
pub(crate) fn parse<S: AsRef<str>>(options: &[Opt], words: &[S]) -> Result<Parsed, Refused> {
    let mut parser = Parser { options, parsed: Parsed::default(), open: None, selected: Vec::new() };
    let mut rest_are_args = false;
    for word in words {
        let word = word.as_ref();
        if rest_are_args {
            parser.parsed.args.push(word.to_owned());
        } else if word == "--" {
            rest_are_args = true;
        } else {
            parser.word(word)?;
        }
    }
    parser.close()?;
    let missing: Vec<_> = options
        .iter()
        .filter(|option| option.required && !parser.parsed.has(option.short))
        .map(|option| option.short)
        .collect();
    if !missing.is_empty() {
        return Err(Refused::MissingOptions(missing));
    }
    Ok(parser.parsed)
}

struct Parser<'a> {
    options: &'a [Opt],
    parsed: Parsed,
    /// The option that takes values now.
    open: Option<Opt>,
    /// Group and option.
    selected: Vec<(u8, &'static str)>,
}

impl Parser<'_> {
    fn word(&mut self, word: &str) -> Result<(), Refused> {
        if self.open_takes_more() && (!self.is_option(word) || is_negative_number(word)) {
            self.push_value(unquoted(word));
        } else if let Some(long) = word.strip_prefix("--") {
            self.long(word, long)?;
        } else if let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) {
            self.short(word, name)?;
        } else {
            self.parsed.args.push(word.to_owned());
        }
        if !self.open_takes_more() {
            self.open = None;
        }
        Ok(())
    }

    fn long(&mut self, word: &str, text: &str) -> Result<(), Refused> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let Some(option) = self.by_long(name)? else { return Err(Refused::Unrecognized(word.to_owned())) };
        match value {
            None => self.open(option),
            Some(_) if option.takes == Takes::Nothing => Err(Refused::Unrecognized(word.to_owned())),
            Some(value) => {
                self.open(option)?;
                self.push_value(value);
                self.open = None;
                Ok(())
            }
        }
    }

    fn short(&mut self, word: &str, text: &str) -> Result<(), Refused> {
        if let Some(option) = self.by_short(text) {
            return self.open(option);
        }
        if let Some((name, value)) = text.split_once('=') {
            let option = self.by_short(name).filter(|option| option.takes != Takes::Nothing);
            let Some(option) = option else { return Err(Refused::Unrecognized(word.to_owned())) };
            self.open(option)?;
            self.push_value(value);
            self.open = None;
            return Ok(());
        }
        if text.chars().count() > 1
            && let Some(option) = self.by_long(text)?
        {
            return self.open(option);
        }
        for (at, letter) in text.char_indices() {
            let Some(option) = self.by_short(&text[at..at + letter.len_utf8()]) else {
                return Err(Refused::Unrecognized(word.to_owned()));
            };
            self.open(option)?;
            let rest = &text[at + letter.len_utf8()..];
            if self.open.is_some() && !rest.is_empty() {
                self.push_value(unquoted(rest));
                break;
            }
        }
        Ok(())
    }

    fn open(&mut self, option: Opt) -> Result<(), Refused> {
        self.close()?;
        if option.group != 0 {
            match self.selected.iter().find(|(group, _)| *group == option.group) {
                Some((_, before)) if *before != option.short => {
                    return Err(Refused::AlreadySelected { given: option.short, before });
                }
                Some(_) => {}
                None => self.selected.push((option.group, option.short)),
            }
        }
        self.parsed.given.push((option.short, Vec::new()));
        self.open = (option.takes != Takes::Nothing).then_some(option);
        Ok(())
    }

    /// An option that still waits for its value is an error.
    fn close(&mut self) -> Result<(), Refused> {
        if let Some(option) = self.open.take()
            && self.parsed.given.last().is_some_and(|(_, values)| values.is_empty())
        {
            return Err(Refused::MissingValue(option.short));
        }
        Ok(())
    }

    fn open_takes_more(&self) -> bool {
        let values = self.parsed.given.last().map_or(0, |(_, values)| values.len());
        self.open.is_some_and(|option| match option.takes {
            Takes::Nothing => false,
            Takes::One => values < 1,
        })
    }

    fn push_value(&mut self, value: &str) {
        if let Some((_, values)) = self.parsed.given.last_mut() {
            values.push(value.to_owned());
        }
    }

    fn by_short(&self, name: &str) -> Option<Opt> {
        self.options.iter().find(|option| option.short == name).copied()
    }

    /// The option of this long name, or the only one whose name begins so.
    fn by_long(&self, name: &str) -> Result<Option<Opt>, Refused> {
        if let Some(option) =
            self.options.iter().find(|option| !option.long.is_empty() && option.long == name)
        {
            return Ok(Some(*option));
        }
        let begins: Vec<&Opt> = self
            .options
            .iter()
            .filter(|option| !option.long.is_empty() && option.long.starts_with(name))
            .collect();
        match begins[..] {
            [] => Ok(None),
            [option] => Ok(Some(*option)),
            _ => Err(Refused::Ambiguous {
                given: name.to_owned(),
                candidates: begins.iter().map(|option| option.long).collect(),
            }),
        }
    }

    fn is_option(&self, word: &str) -> bool {
        let Some(text) = word.strip_prefix('-').filter(|text| !text.is_empty()) else { return false };
        let name = text.trim_start_matches('-');
        let name = name.split_once('=').map_or(name, |(name, _)| name);
        let first = name.chars().next().map(|letter| letter.to_string()).unwrap_or_default();
        let short = !name.is_empty() && (self.by_short(name).is_some() || self.by_short(&first).is_some());
        short || !matches!(self.by_long(name), Ok(None))
    }
}

fn is_negative_number(word: &str) -> bool {
    word.parse::<f64>().is_ok()
}

/// Without the double quotes around it.
fn unquoted(word: &str) -> &str {
    let inner = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: [Opt; 6] = [
        flag("s"),
        flag("e"),
        value("t"),
        value("n").in_group(1),
        value("b").in_group(1),
        flag("h").long("help"),
    ];

    fn words(line: &str) -> Result<Parsed, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        parse(&OPTIONS, &words).map_err(|refused| refused.to_string())
    }

    #[test]
    fn options_stand_anywhere() {
        let parsed = words("create /a -s data -t 5 -e").unwrap();
        assert_eq!(parsed.args, ["create", "/a", "data"]);
        assert!(parsed.has("s") && parsed.has("e") && parsed.value("t") == Some("5"));
    }

    #[test]
    fn they_are_joined_and_carry_values() {
        assert!(words("-se").unwrap().has("e"));
        assert_eq!(words("-t5").unwrap().value("t"), Some("5"));
        assert_eq!(words("-t=5").unwrap().value("t"), Some("5"));
        assert_eq!(words("-t -1").unwrap().value("t"), Some("-1"));
        assert!(words("--he").unwrap().has("h"));
        assert_eq!(words("-- -s").unwrap().args, ["-s"]);
        assert_eq!(words("a - b").unwrap().args, ["a", "-", "b"]);
    }

    #[test]
    fn refusals_read_as_in_java() {
        assert_eq!(words("-x").unwrap_err(), "Unrecognized option: -x");
        assert_eq!(words("-sx").unwrap_err(), "Unrecognized option: -sx");
        assert_eq!(words("-t").unwrap_err(), "Missing argument for option: t");
        assert_eq!(words("-t -s").unwrap_err(), "Missing argument for option: t");
        assert_eq!(
            words("-n 1 -b 2").unwrap_err(),
            "The option 'b' was specified but an option from this group has already been selected: 'n'"
        );
        let required = [value("l").required(), value("r").required()];
        let refused = parse(&required, &["x"]).unwrap_err();
        assert_eq!(refused.to_string(), "Missing required options: l, r");
    }
}
