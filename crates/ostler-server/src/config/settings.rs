//! What was set, from all sources, each value of the form that its key asks for.
//!
//! Between the text and the meaning: decides which of several settings of one key counts, refuses values that cannot be
//! read, and collects the remarks on keys that are unknown, repeated or without effect. Answers to the loop in
//! `QuorumPeerConfig.parseProperties` and to `System.setProperty` in it.

use std::collections::BTreeMap;

use super::error::{Error, Place, Severity, Warning};
use super::keys::{self, Key, Kind, Source, State};
use super::raw::{self, Entry};

/// For so many unknown keys a known one is suggested.
const MAX_SUGGESTIONS: usize = 10;

/// What the process environment says about the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvSettings {
    /// `SERVER_JVMFLAGS`.
    pub server_jvmflags: String,
    /// `JVMFLAGS`; of the two it comes later on Java's command line, so it wins.
    pub jvmflags: String,
    /// `ZOO_DATADIR_AUTOCREATE_DISABLE` is set to something.
    pub datadir_autocreate_disable: bool,
}

impl EnvSettings {
    /// Reads the environment: the one place of the server that does.
    #[must_use]
    pub fn from_process() -> Self {
        let text = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            server_jvmflags: text("SERVER_JVMFLAGS").unwrap_or_default(),
            jvmflags: text("JVMFLAGS").unwrap_or_default(),
            datadir_autocreate_disable: text("ZOO_DATADIR_AUTOCREATE_DISABLE")
                .is_some_and(|value| !value.is_empty()),
        }
    }
}

/// One key that is set.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) key: &'static Key,
    /// The key as it was written.
    pub(super) written: String,
    pub(super) value: String,
    pub(super) place: Place,
}

impl Setting {
    pub(super) fn refuse(&self, hint: impl Into<String>) -> Error {
        Error::at(&self.place, &self.written, &self.value, hint)
    }

    pub(super) fn remark(&self, severity: Severity, message: impl Into<String>) -> Warning {
        Warning { severity, place: self.place.clone(), key: self.written.clone(), message: message.into() }
    }
}

/// All that is set.
#[derive(Debug, Default)]
pub(super) struct Settings {
    by_name: BTreeMap<&'static str, Setting>,
    /// `server.1` and the like, by the full key, in the order of the file.
    families: Vec<Setting>,
    pub(super) warnings: Vec<Warning>,
    /// How many keys nobody knows.
    unknown: usize,
    /// Why settings were passed over that mean something to a member of an ensemble only.
    bad_of_ensemble: Vec<Error>,
}

impl Settings {
    /// Gathers the flags of the environment and then the files, which win wherever they do in Java.
    pub(super) fn gather(files: Vec<(&str, Vec<Entry>)>, env: &EnvSettings) -> Result<Self, Error> {
        let mut settings = Self::default();
        if env.datadir_autocreate_disable {
            settings.set_flag("ZOO_DATADIR_AUTOCREATE_DISABLE", "zookeeper.datadir.autocreate", "false");
        }
        for (name, flags) in [("SERVER_JVMFLAGS", &env.server_jvmflags), ("JVMFLAGS", &env.jvmflags)] {
            for (key, value) in raw::parse_jvm_flags(flags) {
                settings.set_flag(name, &key, &value);
            }
        }
        for (file, entries) in files {
            for entry in entries {
                settings.set_entry(file, entry);
            }
        }
        let Self { by_name, families, warnings, bad_of_ensemble, .. } = &mut settings;
        let mut kept = BTreeMap::new();
        for (name, setting) in std::mem::take(by_name) {
            if check(&setting, warnings)? {
                kept.insert(name, setting);
            } else if setting.key.state == State::Ensemble
                && let Some(wanted) =
                    wanted(setting.key, &setting.value).filter(|_| !setting.value.is_empty())
            {
                bad_of_ensemble.push(setting.refuse(wanted));
            }
        }
        *by_name = kept;
        for setting in families {
            check(setting, warnings)?;
        }
        Ok(settings)
    }

    fn set_flag(&mut self, variable: &str, written: &str, value: &str) {
        let place = Place { file: variable.to_owned(), line: None };
        let found = keys::find(written);
        let setting = |key| Setting { key, written: written.to_owned(), value: value.to_owned(), place };
        match found {
            // The machine's own, `-Duser.timezone` and the like, and names that only mean something in the file.
            _ if !keys::is_ours(written) && !found.is_some_and(|key| key.source == Source::PropertyOnly) => {}
            Some(key) if key.source == Source::File && key.state != State::Protection => {
                let message = "has no effect as a property, neither here nor in Java; write it into the file";
                self.warnings.push(setting(key).remark(Severity::Warn, message));
            }
            Some(key) => self.insert(setting(key)),
            None => self.unknown(Place { file: variable.to_owned(), line: None }, written),
        }
    }

    fn set_entry(&mut self, file: &str, entry: Entry) {
        let place = Place { file: file.to_owned(), line: Some(entry.line) };
        let Some(key) = keys::find(&entry.key) else {
            return self.unknown(place, &entry.key);
        };
        let setting = Setting { key, written: entry.key, value: entry.value, place };
        if let Some(before) = self.by_name.get(key.name)
            && before.value != setting.value
        {
            if before.place.file == setting.place.file {
                let message = format!("set again on line {}, which counts", entry.line);
                self.warnings.push(before.remark(Severity::Warn, message));
            } else if key.source == Source::PropertyOnly {
                // Java reads the property alone; a server taken over must not change its limits.
                let message =
                    format!("{} sets it to {:?}, which counts as in Java", before.place, before.value);
                return self.warnings.push(setting.remark(Severity::Warn, message));
            }
        }
        self.insert(setting);
    }

    fn insert(&mut self, setting: Setting) {
        if keys::FAMILIES.contains(setting.key) || setting.key.name == "ssl." {
            let same = |other: &Setting| other.key == setting.key && other.written == setting.written;
            if let Some(before) = self.families.iter().position(same) {
                let message = format!("set again at {}, which counts", setting.place);
                self.warnings.push(self.families.remove(before).remark(Severity::Warn, message));
            }
            self.families.push(setting);
        } else {
            self.by_name.insert(setting.key.name, setting);
        }
    }

    fn unknown(&mut self, place: Place, written: &str) {
        let mut message = "unknown key, without effect".to_owned();
        // A file of nothing but unknown keys is no misspelt one, and a suggestion takes its time.
        self.unknown += 1;
        if self.unknown <= MAX_SUGGESTIONS
            && let Some(meant) = keys::suggest(written)
        {
            message.push_str(&format!("; did you mean {meant}?"));
        }
        self.warnings.push(Warning { severity: Severity::Warn, place, key: written.to_owned(), message });
    }

    /// Refuses values that a server alone may pass over.
    pub(super) fn refuse_bad_ensemble_values(&self) -> Result<(), Error> {
        self.bad_of_ensemble.first().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// The setting of a key.
    pub(super) fn find(&self, name: &str) -> Option<&Setting> {
        debug_assert!(keys::KEYS.iter().any(|key| key.name == name), "{name} is not in the table");
        self.by_name.get(name)
    }

    /// The settings of a family, in the order of the file.
    pub(super) fn family<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Setting> {
        debug_assert!(keys::FAMILIES.iter().any(|key| key.name == name), "{name} is not a family");
        self.families.iter().filter(move |setting| setting.key.name == name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.find(name).map(|setting| setting.value.as_str())
    }

    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.text(name).map(|text| text.eq_ignore_ascii_case("true"))
    }

    /// A whole number. It was checked against the range of its key, which lies within `T`.
    pub(super) fn number<T: TryFrom<i64>>(&self, name: &str) -> Option<T> {
        let setting = self.find(name)?;
        let number = read_number(setting.key.source, &setting.value)?;
        let number = T::try_from(number);
        debug_assert!(number.is_ok(), "the range of {name} does not fit its type");
        number.ok()
    }

    pub(super) fn fraction(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }
}

/// Holds a value against its key. `false`: as good as not set.
fn check(setting: &Setting, warnings: &mut Vec<Warning>) -> Result<bool, Error> {
    let key = setting.key;
    // Java takes an empty property for one that is not set; charts leave such lines behind.
    if setting.value.is_empty() && key.source != Source::File {
        return Ok(false);
    }
    if let Some(wanted) = wanted(key, &setting.value) {
        // A bad value of something without effect here refuses the start only where it does in Java.
        if matches!(key.state, State::Active | State::Protection) || key.source == Source::File {
            return Err(setting.refuse(wanted));
        }
        warnings.push(setting.remark(Severity::Warn, format!("read {:?}; {wanted}", setting.value)));
        return Ok(false);
    }
    match key.state {
        State::Protection if setting.value.eq_ignore_ascii_case("true") => Err(setting.refuse(
            "asks for protection that Ostler does not give yet, so it does not start; \
             write false only if the server may run without it",
        )),
        State::NotYet if asks_for_something(setting) => {
            warnings.push(setting.remark(Severity::Info, "accepted, not active yet"));
            Ok(true)
        }
        State::Active | State::NotYet | State::Protection | State::Ensemble | State::Foreign => Ok(true),
    }
}

/// Does the setting want more than what happens without it?
fn asks_for_something(setting: &Setting) -> bool {
    const BUILT_IN: [&str; 4] = [
        "DefaultMetricsProvider",
        "NullMetricsProvider",
        "IPAuthenticationProvider",
        "DigestAuthenticationProvider",
    ];
    if setting.key.kind == Kind::Switch {
        return setting.value.eq_ignore_ascii_case("true");
    }
    let class = setting.value.rsplit('.').next().unwrap_or_default();
    !setting.value.is_empty() && !BUILT_IN.contains(&class)
}

/// What the key wants, if the value is not that.
fn wanted(key: &Key, value: &str) -> Option<String> {
    match key.kind {
        Kind::Text => None,
        Kind::Switch => {
            let good = value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false");
            (!good).then(|| "wants true or false".to_owned())
        }
        Kind::Word(words) => {
            (!words.contains(&value)).then(|| format!("wants one of the words {}", words.join(", ")))
        }
        Kind::Number(low, high) => {
            let good = read_number(key.source, value).is_some_and(|number| (low..=high).contains(&number));
            let wanted = || match (low, high) {
                (i64::MIN, high) => format!("wants a whole number up to {high}"),
                _ if low == high => format!("wants {low}, nothing else is supported"),
                _ => format!("wants a whole number from {low} to {high}"),
            };
            (!good).then(wanted)
        }
        Kind::Fraction(low, high) => {
            let good =
                value.parse::<f64>().is_ok_and(|number| !number.is_nan() && (low..=high).contains(&number));
            let wanted = || match (low.is_finite(), high.is_finite()) {
                (true, true) => format!("wants a number from {low} to {high}"),
                _ => "wants a number".to_owned(),
            };
            (!good).then(wanted)
        }
    }
}

/// A whole number. Properties may also be written `0x10`, `#10` and `010`, the last in base 8.
fn read_number(source: Source, value: &str) -> Option<i64> {
    if source == Source::File {
        return value.parse().ok();
    }
    let (negative, digits) = match value.as_bytes().first()? {
        b'-' => (true, &value[1..]),
        b'+' => (false, &value[1..]),
        _ => (false, value),
    };
    let hex =
        digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")).or_else(|| digits.strip_prefix('#'));
    let (digits, radix) = match hex {
        Some(hex) => (hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let table = [
            (Source::File, "10", Some(10)),
            (Source::File, "+10", Some(10)),
            (Source::File, "010", Some(10)),
            (Source::File, "0x10", None),
            (Source::File, "", None),
            (Source::File, "9223372036854775808", None),
            (Source::Property, "0x10", Some(16)),
            (Source::Property, "0XfF", Some(255)),
            (Source::Property, "#10", Some(16)),
            (Source::Property, "010", Some(8)),
            (Source::Property, "08", None),
            (Source::Property, "0", Some(0)),
            (Source::Property, "-0x10", Some(-16)),
            (Source::Property, "-9223372036854775808", Some(i64::MIN)),
            (Source::Property, "--1", None),
            (Source::Property, "-+1", None),
            (Source::Property, "", None),
            (Source::Property, "-", None),
            (Source::Property, "0x", None),
            (Source::Property, "١", None),
            (Source::Property, "10MB", None),
        ];
        for (source, text, number) in table {
            assert_eq!(read_number(source, text), number, "{text:?}");
        }
    }
}
