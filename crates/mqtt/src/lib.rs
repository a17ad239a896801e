//! The device gateway: listeners, packets, sessions, and the authority that signs device
//! certificates.
//!
//! What this crate is not: it decides nothing about devices (the registry in `axle-app` does) and
//! understands no payload. It takes publishes to the log, acknowledges what is durable, brings
//! them to who has subscribed to them, and commands to live subscriptions.
//!
//! Reading order: [`Gateway`] (sockets), `admit` (from a socket to a session), `connection` (one
//! loop: read packet, dispatch, write), `session` (what each packet means), [`Sessions`] (who is
//! there, and the way down), `router` (from the log to subscribers).

mod admit;
mod advice;
mod authority;
mod connection;
mod delivery;
mod first_packet;
mod follow;
mod gateway;
mod goodbye;
mod identity;
mod inbox;
mod inlet;
mod journal;
mod ledger;
mod link;
mod metrics;
mod moment;
#[cfg(test)]
mod mutation;
mod origin;
mod packet;
mod proxied;
mod recovery;
mod retained;
mod router;
mod routes;
mod session;
mod sessions;
mod settings;
mod strangers;
mod takeovers;
mod tls;
mod tls_failure;
mod tls_socket;
mod trust;
mod turns;
mod websocket;
mod will;
mod witness;

pub use authority::{
    DeviceAuthority, authority_standing, finish_replacement, new_application_request,
    new_key_and_request, replace_authority,
};
pub use gateway::{Gateway, GatewayParts};
pub use inlet::Inlet;
pub use sessions::Sessions;
pub use settings::{PlainAccess, Settings};
pub use tls::DeviceTls;
