//! What appenders, readers and the writer share.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axle_domain::LatencyHistogram;
use tokio::sync::Notify;

use crate::pending::Pending;
use crate::segment::Segment;
use crate::settings::LogSettings;
use crate::tail::Tail;
use crate::wait::{Stop, Waiters};

/// The state behind an embedded log.
pub(crate) struct Shared {
    pub(crate) settings: LogSettings,
    pending: Mutex<Pending>,
    /// Wakes the writer.
    pub(crate) wake: Condvar,
    /// The durable end.
    pub(crate) waiters: Waiters,
    /// One past the last appended record.
    pub(crate) appended: AtomicU64,
    /// Bytes that wait for a sync, as [`Pending`] has them.
    pub(crate) waiting: AtomicUsize,
    /// Since when the oldest of them waits, microseconds after `opened`; 0 where none does.
    waiting_since: AtomicU64,
    opened: Instant,
    /// Rung when there is room again.
    pub(crate) room: Notify,
    /// Rung when the writer has ended.
    pub(crate) ended: Notify,
    /// Oldest first; never empty. Replaced as a whole, since it changes rarely.
    segments: RwLock<Arc<[Arc<Segment>]>>,
    pub(crate) tail: Tail,
    /// Bytes on disk, up to the last durable record.
    pub(crate) bytes: AtomicU64,
    /// The oldest offset that a consumer still needs.
    pub(crate) released: Mutex<u64>,
    /// How long commits took.
    pub(crate) commits: LatencyHistogram,
    /// When the newest durable record came, microseconds since 1970.
    pub(crate) newest: AtomicI64,
}

impl Shared {
    pub(crate) fn new(
        settings: LogSettings,
        pending: Pending,
        segments: Vec<Arc<Segment>>,
    ) -> Self {
        let bytes = segments.iter().map(|segment| segment.end().0).sum();
        Self {
            wake: Condvar::new(),
            waiters: Waiters::new(pending.next),
            appended: AtomicU64::new(pending.next),
            waiting: AtomicUsize::new(0),
            waiting_since: AtomicU64::new(0),
            opened: Instant::now(),
            room: Notify::new(),
            ended: Notify::new(),
            segments: RwLock::new(segments.into()),
            tail: Tail::new(settings.tail_bytes),
            bytes: AtomicU64::new(bytes),
            released: Mutex::new(0),
            commits: LatencyHistogram::default(),
            newest: AtomicI64::new(0),
            pending: Mutex::new(pending),
            settings,
        }
    }

    /// Notes what waits now. Called with the queue locked, after every change of it.
    pub(crate) fn note_waiting(&self, pending: &Pending) {
        self.waiting.store(pending.waiting(), Ordering::Relaxed);
        let since = pending.waiting_since().map_or(0, |since| {
            let micros = since.saturating_duration_since(self.opened).as_micros();
            u64::try_from(micros).unwrap_or(u64::MAX).max(1)
        });
        self.waiting_since.store(since, Ordering::Relaxed);
    }

    /// How long the oldest record waits that is not durable.
    pub(crate) fn waiting_age(&self) -> Duration {
        match self.waiting_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.opened.elapsed().saturating_sub(Duration::from_micros(since)),
        }
    }

    pub(crate) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All segments, oldest first.
    pub(crate) fn segments(&self) -> Arc<[Arc<Segment>]> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The offset of the oldest record that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.segments().first().map_or(0, |segment| segment.header.base)
    }

    /// Changes the list of segments. Only the writer does.
    pub(crate) fn replace_segments(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut list = self.segments().to_vec();
        change(&mut list);
        *self.segments.write().unwrap_or_else(PoisonError::into_inner) = list.into();
    }

    /// The oldest offset that a consumer still needs. Who holds it keeps segments from going.
    pub(crate) fn released(&self) -> MutexGuard<'_, u64> {
        self.released.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more becomes durable: everybody who waits is told.
    pub(crate) fn stop(&self, reason: Stop) {
        self.waiters.stop(reason);
        self.room.notify_waiters();
    }

    /// Whether [`Self::pending`] has room, or waiting for it makes no sense any more.
    pub(crate) fn has_room(&self) -> bool {
        self.waiters.stop_reason().is_some() || self.pending().has_room()
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }
}
