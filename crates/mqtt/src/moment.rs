//! Moments in four bytes, for what every connection has one of.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

/// What moments are counted from.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the process began; good for distances of less than 24 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(std::num::NonZeroU32);

impl Moment {
    pub(crate) fn of(instant: Instant) -> Self {
        let millis = instant.saturating_duration_since(*BEGIN).as_millis();
        #[expect(clippy::cast_possible_truncation, reason = "it begins anew after 49 days")]
        let millis = millis as u32;
        Self(std::num::NonZeroU32::new(millis).unwrap_or(std::num::NonZeroU32::MIN))
    }

    /// Milliseconds; they begin anew after 49 days.
    pub(crate) fn millis(self) -> u32 {
        self.0.get()
    }

    /// How long ago it was; what is ahead was now.
    pub(crate) fn elapsed(self, now: Instant) -> Duration {
        let millis = Self::of(now).0.get().wrapping_sub(self.0.get());
        let is_ahead = millis > u32::MAX / 2;
        Duration::from_millis(if is_ahead { 0 } else { u64::from(millis) })
    }
}

/// Seconds since the process began, rounded up: a far end in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Second(std::num::NonZeroU32);

impl From<Instant> for Second {
    fn from(instant: Instant) -> Self {
        let distance = instant.saturating_duration_since(*BEGIN);
        let seconds = distance.as_secs() + u64::from(distance.subsec_nanos() > 0);
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        Self(std::num::NonZeroU32::new(seconds).unwrap_or(std::num::NonZeroU32::MIN))
    }
}

impl Second {
    pub(crate) fn instant(self) -> Instant {
        *BEGIN + Duration::from_secs(u64::from(self.0.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_kept_also_where_the_count_begins_anew() {
        let now = Instant::now();
        let round = Duration::from_millis(u64::from(u32::MAX) - 20);
        for start in [now, now + round, now + 3 * round] {
            let moment = Moment::of(start);
            for millis in [0, 5, 60_000] {
                let later = moment.elapsed(start + Duration::from_millis(millis));
                assert!(later.abs_diff(Duration::from_millis(millis)).as_millis() <= 2);
            }
        }
        assert_eq!(Moment::of(now + round / 8).elapsed(now), Duration::ZERO);
        assert_eq!(size_of::<Option<Moment>>(), 4);
    }

    #[test]
    fn a_far_end_is_never_too_early_and_at_most_a_second_late() {
        let now = (*BEGIN).max(Instant::now());
        for millis in [0, 1, 999, 1000, 1001, 10 * 366 * 86_400_000] {
            let end = now + Duration::from_millis(millis);
            let kept = Second::from(end).instant();
            assert!(kept >= end && kept - end <= Duration::from_secs(1), "{millis} ms");
        }
        assert_eq!(size_of::<Option<Second>>(), 4);
    }
}
