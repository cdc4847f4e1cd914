//! What requests are filled with: paths, data, access lists and versions, mostly sensible, sometimes wrong on purpose.

use super::raw::Enc;
use crate::rng::Rng;

/// Users that sessions authenticate as, with the identity the digest scheme makes of them.
pub(crate) const USERS: [(&str, &str); 4] = [
    ("u0:p0", "u0:kn4sLJzXfp7KZRbZugmnVcIMGpM="),
    ("u1:p1", "u1:fpT/y03U+EjItKZOSLGvjnJlyng="),
    ("u2:p:2", "u2:/uh4BKA6f/EoNLplLubB03TMtoI="),
    ("weiß:pä", "weiß:TWYT4jRRDTSKVX7j1VTb4dg9I1M="),
];

/// The super user's words, and the digest that goes into the configuration.
pub(crate) const SUPER: (&str, &str) = ("super:secret", "super:lK75jTNcA+U9vtVEw5vB51mj/w4=");

/// One entry of an access list as it goes onto the wire.
pub(crate) type Entry = (i32, Option<&'static str>, Option<&'static str>);

const ANYONE: Entry = (31, Some("world"), Some("anyone"));

const GOOD_LISTS: [&[Entry]; 18] = [
    &[(1, Some("world"), Some("anyone"))],
    &[(3, Some("world"), Some("anyone"))],
    &[(15, Some("world"), Some("anyone"))],
    &[(16, Some("world"), Some("anyone"))],
    &[(30, Some("world"), Some("anyone"))],
    &[(31, Some("auth"), Some(""))],
    &[(31, Some("auth"), None), (1, Some("world"), Some("anyone"))],
    &[(31, Some("digest"), Some(USERS[0].1))],
    &[(31, Some("digest"), Some(USERS[1].1)), (1, Some("world"), Some("anyone"))],
    &[(7, Some("digest"), Some(USERS[2].1)), (17, Some("digest"), Some(USERS[0].1))],
    &[(31, Some("digest"), Some(":hash"))],
    &[(31, Some("ip"), Some("127.0.0.1"))],
    &[(31, Some("ip"), Some("127.0.0.0/8")), (1, Some("ip"), Some("10.0.0.0/8"))],
    &[(31, Some("ip"), Some("10.1.2.3/32")), (1, Some("world"), Some("anyone"))],
    &[(31, Some("ip"), Some("fe80::1/64")), (19, Some("world"), Some("anyone"))],
    &[ANYONE, ANYONE, (1, Some("world"), Some("anyone")), ANYONE],
    &[(0, Some("world"), Some("anyone")), (64, Some("world"), Some("anyone"))],
    &[(-1, Some("world"), Some("anyone"))],
];

const BAD_LISTS: [&[Entry]; 18] = [
    &[],
    &[(31, Some("world"), Some("someone"))],
    &[(31, Some("world"), Some(""))],
    &[(31, None, Some("anyone"))],
    &[(31, Some(""), Some("anyone"))],
    &[(31, Some("nope"), Some("x"))],
    &[(31, Some("super"), Some(""))],
    &[(31, Some("sasl"), Some("u"))],
    &[(31, Some("x509"), Some("CN=u"))],
    &[(31, Some("digest"), Some("u"))],
    &[(31, Some("digest"), Some("u:"))],
    &[(31, Some("digest"), Some("a:b:c"))],
    &[(31, Some("digest"), Some(""))],
    &[(31, Some("ip"), Some("127.0.0.1/33"))],
    &[(31, Some("ip"), Some("127.0.1"))],
    &[(31, Some("ip"), Some("1.2.3.4/x"))],
    &[(31, Some("ip"), Some("::1::/64"))],
    &[ANYONE, (31, Some("digest"), Some("u"))],
];

/// Lists with a null id under a scheme that looks into it: the reference fails half way, so these stand last.
const NULL_ID_LISTS: [&[Entry]; 3] =
    [&[(31, Some("world"), None)], &[(31, Some("digest"), None)], &[(31, Some("ip"), None)]];

/// An access list: its bytes, what it is, and whether the reference dies half way on it.
pub(crate) struct AclChoice {
    /// The encoded vector.
    pub(crate) bytes: Vec<u8>,
    /// For reports.
    pub(crate) text: String,
    /// True when an exception, not an error code, answers it.
    pub(crate) breaks: bool,
}

/// Picks an access list; open to all in most cases.
pub(crate) fn acl(rng: &mut Rng) -> AclChoice {
    let (list, breaks): (&[Entry], bool) = match rng.below(1000) {
        0..780 => (&[ANYONE], false),
        780..915 => (GOOD_LISTS[rng.below(GOOD_LISTS.len())], false),
        915..975 => (BAD_LISTS[rng.below(BAD_LISTS.len())], false),
        975..980 => (NULL_ID_LISTS[rng.below(NULL_ID_LISTS.len())], true),
        980..990 => {
            return AclChoice { bytes: Enc::new().int(-1).0, text: "null".to_owned(), breaks: false };
        }
        _ => {
            let count = *rng.pick(&[-2, i32::MIN, i32::MAX, 1000]);
            return AclChoice {
                bytes: Enc::new().int(count).0,
                text: format!("count {count}"),
                breaks: false,
            };
        }
    };
    let mut enc = Enc::new().int(i32::try_from(list.len()).expect("short lists"));
    for (perms, scheme, id) in list {
        enc = enc.int(*perms).buffer(scheme.map(str::as_bytes)).buffer(id.map(str::as_bytes));
    }
    AclChoice { bytes: enc.0, text: format!("{list:?}"), breaks }
}

/// The open list, for nodes that must stay reachable.
pub(crate) fn open_acl() -> Vec<u8> {
    Enc::new().int(1).int(31).string("world").string("anyone").0
}

/// Data: null, empty, short, sometimes some kilobytes.
pub(crate) fn data(rng: &mut Rng) -> Option<Vec<u8>> {
    let length = match rng.below(100) {
        0..6 => return None,
        6..16 => 0,
        16..95 => 1 + rng.below(40),
        95..99 => 200 + rng.below(4_000),
        _ => 20_000 + rng.below(60_000),
    };
    let first = rng.next() as u8;
    Some((0..length).map(|index| first.wrapping_add(index as u8)).collect())
}

/// A version to ask for: any, then small ones that are often right, rarely far off.
pub(crate) fn version(rng: &mut Rng) -> i32 {
    match rng.below(20) {
        0..11 => -1,
        11..15 => 0,
        15..18 => 1 + rng.below(3) as i32,
        18 => -2,
        _ => *rng.pick(&[i32::MIN, i32::MAX, 77]),
    }
}

const NAMES: [&str; 14] =
    ["a", "b", "c", "d", "e", "f", "a b", "é", "日本", "...", ".x", "x.", "n\u{f900}", "L-"];

const BAD_PATHS: [&[u8]; 30] = [
    b"",
    b"a",
    b"a/b",
    b"//",
    b"//y",
    b"/a/",
    b"/missing/",
    b"/a//b",
    b"/missing//b",
    b"/.",
    b"/..",
    b"/./a",
    b"/a/.",
    b"/a/..",
    b"/a/../b",
    b"/\x01",
    b"/a\x1f",
    b"/a\x00",
    b"/\x00/b",
    b"/a\x7f",
    b"/a\xc2\x85",
    b"/\xee\x80\x80",
    b"/\xef\xbf\xb0",
    b"/\xef\xbf\xbd",
    b"/\xff",
    b"/a/\xc3",
    b"/\xf0\x9f\x98\x80",
    b"/\xed\xa0\xbd\xed\xb8\x80",
    b" /a",
    b"/a/b/c/d/e/f/g/h/missing",
];

const SPECIAL_PATHS: [&str; 5] =
    ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "/zookeeper/free"];

/// A path that is wrong in one of many ways; `None` is null.
pub(crate) fn bad_path(rng: &mut Rng) -> Option<Vec<u8>> {
    let index = rng.below(BAD_PATHS.len() + 1);
    BAD_PATHS.get(index).map(|path| path.to_vec())
}

/// One of the built-in nodes or a neighbour of them.
pub(crate) fn special_path(rng: &mut Rng) -> String {
    (*rng.pick(&SPECIAL_PATHS)).to_owned()
}

/// A name for a new child.
pub(crate) fn child_name(rng: &mut Rng) -> String {
    let name = if rng.chance(75) { NAMES[rng.below(6)] } else { NAMES[rng.below(NAMES.len())] };
    name.to_owned()
}
