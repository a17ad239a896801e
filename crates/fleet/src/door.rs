//! Where the server's doors are, and what opens them.

use std::path::Path;

use axle_domain::{Error, Kind};
use serde::Deserialize;

/// Addresses of a running server, the administrator's token and the certificate of the authority
/// that signed the server's own certificate.
#[derive(Clone)]
pub struct Doors {
    /// The API, `host:port`, without TLS.
    pub http: String,
    /// MQTT over TLS, `host:port`.
    pub mqtts: Option<String>,
    /// MQTT without TLS, `host:port`.
    pub mqtt: Option<String>,
    /// The bearer token for the API.
    pub token: String,
    /// The device authority's certificate, PEM.
    pub authority_pem: String,
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors")
            .field("http", &self.http)
            .field("mqtts", &self.mqtts)
            .field("mqtt", &self.mqtt)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Addresses {
    http: String,
    mqtts: Option<String>,
    mqtt: Option<String>,
}

impl Doors {
    /// Reads the content of `addresses.json`.
    ///
    /// # Errors
    /// `Invalid`, when it is no JSON object with an `http` address.
    pub fn parse(addresses: &str, token: &str, authority_pem: &str) -> Result<Self, Error> {
        let addresses: Addresses = serde_json::from_str(addresses).map_err(|error| {
            Error::invalid(
                "doors.addresses_invalid",
                format!("addresses.json is not as expected: {error}"),
            )
        })?;
        Ok(Self {
            http: addresses.http,
            mqtts: addresses.mqtts,
            mqtt: addresses.mqtt,
            token: token.trim().to_owned(),
            authority_pem: authority_pem.to_owned(),
        })
    }

    /// Reads `addresses.json`, `admin.token` and `ca.crt` of a data directory.
    ///
    /// # Errors
    /// `Unavailable`, when a file is missing: the server is not running, or not ready yet;
    /// `Invalid` as [`Doors::parse`].
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            std::fs::read_to_string(data_dir.join(name)).map_err(|error| {
                let message = format!("`{name}` of the data directory: {error}; is axle running?");
                Error::new(Kind::Unavailable, "doors.closed", message).with_source(error)
            })
        };
        Self::parse(&read("addresses.json")?, &read("admin.token")?, &read("ca.crt")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_addresses_and_ignores_the_others() {
        let text = r#"{"http":"127.0.0.1:1","mqtts":"127.0.0.1:2","kafka":"127.0.0.1:3"}"#;
        let doors = Doors::parse(text, "secret\n", "pem").unwrap();
        assert_eq!((doors.http.as_str(), doors.token.as_str()), ("127.0.0.1:1", "secret"));
        assert_eq!((doors.mqtts.as_deref(), doors.mqtt), (Some("127.0.0.1:2"), None));
        assert!(!format!("{:?}", Doors::parse(text, "secret", "").unwrap()).contains("secret"));
        assert_eq!(Doors::parse("{}", "", "").unwrap_err().code, "doors.addresses_invalid");
    }
}
