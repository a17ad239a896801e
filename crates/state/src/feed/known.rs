//! What the registry knows that has to do with a record, by a few searches in indexes.

use axle_domain::{Component, FeedRecord, Installation, Known, Neighbor, Serial, Timestamp, limit};
use rusqlite::{Connection, OptionalExtension, params};

use crate::failure::Failure;
use crate::{component, device};

/// What [`axle_domain::judge`] needs of the registry.
pub(super) fn gather(connection: &Connection, record: &FeedRecord) -> Result<Known, Failure> {
    let exists = |sql: &str, kind: &str| -> Result<bool, Failure> {
        Ok(connection.prepare_cached(sql)?.exists([kind])?)
    };
    match record {
        FeedRecord::Device(facts) => Ok(Known {
            device: device::find(connection, &facts.id)?,
            is_kind_in_use: exists("SELECT 1 FROM device WHERE kind = ?1", facts.kind.as_str())?,
            ..Known::default()
        }),
        FeedRecord::Component(facts) => Ok(Known {
            component: component::find(connection, &facts.serial)?,
            is_kind_in_use: exists("SELECT 1 FROM component WHERE kind = ?1", facts.kind.as_str())?,
            first_installed_at: first_installed_at(connection, &facts.serial)?,
            ..Known::default()
        }),
        FeedRecord::Installation(record) => {
            let component = component::find(connection, &record.serial)?;
            let neighbors = match &component {
                Some(component) => neighbors(connection, record, component)?,
                None => Vec::new(),
            };
            Ok(Known {
                device: device::find(connection, &record.device)?,
                component,
                same_start: same_start(connection, record)?,
                elsewhere: elsewhere(connection, record)?,
                neighbors,
                ..Known::default()
            })
        }
    }
}

fn first_installed_at(
    connection: &Connection,
    serial: &Serial,
) -> Result<Option<Timestamp>, Failure> {
    let sql = "SELECT start FROM installation WHERE serial = ?1 ORDER BY start LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([serial.as_str()], |row| row.get(0)).optional()?.map(Timestamp))
}

fn same_start(
    connection: &Connection,
    record: &Installation,
) -> Result<Option<Installation>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT serial, device, start, end FROM installation WHERE serial = ?1 AND start = ?2",
    )?;
    let mut rows = statement.query(params![record.serial.as_str(), record.from.0])?;
    rows.next()?.map(|row| component::installation(row, 0)).transpose()
}

fn elsewhere(connection: &Connection, record: &Installation) -> Result<Vec<Installation>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT serial, device, start, end FROM installation
         WHERE serial = ?1 AND start <> ?2 AND (end IS NULL OR end > ?2)
         AND (?3 IS NULL OR start < ?3) ORDER BY start LIMIT ?4",
    )?;
    let parameters = params![
        record.serial.as_str(),
        record.from.0,
        record.to.map(|to| to.0),
        limit::FEED_NEIGHBORS_MAX,
    ];
    statement.query_and_then(parameters, |row| component::installation(row, 0))?.collect()
}

fn neighbors(
    connection: &Connection,
    record: &Installation,
    component: &Component,
) -> Result<Vec<Neighbor>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT i.serial, i.device, i.start, i.end,
         c.serial, c.kind, c.model, c.produced_at, c.status, c.created_at, c.updated_at
         FROM installation i JOIN component c ON c.serial = i.serial
         WHERE i.device = ?1 AND i.serial <> ?2 AND c.kind = ?3
         AND (i.end IS NULL OR i.end > ?4) AND (?5 IS NULL OR i.start < ?5)
         ORDER BY i.start, i.serial LIMIT ?6",
    )?;
    let parameters = params![
        record.device.as_str(),
        record.serial.as_str(),
        component.kind.as_str(),
        record.from.0,
        record.to.map(|to| to.0),
        limit::FEED_NEIGHBORS_MAX,
    ];
    let rows = statement.query_and_then(parameters, |row| {
        let installation = component::installation(row, 0)?;
        Ok(Neighbor { component: component::component(row, 4)?, installation })
    })?;
    rows.collect()
}
