//! A histogram of durations with a relative error of at most 1.6 %, in 17 KiB.

use std::time::Duration;

/// Below this many microseconds each has a bucket of its own.
const LINEAR: u64 = 128;
/// Buckets of each power of two above.
const STEPS: u64 = LINEAR / 2;
/// Powers of two above the linear part; the last bucket begins beyond 19 hours.
const OCTAVES: u64 = 30;

/// Counts durations by microseconds: exactly below 128 µs, then in 64 steps per power of two.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = usize::try_from(LINEAR + OCTAVES * STEPS).unwrap_or_default();
        Self { counts: vec![0; buckets], count: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let last = self.counts.len().saturating_sub(1);
        if let Some(count) = self.counts.get_mut(bucket(micros).min(last)) {
            *count += 1;
        }
        self.count += 1;
        self.max = self.max.max(micros);
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest, exactly.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max)
    }

    /// The duration that `share` (0 to 1) of all do not exceed; zero when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count is a count"
        )]
        let rank = ((self.count as f64) * share.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper(index).min(self.max));
            }
        }
        self.max()
    }
}

fn bucket(micros: u64) -> usize {
    // Shifted so far, a number above the linear part lies in STEPS..LINEAR.
    let shift = (micros / LINEAR).checked_ilog2().map_or(0, |octave| octave + 1);
    let index = u64::from(shift) * STEPS + (micros >> shift);
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The greatest value of a bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < LINEAR {
        return index;
    }
    let shift = index / STEPS - 1;
    let within = index - shift * STEPS;
    ((within + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gap() {
        for index in 1..bucket(u64::from(u32::MAX)) {
            assert_eq!(bucket(upper(index)), index);
            assert_eq!(bucket(upper(index - 1) + 1), index);
        }
    }

    #[test]
    fn a_quantile_is_wrong_by_less_than_two_percent() {
        let mut histogram = Histogram::default();
        for micros in 1..=100_000_u64 {
            histogram.record(Duration::from_micros(micros));
        }
        for (share, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (0.999, 99_900.0)] {
            let seen = histogram.quantile(share).as_micros() as f64;
            assert!((seen - exact).abs() / exact < 0.02, "{share}: {seen}");
        }
        assert_eq!(histogram.quantile(1.0), Duration::from_micros(100_000));
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn merging_is_counting_everything_in_one() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        one.record(Duration::from_millis(1));
        other.record(Duration::from_secs(24 * 3600));
        one.merge(&other);
        assert_eq!((one.count(), one.max()), (2, Duration::from_secs(24 * 3600)));
        assert!(one.quantile(0.99) > Duration::from_secs(3600));
    }
}
