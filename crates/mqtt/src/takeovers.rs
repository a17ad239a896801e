//! Clients that fight for one client id: each takes the other's place, over and over. Nobody is
//! refused for it, since one of them may be right; but from a certain number on each has to wait
//! a little before it takes over, and those who look after the device are told.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Most client ids that are watched; those that were calm for longest are forgotten.
const CLIENT_IDS_MAX: usize = 65_536;
/// What each takeover beyond the most costs the next one.
const STEP: Duration = Duration::from_millis(500);
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Takeovers of each client id.
pub(crate) struct Takeovers {
    /// So many a minute are nothing special.
    per_minute: f64,
    of: Mutex<HashMap<Box<str>, Count>>,
}

struct Count {
    /// What is left of the takeovers: they leak away evenly.
    level: f64,
    at: Instant,
}

impl Count {
    fn level_at(&self, now: Instant, per_minute: f64) -> f64 {
        let leaked = now.saturating_duration_since(self.at).as_secs_f64() / 60.0 * per_minute;
        (self.level - leaked).max(0.0)
    }
}

impl Takeovers {
    /// So many a minute are nothing special.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute: f64::from(per_minute.max(1)), of: Mutex::default() }
    }

    fn of(&self) -> MutexGuard<'_, HashMap<Box<str>, Count>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one; says whether it is a fight.
    pub(crate) fn count(&self, client_id: &str, now: Instant) -> bool {
        let mut of = self.of();
        if of.len() >= CLIENT_IDS_MAX && !of.contains_key(client_id) {
            of.retain(|_, count| count.level_at(now, self.per_minute) > 0.0);
            if of.len() >= CLIENT_IDS_MAX {
                of.clear();
            }
        }
        let count = of.entry(Box::from(client_id)).or_insert(Count { level: 0.0, at: now });
        count.level = count.level_at(now, self.per_minute) + 1.0;
        count.at = now;
        count.level > self.per_minute
    }

    /// How long the next client of this id is to wait.
    pub(crate) fn wait(&self, client_id: &str, now: Instant) -> Duration {
        let mut of = self.of();
        let Some(count) = of.get(client_id) else { return Duration::ZERO };
        let level = count.level_at(now, self.per_minute);
        if level <= 0.0 {
            of.remove(client_id);
        }
        let beyond = level - self.per_minute;
        if beyond <= 0.0 { Duration::ZERO } else { STEP.mul_f64(1.0 + beyond).min(WAIT_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_makes_the_next_one_wait_and_calms_down() {
        let takeovers = Takeovers::new(5);
        let now = Instant::now();
        assert!((0..5).all(|_| !takeovers.count("b-1", now)), "five a minute are nothing special");
        assert_eq!(takeovers.wait("b-1", now), Duration::ZERO);
        assert!(takeovers.count("b-1", now));
        assert_eq!(takeovers.wait("b-1", now), 2 * STEP);
        assert_eq!(takeovers.wait("b-2", now), Duration::ZERO, "others do not wait");
        assert!((0..100).all(|_| takeovers.count("b-1", now)));
        assert_eq!(takeovers.wait("b-1", now), WAIT_MAX);
        let calm = now + Duration::from_secs(60 * 60);
        assert_eq!(takeovers.wait("b-1", calm), Duration::ZERO);
        assert!(takeovers.of().is_empty());
    }

    #[test]
    fn a_device_that_comes_back_now_and_then_never_waits() {
        let takeovers = Takeovers::new(5);
        let mut now = Instant::now();
        for _ in 0..100 {
            assert!(!takeovers.count("b-1", now));
            assert_eq!(takeovers.wait("b-1", now), Duration::ZERO);
            now += Duration::from_secs(15);
        }
    }
}
