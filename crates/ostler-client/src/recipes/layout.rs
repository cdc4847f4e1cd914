//! How providers of a service lie in the tree: the name and the data of their znodes, in the layouts that are in use.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::common::join;

/// How much of the work a provider takes that says nothing of it.
const USUAL_WEIGHT: u32 = 100;
/// The attribute under which a weight travels where the layout has no place for it.
const WEIGHT: &str = "weight";

/// How a registry lies in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Below a base path: `<base>/<service>/<id>`, data `host:port weight`, and `key=value` for each attribute,
    /// percent-encoded.
    Plain(String),
    /// `/dubbo/<service>/providers/<url>` and `…/consumers/<url>`, the URL percent-encoded. Attributes are its
    /// parameters, such as `version` and `group`.
    Dubbo,
    /// That of Curator's service discovery, below a base path: `<base>/<service>/<id>`, data JSON. Attributes are the
    /// fields of the payload.
    Curator(String),
}

/// One provider of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name within the service.
    pub id: String,
    /// A host name or address.
    pub address: String,
    /// A port.
    pub port: u16,
    /// How much of the work it takes, compared with others; 0 is none.
    pub weight: u32,
    /// What else it says of itself.
    pub attributes: BTreeMap<String, String>,
}

impl Instance {
    /// A provider of the usual weight, 100.
    #[must_use]
    pub fn new(id: &str, address: &str, port: u16) -> Self {
        Self {
            id: id.to_owned(),
            address: address.to_owned(),
            port,
            weight: USUAL_WEIGHT,
            attributes: BTreeMap::new(),
        }
    }

    /// One more attribute.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.attributes.insert(key.to_owned(), value.to_owned());
        self
    }
}

impl Layout {
    /// The directory of a service's providers.
    pub(super) fn providers(&self, service: &str) -> String {
        match self {
            Self::Plain(base) | Self::Curator(base) => join(base, service),
            Self::Dubbo => format!("/dubbo/{service}/providers"),
        }
    }

    /// The name and the data of an instance's znode.
    pub(super) fn encode(&self, service: &str, instance: &Instance) -> (String, String) {
        let Instance { id, address, port, weight, attributes } = instance;
        match self {
            Self::Plain(_) => {
                let mut data = format!("{}:{port} {weight}", host(address));
                for (key, value) in attributes {
                    // Writing to a String does not fail.
                    let _ = write!(data, " {}={}", percent_encode(key), percent_encode(value));
                }
                (id.clone(), data)
            }
            Self::Dubbo => {
                let mut url =
                    format!("dubbo://{}:{port}/{service}?application={}", host(address), percent_encode(id));
                let own = [("interface", service), ("category", "providers"), ("side", "provider")];
                for (key, value) in own {
                    if !attributes.contains_key(key) {
                        let _ = write!(url, "&{key}={}", percent_encode(value));
                    }
                }
                for (key, value) in attributes {
                    let _ = write!(url, "&{}={}", percent_encode(key), percent_encode(value));
                }
                let _ = write!(url, "&{WEIGHT}={weight}");
                (percent_encode(&url), address.clone())
            }
            Self::Curator(_) => {
                let mut payload: serde_json::Map<String, Value> =
                    attributes.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
                // There is no field for it, and strict readers want none that they do not know.
                if *weight != USUAL_WEIGHT {
                    payload.insert(WEIGHT.to_owned(), json!(weight.to_string()));
                }
                let payload = if payload.is_empty() { Value::Null } else { Value::Object(payload) };
                let data = json!({
                    "name": service,
                    "id": id,
                    "address": address,
                    "port": port,
                    "sslPort": null,
                    "payload": payload,
                    "registrationTimeUTC": 0,
                    "serviceType": "DYNAMIC",
                    "uriSpec": null,
                    "enabled": true,
                });
                (id.clone(), data.to_string())
            }
        }
    }

    /// The instance of a znode; `None` for what is not understood, or not enabled.
    pub(super) fn decode(&self, name: &str, data: &[u8]) -> Option<Instance> {
        match self {
            Self::Plain(_) => decode_plain(name, std::str::from_utf8(data).ok()?),
            Self::Dubbo => decode_dubbo(name),
            Self::Curator(_) => decode_curator(name, data),
        }
    }
}

fn decode_plain(name: &str, text: &str) -> Option<Instance> {
    let mut words = text.split_whitespace();
    let (address, port) = host_and_port(words.next()?)?;
    let mut instance = Instance::new(name, address, port);
    for word in words {
        match word.split_once('=') {
            Some((key, value)) => {
                instance.attributes.insert(percent_decode(key)?, percent_decode(value)?);
            }
            None => instance.weight = word.parse().ok()?,
        }
    }
    Some(instance)
}

fn decode_dubbo(name: &str) -> Option<Instance> {
    let url = percent_decode(name)?;
    let (_, rest) = url.split_once("://")?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let place = place.split('/').next()?;
    let (address, port) = host_and_port(place.rsplit_once('@').map_or(place, |(_, place)| place))?;
    let mut instance = Instance::new(name, address, port);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Dubbo leaves values as they are within the URL, which is encoded as a whole: a plus is a plus.
        let value = percent_decode(&value.replace('+', "%2B")).unwrap_or_else(|| value.to_owned());
        instance.attributes.insert(key.to_owned(), value);
    }
    let says = |key: &str| instance.attributes.get(key).map(String::as_str);
    if says("enabled") == Some("false") || says("disabled") == Some("true") {
        return None;
    }
    if let Some(weight) = instance.attributes.remove(WEIGHT) {
        instance.weight = weight.parse().ok()?;
    }
    Some(instance)
}

fn decode_curator(name: &str, data: &[u8]) -> Option<Instance> {
    let json: Value = serde_json::from_slice(data).ok()?;
    if json["enabled"] == Value::Bool(false) {
        return None;
    }
    let port = json["port"].as_u64().or_else(|| json["sslPort"].as_u64())?;
    let mut instance = Instance::new(name, json["address"].as_str()?, u16::try_from(port).ok()?);
    for (key, value) in json["payload"].as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        instance.attributes.insert(key.clone(), value);
    }
    if let Some(weight) = instance.attributes.get(WEIGHT).and_then(|weight| weight.parse().ok()) {
        instance.weight = weight;
        instance.attributes.remove(WEIGHT);
    }
    Some(instance)
}

/// As it stands before a colon and a port.
fn host(address: &str) -> String {
    if address.contains(':') && !address.starts_with('[') {
        format!("[{address}]")
    } else {
        address.to_owned()
    }
}

fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?))
}

pub(super) fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_reads_what_it_writes() {
        for layout in [Layout::Plain("/s".into()), Layout::Dubbo, Layout::Curator("/s".into())] {
            for address in ["10.0.0.1", "fe80::1"] {
                let instance = Instance { weight: 7, ..Instance::new("a-1", address, 80) };
                let instance = instance.with("zone", "a & b = 100 %").with("enabled-by", "\"\\ü");
                let (name, data) = layout.encode("org.x.Y", &instance);
                assert!(!name.contains('/'));
                let mut read = layout.decode(&name, data.as_bytes()).unwrap();
                read.attributes.retain(|key, _| instance.attributes.contains_key(key));
                assert_eq!(Instance { id: "a-1".to_owned(), ..read }, instance, "{layout:?}");
                assert_eq!(layout.decode("x", b"\xff\x00nonsense"), None);
            }
        }
    }

    #[test]
    fn what_dubbo_writes_is_read() {
        let dubbo = "dubbo%3A%2F%2F192.168.0.2%3A20880%2Fcom.x.Demo%3Fanyhost%3Dtrue%26version%3D1";
        let read = Layout::Dubbo.decode(dubbo, b"").unwrap();
        assert_eq!((read.address.as_str(), read.port, read.weight), ("192.168.0.2", 20880, 100));
        assert_eq!(read.attributes["version"], "1");
        assert_eq!(Layout::Dubbo.decode(&format!("{dubbo}%26enabled%3Dfalse"), b""), None);
    }

    #[test]
    fn what_curator_writes_is_read() {
        let layout = Layout::Curator("/s".into());
        let with = |payload: &str, enabled: bool| {
            format!(
                "{{\"name\":\"s\",\"id\":\"1\",\"address\":\"h\",\"port\":80,\"sslPort\":null,\"payload\":{payload},\
                 \"registrationTimeUTC\":5,\"serviceType\":\"DYNAMIC\",\"uriSpec\":null,\"enabled\":{enabled}}}"
            )
        };
        let nested = "{\"@class\":\"x\",\"port\":1,\"enabled\":\"false\",\"weight\":3}";
        let read = layout.decode("1", with(nested, true).as_bytes()).unwrap();
        assert_eq!((read.port, read.weight), (80, 3));
        assert_eq!(read.attributes["enabled"], "false", "of the payload, not of the instance");
        assert!(layout.decode("1", with("\"a text\"", true).as_bytes()).unwrap().attributes.is_empty());
        assert_eq!(layout.decode("1", with("null", false).as_bytes()), None);
    }
}
