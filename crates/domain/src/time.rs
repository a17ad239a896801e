//! Time as claimed, time as settled, and how far to trust it.

use std::fmt;
use std::time::Duration;

/// A moment: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// 2000-01-01T00:00:00Z: no device of ours is older.
    pub const YEAR_2000: Self = Self(946_684_800_000_000);

    /// From milliseconds since the epoch; `None` where microseconds would overflow.
    #[must_use]
    pub fn from_millis(millis: i64) -> Option<Self> {
        millis.checked_mul(1000).map(Self)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }

    /// `self - earlier` in microseconds.
    #[must_use]
    pub fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment moved by a number of microseconds.
    #[must_use]
    pub fn shifted(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// This moment plus a duration.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        self.shifted(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
    }

    /// This moment minus a duration.
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        self.shifted(-i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

/// How far the event time of a row can be trusted. The numbers stand in stored files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TimeQuality {
    /// As the device said, and plausible.
    Trusted = 0,
    /// Shifted by the difference between the sender's clock and ours.
    Corrected = 1,
    /// Older than 24 hours on arrival.
    Late = 2,
    /// Five minutes to seven days ahead of us.
    Future = 3,
    /// No usable clock: the time of arrival stands in.
    Unknown = 4,
}

impl TimeQuality {
    /// All qualities, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Trusted, Self::Corrected, Self::Late, Self::Future, Self::Unknown];

    /// The word in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Corrected => "corrected",
            Self::Late => "late",
            Self::Future => "future",
            Self::Unknown => "unknown",
        }
    }
}

/// When a row happened, as far as anyone can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The corrected event time.
    pub time: Timestamp,
    /// What was claimed; the time of arrival where nothing was.
    pub time_claimed: Timestamp,
    /// How far to trust `time`.
    pub quality: TimeQuality,
}

/// A time that cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeError {
    /// More than seven days ahead, even after correction.
    Future,
    /// Before the year 2000, even after correction.
    Past,
}

impl TimeError {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Future => "time.future",
            Self::Past => "time.past",
        }
    }
}

const SECOND: i64 = 1_000_000;
/// A sender's clock within this of ours is taken as right.
const CLOCK_TOLERANCE: i64 = 5 * SECOND;
const FUTURE_FROM: i64 = 5 * 60 * SECOND;
const FUTURE_MAX: i64 = 7 * 24 * 3600 * SECOND;
const LATE_FROM: i64 = 24 * 3600 * SECOND;

/// Settles when a row happened.
///
/// `claimed` is the row's own time, `sent_at` the sender's clock when it sent, `received_at` ours
/// when it came, `judged_at` ours when we decide (later than `received_at` only for a replay).
/// Where several qualities apply the first of unknown, future, corrected, late, trusted holds.
///
/// # Errors
/// A [`TimeError`], when the time cannot be true; the row belongs into quarantine.
pub fn settle(
    claimed: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    received_at: Timestamp,
    judged_at: Timestamp,
) -> Result<Settled, TimeError> {
    let Some(time_claimed) = claimed else {
        let quality = TimeQuality::Unknown;
        return Ok(Settled { time: received_at, time_claimed: received_at, quality });
    };
    let offset = sent_at.map_or(0, |sent_at| received_at.micros_since(sent_at));
    let is_corrected = offset.saturating_abs() > CLOCK_TOLERANCE;
    let time = if is_corrected { time_claimed.shifted(offset) } else { time_claimed };
    let ahead = time.micros_since(judged_at);
    if ahead > FUTURE_MAX {
        return Err(TimeError::Future);
    }
    if time < Timestamp::YEAR_2000 {
        return Err(TimeError::Past);
    }
    let quality = if ahead > FUTURE_FROM {
        TimeQuality::Future
    } else if is_corrected {
        TimeQuality::Corrected
    } else if received_at.micros_since(time) > LATE_FROM {
        TimeQuality::Late
    } else {
        TimeQuality::Trusted
    };
    Ok(Settled { time, time_claimed, quality })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
    const HOUR: i64 = 3600 * SECOND;

    fn check(claimed: i64, sent: Option<i64>, expected: Result<(i64, TimeQuality), TimeError>) {
        let settled = settle(Some(NOW.shifted(claimed)), sent.map(|s| NOW.shifted(s)), NOW, NOW);
        let seen = settled.map(|s| (s.time.micros_since(NOW), s.quality));
        assert_eq!(seen, expected, "claimed {claimed} sent {sent:?}");
    }

    #[test]
    fn settles_as_the_contract_says() {
        use TimeQuality::{Corrected, Future, Late, Trusted};
        check(-SECOND, None, Ok((-SECOND, Trusted)));
        check(-25 * HOUR, None, Ok((-25 * HOUR, Late)));
        check(-24 * HOUR, None, Ok((-24 * HOUR, Trusted)));
        check(6 * 60 * SECOND, None, Ok((6 * 60 * SECOND, Future)));
        check(FUTURE_MAX, None, Ok((FUTURE_MAX, Future)));
        check(FUTURE_MAX + 1, None, Err(TimeError::Future));
        check(-HOUR, Some(-5 * SECOND), Ok((-HOUR, Trusted)));
        check(-HOUR, Some(-6 * SECOND), Ok((-HOUR + 6 * SECOND, Corrected)));
        check(36 * HOUR, Some(36 * HOUR + SECOND), Ok((-SECOND, Corrected)));
        check(-48 * HOUR, Some(-10 * SECOND), Ok((-48 * HOUR + 10 * SECOND, Corrected)));
        check(-i64::MAX, None, Err(TimeError::Past));
    }

    #[test]
    fn a_row_without_a_clock_has_the_time_of_arrival() {
        let settled = settle(None, Some(NOW.shifted(HOUR)), NOW, NOW).unwrap();
        assert_eq!((settled.time, settled.quality), (NOW, TimeQuality::Unknown));
    }

    #[test]
    fn a_replay_is_judged_by_the_day_it_is_replayed() {
        let claimed = Some(NOW.shifted(8 * 24 * HOUR));
        assert_eq!(settle(claimed, None, NOW, NOW), Err(TimeError::Future));
        let later = NOW.shifted(9 * 24 * HOUR);
        assert_eq!(settle(claimed, None, NOW, later).unwrap().quality, TimeQuality::Trusted);
    }
}
