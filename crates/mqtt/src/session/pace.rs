//! How much of the server one connection may take, so that the others come to their right.

use std::time::Duration;

use axle_domain::{Offset, limit};
use tokio::time::Instant;

use crate::moment::Moment;
use crate::packet::refusal::Refusal;

/// What bare packets are counted over.
const BARE_WINDOW_MILLIS: u32 = 10_000;
/// What a record costs beside its topic and payload.
const RECORD_BYTES: usize = 64;

/// So many publishes a second, of which a second's worth may come at once.
pub(super) struct Pace {
    per_second: u32,
    level: f64,
    at: Instant,
    until: Option<Instant>,
    slowed: u64,
}

impl Pace {
    /// None where there is no limit.
    fn new(per_second: u32) -> Option<Self> {
        (per_second > 0).then(|| {
            let level = f64::from(per_second);
            Self { per_second, level, at: Instant::now(), until: None, slowed: 0 }
        })
    }

    /// Whether one more may be published now.
    pub(super) fn take(&mut self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&mut self, now: Instant) -> bool {
        let per_second = f64::from(self.per_second);
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * per_second;
        self.level = (self.level + gained).min(per_second);
        self.at = now;
        if self.level >= 1.0 {
            self.level -= 1.0;
            self.until = None;
            return true;
        }
        // A tenth of a second's worth at a time, so that waking up is not the work.
        let wanted = (per_second / 10.0).max(1.0);
        self.until = Some(now + Duration::from_secs_f64((wanted - self.level) / per_second));
        self.slowed += 1;
        false
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    pub(super) fn go_on(&mut self) {
        self.until = None;
    }

    pub(super) fn words(&self) -> Option<String> {
        let Self { slowed, per_second, .. } = self;
        (*slowed > 0).then(|| {
            format!(
                "; it was slowed down {slowed} times, since it published more than {per_second} \
                 times a second"
            )
        })
    }
}

/// What a connection has in the log's next commit.
#[derive(Default)]
pub(super) struct Unsynced {
    bytes: usize,
    last: Offset,
}

impl Unsynced {
    pub(super) fn add(&mut self, offset: Offset, bytes: usize) {
        self.bytes += bytes + RECORD_BYTES;
        self.last = offset;
    }

    /// The newest record that may not be on disk yet.
    pub(super) fn last(&self) -> Option<Offset> {
        (self.bytes > 0).then_some(self.last)
    }

    /// The record to wait for, where the connection has its share of what waits for the sync.
    pub(super) fn too_much(&mut self, is_durable: impl Fn(Offset) -> bool) -> Option<Offset> {
        if self.bytes <= limit::UNSYNCED_BYTES_PER_CONNECTION_MAX {
            return None;
        }
        if is_durable(self.last) {
            self.bytes = 0;
            return None;
        }
        Some(self.last)
    }
}

/// What a connection takes of the server; there once it publishes.
pub(super) struct Effort {
    /// How fast it may publish, where that is limited.
    pub(super) pace: Option<Pace>,
    pub(super) unsynced: Unsynced,
}

impl Effort {
    pub(super) fn new(per_second: u32) -> Box<Self> {
        Box::new(Self { pace: Pace::new(per_second), unsynced: Unsynced::default() })
    }
}

/// Packets without a message; small, since every connection has one.
#[derive(Default)]
pub(super) struct BareCount {
    count: u16,
    /// Which ten seconds it counts for; who comes again after eight days may find it counted.
    window: u16,
}

impl BareCount {
    /// Counts one.
    pub(super) fn count(&mut self) -> Result<(), Refusal> {
        self.count_at(Instant::now())
    }

    fn count_at(&mut self, now: Instant) -> Result<(), Refusal> {
        let window = window_of(now);
        if self.window != window {
            *self = Self { count: 0, window };
        }
        self.count += 1;
        if self.count > limit::BARE_PACKETS_PER_TEN_SECONDS_MAX {
            return Err(Refusal::MESSAGE_RATE);
        }
        Ok(())
    }
}

/// From 1 on.
fn window_of(now: Instant) -> u16 {
    let windows = Moment::of(now).millis() / BARE_WINDOW_MILLIS;
    u16::try_from(windows % u32::from(u16::MAX)).unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_publishes_and_then_some_wait() {
        let mut pace = Pace::new(100).unwrap();
        let now = pace.at;
        assert!((0..100).all(|_| pace.take_at(now)));
        assert!(!pace.take_at(now));
        let until = pace.until().unwrap();
        assert!((0..10).all(|_| pace.take_at(until)), "a tenth of a second's worth");
        assert!(!pace.take_at(until));
        assert!(pace.words().unwrap().contains("slowed down 2 times"));
        assert!(Pace::new(0).is_none(), "without a limit nothing is counted");
    }

    #[test]
    fn a_share_of_the_commit_is_free_again_when_it_is_durable() {
        let mut unsynced = Unsynced::default();
        unsynced.add(Offset(1), limit::UNSYNCED_BYTES_PER_CONNECTION_MAX - 2 * RECORD_BYTES);
        assert_eq!(unsynced.too_much(|_| false), None);
        unsynced.add(Offset(7), 2 * RECORD_BYTES);
        assert_eq!(unsynced.too_much(|_| false), Some(Offset(7)));
        assert_eq!(unsynced.too_much(|offset| offset == Offset(7)), None);
        assert_eq!(unsynced.too_much(|_| false), None);
    }

    #[test]
    fn bare_packets_have_their_window() {
        let (mut bare, now) = (BareCount::default(), Instant::now());
        for _ in 0..limit::BARE_PACKETS_PER_TEN_SECONDS_MAX {
            bare.count_at(now).unwrap();
        }
        assert_eq!(bare.count_at(now), Err(Refusal::MESSAGE_RATE));
        bare.count_at(now + Duration::from_millis(u64::from(BARE_WINDOW_MILLIS))).unwrap();
    }
}
