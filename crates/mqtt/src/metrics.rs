//! What the gateway counts. No device id is ever a label.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axle_domain::Error;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The gateway's metrics.
pub(crate) struct Metrics {
    /// Open connections that have been let in.
    pub(crate) connections: IntGauge,
    /// PUBLISH packets read.
    pub(crate) publishes: IntCounter,
    /// Connections that have not said who they are yet.
    pub(crate) strangers: IntGauge,
    /// Handshakes that wait for their turn.
    pub(crate) handshakes_waiting: IntGauge,
    /// Connections that took the place of another of the same client id.
    pub(crate) takeovers: IntCounter,
    /// Retained messages.
    pub(crate) retained_messages: IntGauge,
    /// Their bytes.
    pub(crate) retained_bytes: IntGauge,
    slowed: IntCounterVec,
    handshakes: IntCounterVec,
    refused: IntCounterVec,
    malformed: IntCounterVec,
    dropped: IntCounterVec,
    reloads: IntCounterVec,
    started: Instant,
    /// Second of the newest line about a refusal, and how many there were in it.
    lines: AtomicU64,
}

impl Metrics {
    /// Registers the metrics.
    pub(crate) fn new(registry: &Registry) -> Result<Self, Error> {
        Self::register(registry).map_err(|error| {
            Error::internal("mqtt.metrics", "the gateway's metrics exist already")
                .with_source(error)
        })
    }

    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            prometheus::Result::Ok(counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        Ok(Self {
            connections: gauge("axle_mqtt_connections", "Open MQTT connections.")?,
            publishes: counter(
                "axle_mqtt_received_publishes_total",
                "PUBLISH packets read from clients.",
            )?,
            strangers: gauge(
                "axle_mqtt_unauthenticated_connections",
                "Connections that have not said who they are yet.",
            )?,
            handshakes_waiting: gauge(
                "axle_mqtt_waiting_handshakes",
                "TLS handshakes that wait for their turn.",
            )?,
            takeovers: counter(
                "axle_mqtt_takeovers_total",
                "Connections that took the place of another of the same client id.",
            )?,
            retained_messages: gauge("axle_mqtt_retained_messages", "Retained messages.")?,
            retained_bytes: gauge("axle_mqtt_retained_bytes", "Bytes of retained messages.")?,
            slowed: counters(
                "axle_mqtt_slowed_connections_total",
                "Times that a client had to wait on purpose, by reason.",
                "reason",
            )?,
            handshakes: counters(
                "axle_mqtt_handshakes_total",
                "TLS handshakes by result.",
                "result",
            )?,
            refused: counters(
                "axle_mqtt_refused_connects_total",
                "Connections that were not let in, by reason.",
                "reason",
            )?,
            malformed: counters(
                "axle_mqtt_malformed_packets_total",
                "Connections that were ended because of what they sent, by reason.",
                "reason",
            )?,
            dropped: counters(
                "axle_mqtt_dropped_messages_total",
                "Messages that a subscriber did not get, by reason.",
                "reason",
            )?,
            reloads: counters(
                "axle_mqtt_certificate_reloads_total",
                "Times that changed certificate files were read, by result.",
                "result",
            )?,
            started: Instant::now(),
            lines: AtomicU64::new(0),
        })
    }

    pub(crate) fn count_handshake(&self, result: &str) {
        self.handshakes.with_label_values(&[result]).inc();
    }

    pub(crate) fn count_refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Counts that a client has to wait: `rate`, `unsynced` or `takeovers`.
    pub(crate) fn count_slowed(&self, reason: &str) {
        self.slowed.with_label_values(&[reason]).inc();
    }

    pub(crate) fn count_malformed(&self, reason: &str) {
        self.malformed.with_label_values(&[reason]).inc();
    }

    pub(crate) fn count_reload(&self, result: &str) {
        self.reloads.with_label_values(&[result]).inc();
    }

    pub(crate) fn count_dropped(&self, reason: &str, count: u64) {
        if count > 0 {
            self.dropped.with_label_values(&[reason]).inc_by(count);
        }
    }

    /// Whether one more line about a refusal may be logged: ten a second, whoever knocks.
    pub(crate) fn may_log(&self) -> bool {
        const LINES_PER_SECOND: u64 = 10;
        let second = self.started.elapsed().as_secs() + 1;
        let seen = self.lines.fetch_add(1, Ordering::Relaxed);
        if seen >> 32 == second {
            return seen & 0xffff_ffff < LINES_PER_SECOND;
        }
        self.lines.store((second << 32) | 1, Ordering::Relaxed);
        true
    }
}
