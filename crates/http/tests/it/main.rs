//! The HTTP doors over ports in memory, spoken to through sockets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod applications;
mod bad_input;
mod client;
mod connections;
mod console;
mod desk;
mod device_page;
mod energy;
mod events;
mod feeds;
mod map;
mod ops;
mod ownership;
mod passkeys;
mod people;
mod resources;
mod rights;
mod roles;
mod streams;
mod system;
mod uploads;
mod world;
