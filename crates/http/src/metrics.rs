//! Counts of the HTTP doors. Names and labels are a contract with dashboards.

use std::time::Duration;

use axle_domain::{Error, LatencyCounts, LatencyHistogram};
use axum::http::{Method, StatusCode};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

const REQUESTS: &str = "axle_http_requests_total";
const REQUESTS_HELP: &str = "HTTP requests answered, by route, method and class of status.";
const SECONDS: &str = "axle_http_request_seconds";
const SECONDS_HELP: &str = "Time from a request's head to its answer's head.";
const CONNECTIONS: &str = "axle_http_connections";
const CONNECTIONS_HELP: &str = "HTTP connections that are open.";

/// Kinds of requests that take alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteClass {
    /// Uploads of apps.
    Upload,
    /// SQL.
    Query,
    /// What else is read over the API.
    Read,
    /// What else is changed over the API.
    Change,
    /// Pages of the console.
    Page,
}

impl RouteClass {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Upload, Self::Query, Self::Read, Self::Change, Self::Page];

    /// The name in JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Query => "query",
            Self::Read => "read",
            Self::Change => "change",
            Self::Page => "page",
        }
    }

    /// The words for people.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Upload => "API: uploads",
            Self::Query => "API: SQL",
            Self::Read => "API: other reads",
            Self::Change => "API: other changes",
            Self::Page => "Pages of the console",
        }
    }

    /// The class of a route by its pattern; `None` where its time says nothing.
    fn of(route: &str, method: &str) -> Option<Self> {
        match route {
            "/api/v1/uploads" => Some(Self::Upload),
            "/api/v1/query" => Some(Self::Query),
            _ if route.starts_with("/api/") && method == "GET" => Some(Self::Read),
            _ if route.starts_with("/api/") => Some(Self::Change),
            "other" | "/metrics" | "/healthz" | "/readyz" => None,
            _ if route.starts_with("/assets/") => None,
            _ => Some(Self::Page),
        }
    }
}

/// Counts of the HTTP doors.
pub(crate) struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    /// In the order of [`RouteClass::ALL`].
    latencies: [LatencyHistogram; 5],
    /// Open connections.
    pub(crate) connections: IntGauge,
}

impl HttpMetrics {
    /// Registers the counts.
    ///
    /// # Errors
    /// `Internal`, when the registry has counts of these names already.
    pub(crate) fn register(registry: &Registry) -> Result<Self, Error> {
        let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
        let opts = HistogramOpts::new(SECONDS, SECONDS_HELP).buckets(buckets);
        let build = || {
            let labels = ["route", "method", "status"];
            let metrics = Self {
                requests: IntCounterVec::new(Opts::new(REQUESTS, REQUESTS_HELP), &labels)?,
                seconds: HistogramVec::new(opts, &["route"])?,
                latencies: Default::default(),
                connections: IntGauge::new(CONNECTIONS, CONNECTIONS_HELP)?,
            };
            registry.register(Box::new(metrics.requests.clone()))?;
            registry.register(Box::new(metrics.seconds.clone()))?;
            registry.register(Box::new(metrics.connections.clone()))?;
            Ok(metrics)
        };
        build().map_err(|error: prometheus::Error| {
            Error::internal("http.metrics", "the counts of HTTP cannot be registered")
                .with_source(error)
        })
    }

    /// Counts an answer. `route` is the pattern of a route, never a path.
    pub(crate) fn observe(
        &self,
        route: &str,
        method: &Method,
        status: StatusCode,
        elapsed: Duration,
    ) {
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "other",
        };
        let class = match status.as_u16() {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.requests.with_label_values(&[route, method, class]).inc();
        self.seconds.with_label_values(&[route]).observe(elapsed.as_secs_f64());
        let class = RouteClass::of(route, method);
        if let Some(latency) = class.and_then(|class| self.latencies.get(class as usize)) {
            latency.record(elapsed);
        }
    }

    /// How long answers of a class took, since the start.
    pub(crate) fn latency(&self, class: RouteClass) -> LatencyCounts {
        let latency = self.latencies.get(class as usize);
        latency.map(LatencyHistogram::counts).unwrap_or_default()
    }
}
