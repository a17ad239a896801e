//! What all connections of a run share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use super::probe::Probes;
use super::schedule::Schedule;
use crate::Histogram;

/// Handshakes under way at one time.
const DIALING_MAX: usize = 64;
/// Histograms, so that threads rarely meet at one.
const SHARDS: usize = 8;
/// Reasons of errors that are told apart.
const REASONS_MAX: usize = 50;

/// The order to a run's connections, and their common counters.
pub(crate) struct Order {
    /// Most messages of a connection without acknowledgement.
    pub(crate) window: usize,
    /// Probes for the time until a message can be queried.
    pub(crate) probes: Probes,
    /// Messages sent, each counted once.
    pub(crate) sent: AtomicU64,
    /// Messages acknowledged.
    pub(crate) acked: AtomicU64,
    /// Connections that were accepted at least once.
    pub(crate) connected: AtomicU64,
    /// Connections that broke later.
    pub(crate) disconnects: AtomicU64,
    /// Limits the handshakes.
    pub(crate) dialing: Semaphore,
    measured: (u64, u64),
    schedule: OnceLock<Schedule>,
    started: Notify,
    given_up: AtomicBool,
    histograms: Vec<Mutex<Histogram>>,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Order {
    /// An order whose latencies are measured from and to these times after the start.
    pub(crate) fn new(window: usize, probes: Probes, from: Duration, to: Duration) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            window,
            probes,
            sent: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            connected: AtomicU64::new(0),
            disconnects: AtomicU64::new(0),
            dialing: Semaphore::new(DIALING_MAX),
            measured: (nanos(from), nanos(to)),
            schedule: OnceLock::new(),
            started: Notify::new(),
            given_up: AtomicBool::new(false),
            histograms: (0..SHARDS).map(|_| Mutex::default()).collect(),
            errors: Mutex::default(),
        }
    }

    /// Lets the connections go.
    pub(crate) fn start(&self, schedule: Schedule) -> &Schedule {
        let schedule = self.schedule.get_or_init(|| schedule);
        self.started.notify_waiters();
        schedule
    }

    /// Returns when the connections may send.
    pub(crate) async fn wait_for_start(&self) {
        let mut started = Box::pin(self.started.notified());
        started.as_mut().enable();
        if self.schedule.get().is_none() && !self.is_given_up() {
            started.await;
        }
    }

    /// The schedule; before the start one that is over.
    #[inline]
    pub(crate) fn schedule(&self) -> &Schedule {
        static NEVER: OnceLock<Schedule> = OnceLock::new();
        self.schedule.get().unwrap_or_else(|| NEVER.get_or_init(Schedule::never))
    }

    /// Whether a message that was due then counts.
    #[inline]
    pub(crate) fn is_measured(&self, nanos: u64) -> bool {
        (self.measured.0..self.measured.1).contains(&nanos)
    }

    /// The histogram for a connection.
    pub(crate) fn histogram(&self, connection: usize) -> &Mutex<Histogram> {
        static SPARE: OnceLock<Mutex<Histogram>> = OnceLock::new();
        let shard = self.histograms.get(connection % SHARDS);
        shard.unwrap_or_else(|| SPARE.get_or_init(Mutex::default))
    }

    /// All latencies.
    pub(crate) fn latencies(&self) -> Histogram {
        let mut all = Histogram::default();
        for shard in &self.histograms {
            all.merge(&shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
        all
    }

    /// Counts an error.
    pub(crate) fn count_error(&self, reason: &str) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = if errors.len() < REASONS_MAX { reason } else { "other" };
        *errors.entry(reason.to_owned()).or_default() += 1;
    }

    /// The errors so far.
    pub(crate) fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the run: the server cannot be reached, or does not acknowledge.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.started.notify_waiters();
    }

    /// Whether the run was given up.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }
}
