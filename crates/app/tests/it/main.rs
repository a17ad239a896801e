//! The use cases over ports in memory: what the doors may rely on.

mod commands;
mod projection;
mod quarantine;
mod uploads;
mod world;
