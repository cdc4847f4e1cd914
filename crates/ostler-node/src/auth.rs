//! Who a connection is: the schemes by which a client proves an identity. Answers to Java's `ProviderRegistry`,
//! `DigestAuthenticationProvider` and `IPAuthenticationProvider`; what an identity may do is for the tree's ACLs.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ostler_wire::Id;
use ostler_wire::client::AuthRequest;
use ostler_wire::client::reply::ClientInfo;
use ostler_wire::jute::decode_utf8;
use sha1::{Digest, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};

use crate::config::{DigestAlgorithm, NodeConfig};

/// The identities that a connection gains by this packet; `None` if it proves nothing.
#[must_use]
pub fn authenticate(request: &AuthRequest<'_>, address: &str, config: &NodeConfig) -> Option<Vec<Id>> {
    match request.scheme.as_deref()? {
        "digest" if config.digest_scheme => {
            let id = digest_id(request.auth?, config.digest_algorithm);
            let is_super = config.super_digest.as_ref().is_some_and(|expected| same(expected, &id));
            let mut ids = Vec::with_capacity(2);
            if is_super {
                ids.push(Id::new("super", ""));
            }
            ids.push(Id::new("digest", id));
            Some(ids)
        }
        "ip" => Some(vec![Id::new("ip", address)]),
        _ => None,
    }
}

/// `user:base64(hash("user:password"))`.
#[must_use]
pub fn digest_id(credentials: &[u8], algorithm: DigestAlgorithm) -> String {
    // Java hashes the decoded text, not the bytes.
    let text = decode_utf8(credentials);
    let hash = match algorithm {
        DigestAlgorithm::Sha1 => STANDARD.encode(Sha1::digest(text.as_bytes())),
        DigestAlgorithm::Sha224 => STANDARD.encode(Sha224::digest(text.as_bytes())),
        DigestAlgorithm::Sha256 => STANDARD.encode(Sha256::digest(text.as_bytes())),
        DigestAlgorithm::Sha384 => STANDARD.encode(Sha384::digest(text.as_bytes())),
        DigestAlgorithm::Sha512 => STANDARD.encode(Sha512::digest(text.as_bytes())),
        DigestAlgorithm::Sha512_224 => STANDARD.encode(Sha512_224::digest(text.as_bytes())),
        DigestAlgorithm::Sha512_256 => STANDARD.encode(Sha512_256::digest(text.as_bytes())),
    };
    let user = text.split(':').next().unwrap_or_default();
    format!("{user}:{hash}")
}

/// Compares in a time that does not depend on where the texts differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

/// A set of identities with these added; a connection's identities are shared with its requests under way, so
/// that those keep what was known when they arrived.
#[must_use]
pub fn with(ids: &Arc<[Id]>, gained: Vec<Id>) -> Arc<[Id]> {
    let mut all = ids.to_vec();
    for id in gained {
        if !all.contains(&id) {
            all.push(id);
        }
    }
    all.into()
}

/// What whoAmI tells: schemes and user names, no secrets.
pub fn client_infos(ids: &[Id]) -> impl Iterator<Item = ClientInfo> + '_ {
    ids.iter().map(|id| ClientInfo {
        scheme: id.scheme.clone(),
        user: match id.scheme.as_str() {
            "digest" => id.id.split(':').next().unwrap_or_default().to_owned(),
            _ => id.id.clone(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_java() {
        assert_eq!(digest_id(b"u:p", DigestAlgorithm::Sha1), "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=");
        assert!(digest_id(b"user", DigestAlgorithm::Sha1).starts_with("user:"));
        assert!(digest_id(b"u:p:q", DigestAlgorithm::Sha256).starts_with("u:"));
    }

    #[test]
    fn identities_add_up_and_older_requests_keep_theirs() {
        let before: Arc<[Id]> = Arc::from([Id::new("ip", "1.2.3.4")]);
        let after = with(&before, vec![Id::new("digest", "u:h"), Id::new("ip", "1.2.3.4")]);
        assert_eq!((before.len(), after.len()), (1, 2));
        let infos: Vec<_> = client_infos(&after).map(|info| (info.scheme, info.user)).collect();
        assert_eq!(infos, [("ip".into(), "1.2.3.4".into()), ("digest".into(), "u".into())]);
    }
}
