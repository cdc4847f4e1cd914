//! Access control: who matches an entry, which lists a client may set, what it is shown of one, and the table in
//! which every distinct list is kept once. Answers to Java's `checkACL`, `fixupACL`, the authentication providers'
//! matching halves and `ReferenceCountedACLCache`. How an identity is proved is not for here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ostler_wire::acl::{RawAcl, perms};
use ostler_wire::txn::AclList;
use ostler_wire::{Acl, Code, Id};

use crate::config::TreeConfig;
use crate::ip;

/// A shared list; `None` is the open one that the built-in nodes have.
pub type AclRef = Option<AclList>;

/// The schemes that are registered besides `world`, `auth`, `ip` and `super`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schemes {
    /// `digest`, unless it was switched off.
    pub digest: bool,
    /// `x509`, where TLS or configuration brings it.
    pub x509: bool,
    /// The subject that is a super user whatever the entry says.
    pub x509_super: Option<String>,
    /// `sasl`, where configuration brings it.
    pub sasl: bool,
    /// An id in lists that every sasl user matches (`letAnySaslUserDoX`).
    pub sasl_any: Option<String>,
}

impl Default for Schemes {
    fn default() -> Self {
        Self { digest: true, x509: false, x509_super: None, sasl: false, sasl_any: None }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Provider {
    Ip,
    Digest,
    X509,
    Sasl,
}

impl Schemes {
    fn provider(&self, scheme: &str) -> Option<Provider> {
        match scheme {
            "ip" => Some(Provider::Ip),
            "digest" if self.digest => Some(Provider::Digest),
            "x509" if self.x509 => Some(Provider::X509),
            "sasl" if self.sasl => Some(Provider::Sasl),
            _ => None,
        }
    }

    fn matches(&self, provider: Provider, id: &str, entry: &str) -> bool {
        match provider {
            Provider::Ip => ip::matches(id, entry),
            Provider::Digest => id == entry,
            Provider::X509 => id == entry || self.x509_super.as_deref() == Some(id),
            Provider::Sasl => id == "super" || id == entry || self.sasl_any.as_deref() == Some(entry),
        }
    }
}

impl Provider {
    fn accepts(self, id: &str) -> bool {
        match self {
            Self::Ip => ip::is_valid(id),
            // As many parts as Java's split finds, which drops empty ones at the end.
            Self::Digest => id.trim_end_matches(':').split(':').count() == 2,
            Self::X509 => id.is_empty() || id.split(',').all(|part| part.contains('=')),
            Self::Sasl => !id.contains('@') || is_kerberos_name(id),
        }
    }

    fn is_authentication(self) -> bool {
        self != Self::Ip
    }
}

fn is_kerberos_name(id: &str) -> bool {
    let Some((name, realm)) = id.split_once('@') else { return false };
    !realm.contains(['@', '/']) && name.matches('/').count() <= 1
}

/// Whether somebody with these identities has one of the `wanted` permissions.
#[must_use]
pub fn check(list: Option<&[Acl]>, wanted: i32, ids: &[Id], config: &TreeConfig) -> bool {
    let Some(list) = list else { return true };
    if config.skip_acl || list.is_empty() || ids.iter().any(|id| id.scheme == "super") {
        return true;
    }
    list.iter().any(|acl| {
        acl.perms & wanted != 0
            && (is_anyone(&acl.id)
                || config.schemes.provider(&acl.id.scheme).is_some_and(|provider| {
                    ids.iter().any(|id| {
                        id.scheme == acl.id.scheme && config.schemes.matches(provider, &id.id, &acl.id.id)
                    })
                }))
    })
}

fn is_anyone(id: &Id) -> bool {
    id.scheme == "world" && id.id == "anyone"
}

/// The list that a client means: without duplicates, `auth` replaced by who it is. What cannot be stored is
/// `InvalidAcl`, or `MarshallingError` where Java trips over a missing id.
pub fn fixup(list: Option<&[RawAcl]>, ids: &[Id], config: &TreeConfig) -> Result<AclList, Code> {
    let list = list.unwrap_or_default();
    if list.is_empty() {
        return Err(Code::InvalidAcl);
    }
    if let [raw] = list
        && raw.perms == perms::ALL
        && raw.scheme.as_deref() == Some("world")
        && raw.id.as_deref() == Some("anyone")
    {
        return Ok(Arc::clone(everybody()));
    }
    let mut seen = BTreeSet::new();
    let mut fixed = Vec::new();
    for raw in list {
        if list.len() > 1 && !seen.insert((raw.perms, &raw.scheme, &raw.id)) {
            continue;
        }
        let scheme = raw.scheme.as_deref().ok_or(Code::InvalidAcl)?;
        if scheme == "auth" {
            expand_auth(raw.perms, ids, config, &mut fixed)?;
            continue;
        }
        let provider = config.schemes.provider(scheme);
        if scheme != "world" && provider.is_none() {
            return Err(Code::InvalidAcl);
        }
        let id = raw.id.as_deref().ok_or(Code::MarshallingError)?;
        let valid = if scheme == "world" { id == "anyone" } else { provider.is_some_and(|p| p.accepts(id)) };
        if !valid {
            return Err(Code::InvalidAcl);
        }
        fixed.push(Acl::new(raw.perms, scheme, id));
    }
    Ok(fixed.into())
}

/// The list that nearly every client sends, once for all.
fn everybody() -> &'static AclList {
    static EVERYBODY: std::sync::LazyLock<AclList> = std::sync::LazyLock::new(|| Acl::open().into());
    &EVERYBODY
}

fn expand_auth(perms: i32, ids: &[Id], config: &TreeConfig, fixed: &mut Vec<Acl>) -> Result<(), Code> {
    let before = fixed.len();
    let authenticated =
        |id: &&Id| config.schemes.provider(&id.scheme).is_some_and(Provider::is_authentication);
    fixed.extend(ids.iter().filter(authenticated).map(|id| Acl { perms, id: id.clone() }));
    if fixed.len() == before { Err(Code::InvalidAcl) } else { Ok(()) }
}

/// What a client that may read but not administer a node sees of its list: hashes are hidden.
#[must_use]
pub fn mask(list: &[Acl]) -> Vec<Acl> {
    list.iter()
        .map(|acl| match acl.id.id.split_once(':') {
            Some((user, _)) if acl.id.scheme == "digest" => {
                Acl::new(acl.perms, "digest", format!("{user}:x"))
            }
            _ => acl.clone(),
        })
        .collect()
}

/// The handle of the open list.
pub(crate) const OPEN: u32 = 0;
/// The handle of a list that a snapshot named but did not hold.
pub(crate) const UNRESOLVED: u32 = u32::MAX;

/// Every distinct list, with how many nodes use it.
#[derive(Debug, Default)]
pub(crate) struct AclTable {
    /// Handle 1 is at index 0. A slot without users is free.
    slots: Vec<(AclRef, u64)>,
    handles: BTreeMap<AclList, u32>,
    free: Vec<u32>,
    unresolved: u64,
}

impl AclTable {
    /// Counts one more user of a list and says its handle.
    pub(crate) fn intern(&mut self, list: Option<&AclList>) -> u32 {
        let Some(list) = list else { return OPEN };
        if let Some(&handle) = self.handles.get(list) {
            self.slots[handle as usize - 1].1 += 1;
            return handle;
        }
        let handle = self.free.pop().unwrap_or_else(|| {
            self.slots.push((None, 0));
            u32::try_from(self.slots.len()).expect("fewer lists than nodes")
        });
        self.slots[handle as usize - 1] = (Some(list.clone()), 1);
        self.handles.insert(list.clone(), handle);
        handle
    }

    /// Counts one user of the unknown list.
    pub(crate) fn use_unresolved(&mut self) -> u32 {
        self.unresolved += 1;
        UNRESOLVED
    }

    /// Counts one user less; the last one's list goes.
    pub(crate) fn release(&mut self, handle: u32) {
        match handle {
            OPEN => {}
            UNRESOLVED => self.unresolved -= 1,
            _ => {
                let slot = &mut self.slots[handle as usize - 1];
                slot.1 -= 1;
                if slot.1 == 0 {
                    let list = slot.0.take().expect("a list with users");
                    self.handles.remove(&list);
                    self.free.push(handle);
                }
            }
        }
    }

    /// The list of a handle. An unknown list lets nobody do anything.
    pub(crate) fn list(&self, handle: u32) -> Option<&AclList> {
        match handle {
            OPEN => None,
            UNRESOLVED => Some(nobody()),
            _ => self.slots[handle as usize - 1].0.as_ref(),
        }
    }

    /// How many distinct lists are in use.
    pub(crate) fn len(&self) -> usize {
        self.handles.len()
    }

    /// How many nodes have an unknown list.
    pub(crate) fn unresolved(&self) -> u64 {
        self.unresolved
    }

    /// Every handle in use with its list, ascending.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, &AclList)> {
        (1..).zip(&self.slots).filter_map(|(handle, (list, _))| Some((handle, list.as_ref()?)))
    }
}

fn nobody() -> &'static AclList {
    static NOBODY: std::sync::LazyLock<AclList> = std::sync::LazyLock::new(|| Arc::new([Acl::world(0)]));
    &NOBODY
}

/// The list that a shared handle stands for.
#[must_use]
pub fn entries(list: &AclRef) -> Vec<Acl> {
    list.as_deref().map_or_else(Acl::open, <[Acl]>::to_vec)
}

/// The list of the node that holds the configuration: everybody may read it.
pub(crate) fn read_only() -> AclList {
    Arc::new([Acl::world(perms::READ)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(perms: i32, scheme: &str, id: &str) -> RawAcl {
        RawAcl { perms, scheme: Some(scheme.into()), id: Some(id.into()) }
    }

    #[test]
    fn entries_match_identities() {
        let config = TreeConfig::default();
        let ids = [Id::new("ip", "10.0.0.7"), Id::new("digest", "bob:h")];
        let may = |acl: Acl, wanted| check(Some(&[acl]), wanted, &ids, &config);
        assert!(may(Acl::world(1), 1) && !may(Acl::world(1), 2) && may(Acl::world(16), 17));
        assert!(may(Acl::new(31, "digest", "bob:h"), 2) && !may(Acl::new(31, "digest", "bob:i"), 2));
        assert!(may(Acl::new(31, "ip", "10.0.0.0/8"), 2) && !may(Acl::new(31, "ip", "11.0.0.0/8"), 2));
        assert!(!may(Acl::new(31, "sasl", "bob:h"), 1));
        assert!(check(None, 31, &[], &config) && check(Some(&[]), 31, &[], &config));
        assert!(check(Some(&[Acl::world(0)]), 1, &[Id::new("super", "")], &config));
        let skip = TreeConfig { skip_acl: true, ..TreeConfig::default() };
        assert!(check(Some(&[Acl::world(0)]), 1, &[], &skip));
    }

    #[test]
    fn lists_are_fixed_up() {
        let config = TreeConfig::default();
        let ids = [
            Id::new("ip", "1.2.3.4"),
            Id::new("digest", "a:1"),
            Id::new("digest", "b:2"),
            Id::new("super", ""),
        ];
        let fix = |list: &[RawAcl]| fixup(Some(list), &ids, &config);
        assert_eq!(fixup(None, &ids, &config), Err(Code::InvalidAcl));
        assert_eq!(fix(&[]), Err(Code::InvalidAcl));
        let world = raw(31, "world", "anyone");
        assert_eq!(fix(&[world.clone(), world.clone()]), Ok(Acl::open().into()));
        assert_eq!(fix(&[world]), Ok(Acl::open().into()));
        assert_eq!(fix(&[raw(30, "world", "anyone")]), Ok([Acl::world(30)].into()));
        assert_eq!(
            fix(&[raw(3, "auth", "x")]),
            Ok([Acl::new(3, "digest", "a:1"), Acl::new(3, "digest", "b:2")].into())
        );
        assert_eq!(fixup(Some(&[raw(3, "auth", "")]), &ids[..1], &config), Err(Code::InvalidAcl));
        for (scheme, id, code) in [
            ("world", "you", Code::InvalidAcl),
            ("nope", "x", Code::InvalidAcl),
            ("super", "", Code::InvalidAcl),
            ("digest", "u", Code::InvalidAcl),
            ("digest", "u:", Code::InvalidAcl),
            ("digest", ":", Code::InvalidAcl),
            ("digest", "a:b:c", Code::InvalidAcl),
            ("ip", "1.2.3", Code::InvalidAcl),
            ("sasl", "bob", Code::InvalidAcl),
        ] {
            assert_eq!(fix(&[raw(1, scheme, id)]), Err(code), "{scheme}:{id}");
        }
        for (scheme, id) in [("digest", "u:h"), ("digest", ":h"), ("ip", "::1/64")] {
            assert_eq!(fix(&[raw(1, scheme, id)]), Ok([Acl::new(1, scheme, id)].into()), "{scheme}:{id}");
        }
        let null = |scheme: Option<&str>| RawAcl { perms: 1, scheme: scheme.map(Into::into), id: None };
        assert_eq!(fix(&[null(None)]), Err(Code::InvalidAcl));
        assert_eq!(fix(&[null(Some("world"))]), Err(Code::MarshallingError));
        assert_eq!(fix(&[null(Some("digest"))]), Err(Code::MarshallingError));
        assert_eq!(fix(&[null(Some("nope"))]), Err(Code::InvalidAcl));
    }

    #[test]
    fn hashes_are_hidden() {
        let list = [Acl::new(1, "digest", "u:hash:x"), Acl::new(1, "ip", "::1"), Acl::world(31)];
        assert_eq!(mask(&list), [Acl::new(1, "digest", "u:x"), Acl::new(1, "ip", "::1"), Acl::world(31)]);
    }

    #[test]
    fn the_table_counts_users() {
        let mut table = AclTable::default();
        let (a, b): (AclList, AclList) = (Acl::open().into(), read_only());
        assert_eq!((table.intern(None), table.intern(Some(&a)), table.intern(Some(&b))), (OPEN, 1, 2));
        assert_eq!(table.intern(Some(&Acl::open().into())), 1);
        table.release(1);
        assert_eq!((table.len(), table.list(1)), (2, Some(&a)));
        table.release(1);
        assert_eq!((table.len(), table.intern(Some(&b))), (1, 2));
        assert_eq!(table.intern(Some(&a)), 1);
        assert_eq!(table.entries().count(), 2);
    }
}
