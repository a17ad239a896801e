//! Who still needs which part of the log: it is released up to where nobody does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axle_domain::Offset;
use axle_domain::port::EventLog;

/// The registered consumers of the log inside axle, by name, and the oldest record that each
/// still needs.
pub struct Consumers {
    log: Arc<dyn EventLog>,
    needs: Mutex<BTreeMap<&'static str, Offset>>,
}

impl Consumers {
    /// The projector, which always reads.
    pub(crate) const PROJECTOR: &'static str = "projector";
    /// Messages that wait for MQTT sessions.
    pub const SESSIONS: &'static str = "sessions";

    pub(crate) fn new(log: Arc<dyn EventLog>) -> Self {
        let needs = BTreeMap::from([(Self::PROJECTOR, Offset(0))]);
        Self { log, needs: Mutex::new(needs) }
    }

    /// Says from where on a consumer needs the log; `None` when it needs nothing of it.
    pub fn put(&self, name: &'static str, from: Option<Offset>) {
        let mut needs = self.needs.lock().unwrap_or_else(PoisonError::into_inner);
        match from {
            Some(from) => needs.insert(name, from),
            None => needs.remove(name),
        };
        if let Some(oldest) = needs.values().min() {
            self.log.release(*oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axle_domain::{Message, Source, Timestamp};
    use axle_log::MemoryLog;

    #[test]
    fn the_log_keeps_what_the_slowest_consumer_needs() {
        let log = Arc::new(MemoryLog::new());
        for _ in 0..5 {
            log.append(&Message {
                source: Source::Mqtt,
                device: "b-1",
                topic: "x",
                content_type: "",
                payload: b"",
                received_at: Timestamp(0),
                connected_at: Timestamp(0),
                sent_at: None,
                replayed_at: None,
                origin: "",
                envelope: axle_domain::Envelope::default(),
            })
            .unwrap();
        }
        let first = || log.bounds().first;
        let consumers = Consumers::new(log.clone());
        consumers.put(Consumers::SESSIONS, Some(Offset(2)));
        consumers.put(Consumers::PROJECTOR, Some(Offset(4)));
        assert_eq!(first(), Offset(2));
        consumers.put(Consumers::SESSIONS, Some(Offset(3)));
        assert_eq!(first(), Offset(3));
        consumers.put(Consumers::SESSIONS, None);
        assert_eq!(first(), Offset(4));
    }
}
