//! Which paths a client may ask for, with the words that Java refuses others with. Answers to `PathUtils`.

/// Says what is wrong with a path.
pub(super) fn validate(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("Path length must be > 0".to_owned());
    }
    if !path.starts_with('/') {
        return Err("Path must start with / character".to_owned());
    }
    if path == "/" {
        return Ok(());
    }
    if path.ends_with('/') {
        return Err("Path must not end with / character".to_owned());
    }
    // Java looks at UTF-16 units, and says at which of them.
    let units: Vec<u16> = path.encode_utf16().collect();
    let (slash, dot) = (u16::from(b'/'), u16::from(b'.'));
    let ends_name = |at: usize| at + 1 == units.len() || units[at + 1] == slash;
    for at in 1..units.len() {
        let (unit, before) = (units[at], units[at - 1]);
        let reason = if unit == 0 {
            Some("null character not allowed")
        } else if unit == slash && before == slash {
            Some("empty node name specified")
        } else if unit == dot && before == dot {
            (at >= 2 && units[at - 2] == slash && ends_name(at)).then_some("relative paths not allowed")
        } else if unit == dot {
            (before == slash && ends_name(at)).then_some("relative paths not allowed")
        } else {
            matches!(unit, 0x01..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff)
                .then_some("invalid character")
        };
        if let Some(reason) = reason {
            return Err(format!("Invalid path string \"{path}\" caused by {reason} @{at}"));
        }
    }
    Ok(())
}

/// The path of a child.
pub(super) fn join(path: &str, name: &str) -> String {
    if path == "/" { format!("/{name}") } else { format!("{path}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_those_of_java() {
        for good in ["/", "/a", "/a/b", "/...", "/.a", "/a."] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", "Path length must be > 0"),
            ("a", "Path must start with / character"),
            ("/a/", "Path must not end with / character"),
            ("/a//b", "Invalid path string \"/a//b\" caused by empty node name specified @3"),
            ("/a/../b", "Invalid path string \"/a/../b\" caused by relative paths not allowed @4"),
            ("/./a", "Invalid path string \"/./a\" caused by relative paths not allowed @1"),
            ("/a\u{1}", "Invalid path string \"/a\u{1}\" caused by invalid character @2"),
        ] {
            assert_eq!(validate(bad), Err(why.to_owned()));
        }
        assert_eq!((join("/", "a"), join("/a", "b")), ("/a".to_owned(), "/a/b".to_owned()));
    }
}
