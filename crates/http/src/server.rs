//! The two listeners: opened together, run together, drained together.

use std::net::SocketAddr;
use std::sync::Arc;

use axle_app::App;
use axle_domain::Error;
use axum::{Router, middleware};
use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Api, router};
use crate::connection::Listener;
use crate::console::{Basemap, Figures, run_live};
use crate::frame::{Frame, frame, no_route};
use crate::metrics::HttpMetrics;
use crate::ops::{self, Ops};
use crate::settings::DoorSettings;
use crate::vitals::{Signs, run as run_vitals};

/// Connections of operators at one time: a few scrapers and probes.
const OPS_CONNECTIONS_MAX: usize = 64;

/// The HTTP doors, listening but not serving yet.
pub struct HttpServer {
    api: Arc<Api>,
    http: Option<Listener>,
    http_address: Option<SocketAddr>,
    ops: Option<Listener>,
    ops_address: Option<SocketAddr>,
    figures: watch::Sender<Arc<Figures>>,
    vitals: watch::Sender<Arc<Signs>>,
    metrics: Arc<HttpMetrics>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl HttpServer {
    /// Binds the listeners. `registry` holds the counts of the whole server; `/metrics` prints
    /// them together with those that this crate computes at each scrape.
    ///
    /// # Errors
    /// `Unavailable` when an address cannot be bound, `Invalid` for one beyond loopback without
    /// permission and for a basemap that is none, `Internal` when the registry refuses our counts.
    pub async fn bind(
        settings: &DoorSettings,
        app: Arc<App>,
        registry: Registry,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let DoorSettings { http, ops, console } = settings;
        let basemap = Basemap::open(&console.basemap)?;
        let metrics = Arc::new(HttpMetrics::register(&registry)?);
        let tasks = TaskTracker::new();
        let (figures, watched) = watch::channel(Arc::new(Figures::default()));
        let (vitals, watched_vitals) = watch::channel(Arc::new(Signs::default()));
        let watched = (watched, watched_vitals.clone());
        let api = Arc::new(Api::new(http, Arc::clone(&app), watched, basemap, stop.clone()));
        let wrap = |router: Router, hosts| {
            let metrics = Arc::clone(&metrics);
            let state = Arc::new(Frame { hosts, metrics, tasks: tasks.clone() });
            router.layer(middleware::from_fn_with_state(state, frame))
        };
        let bound = Listener::bind("http", &http.listen, http.allow_insecure).await?;
        let http_address = bound.as_ref().map(|(_, address)| *address);
        let http_listener = bound.map(|(socket, address)| Listener {
            socket,
            router: wrap(router(Arc::clone(&api)), Frame::hosts(address.ip(), &http.names)),
            connections_max: http.connections_max,
            gauge: metrics.connections.clone(),
        });
        let bound = Listener::bind("ops", &ops.listen, ops.allow_insecure).await?;
        let ops_address = bound.as_ref().map(|(_, address)| *address);
        let state = Ops::new(app, registry, ops.ready_lag_records_max, watched_vitals);
        let state = Arc::new(state);
        let ops_listener = bound.map(|(socket, address)| Listener {
            socket,
            router: wrap(
                ops::router(state).fallback(no_route),
                Frame::hosts(address.ip(), &http.names),
            ),
            connections_max: OPS_CONNECTIONS_MAX,
            gauge: metrics.connections.clone(),
        });
        Ok(Self {
            api,
            http: http_listener,
            http_address,
            ops: ops_listener,
            ops_address,
            figures,
            vitals,
            metrics,
            tasks,
            stop,
        })
    }

    /// Where people and the API are, unless off.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Where operators are, unless off.
    #[must_use]
    pub fn ops_address(&self) -> Option<SocketAddr> {
        self.ops_address
    }

    /// A path such as `/login?code=…` that opens the console, once, within an hour.
    ///
    /// # Errors
    /// `Internal`, when the operating system gives no randomness.
    pub fn create_login_link(&self) -> Result<String, Error> {
        self.api.links.create()
    }

    /// Serves until the stop, then drains for at most ten seconds.
    pub async fn run(self) {
        let Self { api, http, ops, figures, vitals, metrics, tasks, stop, .. } = self;
        let serve = async |listener: Option<Listener>| {
            if let Some(listener) = listener {
                listener.serve(stop.clone()).await;
            }
        };
        let live = run_live(Arc::clone(&api.app), figures, stop.clone());
        let vitals = run_vitals(Arc::clone(&api.app), metrics, vitals, stop.clone());
        tokio::join!(serve(http), serve(ops), live, vitals);
        tasks.close();
        tasks.wait().await;
    }
}
