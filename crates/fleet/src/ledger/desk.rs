//! What everyone shares during one drive.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::Doors;

/// Who is still waiting for what during one drive.
pub(super) struct Desk {
    /// Where the server is now.
    pub(super) doors: Doors,
    /// The end of the drive.
    pub(super) stop: CancellationToken,
    /// Whether nothing new is begun.
    pub(super) is_settling: bool,
    /// Devices and apps that have something unanswered, by a count each.
    busy: AtomicU64,
    started: Instant,
    first_ack: OnceLock<Duration>,
}

impl Desk {
    /// A drive that begins now.
    pub(super) fn new(doors: &Doors, stop: CancellationToken, is_settling: bool) -> Self {
        Self {
            doors: doors.clone(),
            stop,
            is_settling,
            busy: AtomicU64::new(0),
            started: Instant::now(),
            first_ack: OnceLock::new(),
        }
    }

    /// Says that someone has something unanswered, until the badge is put down.
    pub(super) fn badge(&self) -> Badge<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Badge { desk: self, is_busy: true }
    }

    /// Notes an acknowledgement.
    pub(super) fn note_ack(&self) {
        self.first_ack.get_or_init(|| self.started.elapsed());
    }

    /// From the start to the first acknowledgement, in milliseconds.
    pub(super) fn first_ack_ms(&self) -> Option<f64> {
        self.first_ack.get().map(|time| time.as_micros() as f64 / 1000.0)
    }

    /// Returns when nobody waits for an answer.
    pub(super) async fn wait_until_quiet(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if self.busy.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }

    /// What is open, in words.
    pub(super) fn open_text(&self) -> String {
        format!("{} devices and apps lack answers", self.busy.load(Ordering::Relaxed))
    }

    /// Waits, or less when the drive ends.
    pub(super) async fn pause(&self, time: Duration) {
        let _ended = tokio::time::timeout(time, self.stop.cancelled()).await;
    }
}

/// Whether someone has something unanswered.
pub(super) struct Badge<'a> {
    desk: &'a Desk,
    is_busy: bool,
}

impl Badge<'_> {
    /// Tells.
    pub(super) fn set(&mut self, is_busy: bool) {
        if is_busy != self.is_busy {
            self.is_busy = is_busy;
            if is_busy {
                self.desk.busy.fetch_add(1, Ordering::Relaxed);
            } else {
                self.desk.busy.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Badge<'_> {
    fn drop(&mut self) {
        self.set(false);
    }
}
