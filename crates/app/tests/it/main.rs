//! The use cases over ports in memory: what the doors may rely on.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod commands;
mod consumers;
mod door;
mod fleet_map;
mod overload;
mod presence;
mod projection;
mod quarantine;
mod rides;
mod uploads;
mod world;
