//! A pace that many share: whoever has something that can wait takes a turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior};

/// Turns, so many a second over all who ask. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Trickle(Arc<Mutex<Interval>>);

impl Trickle {
    /// Turns so far apart.
    pub(super) fn new(pause: Duration) -> Self {
        let mut interval = tokio::time::interval(pause);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(Arc::new(Mutex::new(interval)))
    }

    /// Waits for a turn. May be dropped midway: the turn is another's then.
    pub(super) async fn turn(&self) {
        self.0.lock().await.tick().await;
    }
}
