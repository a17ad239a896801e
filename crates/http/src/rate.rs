//! Token buckets: so many requests per minute and key, with a burst at the beginning.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Most keys that are remembered; full buckets are forgotten first.
const KEYS_MAX: usize = 65_536;

/// What a bucket says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// Requests per minute.
    pub(crate) limit: u32,
    /// Requests left at once.
    pub(crate) remaining: u32,
    /// Until the bucket is full again.
    pub(crate) reset: Duration,
    /// How long to wait; `None` when the request may pass.
    pub(crate) wait: Option<Duration>,
}

struct Bucket {
    level: f64,
    at: Instant,
}

/// One bucket per key.
pub(crate) struct Buckets<K> {
    per_minute: u32,
    burst: u32,
    buckets: Mutex<HashMap<K, Bucket>>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// Buckets of that many requests per minute, all of which may come at once.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self::with_burst(per_minute, per_minute)
    }

    /// Buckets of that many requests per minute, and so many at once.
    pub(crate) fn with_burst(per_minute: u32, burst: u32) -> Self {
        Self { per_minute: per_minute.max(1), burst: burst.max(1), buckets: Mutex::default() }
    }

    /// Gives a key one request back: it was not of the kind that is counted.
    pub(crate) fn give_back(&self, key: &K) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(key) {
            bucket.level += 1.0;
        }
    }

    /// Requests per minute and key.
    pub(crate) fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// Takes one request out of the bucket of a key.
    pub(crate) fn take(&self, key: K, now: Instant) -> Verdict {
        let full = f64::from(self.burst);
        let per_second = f64::from(self.per_minute) / 60.0;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEYS_MAX && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| level(bucket, now, per_second) < full);
            // All are in use: a crowd of keys must not grow the map, so the new one waits.
            if buckets.len() >= KEYS_MAX {
                let wait = Some(Duration::from_secs(1));
                return Verdict { limit: self.per_minute, remaining: 0, reset: SECOND, wait };
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { level: full, at: now });
        bucket.level = level(bucket, now, per_second).min(full);
        bucket.at = now;
        let wait = if bucket.level >= 1.0 {
            bucket.level -= 1.0;
            None
        } else {
            Some(Duration::from_secs_f64((1.0 - bucket.level) / per_second))
        };
        #[expect(clippy::cast_possible_truncation, reason = "a level is between 0 and a u32")]
        let remaining = bucket.level as u32;
        Verdict {
            limit: self.per_minute,
            remaining,
            reset: Duration::from_secs_f64((full - bucket.level) / per_second),
            wait,
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn level(bucket: &Bucket, now: Instant, per_second: f64) -> f64 {
    bucket.level + now.saturating_duration_since(bucket.at).as_secs_f64() * per_second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_minute_and_no_more_and_others_are_untouched() {
        let buckets = Buckets::new(60);
        let now = Instant::now();
        assert!((0..60).all(|_| buckets.take("a", now).wait.is_none()));
        let refused = buckets.take("a", now);
        assert_eq!((refused.remaining, refused.wait), (0, Some(SECOND)));
        assert_eq!(refused.reset, Duration::from_secs(60));
        assert!(buckets.take("b", now).wait.is_none());
        assert!(buckets.take("a", now + SECOND).wait.is_none());
        assert!(buckets.take("a", now + SECOND).wait.is_some());
    }

    #[test]
    fn a_burst_is_followed_by_the_rate_and_what_is_given_back_counts_again() {
        let buckets = Buckets::with_burst(1, 3);
        let now = Instant::now();
        assert!((0..3).all(|_| buckets.take("a", now).wait.is_none()));
        assert_eq!(buckets.take("a", now).wait, Some(Duration::from_secs(60)));
        buckets.give_back(&"a");
        buckets.give_back(&"unknown");
        assert!(buckets.take("a", now).wait.is_none());
        assert!(buckets.take("a", now + Duration::from_secs(59)).wait.is_some());
        assert!(buckets.take("a", now + Duration::from_secs(60)).wait.is_none());
    }
}
