//! What an operator may set.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::Layouts;
use serde::Deserialize;

/// Settings of the device gateway.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where devices connect with TLS and a client certificate: `host:port`, or `off`.
    pub listen: String,
    /// Where devices connect with TLS and a client certificate by MQTT over WebSocket, at the path
    /// `/mqtt`: `host:port`, or `off`. Where this is the default and its port is taken it is off.
    pub device_https_listen: String,
    /// Where local tools connect without TLS: `host:port` on loopback, or `off`.
    pub plain_listen: String,
    /// What a client of `plain_listen` may be and do.
    pub plain_access: PlainAccess,
    /// Most connections; one more is refused with a reason.
    pub connections_max: usize,
    /// Most connections that have not said who they are yet; one more takes the place of the
    /// oldest of the address that has most, or is closed.
    pub unauthenticated_max: usize,
    /// Most of them from one address, or from one /64 network of IPv6.
    pub unauthenticated_per_address_max: usize,
    /// Connections of one address that may be turned away in a minute; beyond, it is not listened
    /// to for some seconds.
    pub failures_per_address_per_minute: u32,
    /// How often in a minute a client id may be taken over before the next one has to wait.
    pub takeovers_per_minute_max: u32,
    /// How long a client may take over one packet, or leave what is sent to it unread.
    pub stall_time_max: Duration,
    /// Publishes of one connection a second; beyond, it is read more slowly. 0: as the log takes
    /// them.
    pub publishes_per_second_max: u32,
    /// Most retained messages; one for a new topic is refused then.
    pub retained_messages_max: usize,
    /// Most bytes of retained messages, topics and properties included. They are kept in memory
    /// too.
    pub retained_bytes_max: usize,
    /// Addresses of load balancers that say by the PROXY protocol for whom they speak; they must,
    /// and nobody else is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Topics of other layouts that devices may use. Read and checked where the configuration is.
    #[serde(skip)]
    pub layouts: Arc<Layouts>,
    /// Whether `plain_listen` may be an address that others reach. Not a setting of the file: it
    /// is asked for on the command line.
    #[serde(skip)]
    pub is_insecure_allowed: bool,
}

/// What a client without a certificate may be and do.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum PlainAccess {
    /// The client id names a registered device, and the client has that device's rights.
    #[default]
    Device,
    /// Any client id and any topic; on loopback only.
    All,
}

impl Settings {
    /// The default of `device_https_listen`.
    pub const DEVICE_HTTPS_LISTEN: &str = "[::]:8443";
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "[::]:8883".to_owned(),
            device_https_listen: Self::DEVICE_HTTPS_LISTEN.to_owned(),
            plain_listen: "off".to_owned(),
            plain_access: PlainAccess::Device,
            connections_max: 2_500_000,
            unauthenticated_max: 4096,
            unauthenticated_per_address_max: 2048,
            failures_per_address_per_minute: 3000,
            takeovers_per_minute_max: 5,
            stall_time_max: Duration::from_secs(60),
            publishes_per_second_max: 0,
            retained_messages_max: axle_domain::limit::RETAINED_MESSAGES_MAX,
            retained_bytes_max: axle_domain::limit::RETAINED_BYTES_MAX,
            trusted_proxies: Vec::new(),
            layouts: Arc::default(),
            is_insecure_allowed: false,
        }
    }
}
