//! A whole ensemble in one value: [`World`] holds peers, the disks and links that are modelled around them, and what
//! must be true of them. It does one [`Action`] at a time. Who chooses the actions is what makes it a script, a
//! random run or a model: the peers are the real ones in all three. Not part of the server.

mod actions;
mod check;
mod disk;
mod net;
mod node;
mod outputs;
mod rng;
mod show;
mod swarm;
#[cfg(test)]
mod tests;
mod world;

pub use actions::Action;
pub use rng::Rng;
pub use swarm::{Outcome, run, trace};
pub use world::{Setup, Stats, World};
