//! What the one that dials an election port says first: who it is and where it can be reached. Answers to Java's
//! `QuorumCnxManager.InitialMessage`.

use core::net::IpAddr;

use crate::ServerId;
use crate::error::DecodeError;
use crate::jute::{Reader, Writer};

use super::member::{split_host, write_host};

/// The first words on an election connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Who dials; `i64::MAX` from an observer that names no id.
    pub server: ServerId,
    /// Where it waits for votes, host and port; empty if it does not say. Addresses that mean every address of a
    /// host are left out when they are read.
    pub addresses: Vec<(String, u16)>,
}

impl Greeting {
    /// Appends the greeting: with every address, or with the first alone as servers before 3.6 want it.
    pub fn encode(&self, multi_address: bool, out: &mut Vec<u8>) {
        out.put_long(if multi_address { MANY_ADDRESSES } else { ONE_ADDRESS });
        out.put_long(self.server.0);
        let mut text = String::new();
        for (host, port) in self.addresses.iter().take(if multi_address { usize::MAX } else { 1 }) {
            if !text.is_empty() {
                text.push('|');
            }
            write_host(&mut text, host);
            text.push(':');
            text.push_str(&port.to_string());
        }
        out.put_string(&text);
    }

    /// The greeting at the front of `bytes` and how many bytes it takes; `None` if it is not there as a whole.
    ///
    /// # Errors
    /// Whoever dials is no server: the connection is of no use.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.remaining() < 8 {
            return Ok(None);
        }
        match reader.long("greeting.version")? {
            server @ 0.. => {
                // Up to 3.4 the id is all that is said.
                return Ok(Some((Self { server: ServerId(server), addresses: Vec::new() }, 8)));
            }
            ONE_ADDRESS | MANY_ADDRESSES => {}
            version => return Err(DecodeError::unknown("greeting.version", 0, version)),
        }
        if reader.remaining() < 12 {
            return Ok(None);
        }
        let server = ServerId(reader.long("greeting.sid")?);
        let at = reader.position();
        let length = reader.int("greeting.addresses")?;
        let Ok(len @ 1..=MAX_ADDRESSES_LEN) = usize::try_from(length) else {
            let length = i64::from(length);
            return Err(DecodeError::length("greeting.addresses", at, length, MAX_ADDRESSES_LEN));
        };
        if reader.remaining() < len {
            return Ok(None);
        }
        let text = reader.take(len, "greeting.addresses")?;
        let addresses = std::str::from_utf8(text)
            .ok()
            .and_then(read_addresses)
            .ok_or_else(|| DecodeError::form("greeting.addresses", at + 4, "host:port with | between"))?;
        Ok(Some((Self { server, addresses }, reader.position())))
    }
}

fn read_addresses(text: &str) -> Option<Vec<(String, u16)>> {
    let mut addresses = Vec::new();
    let text = text.trim_end_matches('|');
    for address in text.split('|').take_while(|_| !text.is_empty()) {
        let (host, rest) = split_host(address)?;
        let [port] = rest.as_slice() else { return None };
        let port = port.parse().ok()?;
        if !is_wildcard(host) {
            addresses.push((host.to_owned(), port));
        }
    }
    Some(addresses)
}

/// Whether this is every address of a host and so says nothing to others.
fn is_wildcard(host: &str) -> bool {
    host.is_empty() || host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

const ONE_ADDRESS: i64 = -0x1_0000;
const MANY_ADDRESSES: i64 = -0xffff;
const MAX_ADDRESSES_LEN: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(version: i64, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_long(version);
        out.put_long(2);
        out.put_string(text);
        out
    }

    fn addresses(text: &str) -> Option<Vec<(String, u16)>> {
        Some(Greeting::decode(&raw(ONE_ADDRESS, text)).ok()??.0.addresses)
    }

    #[test]
    fn one_address_or_all() {
        let greeting = Greeting {
            server: ServerId(2),
            addresses: vec![("zoo1".to_owned(), 3888), ("fe80::1".to_owned(), 3889)],
        };
        let (mut one, mut all) = (Vec::new(), Vec::new());
        greeting.encode(false, &mut one);
        greeting.encode(true, &mut all);
        assert_eq!(one, raw(-65536, "zoo1:3888"));
        assert_eq!(all, raw(-65535, "zoo1:3888|[fe80:0:0:0:0:0:0:1]:3889"));
        for len in 0..all.len() {
            assert_eq!(Greeting::decode(&all[..len]), Ok(None), "{len}");
        }
        all.push(9);
        let (read, len) = Greeting::decode(&all).unwrap().unwrap();
        assert_eq!(read.server, greeting.server);
        assert_eq!(read.addresses[1].0.parse::<IpAddr>().unwrap().to_string(), "fe80::1");
        assert_eq!(len, all.len() - 1);
    }

    #[test]
    fn servers_up_to_3_4_say_their_id() {
        let greeting = Greeting { server: ServerId(5), addresses: Vec::new() };
        assert_eq!(Greeting::decode(&[0, 0, 0, 0, 0, 0, 0, 5, 1]), Ok(Some((greeting, 8))));
    }

    #[test]
    fn addresses_that_say_nothing_are_left_out() {
        assert_eq!(addresses("0.0.0.0:3888").unwrap(), []);
        assert_eq!(addresses("[::]:3888|a:1").unwrap(), [("a".to_owned(), 1)]);
        assert_eq!(addresses("a:1||").unwrap(), [("a".to_owned(), 1)]);
        assert_eq!(addresses("|").unwrap(), []);
        for bad in ["a", "a:", "a:x", "a:70000", "a:1:2", "|a:1", "a:1||b:2", "[::1:3888", "[::1]", "a:-1"] {
            assert_eq!(addresses(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_greeting() {
        for version in [-1, -65534, -65537, i64::MIN] {
            assert!(Greeting::decode(&version.to_be_bytes()).is_err(), "{version}");
        }
        for length in [-1, 0, 2049, i32::MAX] {
            let mut bytes = raw(ONE_ADDRESS, "")[..16].to_vec();
            bytes.put_int(length);
            assert!(Greeting::decode(&bytes).is_err(), "{length}");
        }
        assert_eq!(Greeting::decode(&raw(ONE_ADDRESS, &"a".repeat(2048))[..20]), Ok(None));
        let mut bytes = raw(ONE_ADDRESS, "x:1");
        bytes[20] = 0xff;
        assert!(Greeting::decode(&bytes).is_err());
    }
}
