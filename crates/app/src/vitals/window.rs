//! Latencies of the last minutes.

use std::collections::VecDeque;
use std::time::Duration;

use axle_domain::LatencyCounts;

/// Counts that are kept: five minutes, one each ten seconds.
const KEPT_MAX: usize = 31;

/// How long things took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// How many there were.
    pub count: u64,
    /// Half took no longer.
    pub p50: Option<Duration>,
    /// All but one of a hundred took no longer.
    pub p99: Option<Duration>,
}

/// Counts of some earlier moments.
#[derive(Debug, Default)]
pub struct LatencyWindow(VecDeque<LatencyCounts>);

impl LatencyWindow {
    /// Remembers the counts of this moment; to be called every ten seconds.
    pub fn push(&mut self, counts: LatencyCounts) {
        self.0.push_back(counts);
        while self.0.len() > KEPT_MAX {
            self.0.pop_front();
        }
    }

    /// Of what came since the oldest of them.
    #[must_use]
    pub fn quantiles(&self, now: &LatencyCounts) -> Quantiles {
        let new = self.0.front().map_or_else(|| now.clone(), |earlier| now.since(earlier));
        Quantiles { count: new.count(), p50: new.quantile(500), p99: new.quantile(990) }
    }
}
