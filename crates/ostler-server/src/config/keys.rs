//! Every key that ZooKeeper 3.9.5 knows, and our own: its names, the form of its value, and what Ostler does with it.
//!
//! One table, so that a key cannot be known in one place and forgotten in another. A key goes by its name in the file, by
//! the name of its system property, by either without or with `zookeeper.`, and by the name the manual calls it. Answers
//! to `QuorumPeerConfig.parseProperties` and to the system properties scattered over the Java server.

/// The longest key that is compared with the known ones for a suggestion.
const LONGEST_SUGGESTED: usize = 64;

/// One row of the table.
#[derive(Debug, PartialEq)]
pub struct Key {
    /// The name that works in the file of the reference, or the property where none works there.
    pub name: &'static str,
    /// Other names: the manual's, and properties that are not `zookeeper.` and the name.
    pub aliases: &'static [&'static str],
    /// How the reference comes by it.
    pub source: Source,
    /// The form of its value.
    pub kind: Kind,
    /// What Ostler does with it.
    pub state: State,
}

/// How the reference comes by a key, which decides how strict it is and who wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Its parser of the file knows the key: bad values refuse the start.
    File,
    /// It is a system property that the file may set, and then the file wins.
    Property,
    /// It is a system property that the reference never reads from the file, so that the property wins here.
    PropertyOnly,
}

/// The form of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number from the first to the second.
    Number(i64, i64),
    /// A number with a fraction, from the first to the second.
    Fraction(f64, f64),
    /// `true` or `false`, in any case.
    Switch,
    /// One of these words, exactly so.
    Word(&'static [&'static str]),
    /// Anything.
    Text,
}

/// What Ostler does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has its effect.
    Active,
    /// The part of the server it belongs to is not built yet: accepted, and said so.
    NotYet,
    /// It asks for protection that is not built yet: `true` refuses the start.
    Protection,
    /// It has a meaning in an ensemble only.
    Ensemble,
    /// It tunes machinery that Ostler does not have.
    Foreign,
}

const INT: i64 = i32::MAX as i64;
/// Kilobytes that still fit a signed 64-bit count of bytes.
const KB: i64 = i64::MAX / 1024;
const ANY_INT: Kind = Number(i32::MIN as i64, INT);
const ANY_LONG: Kind = Number(i64::MIN, i64::MAX);
const COUNT: Kind = Number(0, INT);
const PORT: Kind = Number(0, 65_535);
const YES_NO: Kind = Word(&["yes", "no"]);

use Kind::{Fraction, Number, Switch, Text, Word};
use Source::{File, Property, PropertyOnly};
use State::{Active, Ensemble, Foreign, NotYet, Protection};

const fn key(
    name: &'static str,
    aliases: &'static [&'static str],
    source: Source,
    kind: Kind,
    state: State,
) -> Key {
    Key { name, aliases, source, kind, state }
}

/// All keys but the families, in the order of the administrator's manual. A name that ends in a dot or a star is in
/// [`FAMILIES`].
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    // Basic.
    key("dataDir", &[], File, Text, Active),
    key("dataLogDir", &[], File, Text, Active),
    key("clientPort", &[], File, PORT, Active),
    key("clientPortAddress", &[], File, Text, Active),
    key("tickTime", &[], File, Number(1, INT), Active),
    key("initLimit", &[], File, COUNT, Active),
    key("syncLimit", &[], File, COUNT, Active),
    key("maxClientCnxns", &[], File, ANY_INT, Active),
    key("minSessionTimeout", &[], File, Number(-1, INT), Active),
    key("maxSessionTimeout", &[], File, Number(-1, INT), Active),
    key("autopurge.snapRetainCount", &[], File, ANY_INT, Active),
    key("autopurge.purgeInterval", &[], File, ANY_INT, Active),
    // Advanced.
    key("clientPortListenBacklog", &[], File, ANY_INT, Active),
    key("secureClientPort", &[], File, PORT, NotYet),
    key("secureClientPortAddress", &[], File, Text, NotYet),
    key("observerMasterPort", &[], File, ANY_INT, Ensemble),
    key("maxCnxns", &[], Property, ANY_INT, Active),
    key("globalOutstandingLimit", &[], Property, COUNT, Active),
    key("preAllocSize", &[], Property, Number(0, 1 << 30), Active),
    key("snapCount", &[], Property, ANY_INT, Active),
    key("snapSizeLimitInKb", &[], Property, Number(i64::MIN, KB), Active),
    key("txnLogSizeLimitInKb", &[], Property, Number(i64::MIN, KB), Active),
    key("commitLogCount", &[], Property, ANY_INT, Ensemble),
    key("snapshotSizeFactor", &[], Property, Fraction(f64::NEG_INFINITY, f64::INFINITY), Ensemble),
    key("fsync.warningthresholdms", &[], Property, Number(0, i64::MAX), Active),
    key("maxResponseCacheSize", &[], Property, ANY_INT, Foreign),
    key("maxGetChildrenResponseCacheSize", &[], Property, ANY_INT, Foreign),
    key("syncEnabled", &["observer.syncEnabled"], File, Switch, Ensemble),
    key("extendedTypesEnabled", &[], Property, Switch, Active),
    key("emulate353TTLNodes", &[], Property, Switch, NotYet),
    key("localSessionsEnabled", &[], File, Switch, Ensemble),
    key("localSessionsUpgradingEnabled", &[], File, Switch, Ensemble),
    key("snapshot.compression.method", &[], Property, Word(&["gz", "snappy"]), Active),
    key("snapshot.trust.empty", &[], Property, Switch, Active),
    key("digest.enabled", &[], Property, Switch, Active),
    key("serializeLastProcessedZxid.enabled", &[], Property, Switch, Active),
    key("closeSessionTxn.enabled", &[], Property, Switch, Active),
    key("datadir.autocreate", &[], Property, Switch, Active),
    key("db.autocreate", &[], Property, Switch, Ensemble),
    key("serverCnxnFactory", &[], Property, Text, Foreign),
    key("enforceQuota", &[], Property, Switch, Active),
    key("enableEagerACLCheck", &[], Property, Switch, Ensemble),
    key("clientTcpKeepAlive", &[], Property, Switch, Active),
    key("allowSaslFailedClients", &[], Property, Switch, NotYet),
    key("jute.maxbuffer", &[], PropertyOnly, Number(1, INT), Active),
    key("jute.maxbuffer.extrasize", &[], Property, ANY_INT, Active),
    key("skipACL", &[], Property, YES_NO, Active),
    key("forceSync", &[], Property, YES_NO, Active),
    key("readonlymode.enabled", &[], PropertyOnly, Switch, Active),
    key("znode.container.checkIntervalMs", &[], PropertyOnly, Number(1, INT), Active),
    key("znode.container.maxPerMinute", &[], PropertyOnly, Number(1, INT), Active),
    key("znode.container.maxNeverUsedIntervalMs", &[], PropertyOnly, Number(0, i64::MAX), Active),
    key("watchManagerName", &[], Property, Text, Foreign),
    key("watcherCleanThreadsNum", &[], Property, ANY_INT, Foreign),
    key("watcherCleanThreshold", &[], Property, ANY_INT, Foreign),
    key("watcherCleanIntervalInSeconds", &[], Property, ANY_INT, Foreign),
    key("maxInProcessingDeadWatchers", &[], Property, ANY_INT, Foreign),
    key("bitHashCacheSize", &[], Property, ANY_INT, Foreign),
    key("audit.enable", &[], Property, Switch, Protection),
    key("audit.impl.class", &[], Property, Text, NotYet),
    // Cluster.
    key("peerType", &[], File, Text, Ensemble),
    key("dynamicConfigFile", &[], File, Text, Active),
    key("standaloneEnabled", &[], File, Switch, Active),
    key("reconfigEnabled", &[], File, Switch, Active),
    key("electionAlg", &[], File, Number(3, 3), Ensemble),
    key("quorumListenOnAllIPs", &[], File, Switch, Ensemble),
    key("connectToLearnerMasterLimit", &[], File, ANY_INT, Ensemble),
    key("leaderServes", &[], Property, YES_NO, Ensemble),
    key("cnxTimeout", &[], Property, ANY_INT, Ensemble),
    key("quorumCnxnTimeoutMs", &[], Property, ANY_INT, Ensemble),
    key("electionPortBindRetry", &[], Property, ANY_INT, Ensemble),
    key("tcpKeepAlive", &[], Property, Switch, Ensemble),
    key("fastleader.minNotificationInterval", &[], Property, ANY_INT, Ensemble),
    key("fastleader.maxNotificationInterval", &[], Property, ANY_INT, Ensemble),
    key("leader.maxTimeToWaitForEpoch", &["maxTimeToWaitForEpoch"], Property, ANY_INT, Ensemble),
    key("leader.maxConcurrentSnapSyncs", &["maxConcurrentSnapSyncs"], Property, ANY_INT, Ensemble),
    key("leader.maxConcurrentDiffSyncs", &["maxConcurrentDiffSyncs"], Property, ANY_INT, Ensemble),
    key("leader.closeSocketAsync", &[], Property, Switch, Ensemble),
    key("learner.closeSocketAsync", &[], Property, Switch, Ensemble),
    key("learner.asyncSending", &[], Property, Switch, Ensemble),
    key("leader.ackLoggingFrequency", &[], Property, ANY_INT, Ensemble),
    key("leaderConnectDelayDuringRetryMs", &[], Property, ANY_INT, Ensemble),
    key("observer.reconnectDelayMs", &[], Property, ANY_LONG, Ensemble),
    key("observer.election.DelayMs", &[], Property, ANY_LONG, Ensemble),
    key("observerMaster.sizeLimit", &[], Property, ANY_INT, Ensemble),
    key("forceSnapshotSync", &[], Property, Switch, Ensemble),
    key("multiAddress.enabled", &[], File, Switch, Active),
    key("multiAddress.reachabilityCheckEnabled", &[], File, Switch, Ensemble),
    key("multiAddress.reachabilityCheckTimeoutMs", &[], File, ANY_INT, Ensemble),
    key("oraclePath", &[], File, Text, Ensemble),
    key("4lw.commands.whitelist", &[], Property, Text, Active),
    key("follower.nodelay", &[], PropertyOnly, Switch, Ensemble),
    key("leader.nodelay", &[], PropertyOnly, Switch, Ensemble),
    // Security.
    key("DigestAuthenticationProvider.enabled", &[], Property, Switch, Active),
    key("DigestAuthenticationProvider.superDigest", &[], Property, Text, Active),
    key("DigestAuthenticationProvider.digestAlg", &[], Property, Text, Active),
    key("X509AuthenticationProvider.superUser", &[], Property, Text, NotYet),
    key("superUser", &[], Property, Text, NotYet),
    key("SASLAuthenticationProvider.superPassword", &[], Property, Text, NotYet),
    key("letAnySaslUserDoX", &[], Property, Text, NotYet),
    key("IPAuthenticationProvider.usexforwardedfor", &[], Property, Switch, NotYet),
    key("ensembleAuthName", &[], Property, Text, NotYet),
    key("enforce.auth.enabled", &[], Property, Switch, Active),
    key("enforce.auth.schemes", &[], Property, Text, Active),
    key("sessionRequireClientSASLAuth", &[], Property, Switch, Active),
    key("kerberos.removeHostFromPrincipal", &[], Property, Switch, NotYet),
    key("kerberos.removeRealmFromPrincipal", &[], Property, Switch, NotYet),
    key("kerberos.canonicalizeHostNames", &[], Property, Switch, NotYet),
    key("kerberos.minReLoginTimeMs", &[], Property, ANY_LONG, NotYet),
    key("security.auth_to_local", &[], Property, Text, NotYet),
    key("sasl.serverconfig", &[], Property, Text, NotYet),
    key("requireKerberosConfig", &[], Property, Text, NotYet),
    key("quorum.auth.enableSasl", &[], File, Switch, NotYet),
    key("quorum.auth.learnerRequireSasl", &[], File, Switch, Protection),
    key("quorum.auth.serverRequireSasl", &[], File, Switch, Protection),
    key("quorum.auth.learner.saslLoginContext", &[], File, Text, NotYet),
    key("quorum.auth.server.saslLoginContext", &[], File, Text, NotYet),
    key("quorum.auth.kerberos.servicePrincipal", &[], File, Text, NotYet),
    key("quorum.cnxn.threads.size", &[], File, ANY_INT, Foreign),
    key("fips-mode", &[], Property, Switch, Foreign),
    key("java.security.auth.login.config", &[], PropertyOnly, Text, NotYet),
    // TLS; the rest of it is in the families.
    key("sslQuorum", &[], File, Switch, Protection),
    key("portUnification", &[], File, Switch, NotYet),
    key("sslQuorumReloadCertFiles", &[], File, Switch, NotYet),
    key("client.certReload", &[], Property, Switch, NotYet),
    key("client.portUnification", &[], Property, Switch, NotYet),
    key("ssl.authProvider", &[], Property, Text, NotYet),
    key("ssl.sslProvider", &[], Property, Text, NotYet),
    key("netty.server.outstandingHandshake.limit", &[], Property, ANY_INT, NotYet),
    key("netty.server.earlyDropSecureConnectionHandshakes", &[], Property, Switch, NotYet),
    // Performance and overload.
    key("flushDelay", &[], Property, Number(0, INT), Active),
    key("maxWriteQueuePollTime", &[], Property, Number(0, INT), Foreign),
    key("maxBatchSize", &[], Property, ANY_INT, Active),
    key("nio.numSelectorThreads", &[], Property, ANY_INT, Foreign),
    key("nio.numWorkerThreads", &[], Property, ANY_INT, Foreign),
    key("nio.directBufferBytes", &[], Property, ANY_INT, Foreign),
    key("nio.sessionlessCnxnTimeout", &[], Property, Number(1, INT), Active),
    key("nio.shutdownTimeout", &[], Property, ANY_LONG, Foreign),
    key("commitProcessor.numWorkerThreads", &[], Property, ANY_INT, Foreign),
    key("commitProcessor.maxReadBatchSize", &[], Property, ANY_INT, Foreign),
    key("commitProcessor.maxCommitBatchSize", &[], Property, ANY_INT, Foreign),
    key("commitProcessor.shutdownTimeout", &[], Property, ANY_LONG, Foreign),
    key("netty.advancedFlowControl.enabled", &["advancedFlowControlEnabled"], Property, Switch, Foreign),
    key("intBufferStartingSizeBytes", &[], Property, ANY_INT, Foreign),
    key("request_throttle_max_requests", &["requestThrottleLimit"], Property, ANY_INT, Active),
    key("request_throttle_stall_time", &["requestThrottleStallTime"], Property, COUNT, Foreign),
    key("request_throttle_drop_stale", &["requestThrottleDropStale"], Property, Switch, Foreign),
    key("request_stale_latency_check", &["requestStaleLatencyCheck"], Property, Switch, Foreign),
    key("request_stale_connection_check", &["requestStaleConnectionCheck"], Property, Switch, Foreign),
    key("request_throttler.shutdownTimeout", &[], Property, COUNT, Foreign),
    key("throttled_op_wait_time", &[], Property, ANY_INT, Active),
    key("largeRequestMaxBytes", &[], Property, Number(1, INT), Active),
    key("largeRequestThreshold", &[], Property, ANY_INT, Active),
    key("connection_throttle_tokens", &["connectionMaxTokens"], Property, COUNT, Active),
    key("connection_throttle_fill_time", &["connectionTokenFillTime"], Property, Number(1, INT), Active),
    key("connection_throttle_fill_count", &["connectionTokenFillCount"], Property, Number(1, INT), Active),
    key("connection_throttle_freeze_time", &["connectionFreezeTime"], Property, Number(-1, INT), Active),
    key("connection_throttle_drop_increase", &["connectionDropIncrease"], Property, Fraction(0.0, 1.0), Active),
    key("connection_throttle_drop_decrease", &["connectionDropDecrease"], Property, Fraction(0.0, 1.0), Active),
    key("connection_throttle_decrease_ratio", &["connectionDecreaseRatio"], Property, Fraction(0.0, 1.0), Active),
    key("connection_throttle_weight_enabled", &[], Property, Switch, Active),
    key("connection_throttle_global_session_weight", &[], Property, Number(1, INT), Active),
    key("connection_throttle_local_session_weight", &[], Property, Number(1, INT), Ensemble),
    key("connection_throttle_renew_session_weight", &[], Property, Number(1, INT), Active),
    key("forward_learner_requests_to_commit_processor_disabled", &[], Property, Switch, Foreign),
    key("follower.skipLearnerRequestToNextProcessor", &[], Property, Switch, Ensemble),
    // Admin server, metrics, debugging.
    key("admin.enableServer", &[], Property, Switch, NotYet),
    key("admin.serverAddress", &[], Property, Text, NotYet),
    key("admin.serverPort", &[], Property, PORT, NotYet),
    key("admin.idleTimeout", &[], Property, ANY_INT, NotYet),
    key("admin.commandURL", &[], Property, Text, NotYet),
    key("admin.httpVersion", &[], Property, ANY_INT, NotYet),
    key("admin.portUnification", &[], Property, Switch, NotYet),
    key("admin.forceHttps", &[], Property, Switch, NotYet),
    key("admin.needClientAuth", &[], Property, Switch, NotYet),
    key("admin.snapshot.enabled", &[], Property, Switch, NotYet),
    key("admin.restore.enabled", &[], Property, Switch, NotYet),
    key("admin.rateLimiterIntervalInMS", &[], Property, ANY_LONG, NotYet),
    key("metricsProvider.className", &[], File, Text, NotYet),
    key("metricsProvider.httpHost", &[], File, Text, NotYet),
    key("metricsProvider.httpPort", &[], File, PORT, NotYet),
    key("metricsProvider.exportJvmInfo", &[], File, Switch, NotYet),
    key("metricsProvider.numWorkerThreads", &[], File, ANY_INT, NotYet),
    key("metricsProvider.maxQueueSize", &[], File, ANY_INT, NotYet),
    key("metricsProvider.workerShutdownTimeoutMs", &[], File, ANY_LONG, NotYet),
    key("jvm.pause.monitor", &[], File, Switch, Foreign),
    key("jvm.pause.sleep.time.ms", &[], File, ANY_LONG, Foreign),
    key("jvm.pause.warn-threshold.ms", &[], File, ANY_LONG, Foreign),
    key("jvm.pause.info-threshold.ms", &[], File, ANY_LONG, Foreign),
    key("messageTracker.Enabled", &[], Property, Switch, NotYet),
    key("messageTracker.BufferSize", &[], Property, ANY_INT, NotYet),
    key("pathStats.enabled", &[], Property, Switch, NotYet),
    key("pathStats.slotCapacity", &[], Property, ANY_INT, NotYet),
    key("pathStats.slotDuration", &[], Property, ANY_INT, NotYet),
    key("pathStats.maxDepth", &[], Property, ANY_INT, NotYet),
    key("pathStats.sampleRate", &[], Property, Fraction(0.0, 1.0), NotYet),
    key("pathStats.initialDelay", &[], Property, ANY_INT, NotYet),
    key("pathStats.delay", &[], Property, ANY_INT, NotYet),
    key("pathStats.topPathMax", &[], Property, ANY_INT, NotYet),
    key("jmx.log4j.disable", &[], Property, Text, Foreign),
    key("jmx.log4j.mbean", &[], Property, Text, Foreign),
    // What `zkServer.sh` and the logging of the reference put on the command line.
    key("log.dir", &[], Property, Text, Foreign),
    key("log.file", &[], Property, Text, Foreign),
    key("log.threshold", &[], Property, Text, Foreign),
    key("log.maxfilesize", &[], Property, Text, Foreign),
    key("log.maxbackupindex", &[], Property, Text, Foreign),
    key("console.threshold", &[], Property, Text, Foreign),
    key("root.logger", &[], Property, Text, Foreign),
    key("auditlog.file", &[], Property, Text, Foreign),
    key("auditlog.threshold", &[], Property, Text, Foreign),
    key("tracelog.dir", &[], Property, Text, Foreign),
    key("tracelog.file", &[], Property, Text, Foreign),
    // Of the Java client, often set for all programs at once.
    key("client.secure", &[], Property, Text, Foreign),
    key("clientCnxnSocket", &[], Property, Text, Foreign),
    key("disableAutoWatchReset", &[], Property, Text, Foreign),
    key("kinit", &[], Property, Text, Foreign),
    key("request.timeout", &[], Property, Text, Foreign),
    key("sasl.client", &[], Property, Text, Foreign),
    key("sasl.client.canonicalize.hostname", &[], Property, Text, Foreign),
    key("sasl.client.username", &[], Property, Text, Foreign),
    key("sasl.clientconfig", &[], Property, Text, Foreign),
    key("server.principal", &[], Property, Text, Foreign),
    key("server.realm", &[], Property, Text, Foreign),
    // For tests of the reference.
    key("testingonly.initialZxid", &[], Property, Text, Foreign),
    key("test.allowDiscontinuousProposals", &[], Property, Switch, Foreign),
    // Ours.
    key("lanes", &[], Property, Number(1, 256), Active),
    key("ostler.allowLogGaps", &[], Property, Switch, Active),
    key("logLevel", &[], Property, Word(&["error", "warn", "info", "debug", "trace"]), Active),
];

/// Keys that come with a name or number of the operator's choice behind this beginning.
#[rustfmt::skip]
pub static FAMILIES: &[Key] = &[
    key("server.", &[], File, Text, Active),
    key("group.", &[], File, Text, Active),
    key("weight.", &[], File, Text, Active),
    key("authProvider.", &[], Property, Text, NotYet),
    key("superUser.", &[], Property, Text, NotYet),
    key("metricsProvider.", &[], File, Text, NotYet),
];

/// The settings of TLS that exist with `ssl.` for clients and with `ssl.quorum.` between servers.
pub const TLS_SUFFIXES: [&str; 19] = [
    "keyStore.location",
    "keyStore.password",
    "keyStore.passwordPath",
    "keyStore.type",
    "trustStore.location",
    "trustStore.password",
    "trustStore.passwordPath",
    "trustStore.type",
    "protocol",
    "enabledProtocols",
    "ciphersuites",
    "context.supplier.class",
    "hostnameVerification",
    "clientHostnameVerification",
    "allowReverseDnsLookup",
    "crl",
    "ocsp",
    "clientAuth",
    "handshakeDetectionTimeoutMillis",
];

static TLS: Key = key("ssl.", &[], Property, Text, NotYet);

/// The row of a key, by any of its names.
#[must_use]
pub fn find(written: &str) -> Option<&'static Key> {
    let bare = written.strip_prefix("zookeeper.").unwrap_or(written);
    let named = |key: &&Key| key.name == bare || key.aliases.contains(&bare);
    KEYS.iter().find(named).or_else(|| {
        if let Some(suffix) = bare.strip_prefix("ssl.") {
            let suffix = suffix.strip_prefix("quorum.").unwrap_or(suffix);
            return TLS_SUFFIXES.contains(&suffix).then_some(&TLS);
        }
        // Members of an ensemble are no properties.
        let of_family = |family: &&Key| {
            let name = if family.source == File { written } else { bare };
            name.len() > family.name.len() && name.starts_with(family.name)
        };
        FAMILIES.iter().find(of_family)
    })
}

/// The part of a family's key behind its beginning: `1` of `server.1`.
#[must_use]
pub fn member<'a>(family: &Key, written: &'a str) -> &'a str {
    let bare = written.strip_prefix("zookeeper.").unwrap_or(written);
    bare.strip_prefix(family.name).unwrap_or(bare)
}

/// Could a key with this name have been meant for a ZooKeeper server? Of the flags of a Java machine, most are not.
#[must_use]
pub fn is_ours(written: &str) -> bool {
    ["zookeeper.", "jute.", "znode.", "readonlymode."].iter().any(|prefix| written.starts_with(prefix))
}

/// The known key that a misspelt one was probably meant to be.
#[must_use]
pub fn suggest(written: &str) -> Option<String> {
    let bare = written.strip_prefix("zookeeper.").unwrap_or(written);
    if bare.is_empty() || bare.len() > LONGEST_SUGGESTED {
        return None;
    }
    let bare = bare.to_ascii_lowercase();
    // A third of the letters wrong is another word.
    let nearest = |name: &str| 2.max(name.len().min(bare.len()) / 5).min(name.len() / 3);
    let tls =
        TLS_SUFFIXES.iter().flat_map(|suffix| [format!("ssl.{suffix}"), format!("ssl.quorum.{suffix}")]);
    KEYS.iter()
        .flat_map(|key| std::iter::once(&key.name).chain(key.aliases))
        .map(|name| (*name).to_owned())
        .chain(tls)
        .filter(|name| name.len().abs_diff(bare.len()) <= nearest(name))
        .filter(|name| differing_letters(&bare, name) <= nearest(name))
        .filter_map(|name| {
            let steps = distance(&bare, &name.to_ascii_lowercase(), nearest(&name))?;
            Some((steps, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// At least so many letters have to be changed: those that are in one text and not in the other. Costs next to nothing
/// and spares most comparisons.
fn differing_letters(from: &str, to: &str) -> usize {
    let letters =
        |text: &str| text.bytes().fold(0_u64, |set, byte| set | 1 << (byte.to_ascii_lowercase() & 63));
    let (from, to) = (letters(from), letters(to));
    (from & !to).count_ones().max((to & !from).count_ones()) as usize
}

/// How many letters to insert, drop, replace or swap with their neighbour to make one text the other; `None` if more
/// than `most`.
pub(super) fn distance(from: &str, to: &str, most: usize) -> Option<usize> {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    // Only what lies so near to the diagonal can be within reach.
    let far = most.saturating_add(1);
    let mut before: Vec<usize> = vec![far; to.len() + 1];
    let mut row: Vec<usize> = (0..=to.len()).collect();
    let mut next = before.clone();
    let mut least_before = 0;
    for i in 1..=from.len() {
        next.fill(far);
        next[0] = i;
        let mut least = i;
        for j in i.saturating_sub(most).max(1)..=i.saturating_add(most).min(to.len()) {
            let replaced = row[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replaced.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            next[j] = best;
            least = least.min(best);
        }
        // No later row gets below the last two, as each step goes on from one of them.
        if least.min(least_before) > most {
            return None;
        }
        least_before = least;
        std::mem::swap(&mut before, &mut row);
        std::mem::swap(&mut row, &mut next);
    }
    Some(row[to.len()]).filter(|steps| *steps <= most)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_is_there_twice() {
        let mut seen = BTreeSet::new();
        for key in KEYS.iter().chain(FAMILIES) {
            for name in std::iter::once(&key.name).chain(key.aliases) {
                assert!(seen.insert(*name), "{name}");
                assert!(!name.starts_with("zookeeper."), "{name}: `find` adds the prefix");
            }
        }
    }

    /// The operators' manual in one list: every key and property of 3.9.5.
    #[test]
    fn every_key_of_the_reference_is_known() {
        let listed = include_str!("fixtures/keys-3.9.5.txt");
        let mut count = 0;
        for name in listed.split_ascii_whitespace() {
            assert!(find(name).is_some(), "{name} is not known");
            count += 1;
        }
        assert!(count > 300, "the list has {count} names");
    }

    #[test]
    fn every_name_of_a_key_finds_it() {
        for (written, name) in [
            ("snapCount", "snapCount"),
            ("zookeeper.snapCount", "snapCount"),
            ("observer.syncEnabled", "syncEnabled"),
            ("zookeeper.observer.syncEnabled", "syncEnabled"),
            ("requestThrottleLimit", "request_throttle_max_requests"),
            ("server.1", "server."),
            ("zookeeper.authProvider.sasl", "authProvider."),
            ("ssl.keyStore.location", "ssl."),
            ("zookeeper.ssl.quorum.crl", "ssl."),
            ("ssl.authProvider", "ssl.authProvider"),
            ("jute.maxbuffer", "jute.maxbuffer"),
            ("metricsProvider.httpsPort", "metricsProvider."),
        ] {
            assert_eq!(find(written).map(|key| key.name), Some(name), "{written}");
        }
        for unknown in [
            "",
            "zookeeper.",
            "snapcount",
            "server.",
            "ssl.",
            "ssl.quorum.",
            "ssl.nope",
            "servers.1",
            "zookeeper.server.1",
        ] {
            assert_eq!(find(unknown), None, "{unknown}");
        }
        assert_eq!(member(&FAMILIES[0], "server.12"), "12");
    }

    #[test]
    fn suggestions() {
        for (written, meant) in [
            ("ticktime", Some("tickTime")),
            ("tickTme", Some("tickTime")),
            ("datadir", Some("dataDir")),
            ("zookeeper.snapCuont", Some("snapCount")),
            ("autopurge.snapRetainCont", Some("autopurge.snapRetainCount")),
            ("4lw.command.whitelist", Some("4lw.commands.whitelist")),
            ("ssl.keystore.location", Some("ssl.keyStore.location")),
            ("maxClientConns", Some("maxClientCnxns")),
            ("foo", None),
            ("x", None),
            ("", None),
            ("completelyDifferentThing", None),
        ] {
            assert_eq!(suggest(written).as_deref(), meant, "{written}");
        }
        assert_eq!(suggest(&"a".repeat(10_000)), None);
    }

    #[test]
    fn distances() {
        for (from, to, steps) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
            ("abc", "abc", 0),
        ] {
            assert_eq!(distance(from, to, steps), Some(steps), "{from} {to}");
            assert_eq!(
                distance(from, to, steps.wrapping_sub(1).min(9)),
                (steps == 0).then_some(0),
                "{from} {to}"
            );
        }
    }
}
