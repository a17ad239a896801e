//! How long it takes until a message can be queried: now and then one message is watched.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::order::Order;
use crate::Histogram;
use crate::api::Api;
use crate::clock::rfc3339;
use crate::content::Source;

/// Pause between two questions for one message. The resolution of the measurement; shorter pauses
/// would load the server with questions instead of messages.
const PAUSE: Duration = Duration::from_millis(5);
/// Give up on a message after this.
const TIME_MAX: Duration = Duration::from_secs(30);

/// A message that is watched.
#[derive(Debug)]
pub(crate) struct Probe {
    sql: String,
    written: Instant,
}

impl Probe {
    /// Watches a message that is being written now.
    pub(crate) fn new(device: &str, source: &Source, seq: u64) -> Self {
        let (stream, time) = (source.profile().stream(), rfc3339(source.time_ms(seq)));
        let sql = format!(
            "SELECT device FROM {stream} WHERE device = '{device}' AND time = '{time}' LIMIT 1"
        );
        Self { sql, written: Instant::now() }
    }
}

/// Where the connections leave a message to watch when one is wanted.
pub(crate) struct Probes {
    is_wanted: AtomicBool,
    sender: mpsc::Sender<Probe>,
}

impl Probes {
    /// The place, and where the watcher takes messages from it.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Probe>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self { is_wanted: AtomicBool::new(false), sender }, receiver)
    }

    /// Whether a message is wanted. Asked for every message: one load.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// Leaves a message, unless another connection was faster.
    pub(crate) fn offer(&self, probe: Probe) {
        if self.is_wanted.swap(false, Ordering::Relaxed) {
            // Full only when the watcher has ended.
            let _full = self.sender.try_send(probe);
        }
    }
}

/// Watches messages, so many per second, until the sending is over.
pub(crate) async fn watch(
    order: Arc<Order>,
    api: Api,
    per_second: f64,
    mut probes: mpsc::Receiver<Probe>,
    result: Arc<Mutex<Histogram>>,
) {
    let mut interval = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second.max(0.01)));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if order.schedule().is_over() {
            return;
        }
        order.probes.is_wanted.store(true, Ordering::Relaxed);
        let Some(probe) = next(&order, &mut probes).await else { return };
        match see(&api, &probe).await {
            Ok(Some(time)) => result.lock().unwrap_or_else(PoisonError::into_inner).record(time),
            Ok(None) => order.count_error("a watched message was not queryable within 30 s"),
            Err(error) => {
                order.count_error(&format!("query: {}", error.message));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// The next message to watch; `None` when the sending is over.
async fn next(order: &Order, probes: &mut mpsc::Receiver<Probe>) -> Option<Probe> {
    loop {
        match tokio::time::timeout(Duration::from_millis(50), probes.recv()).await {
            Ok(probe) => return probe,
            Err(_idle) if order.schedule().is_over() => return None,
            Err(_idle) => {}
        }
    }
}

async fn see(api: &Api, probe: &Probe) -> Result<Option<Duration>, axle_domain::Error> {
    loop {
        let rows = api.query(&probe.sql).await?;
        let elapsed = probe.written.elapsed();
        if !rows.is_empty() {
            return Ok(Some(elapsed));
        }
        if elapsed > TIME_MAX {
            return Ok(None);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
