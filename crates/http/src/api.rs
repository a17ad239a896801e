//! What the routes share, and the router made of their table.

use std::net::IpAddr;
use std::sync::Arc;

use axle_app::{App, Principal};
use axle_domain::{DeviceId, Error};
use axum::Extension;
use axum::Router;
use axum::http::HeaderMap;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::call::{Credential, device_not_found};
use crate::console::{Basemap, Figures, Links};
use crate::openapi::OpenApi;
use crate::rate::Buckets;
use crate::route;
use crate::settings::HttpSettings;
use crate::sign_in_limits::SignInLimits;
use crate::vitals::Signs;
use crate::webauthn::Challenges;

/// Uploads whose bodies are being read: up to 1 MiB each.
const UPLOADS_READING_MAX: usize = 64;
/// Memory for decoded uploads, in units of [`UPLOAD_UNIT_BYTES`]: 128 MiB.
const UPLOAD_UNITS_MAX: usize = 512;
/// See [`UPLOAD_UNITS_MAX`].
pub(crate) const UPLOAD_UNIT_BYTES: usize = 256 * 1024;
/// Live streams of events at one time.
const EVENT_STREAMS_MAX: usize = 64;
/// Pages that are kept up to date at one time.
const LIVE_PAGES_MAX: usize = 64;

/// What the routes share.
pub(crate) struct Api {
    /// The use cases.
    pub(crate) app: Arc<App>,
    /// Uploads per token.
    pub(crate) by_token: Buckets<String>,
    /// Uploads per client network.
    pub(crate) by_address: Buckets<IpAddr>,
    /// Bodies of uploads that are being read.
    pub(crate) reading: Semaphore,
    /// Memory of uploads that are being decoded and stored.
    pub(crate) decoding: Semaphore,
    /// Streams of events.
    pub(crate) events: Arc<Semaphore>,
    /// Reads of the log that are under way.
    pub(crate) consumes: Arc<Semaphore>,
    /// Pages that are kept up to date.
    pub(crate) pages: Arc<Semaphore>,
    /// One-time links into the console.
    pub(crate) links: Links,
    /// How often people may try to sign in.
    pub(crate) sign_ins: SignInLimits,
    /// Ceremonies of passkeys that are under way.
    pub(crate) challenges: Challenges,
    /// Names of this server beside the loopback ones.
    pub(crate) names: Vec<String>,
    /// What the console shows.
    pub(crate) figures: watch::Receiver<Arc<Figures>>,
    /// How the instance is.
    pub(crate) vitals: watch::Receiver<Arc<Signs>>,
    /// What maps are drawn on.
    pub(crate) basemap: Basemap,
    /// The contract.
    pub(crate) openapi: OpenApi,
    /// Ends answers that last.
    pub(crate) stop: CancellationToken,
    trusted_proxies: Vec<IpAddr>,
}

impl Api {
    /// What the routes share, for these settings.
    pub(crate) fn new(
        settings: &HttpSettings,
        app: Arc<App>,
        (figures, vitals): (watch::Receiver<Arc<Figures>>, watch::Receiver<Arc<Signs>>),
        basemap: Basemap,
        stop: CancellationToken,
    ) -> Self {
        let proxies = settings.trusted_proxies.iter().map(IpAddr::to_canonical);
        Self {
            app,
            by_token: Buckets::new(settings.uploads_per_minute_and_token),
            by_address: Buckets::new(settings.uploads_per_minute_and_address),
            reading: Semaphore::new(UPLOADS_READING_MAX),
            decoding: Semaphore::new(UPLOAD_UNITS_MAX),
            events: Arc::new(Semaphore::new(EVENT_STREAMS_MAX)),
            consumes: Arc::new(Semaphore::new(axle_domain::limit::CONSUMES_RUNNING_MAX)),
            pages: Arc::new(Semaphore::new(LIVE_PAGES_MAX)),
            links: Links::default(),
            sign_ins: SignInLimits::default(),
            challenges: Challenges::default(),
            names: settings.names.clone(),
            figures,
            vitals,
            basemap,
            openapi: OpenApi::build(),
            stop,
            trusted_proxies: proxies.collect(),
        }
    }

    /// The address of the client: the last one in `X-Forwarded-For` that no trusted load balancer
    /// has, where one of them sent the request; else the peer.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let hops = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.rsplit(','));
        for hop in hops {
            if !self.trusted_proxies.contains(&client) {
                break;
            }
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            client = address.to_canonical();
        }
        client
    }

    /// Whether the client came by TLS, as far as a trusted load balancer says.
    pub(crate) fn is_secure(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        self.trusted_proxies.contains(&peer)
            && headers.get("x-forwarded-proto").is_some_and(|it| it.as_bytes() == b"https")
    }

    /// Whom a credential speaks for now.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub(crate) async fn recognize(&self, credential: &Credential) -> Result<Principal, Error> {
        match credential {
            Credential::Bearer(secret) => self.app.tokens.authenticate(secret).await,
            Credential::Session(secret) => {
                Ok(self.app.sessions.authenticate(secret).await?.principal)
            }
        }
    }

    /// Refuses a device that is not registered, in the words for one that is another's.
    pub(crate) fn require_registered(&self, device: &DeviceId) -> Result<(), Error> {
        if self.app.registry.knows(device.as_str()) {
            return Ok(());
        }
        Err(device_not_found(device))
    }
}

/// The routes of the API and the console.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new();
    for (operation, handler) in route::table() {
        router = router.route(operation.path, handler.layer(Extension(operation)));
    }
    router.merge(crate::console::router(&api)).with_state(api)
}
