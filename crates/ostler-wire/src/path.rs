//! Which paths name a znode: Java's `PathUtils`, whose rules are on UTF-16 units. A path travels as `&str`; what
//! has been checked, and how strictly, differs by operation (the order of the checks is observable), so the two
//! checks are functions here and the operations call them at their place.

/// The root.
pub const ROOT: &str = "/";
/// The reserved subtree.
pub const ZOOKEEPER: &str = "/zookeeper";
/// Where quotas are kept.
pub const QUOTA: &str = "/zookeeper/quota";
/// Where the configuration of the ensemble is kept.
pub const CONFIG: &str = "/zookeeper/config";

/// Whether the path is valid in full: absolute, no empty, `.` or `..` component, no trailing slash, no character
/// that Java refuses (controls, surrogates and thus all beyond the basic plane, the private use area, U+FFF0 on).
#[must_use]
pub fn is_valid(path: &str) -> bool {
    let Some(names) = path.strip_prefix('/') else { return false };
    // Nearly every path is printable ASCII, and no name in it is empty or begins with a dot: that is quickly seen.
    let mut before = b'/';
    for byte in names.bytes() {
        if !(b' '..=b'~').contains(&byte) || (before == b'/' && matches!(byte, b'/' | b'.')) {
            return has_valid_names(names);
        }
        before = byte;
    }
    before != b'/' || names.is_empty()
}

#[cold]
fn has_valid_names(names: &str) -> bool {
    names.split('/').all(|name| !name.is_empty() && name != "." && name != "..")
        && names.chars().all(is_allowed)
}

fn is_allowed(c: char) -> bool {
    let c = u32::from(c);
    // The first test is the whole work for printable ASCII.
    (0x20..0x7f).contains(&c) || (0xa0..0xd800).contains(&c) || (0xf900..0xfff0).contains(&c)
}

/// Whether the path has a parent at all: the weak check of create and delete.
#[must_use]
pub fn has_parent(path: &str) -> bool {
    path.contains('/') && !path.contains('\0')
}

/// The text before the last slash, `/` for a top-level node, and the name after it. `None` without a slash.
#[must_use]
pub fn split(path: &str) -> Option<(&str, &str)> {
    let slash = path.rfind('/')?;
    Some((if slash == 0 { ROOT } else { &path[..slash] }, &path[slash + 1..]))
}

/// The parent of a path, `/` for a top-level node and for the root.
#[must_use]
pub fn parent(path: &str) -> &str {
    split(path).map_or(ROOT, |(parent, _)| parent)
}

/// Whether a client may not delete it.
#[must_use]
pub fn is_special(path: &str) -> bool {
    matches!(path, ROOT | ZOOKEEPER | QUOTA | CONFIG)
}

/// Whether `path` is `ancestor` or lies below it.
#[must_use]
pub fn is_under(path: &str, ancestor: &str) -> bool {
    ancestor == ROOT
        || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_is_that_of_java() {
        for good in
            ["/", "/a", "/a/b", "/...", "/.a", "/a.", "/a..b", "/a b", "/\u{f900}", "/\u{ffef}", "/\u{e9}"]
        {
            assert!(is_valid(good), "{good:?}");
        }
        for bad in [
            "",
            "a",
            "/a/",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/.",
            "/a/./b",
            "/a/../b",
            "/\0",
            "/\u{1}",
            "/\u{1f}",
            "/\u{7f}",
            "/\u{9f}",
            "/\u{e000}",
            "/\u{f8ff}",
            "/\u{fff0}",
            "/\u{fffd}",
            "/\u{1f600}",
        ] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn parents() {
        assert_eq!(split("/a"), Some(("/", "a")));
        assert_eq!(split("/a/b"), Some(("/a", "b")));
        assert_eq!(split("/"), Some(("/", "")));
        assert_eq!(split("//y"), Some(("/", "y")));
        assert_eq!(split("a"), None);
        assert!(
            is_under("/a/b", "/a") && is_under("/a", "/a") && !is_under("/ab", "/a") && is_under("/x", "/")
        );
    }
}
