//! After a crash: what sessions had noted of the records that no commit of the state covers is
//! read from the log again.

use std::collections::BTreeMap;
use std::sync::Arc;

use axle_domain::port::Record;
use axle_domain::{Error, Kind, Offset, Source};

use crate::inbox::Inbox;
use crate::ledger::Taken;
use crate::origin::{Mark, Origin};
use crate::router::READ_BYTES_MAX;
use crate::session::Shared;

/// Notes retained messages, publishes at QoS 2 and wills that stand in the log from there on, as
/// those did who had appended them. Damaged records are passed over: whoever reads them for their
/// contents reports them.
pub(crate) async fn recover(shared: &Shared, through: Offset) -> Result<(), Error> {
    let (log, sessions) = (&shared.app.ports.log, &shared.sessions);
    let inboxes = sessions.kept_by_number();
    let (mut next, end) = (through, log.bounds().durable);
    while next < end {
        let records = match log.read(next, READ_BYTES_MAX).await {
            Ok(records) => records,
            Err(damage) if matches!(damage.kind, Kind::Corrupt | Kind::NotFound) => {
                let first = log.bounds().first;
                let good = damage.limit.map_or(first, |(good, _)| Offset(good).max(first));
                next = good.max(next.next());
                continue;
            }
            Err(other) => return Err(other),
        };
        let Some(last) = records.last() else { break };
        next = last.offset.next();
        for record in records.iter().filter(|record| record.source == Source::Mqtt) {
            note(shared, &inboxes, record);
        }
    }
    Ok(())
}

fn note(shared: &Shared, inboxes: &BTreeMap<u64, Arc<Inbox>>, record: &Record) {
    let (message, offset) = (record.message(), record.offset);
    let sessions = &shared.sessions;
    if record.is_retained {
        sessions.ledger.note(|entries| entries.notes.retained.push(offset));
    }
    match Origin::read(message.origin).mark {
        None => {}
        Some(Mark::Received { session, packet_id }) => {
            // Also of a session that was never stored: its number must not be given again.
            sessions.skip_numbers(session);
            if let Some(inbox) = inboxes.get(&session).cloned() {
                inbox.receive(packet_id, offset);
                let taken = Taken { inbox, packet_id, offset };
                sessions.ledger.note(|entries| entries.notes.taken.push(taken));
            }
        }
        Some(Mark::Will { session }) => {
            sessions.skip_numbers(session);
            if let Some(inbox) = inboxes.get(&session)
                && inbox.forget_will(record.connected_at)
            {
                sessions.ledger.put(inbox);
            }
        }
    }
}
