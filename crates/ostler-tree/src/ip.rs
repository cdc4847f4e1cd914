//! Networks in ACLs of the `ip` scheme: an IPv4 or IPv6 address with an optional prefix length, in exactly the
//! texts that Java's `IPAuthenticationProvider` accepts (signs included, as `Integer.parseInt` reads them).

/// Whether a list may hold this text.
pub(crate) fn is_valid(text: &str) -> bool {
    parse_network(text).is_some()
}

/// Whether an address lies in a network. Different families never match.
pub(crate) fn matches(address: &str, network: &str) -> bool {
    let Some((mut network, bits)) = parse_network(network) else { return false };
    let Some(mut address) = parse(address) else { return false };
    network.mask(bits);
    address.mask(bits);
    network == address
}

#[derive(Debug, PartialEq, Eq)]
enum Address {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Address {
    fn mask(&mut self, bits: usize) {
        let bytes = match self {
            Self::V4(bytes) => &mut bytes[..],
            Self::V6(bytes) => &mut bytes[..],
        };
        for (i, byte) in bytes.iter_mut().enumerate() {
            let kept = bits.saturating_sub(i * 8).min(8);
            *byte &= u8::try_from(0xff00_u16 >> kept & 0xff).expect("it was masked");
        }
    }

    fn bits(&self) -> usize {
        match self {
            Self::V4(_) => 32,
            Self::V6(_) => 128,
        }
    }
}

fn parse_network(text: &str) -> Option<(Address, usize)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (parse(address)?, Some(bits)),
        None => (parse(text)?, None),
    };
    let all = address.bits();
    let bits = match bits {
        None => all,
        Some(bits) => usize::try_from(bits.parse::<i32>().ok()?).ok()?,
    };
    (bits <= all).then_some((address, bits))
}

fn parse(text: &str) -> Option<Address> {
    if text.contains(':') { parse_v6(text).map(Address::V6) } else { parse_v4(text).map(Address::V4) }
}

fn parse_v4(text: &str) -> Option<[u8; 4]> {
    let mut parts = text.split('.');
    let mut bytes = [0; 4];
    for byte in &mut bytes {
        *byte = u8::try_from(parts.next()?.parse::<i32>().ok()?).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

fn parse_v6(text: &str) -> Option<[u8; 16]> {
    let (head, tail) = match text.split_once("::") {
        None => (text, None),
        Some((head, tail)) => (head, Some(tail)),
    };
    if tail.is_some_and(|tail| tail.contains("::")) {
        return None;
    }
    let head = segments(head, tail.is_some())?;
    let tail_segments = match tail {
        None => Vec::new(),
        Some(tail) => segments(tail, true)?,
    };
    let count = head.len() + tail_segments.len();
    if if tail.is_some() { count >= 8 } else { count != 8 } {
        return None;
    }
    let mut bytes = [0; 16];
    for (place, segment) in bytes.chunks_exact_mut(2).zip(&head) {
        place.copy_from_slice(segment);
    }
    for (place, segment) in bytes.chunks_exact_mut(2).rev().zip(tail_segments.iter().rev()) {
        place.copy_from_slice(segment);
    }
    Some(bytes)
}

fn segments(text: &str, may_be_empty: bool) -> Option<Vec<[u8; 2]>> {
    if text.is_empty() && may_be_empty {
        return Some(Vec::new());
    }
    text.split(':')
        .take(9)
        .map(|segment| {
            if segment.encode_utf16().count() > 4 {
                return None;
            }
            let value = i32::from_str_radix(segment, 16).ok()?.to_be_bytes();
            Some([value[2], value[3]])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_java_accepts() {
        for good in [
            "1.2.3.4",
            "0.0.0.0/0",
            "10.0.0.0/8",
            "255.255.255.255/32",
            "+1.2.3.4",
            "::",
            "::1",
            "1::",
            "fe80::1/64",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::/0",
            "::1/128",
        ] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "-1.1.1.1",
            "1.2.3.4/",
            "1.2.3.4/33",
            "1.2.3.4/-1",
            "a.b.c.d",
            "1.2.3.4/8/8",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3",
            ":::",
            "::12345",
            "::1.2.3.4",
            "fe80::1%eth0",
            "1:2:3:4:5:6:7:8::",
            "::1/129",
            "g::",
            "1..2.3",
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn networks_match_by_prefix() {
        assert!(matches("10.1.2.3", "10.0.0.0/8"));
        assert!(!matches("11.1.2.3", "10.0.0.0/8"));
        assert!(matches("10.255.2.3", "10.128.0.0/9"));
        assert!(!matches("10.127.2.3", "10.128.0.0/9"));
        assert!(matches("1.2.3.4", "9.9.9.9/0"));
        assert!(matches("1.2.3.4", "1.2.3.4") && !matches("1.2.3.5", "1.2.3.4"));
        assert!(matches("0:0:0:0:0:0:0:1", "::1"));
        assert!(matches("fe80:0:0:0:1:2:3:4", "fe80::/64"));
        assert!(!matches("fe80:0:0:1:1:2:3:4", "fe80::/64"));
        assert!(!matches("1.2.3.4", "::/0") && !matches("::1", "0.0.0.0/0"));
        assert!(!matches("nonsense", "0.0.0.0/0"));
    }
}
