//! The agent against a gateway of two hundred lines that acknowledges, withholds and hangs up as a
//! test wants.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where it fails"
)]

mod clock_steps;
mod commands;
mod gateway;
mod values;
mod world;
