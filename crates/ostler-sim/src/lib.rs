//! What the simulator judges by, for whoever has a history from elsewhere: clients that note what they saw, the model
//! of the tree, and the judges of histories and trees. `cargo xtask chaos` uses them on servers that are processes.

pub mod check;
pub mod client;
pub mod history;
pub mod model;
pub mod rng;
pub mod workload;
