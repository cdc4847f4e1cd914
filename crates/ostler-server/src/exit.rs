//! Exit codes, for scripts and supervisors. Those up to 14 mean what they mean in Java.

/// Anything that has no code of its own, such as a port in use.
pub const FAILED: i32 = 1;
/// The configuration is wrong.
pub const BAD_CONFIG: i32 = 2;
/// The data directory cannot be read, written or locked.
pub const DATA_DIR: i32 = 3;
/// Writing or syncing the transaction log failed.
pub const LOG_FAILED: i32 = 20;
