//! MQTT sessions that outlive their connection, and their queues.

mod retained;
mod will;

use std::collections::BTreeMap;

use async_trait::async_trait;
use axle_domain::port::{
    ClientSessionStore, QueueFigures, SessionChanges, SessionsCommitted, StoredSessions,
};
use axle_domain::{
    ClientSession, Error, Offset, QueuedMessage, ReceivedPublish, Subscription, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::SqliteState;
use crate::failure::{Failure, corrupt};

type Figures = BTreeMap<u64, QueueFigures>;

#[async_trait]
impl ClientSessionStore for SqliteState {
    async fn load_client_sessions(&self) -> Result<StoredSessions, Error> {
        self.read(|connection| {
            let mut subscriptions = read_subscriptions(connection)?;
            let mut wills = will::list(connection)?;
            let mut statement = connection.prepare(
                "SELECT number, client_id, owner, expiry_seconds, left_at, sent_through,
                   (SELECT count(*) FROM client_queue WHERE session = number),
                   (SELECT coalesce(sum(bytes), 0) FROM client_queue WHERE session = number),
                   (SELECT coalesce(max(sequence), sent_through) FROM client_queue
                    WHERE session = number)
                 FROM client_session ORDER BY number",
            )?;
            let sessions = statement.query_and_then([], |row| {
                let mut session = session(row)?;
                session.subscriptions = subscriptions.remove(&session.number).unwrap_or_default();
                session.will = wills.remove(&session.number);
                let figures = QueueFigures {
                    rows: number(row, 6)?,
                    bytes: number(row, 7)?,
                    last_sequence: number(row, 8)?,
                };
                Ok((session, figures))
            })?;
            let sessions = sessions.collect::<Result<_, Failure>>()?;
            Ok(StoredSessions {
                through: through(connection)?,
                sessions,
                received: read_received(connection)?,
                retained: retained::list(connection)?,
            })
        })
        .await
    }

    async fn oldest_needed(&self) -> Result<Offset, Error> {
        self.read(|connection| {
            let routed = through(connection)?;
            Ok(oldest(connection)?.map_or(routed, |it| it.min(routed)))
        })
        .await
    }

    async fn commit_client_sessions(
        &self,
        changes: SessionChanges,
    ) -> Result<SessionsCommitted, Error> {
        self.write(move |writing| commit(writing.connection, &changes)).await
    }

    async fn list_queued(
        &self,
        session: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, Error> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT session, sequence, log_offset, qos, is_retained, is_released, bytes,
                   identifiers
                 FROM client_queue WHERE session = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            statement
                .query_and_then(params![stored(session), stored(after), limit], queued)?
                .collect()
        })
        .await
    }
}

fn commit(connection: &Connection, changes: &SessionChanges) -> Result<SessionsCommitted, Failure> {
    let mut end = connection.prepare_cached("DELETE FROM client_session WHERE number = ?1")?;
    for number in &changes.ended {
        end.execute([stored(*number)])?;
    }
    for session in &changes.put {
        put_session(connection, session)?;
    }
    put_rows(connection, &changes.queued)?;
    let mut release = connection.prepare_cached(
        "UPDATE client_queue SET is_released = 1 WHERE session = ?1 AND sequence = ?2",
    )?;
    for key in &changes.released {
        release.execute([stored(key.0), stored(key.1)])?;
    }
    put_received(connection, &changes.received)?;
    complete(connection, &changes.completed)?;
    retained::put(connection, &changes.retained)?;
    let settled = settle(connection, &changes.settled)?;
    let dropped = drop_excess(connection, &changes.excess)?;
    if let Some(through) = changes.through {
        connection
            .prepare_cached("UPDATE client_routing SET through = max(through, ?1)")?
            .execute([stored(through.0)])?;
    }
    Ok(SessionsCommitted { settled, dropped, oldest: oldest(connection)? })
}

fn put_session(connection: &Connection, session: &ClientSession) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT INTO client_session
               (number, client_id, owner, expiry_seconds, left_at, sent_through)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (number) DO UPDATE SET expiry_seconds = ?4, left_at = ?5,
               sent_through = ?6",
        )?
        .execute(params![
            stored(session.number),
            session.client_id,
            session.owner,
            session.expiry_seconds,
            session.left_at.map(|at| at.0),
            stored(session.sent_through),
        ])?;
    connection
        .prepare_cached("DELETE FROM client_subscription WHERE session = ?1")?
        .execute([stored(session.number)])?;
    will::put(connection, session)?;
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO client_subscription VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for subscription in &session.subscriptions {
        insert.execute(params![
            stored(session.number),
            subscription.filter,
            subscription.qos,
            subscription.identifier,
            subscription.is_no_local,
            subscription.is_retain_as_published,
            stored(subscription.since.0),
            subscription.retained_after,
        ])?;
    }
    Ok(())
}

fn put_rows(connection: &Connection, rows: &[QueuedMessage]) -> Result<(), Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO client_queue
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
         WHERE EXISTS (SELECT 1 FROM client_session WHERE number = ?1)
         ON CONFLICT DO NOTHING",
    )?;
    for row in rows {
        let identifiers: Vec<u8> =
            row.identifiers.iter().flat_map(|identifier| identifier.to_le_bytes()).collect();
        insert.execute(params![
            stored(row.session),
            stored(row.sequence),
            stored(row.offset.0),
            row.qos,
            row.is_retained,
            row.is_released,
            row.bytes,
            (!identifiers.is_empty()).then_some(identifiers),
        ])?;
    }
    Ok(())
}

fn put_received(connection: &Connection, received: &[ReceivedPublish]) -> Result<(), Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO client_received
         SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM client_session WHERE number = ?1)",
    )?;
    for it in received {
        insert.execute(params![stored(it.session), it.packet_id, stored(it.offset.0)])?;
    }
    Ok(())
}

fn complete(connection: &Connection, completed: &[ReceivedPublish]) -> Result<(), Failure> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM client_received WHERE session = ?1 AND packet_id = ?2 AND log_offset = ?3",
    )?;
    for it in completed {
        delete.execute(params![stored(it.session), it.packet_id, stored(it.offset.0)])?;
    }
    Ok(())
}

fn read_received(connection: &Connection) -> Result<Vec<ReceivedPublish>, Failure> {
    let mut statement = connection.prepare(
        "SELECT session, packet_id, log_offset FROM client_received ORDER BY session, packet_id",
    )?;
    let received = statement.query_and_then([], |row| {
        let (session, offset) = (number(row, 0)?, Offset(number(row, 2)?));
        Ok(ReceivedPublish { session, packet_id: row.get(1)?, offset })
    })?;
    received.collect()
}

fn settle(
    connection: &Connection,
    settled: &[(u64, u64)],
) -> Result<Vec<(u64, QueueFigures)>, Failure> {
    let mut figures = Figures::new();
    let mut delete = connection.prepare_cached(
        "DELETE FROM client_queue WHERE session = ?1 AND sequence = ?2 RETURNING bytes",
    )?;
    for (session, sequence) in settled {
        let key = [stored(*session), stored(*sequence)];
        let bytes: Option<u32> = delete.query_row(key, |row| row.get(0)).optional()?;
        if let Some(bytes) = bytes {
            count(&mut figures, *session, u64::from(bytes));
        }
    }
    Ok(figures.into_iter().collect())
}

fn drop_excess(
    connection: &Connection,
    excess: &[(u64, QueueFigures)],
) -> Result<Vec<(u64, QueueFigures)>, Failure> {
    let mut figures = Figures::new();
    let mut oldest = connection.prepare_cached(
        "SELECT sequence, bytes FROM client_queue WHERE session = ?1 ORDER BY sequence",
    )?;
    let mut delete = connection
        .prepare_cached("DELETE FROM client_queue WHERE session = ?1 AND sequence <= ?2")?;
    for (session, over) in excess {
        let (mut rows, mut gone, mut last) =
            (oldest.query([stored(*session)])?, QueueFigures::default(), 0);
        while (gone.rows < over.rows || gone.bytes < over.bytes)
            && let Some(row) = rows.next()?
        {
            last = number(row, 0)?;
            let bytes = number(row, 1)?;
            (gone.rows, gone.bytes) = (gone.rows + 1, gone.bytes + bytes);
            count(&mut figures, *session, bytes);
        }
        drop(rows);
        delete.execute([stored(*session), stored(last)])?;
    }
    Ok(figures.into_iter().collect())
}

fn count(figures: &mut Figures, session: u64, bytes: u64) {
    let figures = figures.entry(session).or_default();
    figures.rows += 1;
    figures.bytes += bytes;
}

fn through(connection: &Connection) -> Result<Offset, Failure> {
    let through = |row: &Row<'_>| Ok(number(row, 0));
    Ok(Offset(connection.query_row("SELECT through FROM client_routing", [], through)??))
}

fn oldest(connection: &Connection) -> Result<Option<Offset>, Failure> {
    let mut statement = connection.prepare_cached("SELECT min(log_offset) FROM client_queue")?;
    let oldest: Option<i64> = statement.query_row([], |row| row.get(0))?;
    Ok(oldest.and_then(|oldest| u64::try_from(oldest).ok()).map(Offset))
}

fn read_subscriptions(
    connection: &Connection,
) -> Result<BTreeMap<u64, Vec<Subscription>>, Failure> {
    let mut statement = connection.prepare(
        "SELECT session, filter, qos, identifier, is_no_local, is_retain_as_published, since,
           retained_after
         FROM client_subscription ORDER BY session, filter",
    )?;
    let mut rows = statement.query([])?;
    let mut subscriptions: BTreeMap<u64, Vec<Subscription>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        subscriptions.entry(number(row, 0)?).or_default().push(Subscription {
            filter: row.get(1)?,
            qos: row.get(2)?,
            identifier: row.get(3)?,
            is_no_local: row.get(4)?,
            is_retain_as_published: row.get(5)?,
            since: Offset(number(row, 6)?),
            retained_after: row.get(7)?,
        });
    }
    Ok(subscriptions)
}

fn session(row: &Row<'_>) -> Result<ClientSession, Failure> {
    Ok(ClientSession {
        number: number(row, 0)?,
        client_id: row.get(1)?,
        owner: row.get(2)?,
        expiry_seconds: row.get(3)?,
        left_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
        sent_through: number(row, 5)?,
        subscriptions: Vec::new(),
        will: None,
    })
}

fn queued(row: &Row<'_>) -> Result<QueuedMessage, Failure> {
    let identifiers: Option<Vec<u8>> = row.get(7)?;
    let identifiers = identifiers.unwrap_or_default();
    let (chunks, _rest) = identifiers.as_chunks::<4>();
    Ok(QueuedMessage {
        session: number(row, 0)?,
        sequence: number(row, 1)?,
        offset: Offset(number(row, 2)?),
        qos: row.get(3)?,
        is_retained: row.get(4)?,
        is_released: row.get(5)?,
        bytes: row.get(6)?,
        identifiers: chunks.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect(),
    })
}

/// What SQLite keeps of a number: none of ours comes near its end.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &Row<'_>, column: usize) -> Result<u64, Failure> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_error| corrupt(format!("{number} is no count")))
}
