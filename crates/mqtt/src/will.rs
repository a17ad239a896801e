//! Wills: what clients have published in advance for the end of their connection.
//!
//! The will of a session that outlives its connection is stored with it, so that a delay survives
//! the server. The state lets it go in the commit whose position is beyond its record, and the
//! record names the session: a crash in between neither loses it nor sends it twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axle_app::{Content, Publisher, Rights};
use axle_domain::{DeviceId, Envelope, Error, Kind, Timestamp, Will};

use crate::admit::TOOL_NAME;
use crate::inbox::Inbox;
use crate::ledger::Sent;
use crate::origin::{Mark, Origin};
use crate::packet::connect::Connect;
use crate::packet::forward;
use crate::packet::refusal::Refusal;
use crate::session::Shared;
use crate::sessions::Sessions;

/// Wills that wait for their clients to come back.
#[derive(Default)]
pub(crate) struct Wills(Mutex<BTreeMap<(Timestamp, u64), Arc<Inbox>>>);

impl Wills {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(Timestamp, u64), Arc<Inbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes when the will of a session that was left is to be sent, if it has one.
    pub(crate) fn put(&self, inbox: &Arc<Inbox>) {
        if let Some((due, _)) = inbox.will_due() {
            self.waiting().insert((due, inbox.number), Arc::clone(inbox));
        }
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.waiting().keys().next().map(|(due, _)| *due)
    }

    /// Those that are due. A session whose client came back has none, or one that is due later.
    pub(crate) fn take_due(&self, now: Timestamp) -> Vec<(Arc<Inbox>, Arc<Will>)> {
        let mut waiting = self.waiting();
        let mut due = Vec::new();
        while let Some(first) = waiting.first_entry()
            && first.key().0 <= now
        {
            let inbox = first.remove();
            if let Some((at, will)) = inbox.will_due()
                && at <= now
            {
                due.push((inbox, will));
            }
        }
        due
    }
}

/// Checks the will against what the client may publish: at once, not when it is too late.
pub(crate) fn settle(
    connect: &Connect<'_>,
    publisher: &Publisher,
    sessions: &Sessions,
) -> Result<Option<Arc<Will>>, Refusal> {
    let Some(will) = &connect.will else { return Ok(None) };
    if !publisher.may_publish(will.topic) {
        return Err(Refusal::WILL_DENIED);
    }
    let bytes = will.topic.len() + will.payload.len() + will.properties.len();
    let is_kept = will.is_retained && !will.payload.is_empty();
    if is_kept && !sessions.retained.has_room(will.topic, bytes) {
        return Err(Refusal::RETAINED_FULL);
    }
    Ok(Some(Arc::new(Will {
        connected_at: publisher.connected_at,
        delay_seconds: will.delay_seconds,
        topic: Box::from(will.topic),
        content_type: Box::from(will.content_type),
        properties: forward::kept(will.properties).into(),
        payload: Box::from(will.payload),
        qos: will.qos,
        is_retained: will.is_retained,
    })))
}

/// Appends a will to the log, if its client may still publish it.
///
/// # Errors
/// `Busy`: the log has no room now.
pub(crate) fn send(shared: &Shared, inbox: &Arc<Inbox>, will: &Will) -> Result<(), Error> {
    let Some(publisher) = publisher(shared, inbox, will.connected_at) else {
        tracing::debug!(session = inbox.number, "a will is not sent: its client is gone for good");
        forget(shared, inbox, will);
        return Ok(());
    };
    let mark = inbox.is_stored().then_some(Mark::Will { session: inbox.number });
    let origin = Origin { client_id: &inbox.client_id, mark }.to_text();
    let content = Content {
        topic: &will.topic,
        content_type: &will.content_type,
        payload: &will.payload,
        envelope: Envelope {
            qos: will.qos,
            is_retained: will.is_retained,
            properties: &will.properties,
        },
        origin: &origin,
    };
    let sent = shared.sessions.ledger.note(|entries| {
        let offset = shared.app.ingest.publish(&publisher, &content)?;
        if will.is_retained {
            entries.notes.retained.push(offset);
        }
        if inbox.note_will_sent(will.connected_at) && !inbox.is_ended() {
            let (inbox, connected_at) = (Arc::clone(inbox), will.connected_at);
            entries.notes.sent.push(Sent { inbox, connected_at, offset });
        }
        Ok::<_, Error>(())
    });
    shared.sessions.ledger.wake();
    match sent {
        Err(error) if error.kind == Kind::Busy => Err(error),
        // The use case has counted what it denied; a failed log ends everything.
        _ => Ok(()),
    }
}

/// Withdraws a will.
pub(crate) fn forget(shared: &Shared, inbox: &Arc<Inbox>, will: &Will) {
    if inbox.forget_will(will.connected_at) && inbox.is_kept() {
        shared.sessions.ledger.put(inbox);
    }
}

/// Whom a session's client may publish as now.
fn publisher(shared: &Shared, inbox: &Inbox, connected_at: Timestamp) -> Option<Publisher> {
    let registry = &shared.app.registry;
    let (name, rights) = match (&inbox.device, &inbox.application) {
        (Some(device), _) => {
            registry.check(device).ok()?;
            (device.as_str(), shared.device_rights())
        }
        (None, Some(name)) => {
            let application = registry.find_application(name.as_str())?;
            (name.as_str(), Rights::Granted(Arc::clone(&application.grants)))
        }
        (None, None) => (TOOL_NAME, Rights::Everything),
    };
    Some(Publisher { device: DeviceId::parse(name).ok()?, connected_at, rights })
}
