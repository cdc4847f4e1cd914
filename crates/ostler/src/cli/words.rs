//! A line as words, as Java's shell splits it: at blanks, and a word that begins with a quote goes on to the next one
//! of its kind. There is no escape.

/// The words of a line.
pub(super) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let quoted = matches!(first, '"' | '\'').then(|| rest[1..].find(first)).flatten();
        let word = match quoted {
            Some(end) => {
                words.push(rest[1..=end].to_owned());
                &rest[..end + 2]
            }
            // A quote that nothing closes does not begin a word.
            None if matches!(first, '"' | '\'') => {
                rest = &rest[1..];
                continue;
            }
            None => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                words.push(rest[..end].to_owned());
                &rest[..end]
            }
        };
        rest = rest[word.len()..].trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(split("  create /a 'hello world'  "), ["create", "/a", "hello world"]);
        assert_eq!(split("set /a \"it's\""), ["set", "/a", "it's"]);
        assert_eq!(split("create /a ''"), ["create", "/a", ""]);
        assert_eq!(split("get /it's"), ["get", "/it's"]);
        assert_eq!(split("get 'open"), ["get", "open"]);
        assert_eq!(split(" \t "), Vec::<String>::new());
    }
}
