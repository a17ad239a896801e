//! How long things take: counts by duration, cheap enough to keep for every commit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of one doubling: a duration is known to an eighth.
const STEPS: usize = 8;
/// Doublings, from a microsecond to a minute; longer ones count as the longest.
const DOUBLINGS: usize = 24;
const BUCKETS: usize = STEPS * (DOUBLINGS + 1);

/// Counts durations; never blocks.
#[derive(Debug)]
pub struct LatencyHistogram(Box<[AtomicU64]>);

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl LatencyHistogram {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.0.get(bucket(micros)).or_else(|| self.0.last()) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted up to now.
    #[must_use]
    pub fn counts(&self) -> LatencyCounts {
        LatencyCounts(self.0.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect())
    }
}

/// What a [`LatencyHistogram`] had counted at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyCounts(Vec<u64>);

impl LatencyCounts {
    /// What was counted after an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.0.iter().copied().chain(std::iter::repeat(0));
        Self(self.0.iter().zip(before).map(|(now, then)| now.saturating_sub(then)).collect())
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The duration that so many of a thousand did not exceed, to an eighth of it; `None` where
    /// nothing was counted.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let count = self.count();
        let wanted = count.saturating_mul(per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        let found = self.0.iter().position(|bucket| {
            seen += bucket;
            seen >= wanted
        });
        found.map(|index| Duration::from_micros(upper(index)))
    }
}

fn bucket(micros: u64) -> usize {
    let steps = STEPS as u64;
    if micros < steps {
        return usize::try_from(micros).unwrap_or(0);
    }
    let doubling = micros.ilog2() - steps.ilog2();
    let step = (micros >> doubling) - steps;
    let index = u64::from(doubling + 1) * steps + step;
    usize::try_from(index).unwrap_or(BUCKETS)
}

/// The longest duration of a bucket, in microseconds.
fn upper(index: usize) -> u64 {
    let (doubling, step) = (index / STEPS, (index % STEPS) as u64);
    match doubling.checked_sub(1) {
        None => step,
        Some(doubling) => ((STEPS as u64 + step + 1) << doubling) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_known_to_an_eighth() {
        for micros in (0..2000).chain([5_000, 70_123, 1_000_000, 59_999_999]) {
            let histogram = LatencyHistogram::default();
            histogram.record(Duration::from_micros(micros));
            let seen = histogram.counts().quantile(500).unwrap().as_micros();
            let (low, high) = (u128::from(micros), u128::from(micros + micros / 8 + 1));
            assert!((low..=high).contains(&seen), "{micros}: {seen}");
        }
    }

    #[test]
    fn quantiles_are_of_what_came_since() {
        let histogram = LatencyHistogram::default();
        assert_eq!(histogram.counts().quantile(990), None);
        histogram.record(Duration::from_secs(9));
        let earlier = histogram.counts();
        (0..99).for_each(|_| histogram.record(Duration::from_micros(3)));
        histogram.record(Duration::from_micros(7));
        histogram.record(Duration::from_secs(3600));
        let counts = histogram.counts().since(&earlier);
        assert_eq!(counts.count(), 101);
        assert_eq!(counts.quantile(500), Some(Duration::from_micros(3)));
        assert_eq!(counts.quantile(990), Some(Duration::from_micros(7)));
        assert!(counts.quantile(1000).unwrap() > Duration::from_secs(60), "the longest bucket");
    }
}
