//! What the overview shows, computed once a second for all who look.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axle_app::{App, ProjectionFigures};
use axle_domain::port::Record;
use axle_domain::{Offset, QuarantineItem, Source, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Messages that the page lists.
const LATEST_MAX: usize = 10;
/// What is read of the log for them, a second.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Items of the quarantine that the page lists.
const QUARANTINED_MAX: usize = 6;
/// Seconds that the small charts show.
pub(super) const RATES_MAX: usize = 180;

/// What one second brought.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    /// Messages projected per second.
    pub(crate) messages: u64,
    /// Rows projected per second.
    pub(crate) rows: u64,
}

/// The figures of one second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// When they were computed, by the server's clock.
    pub(crate) at: Timestamp,
    /// The rates of the last seconds, oldest first.
    pub(crate) rates: Vec<Rates>,
    /// Registered devices.
    pub(crate) devices: usize,
    /// Open connections of devices.
    pub(crate) connections: usize,
    /// Records of the log.
    pub(crate) log_records: u64,
    /// Bytes of the log on disk.
    pub(crate) log_bytes: u64,
    /// Rows of the store, in memory and in files.
    pub(crate) store_rows: u64,
    /// Files of the store.
    pub(crate) store_files: u64,
    /// Bytes of these files.
    pub(crate) store_bytes: u64,
    /// Records that queries do not see yet.
    pub(crate) store_lag: u64,
    /// Records that latest values do not include yet.
    pub(crate) state_lag: u64,
    /// Samples and messages set aside since the beginning.
    pub(crate) quarantined: u64,
    /// The newest of them, newest first.
    pub(crate) quarantine: Arc<[QuarantineItem]>,
    /// Whether a projection cannot go on.
    pub(crate) is_stuck: bool,
    /// The newest messages, newest first.
    pub(crate) latest: Vec<Latest>,
}

impl Figures {
    /// The rates of the last second.
    pub(crate) fn now(&self) -> Rates {
        self.rates.last().copied().unwrap_or_default()
    }
}

/// A message as the page lists it.
#[derive(Clone, Debug)]
pub(crate) struct Latest {
    /// Its place in the log.
    pub(crate) offset: u64,
    /// When it came.
    pub(crate) time: Timestamp,
    /// Who sent it.
    pub(crate) device: String,
    /// Its topic.
    pub(crate) topic: String,
    /// The door.
    pub(crate) source: &'static str,
    /// Its size.
    pub(crate) bytes: usize,
}

/// Computes the figures once a second until the stop.
pub(crate) async fn run(
    app: Arc<App>,
    figures: watch::Sender<Arc<Figures>>,
    stop: CancellationToken,
) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::new(&app);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        figures.send_replace(Arc::new(seen.next(&app).await));
    }
}

/// What the last second has seen.
struct Seen {
    at: Instant,
    projected: ProjectionFigures,
    next: Offset,
    latest: VecDeque<Latest>,
    rates: VecDeque<Rates>,
    quarantined: u64,
    quarantine: Arc<[QuarantineItem]>,
}

impl Seen {
    fn new(app: &App) -> Self {
        Self {
            at: Instant::now(),
            projected: app.projector.figures(),
            next: Offset(0),
            latest: VecDeque::new(),
            rates: VecDeque::new(),
            quarantined: 0,
            quarantine: Arc::default(),
        }
    }

    async fn next(&mut self, app: &App) -> Figures {
        let now = Instant::now();
        let projected = app.projector.figures();
        let millis = u64::try_from(now.duration_since(self.at).as_millis()).unwrap_or(1).max(1);
        let rate = |new: u64, old: u64| new.saturating_sub(old).saturating_mul(1000) / millis;
        let positions = app.positions();
        let lag = |applied: Offset| positions.appended.0.saturating_sub(applied.0);
        let (log, store) = (app.ports.log.bounds(), app.ports.store.figures());
        self.rates.push_back(Rates {
            messages: rate(projected.messages, self.projected.messages),
            rows: rate(projected.rows, self.projected.rows),
        });
        while self.rates.len() > RATES_MAX {
            self.rates.pop_front();
        }
        self.read_latest(app).await;
        self.read_quarantine(app).await;
        let figures = Figures {
            at: app.ports.clock.now(),
            rates: self.rates.iter().copied().collect(),
            devices: app.registry.device_count(),
            connections: app.ports.link.connection_count(),
            log_records: log.durable.0,
            log_bytes: log.bytes,
            store_rows: store.recent_rows + store.file_rows,
            store_files: store.files,
            store_bytes: store.file_bytes,
            store_lag: lag(positions.store),
            state_lag: lag(positions.state),
            quarantined: self.quarantined,
            quarantine: Arc::clone(&self.quarantine),
            is_stuck: projected.is_stuck,
            latest: self.latest.iter().cloned().collect(),
        };
        (self.at, self.projected) = (now, projected);
        figures
    }

    /// Reads the newest items again when there are more than before.
    async fn read_quarantine(&mut self, app: &App) {
        let Ok(counters) = app.counters().await else { return };
        if counters.quarantined == self.quarantined {
            return;
        }
        if let Ok(mut items) = app.quarantine.list(None, None, QUARANTINED_MAX).await {
            // The page shows codes; payloads need not wait in memory.
            items.iter_mut().for_each(|item| item.payload = Vec::new());
            (self.quarantined, self.quarantine) = (counters.quarantined, items.into());
        }
    }

    async fn read_latest(&mut self, app: &App) {
        let bounds = app.ports.log.bounds();
        let newest = Offset(bounds.durable.0.saturating_sub(LATEST_MAX as u64));
        let from = self.next.max(newest).max(bounds.first);
        if from >= bounds.durable {
            return;
        }
        // A log that cannot be read says so elsewhere; the page shows what it has.
        let Ok(records) = app.ports.log.read(from, READ_BYTES_MAX).await else { return };
        for record in records {
            self.next = record.offset.next();
            // What the door counts is no message.
            if record.source != Source::Door {
                self.latest.push_front(shown(&record));
            }
        }
        self.latest.truncate(LATEST_MAX);
    }
}

fn shown(record: &Record) -> Latest {
    let message = record.message();
    Latest {
        offset: record.offset.0,
        time: message.received_at,
        device: message.device.to_owned(),
        topic: message.topic.to_owned(),
        source: message.source.as_str(),
        bytes: message.payload.len(),
    }
}
