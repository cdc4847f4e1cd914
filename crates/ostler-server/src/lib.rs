//! The shell around the node: sockets, threads, files, signals and configuration. It decides nothing that the
//! protocol says; start reading in `run.rs`.

mod admission;
mod client_port;
mod clock;
pub mod config;
mod disk_work;
pub mod exit;
pub mod four_letter;
mod inbox;
mod lane_loop;
mod limits;
mod linger;
mod log_box;
mod log_thread;
mod member;
mod node_loop;
pub mod os_disk;
mod peers;
mod placement;
mod recovery;
mod run;
mod settings;
mod snapshots;
mod words;

pub use run::{Serving, StartError, run};
