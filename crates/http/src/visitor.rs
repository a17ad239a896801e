//! From where a person's browser came: its address, whether by TLS, and under which name.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::HOST;
use axum::http::request::Parts;

use crate::api::Api;
use crate::call::Peer;

/// A browser, as far as it can be told from outside.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "the sign-in of people asks for all of it")]
pub(crate) struct Visitor {
    /// The client's address, behind trusted load balancers.
    pub(crate) address: IpAddr,
    /// Whether it came by TLS.
    pub(crate) is_secure: bool,
    /// `Host`, in lower case.
    pub(crate) host: String,
}

#[allow(dead_code, reason = "the sign-in of people asks for it")]
impl Visitor {
    /// What the browser calls our origin.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}", self.host)
    }
}

impl FromRequestParts<Arc<Api>> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::from([0; 4]), |peer| peer.0);
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        std::future::ready(Ok(Self {
            address: api.client(peer, &parts.headers),
            is_secure: api.is_secure(peer, &parts.headers),
            host: host.to_ascii_lowercase(),
        }))
        .await
    }
}
