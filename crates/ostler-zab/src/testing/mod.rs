//! A whole ensemble in one value: [`World`] holds peers, the disks and links that are modelled around them, and what
//! must be true of them. It does one [`Action`] at a time. Who chooses the actions is what makes it a script, a
//! random run or a model: the peers are the real ones in all three. Not part of the server.

mod actions;
mod check;
mod disk;
#[expect(clippy::disallowed_types, reason = "threads that search together share what they know")]
mod explore;
mod model;
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test may look at the clock and be told what to do by its environment"
)]
mod models;
mod net;
mod node;
mod outputs;
mod puppet;
mod rng;
mod script;
#[cfg(test)]
mod scripts;
mod show;
mod swarm;
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test may look at the clock and be told what to do by its environment"
)]
mod tests;
mod world;

pub use actions::Action;
pub use explore::{Found, Seen, explore};
pub use model::{Bounds, Free, Model, State};
pub use rng::Rng;
pub use script::run as run_script;
pub use swarm::{Outcome, run, trace};
pub use world::{Setup, Stats, World};
