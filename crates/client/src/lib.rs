//! The device's side of MQTT 3.1.1 and 5: packets as bytes, TLS with a client certificate, and one
//! connection a step at a time. The agent and the simulated fleets speak through it.
//!
//! What this crate is not: it has no queue, no session and no reconnect; who uses it knows what a
//! message that was not acknowledged is worth.
//!
//! Reading order: [`packet`], [`connect`], [`client`].

pub mod client;
pub mod connect;
pub mod packet;
