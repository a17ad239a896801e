//! Counts of the HTTP doors. Names and labels are a contract with dashboards.

use std::time::Duration;

use axle_domain::Error;
use axum::http::{Method, StatusCode};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

const REQUESTS: &str = "axle_http_requests_total";
const REQUESTS_HELP: &str = "HTTP requests answered, by route, method and class of status.";
const SECONDS: &str = "axle_http_request_seconds";
const SECONDS_HELP: &str = "Time from a request's head to its answer's head.";
const CONNECTIONS: &str = "axle_http_connections";
const CONNECTIONS_HELP: &str = "HTTP connections that are open.";

/// Counts of the HTTP doors.
pub(crate) struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
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
    }
}
