//! When which connection sends: one clock for all of them, so that thousands of paced connections
//! need no timer each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// What the scheduler tells one connection.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// Messages that are due since the start.
    due: AtomicU64,
    /// The connection's task.
    pub(crate) waker: AtomicWaker,
}

/// The schedule of a run. With a rate, message `k` of connection `i` of `n` is due
/// `(k * n + i) / rate` seconds after the start; without, a connection sends as its window allows.
#[derive(Debug)]
pub(crate) struct Schedule {
    rate: Option<f64>,
    bells: Vec<Arc<Bell>>,
    start: Instant,
    is_over: AtomicBool,
}

/// How often due messages are looked for.
const TICK: Duration = Duration::from_millis(1);

impl Schedule {
    /// A schedule that starts at a moment.
    pub(crate) fn new(rate: Option<f64>, bells: Vec<Arc<Bell>>, start: Instant) -> Self {
        Self { rate, bells, start, is_over: AtomicBool::new(false) }
    }

    /// A schedule that is over.
    pub(crate) fn never() -> Self {
        let schedule = Self::new(None, vec![], Instant::now());
        schedule.is_over.store(true, Ordering::Release);
        schedule
    }

    /// Whether there is a rate.
    pub(crate) fn is_paced(&self) -> bool {
        self.rate.is_some()
    }

    /// Nanoseconds since the start; 0 before.
    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The moment of the start.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// How many messages a connection may have begun by now; `None` means as many as it can.
    #[inline]
    pub(crate) fn due(&self, bell: &Bell) -> Option<u64> {
        self.rate.map(|_| bell.due.load(Ordering::Acquire))
    }

    /// When message `number` of a connection is due, in nanoseconds since the start; `None`
    /// without a rate.
    #[inline]
    pub(crate) fn due_nanos(&self, connection: usize, number: u64) -> Option<u64> {
        let place = number * self.bells.len() as u64 + connection as u64;
        self.rate.map(|rate| nanos_of(place as f64 / rate))
    }

    /// Whether nothing new is to be sent.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Ends the sending; what is under way may still be acknowledged.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.bells.iter().for_each(|bell| bell.waker.wake());
    }

    /// Rings the bells of a rate until the end; returns the number of messages that were due.
    pub(crate) async fn tick(&self) -> u64 {
        let Some(rate) = self.rate else { return 0 };
        let mut interval = tokio::time::interval_at(self.start.into(), TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut rung = 0;
        while !self.is_over() {
            interval.tick().await;
            let due = count_of(self.start.elapsed().as_secs_f64() * rate);
            self.ring(rung, due);
            rung = due.max(rung);
        }
        rung
    }

    fn ring(&self, from: u64, to: u64) {
        let count = self.bells.len() as u64;
        for place in from..to {
            let bell = usize::try_from(place % count.max(1)).ok();
            let Some(bell) = bell.and_then(|bell| self.bells.get(bell)) else { return };
            bell.due.fetch_add(1, Ordering::Release);
            bell.waker.wake();
        }
    }
}

/// Messages that are due: the one at place 0 is due at the start.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn count_of(place: f64) -> u64 {
    place.floor() as u64 + 1
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn nanos_of(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deals_messages_out_in_turn_and_knows_when_each_was_due() {
        let bells: Vec<Arc<Bell>> = (0..3).map(|_| Arc::default()).collect();
        let schedule = Schedule::new(Some(10.0), bells.clone(), Instant::now());
        schedule.ring(0, count_of(0.45 * 10.0));
        let due: Vec<_> = bells.iter().map(|bell| schedule.due(bell)).collect();
        assert_eq!(due, [Some(2), Some(2), Some(1)]);
        assert_eq!(schedule.due_nanos(0, 0), Some(0));
        assert_eq!(schedule.due_nanos(1, 1), Some(400_000_000));
        let free = Schedule::new(None, bells, Instant::now());
        assert_eq!((free.due(&Bell::default()), free.due_nanos(0, 5)), (None, None));
    }
}
