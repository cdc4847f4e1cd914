//! The configuration: `zoo.cfg`, the flags in the environment, the arguments of the legacy form.
//!
//! Text becomes entries in [`raw`], entries become checked settings by the table in [`keys`], and settings become a
//! [`ServerConfig`]. What Java accepts is accepted, what cannot be read is refused with its file and line, and what is
//! not built yet is said. Answers to `QuorumPeerConfig` and `ServerConfig`.

mod dynamic;
mod error;
pub mod keys;
mod meaning;
mod member;
mod members;
pub mod raw;
mod server_config;
mod settings;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_members;

pub use dynamic::MembersFiles;
pub use error::{Error, Place, Severity, Warning};
pub use member::MemberConfig;
pub use members::{HostPort, MemberLine};
pub use server_config::{
    Autopurge, ConnectionThrottle, ContainerConfig, DEFAULT_JUTE_MAX_BUFFER, DigestAlgorithm, DigestAuth,
    EnsembleConfig, InitialConfiguration, LogConfig, LogLevel, RequestThrottle, ServerConfig,
    SnapshotCompression, SnapshotConfig,
};
pub use settings::EnvSettings;
