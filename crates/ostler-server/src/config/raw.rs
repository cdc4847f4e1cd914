//! The file as text: keys and values with the line they stand on.
//!
//! Reads the syntax of Java's properties files: `key=value`, `key: value` or `key value`, comments behind `#` or `!`,
//! lines continued by a backslash, `\t \n \r \f` and `\uXXXX`. Knows no key. Any input gives entries or an error, never
//! a panic, and takes memory in proportion to its length. Answers to `Properties.load`; that reads bytes as ISO-8859-1,
//! and so does [`parse_bytes`], because a data directory must not move when the server is exchanged.

use thiserror::Error;

/// One `key=value`, in the order of the file; a key may come twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, unescaped, without white space around it.
    pub key: String,
    /// The value, unescaped, without white space around it.
    pub value: String,
    /// The line it starts on, from 1.
    pub line: u32,
}

/// A `\u` that is not followed by four hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: \\u wants four hexadecimal digits")]
pub struct BadEscape {
    /// The line on which the entry starts, from 1.
    pub line: u32,
    /// The escape as it was read.
    pub read: String,
}

/// Reads a file's bytes, one character each, as Java does.
///
/// # Errors
/// A malformed `\u` escape.
pub fn parse_bytes(bytes: &[u8]) -> Result<Vec<Entry>, BadEscape> {
    parse_chars(&bytes.iter().copied().map(char::from).collect::<Vec<_>>())
}

/// Reads a text.
///
/// # Errors
/// A malformed `\u` escape.
pub fn parse(text: &str) -> Result<Vec<Entry>, BadEscape> {
    parse_chars(&text.chars().collect::<Vec<_>>())
}

/// The `-Dkey=value` words among the flags of a Java virtual machine, in order. The shell has split them at white space
/// and nowhere else, so that is what happens here.
#[must_use]
pub fn parse_jvm_flags(flags: &str) -> Vec<(String, String)> {
    flags
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("-D"))
        .filter(|setting| !setting.is_empty())
        .map(|setting| {
            let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

fn parse_chars(text: &[char]) -> Result<Vec<Entry>, BadEscape> {
    logical_lines(text).into_iter().map(|(line, text)| entry(line, &text)).collect()
}

/// The lines that hold an entry, continuations joined, comments and blank lines gone.
fn logical_lines(text: &[char]) -> Vec<(u32, Vec<char>)> {
    let mut natural = natural_lines(text).into_iter().zip(1..);
    let mut logical = Vec::new();
    while let Some((line, number)) = natural.next() {
        let line = skip_white(line);
        if matches!(line.first(), None | Some('#' | '!')) {
            continue;
        }
        let mut joined = line.to_vec();
        // An odd number of backslashes at the end: the last of them escapes the line end.
        while joined.iter().rev().take_while(|c| **c == '\\').count() % 2 == 1 {
            joined.pop();
            let Some((next, _)) = natural.next() else { break };
            joined.extend_from_slice(skip_white(next));
        }
        logical.push((number, joined));
    }
    logical
}

/// Splits at `\n`, `\r` and `\r\n`.
fn natural_lines(text: &[char]) -> Vec<&[char]> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.iter().position(|c| matches!(c, '\n' | '\r')) {
        lines.push(&rest[..end]);
        let crlf = rest[end..].starts_with(&['\r', '\n']);
        rest = &rest[end + 1 + usize::from(crlf)..];
    }
    lines.push(rest);
    lines
}

fn skip_white(line: &[char]) -> &[char] {
    let start = line.iter().position(|c| !is_white(*c)).unwrap_or(line.len());
    &line[start..]
}

const fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

fn entry(line: u32, text: &[char]) -> Result<Entry, BadEscape> {
    let key_end = key_end(text);
    let mut value = skip_white(&text[key_end..]);
    if let [':' | '=', rest @ ..] = value {
        value = skip_white(rest);
    }
    Ok(Entry { key: unescape(line, &text[..key_end])?, value: unescape(line, value)?, line })
}

/// The key goes up to the first separator that no backslash hides.
fn key_end(text: &[char]) -> usize {
    let mut hidden = false;
    for (i, c) in text.iter().enumerate() {
        if !hidden && (matches!(c, ':' | '=') || is_white(*c)) {
            return i;
        }
        hidden = *c == '\\' && !hidden;
    }
    text.len()
}

/// Resolves the escapes, and trims as every reader of a ZooKeeper file does.
fn unescape(line: u32, text: &[char]) -> Result<String, BadEscape> {
    // In units of UTF-16, since two escapes may spell one character.
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [c, after @ ..] = rest {
        rest = after;
        let mut plain = *c;
        if *c == '\\' {
            let [escaped, after @ ..] = rest else { break };
            rest = after;
            plain = match escaped {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                'f' => '\x0c',
                'u' => {
                    let digits: String = rest.iter().take(4).collect();
                    let unit = (digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                        .then(|| u16::from_str_radix(&digits, 16).ok())
                        .flatten()
                        .ok_or_else(|| BadEscape { line, read: format!("\\u{digits}") })?;
                    units.push(unit);
                    rest = &rest[4..];
                    continue;
                }
                other => *other,
            };
        }
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    Ok(String::from_utf16_lossy(&units).trim_matches(|c| c <= ' ').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(u32, String, String)> {
        parse(text).unwrap().into_iter().map(|entry| (entry.line, entry.key, entry.value)).collect()
    }

    #[test]
    fn each_way_to_write_an_entry() {
        let table = [
            ("a=b", "a", "b"),
            ("a = b ", "a", "b"),
            ("a: b", "a", "b"),
            ("a b c", "a", "b c"),
            ("a\t=\tb", "a", "b"),
            ("  a=b", "a", "b"),
            ("a", "a", ""),
            ("a=", "a", ""),
            ("=b", "", "b"),
            ("a==b", "a", "=b"),
            ("a= :b", "a", ":b"),
            (r"a\=b=c", "a=b", "c"),
            (r"a\ b=c", "a b", "c"),
            (r"a\:b c", "a:b", "c"),
            (r"a=C:\\data", "a", r"C:\data"),
            (r"a=x\ty", "a", "x\ty"),
            (r"a=\q", "a", "q"),
            (r"a=\u0041\u00fc", "a", "Aü"),
            (r"a=\ud83d\ude00", "a", "😀"),
            (r"a=\ud83d", "a", "\u{fffd}"),
            ("a=b # no comment", "a", "b # no comment"),
            ("server.1=h:1:2;3", "server.1", "h:1:2;3"),
            ("a=b\\", "a", "b"),
        ];
        for (text, key, value) in table {
            assert_eq!(pairs(text), [(1, key.to_owned(), value.to_owned())], "{text:?}");
        }
    }

    #[test]
    fn lines_comments_and_continuations() {
        let text = "# c\r\n! c\r\n\r\n \t\na=1\rb=\\\n   2\\\n\t3\nc=\\\n# part\nd=4\\\\\ne=5\\\n\nf=6\n#\\\ng=7\na=8";
        let expected = [
            (5, "a", "1"),
            (6, "b", "23"),
            (9, "c", "# part"),
            (11, "d", "4\\"),
            (12, "e", "5"),
            (14, "f", "6"),
            (16, "g", "7"),
            (17, "a", "8"),
        ];
        let expected: Vec<_> =
            expected.map(|(line, key, value)| (line, key.to_owned(), value.to_owned())).into();
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn a_malformed_escape_names_its_line() {
        for text in [r"a=1", r"a=\u12", r"a=\uzzzz", r"\u=", r"a=\u+123", r"a=\u12ü4"] {
            let bad = parse(&format!("\n{text}\n"));
            if text == "a=1" {
                assert!(bad.is_ok());
            } else {
                assert_eq!(bad.unwrap_err().line, 2, "{text}");
            }
        }
    }

    #[test]
    fn bytes_are_characters_of_latin_1() {
        assert_eq!(parse_bytes(b"dataDir=/d\xfc").unwrap()[0].value, "/dü");
    }

    #[test]
    fn no_input_panics() {
        // Every string over the characters that mean something, to a length at which all their pairs and triples meet.
        let alphabet = ['\\', '\n', '\r', '=', ' ', '#', 'u', '0'];
        let mut inputs = vec![String::new()];
        for _ in 0..5 {
            inputs =
                inputs.iter().flat_map(|head| alphabet.iter().map(move |c| format!("{head}{c}"))).collect();
            for input in &inputs {
                let _ = parse(input);
            }
        }
        assert_eq!(inputs.len(), 8usize.pow(5));
    }

    #[test]
    fn jvm_flags() {
        let flags =
            "-Xmx1000m  -Dzookeeper.snapCount=10 -Djute.maxbuffer=5 -Da= -Db -D -Dc=d=e\n-XX:+UseG1GC";
        let expected =
            [("zookeeper.snapCount", "10"), ("jute.maxbuffer", "5"), ("a", ""), ("b", ""), ("c", "d=e")];
        assert_eq!(parse_jvm_flags(flags), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
