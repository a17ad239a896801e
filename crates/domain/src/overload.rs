//! Who gives way first when more comes than can be made safe.
//!
//! The measure is what waits for the log's sync: with a slow disk or with too much at once it
//! grows, and each class of traffic is taken up to its own share of the room. What is left beyond
//! the share of telemetry is for answers of devices and for what the server itself must tell, so
//! that commands find their way while everything else waits. A disk that stands still shows in the
//! age of what waits before it shows in bytes: by that too the first three give way, in the same
//! order; the others wait with what waits.

use std::time::Duration;

use crate::limit::COMMIT_BUFFER_BYTES_MAX;
use crate::{Error, Kind};

/// Traffic by what it may cost the others. The first gives way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrafficClass {
    /// Questions in SQL and for histories: they can be asked again.
    Question,
    /// Publishes at QoS 0: nobody waits for them.
    BestEffort,
    /// Batches of apps, which keep their copy.
    Upload,
    /// Publishes at QoS 1 and 2: the device keeps them until they are acknowledged.
    Acknowledged,
    /// Answers to commands, and what the server tells itself.
    Control,
}

impl TrafficClass {
    /// All of them, in the order in which they give way.
    pub const ALL: [Self; 5] =
        [Self::Question, Self::BestEffort, Self::Upload, Self::Acknowledged, Self::Control];

    /// Bytes that may wait for the log's sync while this class is taken.
    #[must_use]
    pub const fn waiting_bytes_max(self) -> usize {
        let eighths = match self {
            Self::Question => 4,
            Self::BestEffort => 5,
            Self::Upload => 6,
            Self::Acknowledged => 7,
            Self::Control => 8,
        };
        COMMIT_BUFFER_BYTES_MAX / 8 * eighths
    }

    /// How old what waits for the log's sync may be while this class is taken; `None` for the
    /// classes that wait with it.
    #[must_use]
    pub const fn waiting_age_max(self) -> Option<Duration> {
        match self {
            Self::Question => Some(Duration::from_secs(1)),
            Self::BestEffort => Some(Duration::from_secs(2)),
            Self::Upload => Some(Duration::from_secs(3)),
            Self::Acknowledged | Self::Control => None,
        }
    }

    /// Lets this class pass, or says that it has to give way. The age is asked for only where it
    /// matters.
    ///
    /// # Errors
    /// `Busy`.
    pub fn admit(
        self,
        waiting_bytes: usize,
        waiting_age: impl FnOnce() -> Duration,
    ) -> Result<(), Error> {
        if let Some(most) = self.waiting_age_max().filter(|_| waiting_bytes > 0) {
            let age = waiting_age();
            if age > most {
                return Err(self.too_old(age, most));
            }
        }
        let most = self.waiting_bytes_max();
        if waiting_bytes <= most {
            return Ok(());
        }
        let message = format!(
            "more comes than the disk takes: {waiting_bytes} bytes wait for the log's sync, and \
             {} give way above {most}; try again shortly",
            self.words()
        );
        Err(Error::new(Kind::Busy, "overload.give_way", message)
            .with_limit(most as u64, waiting_bytes as u64))
    }

    fn too_old(self, age: Duration, most: Duration) -> Error {
        let (age, most) = (age.as_millis(), most.as_millis());
        let message = format!(
            "the disk does not follow: something has waited {age} ms for the log's sync, and {} \
             give way above {most} ms; try again shortly",
            self.words()
        );
        let millis = |number| u64::try_from(number).unwrap_or(u64::MAX);
        Error::new(Kind::Busy, "overload.give_way", message).with_limit(millis(most), millis(age))
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Question => "questions",
            Self::BestEffort => "publishes at QoS 0",
            Self::Upload => "uploads",
            Self::Acknowledged => "publishes",
            Self::Control => "answers of devices",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_gives_way_before_the_next() {
        let admitted = |waiting: usize| {
            let admit = move |class: &TrafficClass| class.admit(waiting, || Duration::ZERO);
            TrafficClass::ALL.into_iter().filter(|class| admit(class).is_ok()).count()
        };
        let mut before = TrafficClass::ALL.len();
        for waiting in (0..=COMMIT_BUFFER_BYTES_MAX).step_by(COMMIT_BUFFER_BYTES_MAX / 64) {
            let now = admitted(waiting);
            assert!(now == before || now + 1 == before, "one after the other");
            before = now;
        }
        assert_eq!((admitted(0), before), (5, 1), "control is taken to the end");
        assert!(TrafficClass::ALL.is_sorted());
        let error = TrafficClass::Question.admit(COMMIT_BUFFER_BYTES_MAX, || Duration::ZERO);
        let error = error.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Busy, "overload.give_way"));
    }

    #[test]
    fn a_disk_that_stands_still_makes_them_give_way_in_the_same_order() {
        let admitted = |age: u64| {
            let age = Duration::from_millis(age);
            let classes = TrafficClass::ALL.into_iter();
            classes.filter(|class| class.admit(1, || age).is_ok()).collect::<Vec<_>>()
        };
        for (age, gone) in [(0, 0), (1000, 0), (1001, 1), (2001, 2), (3001, 3), (600_000, 3)] {
            assert_eq!(admitted(age), TrafficClass::ALL[gone..], "{age} ms");
        }
        let error = TrafficClass::Upload.admit(1, || Duration::from_secs(9)).unwrap_err();
        assert_eq!((error.code, error.limit), ("overload.give_way", Some((3000, 9000))));
        assert!(TrafficClass::Upload.admit(0, || Duration::from_secs(9)).is_ok(), "nothing waits");
    }
}
