//! What can be set about the HTTP doors. Data only; nothing here opens anything.

use std::net::IpAddr;

use axle_domain::limit;
use serde::{Deserialize, Serialize};

/// The listener for people and the API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// `"host:port"`, or `"off"`. Port 0 picks a free one.
    pub listen: String,
    /// Names beside the loopback ones and those of `server.names` that a request may carry in
    /// `Host` while the listener is bound to loopback (anything else is answered with 421, against
    /// DNS rebinding), and to which passkeys may be bound.
    pub names: Vec<String>,
    /// Addresses of load balancers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Whether plain HTTP may be served beyond loopback.
    pub allow_insecure: bool,
    /// Most connections at one time; more wait in the operating system's queue.
    pub connections_max: usize,
    /// Uploads per minute and token.
    pub uploads_per_minute_and_token: u32,
    /// Uploads per minute and client address.
    pub uploads_per_minute_and_address: u32,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            names: Vec::new(),
            trusted_proxies: Vec::new(),
            allow_insecure: false,
            connections_max: 4096,
            uploads_per_minute_and_token: limit::UPLOADS_PER_MINUTE_AND_TOKEN,
            uploads_per_minute_and_address: limit::UPLOADS_PER_MINUTE_AND_ADDRESS,
        }
    }
}

/// What people see.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsoleSettings {
    /// A PMTiles file of vector tiles to draw maps with, such as an extract of OpenStreetMap with
    /// the streets of your region; the embedded map of the world where this is empty.
    pub basemap: String,
}

/// All that can be set about the HTTP doors.
#[derive(Clone, Debug, Default)]
pub struct DoorSettings {
    /// The listener for people and the API.
    pub http: HttpSettings,
    /// The listener for operators.
    pub ops: OpsSettings,
    /// What people see.
    pub console: ConsoleSettings,
}

/// The listener for operators: metrics, liveness, readiness. It asks for no token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpsSettings {
    /// `"host:port"`, or `"off"`. Port 0 picks a free one.
    pub listen: String,
    /// Whether it may be served beyond loopback.
    pub allow_insecure: bool,
    /// Records that a projection may lag behind the log while the server calls itself ready.
    pub ready_lag_records_max: u64,
}

impl Default for OpsSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8081".to_owned(),
            allow_insecure: false,
            ready_lag_records_max: 250_000,
        }
    }
}
