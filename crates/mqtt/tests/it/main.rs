//! The gateway over real sockets, with the real use cases over ports in memory.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that fails says so"
)]

mod applications;
mod authorities;
mod authority;
mod bad_input;
mod certificates;
mod clauses;
mod client;
mod commands;
mod conformance;
mod exactly_once;
mod exactly_once_kept;
mod journal;
mod kept_sessions;
mod layouts;
mod presence;
mod provisioning;
mod proxied;
mod publishing;
mod replacement;
mod retained;
mod routing;
mod routing_model;
mod sessions;
mod simulation;
mod storms;
mod subscribing;
mod trust;
mod websocket;
mod wills;
mod world;
