//! Who gives way first when more comes than can be made safe.
//!
//! The measure is what waits for the log's sync: with a slow disk or with too much at once it
//! grows, and each class of traffic is taken up to its own share of the room. What is left beyond
//! the share of telemetry is for answers of devices and for what the server itself must tell, so
//! that commands find their way while everything else waits.

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

    /// Lets this class pass, or says that it has to give way.
    ///
    /// # Errors
    /// `Busy`.
    pub fn admit(self, waiting_bytes: usize) -> Result<(), Error> {
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
            TrafficClass::ALL.into_iter().filter(move |class| class.admit(waiting).is_ok()).count()
        };
        let mut before = TrafficClass::ALL.len();
        for waiting in (0..=COMMIT_BUFFER_BYTES_MAX).step_by(COMMIT_BUFFER_BYTES_MAX / 64) {
            let now = admitted(waiting);
            assert!(now == before || now + 1 == before, "one after the other");
            before = now;
        }
        assert_eq!((admitted(0), before), (5, 1), "control is taken to the end");
        assert!(TrafficClass::ALL.is_sorted());
        let error = TrafficClass::Question.admit(COMMIT_BUFFER_BYTES_MAX).unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Busy, "overload.give_way"));
    }
}
