//! Connection events in one list.

use async_trait::async_trait;
use axle_domain::port::{ConnectionFilter, ConnectionJournal};
use axle_domain::{ConnectionEvent, Error, limit};

use super::MemoryState;

/// In the order in which they were recorded first.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    events: Vec<ConnectionEvent>,
    dropped: u64,
}

#[async_trait]
impl ConnectionJournal for MemoryState {
    fn record(&self, event: ConnectionEvent) {
        let mut contents = self.contents();
        let Connections { events, dropped } = &mut contents.connections;
        let cause = event.cause();
        let newest = events.iter_mut().rev().find(|known| known.cause() == cause);
        if newest.is_some_and(|newest| newest.gather(&event)) {
            return;
        }
        events.push(event.clone());
        // The key that the new event counts for, and the class; the oldest of either goes.
        let is_same_key = |other: &ConnectionEvent| match (&event.device, event.is_proved) {
            (Some(device), true) => other.is_proved && other.device.as_ref() == Some(device),
            _ => !other.is_proved && other.address == event.address,
        };
        let class_max = match event.is_proved {
            true => limit::CONNECTION_EVENTS_PROVED_MAX,
            false => limit::CONNECTION_EVENTS_UNPROVED_MAX,
        };
        *dropped += trim(events, is_same_key, limit::CONNECTION_EVENTS_PER_KEY_MAX);
        *dropped += trim(events, |other| other.is_proved == event.is_proved, class_max);
    }

    async fn list_connections(
        &self,
        filter: ConnectionFilter,
    ) -> Result<Vec<ConnectionEvent>, Error> {
        let is_wanted = |event: &&ConnectionEvent| {
            filter.device.as_ref().is_none_or(|it| event.device.as_ref() == Some(it))
                && filter.fingerprint.is_none_or(|it| event.fingerprint == Some(it))
                && filter.address.is_none_or(|it| event.address == it)
        };
        let contents = self.contents();
        let mut events: Vec<_> =
            contents.connections.events.iter().rev().filter(is_wanted).cloned().collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        events.truncate(filter.limit);
        Ok(events)
    }

    async fn flush_connections(&self) -> Result<(), Error> {
        Ok(())
    }

    fn dropped_connections(&self) -> u64 {
        self.contents().connections.dropped
    }
}

/// Takes the oldest of some events away until there are so many.
fn trim(
    events: &mut Vec<ConnectionEvent>,
    is_counted: impl Fn(&ConnectionEvent) -> bool,
    most: usize,
) -> u64 {
    let mut trimmed = 0;
    while events.iter().filter(|event| is_counted(event)).count() > most {
        let counted = events.iter().enumerate().filter(|(_, event)| is_counted(event));
        let Some((oldest, _)) = counted.min_by_key(|(_, event)| event.at) else { break };
        events.remove(oldest);
        trimmed += 1;
    }
    trimmed
}
