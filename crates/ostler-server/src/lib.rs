//! (being written)

pub mod config;
pub mod four_letter;
