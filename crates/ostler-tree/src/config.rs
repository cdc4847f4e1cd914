//! What an operator can choose about the tree. Every server of an ensemble must choose the same, save for the
//! seed; Java reads these from system properties wherever it needs them.

use crate::acl::Schemes;

/// The choices that the tree depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeConfig {
    /// Let everybody do everything (`skipACL`). Lists are still checked for form.
    pub skip_acl: bool,
    /// Refuse writes beyond a hard quota (`enforceQuota`).
    pub enforce_quota: bool,
    /// Allow TTL nodes (`extendedTypesEnabled`).
    pub extended_types: bool,
    /// Keep the digest of the tree and write it into transactions (`digest.enabled`).
    pub digest_enabled: bool,
    /// Write the paths that a closing session takes with it into its transaction (`closeSessionTxn.enabled`).
    pub close_session_list: bool,
    /// Allow reconfig at all (`reconfigEnabled`).
    pub reconfig_enabled: bool,
    /// The schemes that a list may name and a connection can match.
    pub schemes: Schemes,
    /// Seeds the hash of names, so that nobody can choose names that collide. Has no effect that a client sees but
    /// the order of children.
    pub hash_seed: u64,
}

impl Default for TreeConfig {
    /// The defaults of a server that is told nothing.
    fn default() -> Self {
        Self {
            skip_acl: false,
            enforce_quota: false,
            extended_types: false,
            digest_enabled: true,
            close_session_list: true,
            reconfig_enabled: false,
            schemes: Schemes::default(),
            hash_seed: 0,
        }
    }
}
