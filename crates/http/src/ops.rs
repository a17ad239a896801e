//! The operators' listener: metrics, liveness, readiness.

use std::sync::Arc;
use std::time::Duration;

use axle_app::{App, ENDING_DAYS};
use axle_domain::port::{Counters, IdentityPart};
use axle_domain::{Error, Offset};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::answer::{body_answer, json_answer};
use crate::problem::Problem;
use crate::vitals::Signs;

/// How long the log may take to sync before the server is not ready.
const SYNC_TIME_MAX: Duration = Duration::from_secs(2);
/// Why nothing is accepted, and what ends it.
const LOG_FULL: &str = "log: its disk is full, nothing is accepted; free some room, and it goes on \
                        without a restart";

/// What the operators' routes share.
pub(crate) struct Ops {
    app: Arc<App>,
    registry: Registry,
    lag_max: u64,
    signs: watch::Receiver<Arc<Signs>>,
}

impl Ops {
    /// The routes' state.
    pub(crate) fn new(
        app: Arc<App>,
        registry: Registry,
        lag_max: u64,
        signs: watch::Receiver<Arc<Signs>>,
    ) -> Self {
        Self { app, registry, lag_max, signs }
    }
}

/// The routes.
pub(crate) fn router(state: Arc<Ops>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(state)
}

/// Says that the process answers.
pub(crate) async fn healthz() -> Response {
    std::future::ready(json_answer(StatusCode::OK, &json!({"status": "ok"}))).await
}

async fn readyz(State(ops): State<Arc<Ops>>) -> Response {
    let mut reasons = Vec::new();
    let (log, bounds) = (&ops.app.ports.log, ops.app.ports.log.bounds());
    if log.figures().is_full {
        reasons.push(LOG_FULL.to_owned());
    } else if let Some(newest) = bounds.appended.0.checked_sub(1) {
        // Does not wait for the disk: under load that is when health is asked for.
        match timeout(Duration::ZERO, log.durable(Offset(newest))).await {
            Ok(Err(error)) => reasons.push(format!("log: {}", error.message)),
            Err(_elapsed) if log.waiting_age() > SYNC_TIME_MAX => {
                reasons.push("log: the last sync takes too long".to_owned());
            }
            Ok(Ok(())) | Err(_) => {}
        }
    }
    let positions = ops.app.positions();
    for (name, applied) in [("store", positions.store), ("state", positions.state)] {
        let lag = positions.appended.0.saturating_sub(applied.0);
        if lag > ops.lag_max {
            let most = ops.lag_max;
            reasons.push(format!("projection {name}: {lag} records behind, at most {most}"));
        }
    }
    if ops.app.projector.figures().is_stuck {
        reasons.push("projection: the last attempt failed, see the log".to_owned());
    }
    if let Some(damage) = ops.app.ports.reported.damage() {
        reasons.push(format!("state: {damage}; run `axle verify`"));
    }
    let (status, word) = match reasons.is_empty() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    // What will go wrong is no reason to send clients elsewhere now.
    let ports = &ops.app.ports;
    let warnings = ports.authority.standing().warnings(ports.clock.now());
    json_answer(status, &json!({"status": word, "reasons": reasons, "warnings": warnings}))
}

async fn metrics(State(ops): State<Arc<Ops>>) -> Result<Response, Problem> {
    let counters = ops.app.counters().await?;
    let failed = |error: prometheus::Error| {
        Error::internal("metrics", "the counts cannot be written").with_source(error)
    };
    let computed = compute(&ops.app, counters).map_err(failed)?;
    let mut text = String::new();
    let encoder = TextEncoder::new();
    encoder.encode_utf8(&ops.registry.gather(), &mut text).map_err(failed)?;
    encoder.encode_utf8(&computed.gather(), &mut text).map_err(failed)?;
    let devices = ops.signs.borrow().vitals.ending_devices;
    let identity = identity(&ops.app, devices).map_err(failed)?;
    encoder.encode_utf8(&identity.gather(), &mut text).map_err(failed)?;
    Ok(body_answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}

/// What ends, and when.
fn identity(app: &App, devices: [u64; ENDING_DAYS.len()]) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let (standing, now) = (app.ports.authority.standing(), app.ports.clock.now());
    let ends = Opts::new(
        "axle_identity_ends_seconds",
        "Seconds until the first of the listeners' certificates, authorities or revocation lists \
         ends; below 0 since then.",
    );
    let ends = IntGaugeVec::new(ends, &["part"])?;
    for part in IdentityPart::ALL {
        if let Some(end) = standing.first_end(part) {
            ends.with_label_values(&[part.as_str()]).set(end.micros_since(now) / 1_000_000);
        }
    }
    registry.register(Box::new(ends))?;
    let fault = IntGauge::new(
        "axle_identity_fault",
        "1 while changed certificate files cannot be used and those from before hold.",
    )?;
    fault.set(i64::from(standing.fault.is_some()));
    registry.register(Box::new(fault))?;
    let ending = Opts::new(
        "axle_devices_certificate_ending",
        "Devices whose last certificate ends within so many days, as of the last ten minutes.",
    );
    let ending = IntGaugeVec::new(ending, &["days"])?;
    for (days, count) in ENDING_DAYS.iter().zip(devices) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        ending.with_label_values(&[&days.to_string()]).set(count);
    }
    registry.register(Box::new(ending))?;
    Ok(registry)
}

/// Counts that live elsewhere: in the state, so that they are exact over restarts, or in a port.
fn compute(app: &App, counters: Counters) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let door = Opts::new("axle_ingest_records_total", "Rows at the door, by what became of them.");
    let door = IntCounterVec::new(door, &["outcome"])?;
    for (outcome, rows) in [
        ("received", counters.received()),
        ("stored", counters.stored),
        ("quarantined", counters.quarantined),
        ("rejected", counters.rejected),
        ("shed", counters.shed),
    ] {
        door.with_label_values(&[outcome]).inc_by(rows);
    }
    registry.register(Box::new(door))?;
    let gauge = |name: &str, help: &str, value: u64| {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(Box::new(gauge))
    };
    let (log, store) = (app.ports.log.bounds(), app.ports.store.figures());
    gauge("axle_log_first_offset", "Oldest record that is kept.", log.first.0)?;
    gauge("axle_log_durable_offset", "One past the newest durable record.", log.durable.0)?;
    gauge("axle_log_appended_offset", "One past the newest record.", log.appended.0)?;
    gauge("axle_log_bytes", "Bytes of the log on disk.", log.bytes)?;
    let holder = app.consumers.holder();
    let held = "Bytes of the log behind the oldest position of a projection or consumer.";
    gauge("axle_log_needed_offset", "Oldest record that anyone needs.", holder.position.0)?;
    gauge("axle_log_held_bytes", held, holder.bytes)?;
    let is_consumer = u64::from(holder.follower.consumer().is_some());
    let by = "1 where a consumer is furthest behind, 0 where it is a projection.";
    gauge("axle_log_held_by_consumer", by, is_consumer)?;
    let rows = store.recent_rows + store.file_rows;
    gauge("axle_store_rows", "Rows of the store, in memory and in files.", rows)?;
    gauge("axle_store_recent_rows", "Rows of the store in memory.", store.recent_rows)?;
    gauge("axle_store_files", "Files of the store.", store.files)?;
    gauge("axle_store_bytes", "Bytes of the files of the store.", store.file_bytes)?;
    gauge("axle_devices", "Registered devices.", app.registry.device_count() as u64)?;
    let damaged = u64::from(app.ports.reported.damage().is_some());
    gauge("axle_state_damaged", "1 where the state is known to be damaged.", damaged)?;
    let open = app.ports.link.connection_count() as u64;
    gauge("axle_device_connections", "Open connections of devices.", open)?;
    let collapsed = IntCounter::new(
        "axle_store_collapsed_rows_total",
        "Rows that merged into an equal one, as far as merges have seen.",
    )?;
    collapsed.inc_by(store.collapsed_rows);
    registry.register(Box::new(collapsed))?;
    let lag = Opts::new(
        "axle_projection_lag_records",
        "Durable records that a projection has not applied yet.",
    );
    let lag = IntGaugeVec::new(lag, &["projection"])?;
    let positions = app.positions();
    for (name, applied) in [("store", positions.store), ("state", positions.state)] {
        let behind = positions.appended.0.saturating_sub(applied.0);
        lag.with_label_values(&[name]).set(i64::try_from(behind).unwrap_or(i64::MAX));
    }
    registry.register(Box::new(lag))?;
    Ok(registry)
}
