//! MQTT sessions in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use axle_domain::port::{
    ClientSessionStore, QueueFigures, SessionChanges, SessionsCommitted, StoredSessions,
};
use axle_domain::{ClientSession, Error, Offset, QueuedMessage, ReceivedPublish, RetainedMessage};

use super::MemoryState;

#[derive(Clone, Debug, Default)]
pub(super) struct ClientSessions {
    through: Offset,
    sessions: BTreeMap<u64, ClientSession>,
    queue: BTreeMap<(u64, u64), QueuedMessage>,
    received: BTreeMap<(u64, u16), ReceivedPublish>,
    retained: BTreeMap<Box<str>, RetainedMessage>,
}

impl ClientSessions {
    fn figures(&self, session: u64) -> QueueFigures {
        let sent_through = self.sessions.get(&session).map_or(0, |session| session.sent_through);
        let mut figures = QueueFigures { last_sequence: sent_through, ..Default::default() };
        for row in self.queue.values().filter(|row| row.session == session) {
            figures.rows += 1;
            figures.bytes += u64::from(row.bytes);
            figures.last_sequence = row.sequence;
        }
        figures
    }

    fn oldest(&self) -> Option<Offset> {
        self.queue.values().map(|row| row.offset).min()
    }

    fn take(&mut self, keys: &[(u64, u64)]) -> Vec<(u64, QueueFigures)> {
        let mut taken: BTreeMap<u64, QueueFigures> = BTreeMap::new();
        for key in keys {
            if let Some(row) = self.queue.remove(key) {
                let figures = taken.entry(key.0).or_default();
                figures.rows += 1;
                figures.bytes += u64::from(row.bytes);
            }
        }
        taken.into_iter().collect()
    }

    fn excess(&self, over: &[(u64, QueueFigures)]) -> Vec<(u64, u64)> {
        let mut keys = Vec::new();
        for (session, over) in over {
            let (mut rows, mut bytes) = (0, 0);
            for row in self.queue.values().filter(|row| row.session == *session) {
                if rows >= over.rows && bytes >= over.bytes {
                    break;
                }
                (rows, bytes) = (rows + 1, bytes + u64::from(row.bytes));
                keys.push((row.session, row.sequence));
            }
        }
        keys
    }

    fn change_received(&mut self, received: Vec<ReceivedPublish>, completed: &[ReceivedPublish]) {
        for publish in received {
            if self.sessions.contains_key(&publish.session) {
                self.received.insert((publish.session, publish.packet_id), publish);
            }
        }
        self.received.retain(|_, publish| !completed.contains(publish));
    }

    fn change_retained(&mut self, retained: Vec<RetainedMessage>) {
        for message in retained {
            if message.payload.is_empty() {
                self.retained.remove(&message.topic);
            } else {
                self.retained.insert(message.topic.clone(), message);
            }
        }
    }
}

#[async_trait]
impl ClientSessionStore for MemoryState {
    async fn load_client_sessions(&self) -> Result<StoredSessions, Error> {
        let kept = &self.contents().client_sessions;
        let sessions = kept.sessions.values();
        let sessions = sessions.map(|it| (it.clone(), kept.figures(it.number))).collect();
        let received = kept.received.values().copied().collect();
        let retained = kept.retained.values().cloned().collect();
        Ok(StoredSessions { through: kept.through, sessions, received, retained })
    }

    async fn oldest_needed(&self) -> Result<Offset, Error> {
        let kept = &self.contents().client_sessions;
        Ok(kept.oldest().map_or(kept.through, |oldest| oldest.min(kept.through)))
    }

    async fn commit_client_sessions(
        &self,
        changes: SessionChanges,
    ) -> Result<SessionsCommitted, Error> {
        let kept = &mut self.contents().client_sessions;
        for number in &changes.ended {
            kept.sessions.remove(number);
            kept.queue.retain(|(session, _), _| session != number);
            kept.received.retain(|(session, _), _| session != number);
        }
        for mut session in changes.put {
            session.subscriptions.sort_by(|a, b| a.filter.cmp(&b.filter));
            kept.sessions.insert(session.number, session);
        }
        for row in changes.queued {
            if kept.sessions.contains_key(&row.session) {
                kept.queue.entry((row.session, row.sequence)).or_insert(row);
            }
        }
        for key in &changes.released {
            if let Some(row) = kept.queue.get_mut(key) {
                row.is_released = true;
            }
        }
        kept.change_received(changes.received, &changes.completed);
        kept.change_retained(changes.retained);
        let settled = kept.take(&changes.settled);
        let excess = kept.excess(&changes.excess);
        let dropped = kept.take(&excess);
        kept.through = kept.through.max(changes.through.unwrap_or_default());
        Ok(SessionsCommitted { settled, dropped, oldest: kept.oldest() })
    }

    async fn list_queued(
        &self,
        session: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, Error> {
        let kept = &self.contents().client_sessions;
        let rows = kept.queue.values().filter(|row| row.session == session && row.sequence > after);
        Ok(rows.take(limit).cloned().collect())
    }
}
