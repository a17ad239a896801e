//! What devices reported: the projection of the log, one transaction a stretch.

mod latest;
mod quarantine;
mod receipt;
mod silent;

use async_trait::async_trait;
use axle_domain::port::{Counters, Projected, ReportedState, SilentDevice, UploadReceipt};
use axle_domain::{
    DeviceId, Error, FieldKey, LatestValue, Offset, QuarantineCount, QuarantineFilter,
    QuarantineId, QuarantineItem, Timestamp,
};
use rusqlite::{Connection, Row, params};

use crate::SqliteState;
use crate::command;
use crate::device::signed;
use crate::failure::{Failure, corrupt};
use crate::sums::scrub::Scrub;
use crate::writer::Writing;

#[async_trait]
impl ReportedState for SqliteState {
    fn damage(&self) -> Option<String> {
        self.scrub.as_ref().and_then(Scrub::damage)
    }

    async fn position(&self) -> Result<Offset, Error> {
        self.read(position).await
    }

    async fn commit(&self, projected: Projected) -> Result<(), Error> {
        self.write(move |writing| apply(writing, projected)).await
    }

    async fn latest(
        &self,
        device: &DeviceId,
    ) -> Result<(Vec<LatestValue>, Option<Timestamp>), Error> {
        let device = device.clone();
        self.read(move |connection| latest::list(connection, &device)).await
    }

    async fn latest_of(
        &self,
        fields: &[FieldKey],
        after: Option<&DeviceId>,
        devices_max: usize,
    ) -> Result<(Vec<LatestValue>, Option<DeviceId>), Error> {
        let (fields, after) = (fields.to_vec(), after.cloned());
        self.read(move |connection| {
            latest::list_of(connection, &fields, after.as_ref(), devices_max)
        })
        .await
    }

    async fn list_quarantined(
        &self,
        filter: QuarantineFilter,
    ) -> Result<Vec<QuarantineItem>, Error> {
        self.read(move |connection| quarantine::list(connection, &filter)).await
    }

    async fn count_quarantined(&self) -> Result<Vec<QuarantineCount>, Error> {
        self.read(quarantine::count_codes).await
    }

    async fn list_silent(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> Result<(Vec<SilentDevice>, u64), Error> {
        self.read(move |connection| silent::list(connection, since, limit)).await
    }

    async fn find_quarantined(&self, id: QuarantineId) -> Result<Option<QuarantineItem>, Error> {
        self.read(move |connection| quarantine::find(connection, id)).await
    }

    async fn find_receipt(&self, token: &str, key: &str) -> Result<Option<UploadReceipt>, Error> {
        let (token, key) = (token.to_owned(), key.to_owned());
        self.read(move |connection| receipt::find(connection, &token, &key)).await
    }

    async fn counters(&self) -> Result<Counters, Error> {
        self.read(counters).await
    }
}

fn apply(writing: &mut Writing<'_>, projected: Projected) -> Result<(), Failure> {
    let connection = writing.connection;
    if projected.through <= position(connection)? {
        return Ok(());
    }
    latest::put(writing, projected.latest)?;
    latest::put_last_seen(writing, &projected.last_seen)?;
    quarantine::add(connection, &projected.quarantined)?;
    quarantine::mark_replayed(connection, &projected.replayed)?;
    receipt::add(connection, &projected.receipts)?;
    for reply in &projected.replies {
        command::answer(connection, reply)?;
    }
    let Counters { stored, quarantined, rejected, shed } = projected.counted;
    let mut statement = connection.prepare_cached(
        "UPDATE projection SET position = ?1, stored = stored + ?2,
         quarantined = quarantined + ?3, rejected = rejected + ?4, shed = shed + ?5",
    )?;
    statement.execute(params![
        signed(projected.through.0),
        signed(stored),
        signed(quarantined),
        signed(rejected),
        signed(shed)
    ])?;
    Ok(())
}

/// The position within the log.
pub(crate) fn position(connection: &Connection) -> Result<Offset, Failure> {
    let mut statement = connection.prepare_cached("SELECT position FROM projection")?;
    statement.query_row([], |row| Ok(count(row, 0)))?.map(Offset)
}

/// What a quarantine item is, if it is there.
pub(crate) fn find_quarantined(
    connection: &Connection,
    id: QuarantineId,
) -> Result<Option<QuarantineItem>, Failure> {
    quarantine::find(connection, id)
}

/// The receipt of a token and key, if it is there.
pub(crate) fn find_receipt(
    connection: &Connection,
    token: &str,
    key: &str,
) -> Result<Option<UploadReceipt>, Failure> {
    receipt::find(connection, token, key)
}

/// The latest values of a device.
pub(crate) fn latest_of_device(
    connection: &Connection,
    device: &DeviceId,
) -> Result<Vec<LatestValue>, Failure> {
    latest::list(connection, device).map(|(values, _last_seen)| values)
}

/// The counts since the beginning.
pub(crate) fn counters(connection: &Connection) -> Result<Counters, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT stored, quarantined, rejected, shed FROM projection")?;
    statement.query_row([], |row| {
        Ok((|| {
            Ok(Counters {
                stored: count(row, 0)?,
                quarantined: count(row, 1)?,
                rejected: count(row, 2)?,
                shed: count(row, 3)?,
            })
        })())
    })?
}

/// A number that is never negative.
fn count(row: &Row<'_>, column: usize) -> Result<u64, Failure> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_error| corrupt(format!("{number} is no count")))
}
