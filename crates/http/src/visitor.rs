//! From where a person's browser came: its address, whether by TLS, and under which name.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{HOST, HeaderMap};
use axum::http::request::Parts;

use crate::api::Api;
use crate::call::Peer;

/// A browser, as far as it can be told from outside.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// The client's address, behind trusted load balancers.
    pub(crate) address: IpAddr,
    /// Whether it came by TLS.
    pub(crate) is_secure: bool,
    /// `Host`, in lower case.
    pub(crate) host: String,
}

impl Visitor {
    /// What the browser calls our origin.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}", self.host)
    }

    /// Our host under a name that passkeys can be bound to, where the browser runs on our own
    /// machine and came by an address of numbers.
    pub(crate) fn local_name(&self) -> Option<String> {
        let (address, port) = match self.host.parse::<SocketAddr>() {
            Ok(socket) => (socket.ip(), format!(":{}", socket.port())),
            Err(_) => (self.host.trim_matches(['[', ']']).parse().ok()?, String::new()),
        };
        address.is_loopback().then(|| format!("localhost{port}"))
    }
}

impl Visitor {
    /// Where an invitation leads, under a name that passkeys can be bound to if there is one.
    pub(crate) fn invitation_link(&self, code: &str) -> String {
        match self.local_name() {
            Some(host) => format!("http://{host}/welcome?code={code}"),
            None => format!("{}/welcome?code={code}", self.origin()),
        }
    }

    /// Who sent these headers over a connection from this peer.
    pub(crate) fn of(api: &Api, peer: IpAddr, headers: &HeaderMap) -> Self {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        Self {
            address: api.client(peer, headers),
            is_secure: api.is_secure(peer, headers),
            host: host.to_ascii_lowercase(),
        }
    }
}

impl FromRequestParts<Arc<Api>> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::from([0; 4]), |peer| peer.0);
        std::future::ready(Ok(Self::of(api, peer, &parts.headers))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_address_has_a_name_too() {
        for (host, expected) in [
            ("127.0.0.1:8080", Some("localhost:8080")),
            ("[::1]:8080", Some("localhost:8080")),
            ("127.0.0.1", Some("localhost")),
            ("[::1]", Some("localhost")),
            ("192.0.2.1:8080", None),
            ("axle.example.com", None),
        ] {
            let address = IpAddr::from([127, 0, 0, 1]);
            let visitor = Visitor { address, is_secure: false, host: host.to_owned() };
            assert_eq!(visitor.local_name().as_deref(), expected, "{host}");
            assert_eq!(visitor.origin(), format!("http://{host}"));
        }
    }
}
