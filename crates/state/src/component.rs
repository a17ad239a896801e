//! The registry of components and installations: what the feed's changes come to, and reading it.

use async_trait::async_trait;
use axle_domain::port::{
    BatchFilter, BatchReceipt, ComponentFilter, ComponentRegistry, Decision, FeedBatch,
    ReviewFilter,
};
use axle_domain::{
    Change, Component, ComponentStatus, DeviceId, Error, Installation, KindName, ReviewId,
    ReviewItem, SearchEntry, SearchKind, Serial, Timestamp,
};
use rusqlite::{Connection, Row, params};

use crate::failure::{Failure, corrupt};
use crate::{SqliteState, device, feed, search};

/// The columns of a component, under the alias `c`.
const COMPONENT: &str =
    "c.serial, c.kind, c.model, c.produced_at, c.status, c.created_at, c.updated_at";
/// The columns of an installation, under the alias `i`.
const INSTALLATION: &str = "i.serial, i.device, i.start, i.end";

#[async_trait]
impl ComponentRegistry for SqliteState {
    async fn accept_batch(&self, batch: FeedBatch) -> Result<(BatchReceipt, Vec<Change>), Error> {
        self.write(move |writing| feed::accept(writing.connection, &batch)).await
    }

    async fn list_batches(&self, filter: BatchFilter) -> Result<Vec<BatchReceipt>, Error> {
        self.read(move |connection| feed::batch::list(connection, &filter)).await
    }

    async fn decide(&self, decision: Decision) -> Result<(ReviewItem, Vec<Change>), Error> {
        self.write(move |writing| feed::decide(writing.connection, &decision)).await
    }

    async fn find_review(&self, id: ReviewId) -> Result<Option<ReviewItem>, Error> {
        self.read(move |connection| feed::review::find(connection, id)).await
    }

    async fn list_reviews(&self, filter: ReviewFilter) -> Result<Vec<ReviewItem>, Error> {
        self.read(move |connection| feed::review::list(connection, &filter)).await
    }

    async fn find_component(&self, serial: &Serial) -> Result<Option<Component>, Error> {
        let serial = serial.clone();
        self.read(move |connection| find(connection, &serial)).await
    }

    async fn list_components(&self, filter: ComponentFilter) -> Result<Vec<Component>, Error> {
        self.read(move |connection| list(connection, &filter)).await
    }

    async fn installations_of(&self, serial: &Serial) -> Result<Vec<Installation>, Error> {
        let serial = serial.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {INSTALLATION} FROM installation i WHERE serial = ?1 ORDER BY start"
            ))?;
            statement.query_and_then([serial.as_str()], |row| installation(row, 0))?.collect()
        })
        .await
    }

    async fn installations_in(
        &self,
        device: &DeviceId,
    ) -> Result<Vec<(Installation, Component)>, Error> {
        let device = device.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {INSTALLATION}, {COMPONENT} FROM installation i
                 JOIN component c ON c.serial = i.serial
                 WHERE i.device = ?1 ORDER BY i.start, i.serial"
            ))?;
            let rows = statement.query_and_then([device.as_str()], |row| {
                Ok((installation(row, 0)?, component(row, 4)?))
            })?;
            rows.collect()
        })
        .await
    }
}

/// Makes a change true.
pub(crate) fn apply(connection: &Connection, change: &Change) -> Result<(), Failure> {
    match change {
        Change::Device(entry) if entry.version == 1 => device::create(connection, entry),
        Change::Device(entry) => device::update(connection, entry),
        Change::Component(component) => put(connection, component),
        Change::Installation(installation) => put_installation(connection, installation),
    }
}

fn put(connection: &Connection, component: &Component) -> Result<(), Failure> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO component (serial, kind, model, produced_at, status, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (serial) DO UPDATE SET kind = ?2,
         model = ?3, produced_at = ?4, status = ?5, created_at = ?6, updated_at = ?7",
    )?;
    statement.execute(params![
        component.serial.as_str(),
        component.kind.as_str(),
        component.model,
        component.produced_at.map(|time| time.0),
        component.status.as_str(),
        component.created_at.0,
        component.updated_at.0,
    ])?;
    let entry = SearchEntry {
        kind: SearchKind::Component,
        id: component.serial.to_string(),
        name: String::new(),
        model: component.model.clone(),
        what: component.kind.to_string(),
    };
    search::put(connection, &entry)
}

fn put_installation(connection: &Connection, installation: &Installation) -> Result<(), Failure> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO installation (serial, start, device, end) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (serial, start) DO UPDATE SET device = ?3, end = ?4",
    )?;
    statement.execute(params![
        installation.serial.as_str(),
        installation.from.0,
        installation.device.as_str(),
        installation.to.map(|time| time.0),
    ])?;
    Ok(())
}

/// The component of that serial.
pub(crate) fn find(connection: &Connection, serial: &Serial) -> Result<Option<Component>, Failure> {
    let sql = format!("SELECT {COMPONENT} FROM component c WHERE serial = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([serial.as_str()])?;
    rows.next()?.map(|row| component(row, 0)).transpose()
}

fn list(connection: &Connection, filter: &ComponentFilter) -> Result<Vec<Component>, Failure> {
    // Each shape is its own statement, so that each uses its own index.
    let mut sql = format!("SELECT {COMPONENT} FROM component c WHERE serial > ?1");
    sql.push_str(if filter.kind.is_some() { " AND kind = ?2" } else { " AND ?2 IS NULL" });
    sql.push_str(if filter.status.is_some() { " AND status = ?3" } else { " AND ?3 IS NULL" });
    sql.push_str(" ORDER BY serial LIMIT ?4");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_and_then(
        params![
            filter.after.as_ref().map_or("", Serial::as_str),
            filter.kind.as_ref().map(KindName::as_str),
            filter.status.map(ComponentStatus::as_str),
            i64::try_from(filter.limit).unwrap_or(i64::MAX),
        ],
        |row| component(row, 0),
    )?;
    rows.collect()
}

/// The component in the columns from `at` on.
pub(crate) fn component(row: &Row<'_>, at: usize) -> Result<Component, Failure> {
    let produced_at: Option<i64> = row.get(at + 3)?;
    let status: String = row.get(at + 4)?;
    Ok(Component {
        serial: serial(row, at)?,
        kind: KindName::parse(row.get_ref(at + 1)?.as_str().map_err(rusqlite::Error::from)?)
            .map_err(|error| corrupt(error.message))?,
        model: row.get(at + 2)?,
        produced_at: produced_at.map(Timestamp),
        status: ComponentStatus::parse(&status)
            .ok_or_else(|| corrupt(format!("`{status}` is no status of a component")))?,
        created_at: Timestamp(row.get(at + 5)?),
        updated_at: Timestamp(row.get(at + 6)?),
    })
}

/// The installation in the columns from `at` on.
pub(crate) fn installation(row: &Row<'_>, at: usize) -> Result<Installation, Failure> {
    let to: Option<i64> = row.get(at + 3)?;
    Ok(Installation {
        serial: serial(row, at)?,
        device: device::device_id(row, at + 1)?,
        from: Timestamp(row.get(at + 2)?),
        to: to.map(Timestamp),
    })
}

fn serial(row: &Row<'_>, column: usize) -> Result<Serial, Failure> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    Serial::parse(text).map_err(|error| corrupt(error.message))
}
