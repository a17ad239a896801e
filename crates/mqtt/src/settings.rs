//! What an operator may set.

use std::net::IpAddr;

use serde::Deserialize;

/// Settings of the device gateway.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where devices connect with TLS and a client certificate: `host:port`, or `off`.
    pub listen: String,
    /// Where local tools connect without TLS: `host:port` on loopback, or `off`.
    pub plain_listen: String,
    /// What a client of `plain_listen` may be and do.
    pub plain_access: PlainAccess,
    /// Most connections; one more is refused with a reason.
    pub connections_max: usize,
    /// Most connections that have not said who they are yet; one more is closed.
    pub unauthenticated_max: usize,
    /// Addresses of load balancers that say by the PROXY protocol for whom they speak; they must,
    /// and nobody else is believed.
    pub trusted_proxies: Vec<IpAddr>,
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

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "[::]:8883".to_owned(),
            plain_listen: "off".to_owned(),
            plain_access: PlainAccess::Device,
            connections_max: 2_500_000,
            unauthenticated_max: 4096,
            trusted_proxies: Vec::new(),
            is_insecure_allowed: false,
        }
    }
}
