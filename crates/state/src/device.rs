//! The registry of devices and certificates.

use async_trait::async_trait;
use axle_domain::port::{DeviceFilter, DeviceRegistry};
use axle_domain::search::compact;
use axle_domain::{
    Certificate, Device, DeviceId, DeviceStatus, Error, Fingerprint, Kind, SearchEntry, SearchKind,
    Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::failure::{Failure, corrupt};
use crate::{SqliteState, search};

const DEVICE: &str =
    "SELECT id, status, name, kind, created_at, updated_at, version, model FROM device";
/// Entries that hold a part of a text and are looked at one by one.
const HOLDERS_MAX: usize = 5_000;
const CERTIFICATE: &str =
    "SELECT fingerprint, device, not_before, not_after, revoked_at FROM certificate";

#[async_trait]
impl DeviceRegistry for SqliteState {
    async fn create_device(&self, device: Device) -> Result<(), Error> {
        self.write(move |writing| create(writing.connection, &device)).await
    }

    async fn update_device(&self, device: Device) -> Result<(), Error> {
        self.write(move |writing| update(writing.connection, &device)).await
    }

    async fn find_device(&self, id: &DeviceId) -> Result<Option<Device>, Error> {
        let id = id.clone();
        self.read(move |connection| find(connection, &id)).await
    }

    async fn list_devices(&self, filter: DeviceFilter) -> Result<Vec<Device>, Error> {
        self.read(move |connection| list(connection, &filter)).await
    }

    async fn add_certificate(&self, certificate: Certificate) -> Result<(), Error> {
        self.write(move |writing| bind(writing.connection, &certificate)).await
    }

    async fn revoke_certificates(
        &self,
        device: &DeviceId,
        only: Option<Fingerprint>,
        at: Timestamp,
    ) -> Result<usize, Error> {
        let device = device.clone();
        self.write(move |writing| {
            let mut statement = writing.connection.prepare_cached(
                "UPDATE certificate SET revoked_at = ?3 WHERE device = ?1
                 AND (?2 IS NULL OR fingerprint = ?2)
                 AND (revoked_at IS NULL OR revoked_at > ?3)",
            )?;
            Ok(statement.execute(params![device.as_str(), only.map(|print| print.0), at.0])?)
        })
        .await
    }

    async fn list_certificates(&self, of: Option<&DeviceId>) -> Result<Vec<Certificate>, Error> {
        let of = of.cloned();
        self.read(move |connection| {
            let sql = match of {
                Some(_) => format!("{CERTIFICATE} WHERE device = ?1 ORDER BY fingerprint"),
                None => format!("{CERTIFICATE} WHERE ?1 IS NULL ORDER BY fingerprint"),
            };
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_and_then([of.as_ref().map(DeviceId::as_str)], certificate)?.collect()
        })
        .await
    }
}

pub(crate) fn create(connection: &Connection, device: &Device) -> Result<(), Failure> {
    let id = device.id.as_str();
    let mut statement = connection.prepare_cached(
        "INSERT INTO device (id, status, name, name_folded, kind, created_at, updated_at, version,
         model) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
    )?;
    let count = statement.execute(params![
        id,
        device.status.as_str(),
        device.name,
        device.name.to_lowercase(),
        device.kind,
        device.created_at.0,
        device.updated_at.0,
        signed(device.version),
        device.model,
    ])?;
    if count == 0 {
        let message = format!("device `{id}` exists already: choose another id or update it");
        return Err(Error::new(Kind::Conflict, "device.exists", message).into());
    }
    search::put(connection, &entry(device))
}

fn entry(device: &Device) -> SearchEntry {
    SearchEntry {
        kind: SearchKind::Device,
        id: device.id.to_string(),
        name: device.name.clone(),
        model: device.model.clone(),
        what: device.kind.clone(),
    }
}

pub(crate) fn update(connection: &Connection, device: &Device) -> Result<(), Failure> {
    let id = device.id.as_str();
    let mut statement = connection.prepare_cached(
        "UPDATE device SET status = ?2, name = ?3, name_folded = ?4, kind = ?5, created_at = ?6,
         updated_at = ?7, version = ?8, model = ?9 WHERE id = ?1 AND version = ?8 - 1",
    )?;
    let count = statement.execute(params![
        id,
        device.status.as_str(),
        device.name,
        device.name.to_lowercase(),
        device.kind,
        device.created_at.0,
        device.updated_at.0,
        signed(device.version),
        device.model,
    ])?;
    if count > 0 {
        return search::put(connection, &entry(device));
    }
    let stored = find(connection, &device.id)?.ok_or_else(|| unknown(&device.id))?;
    let message = format!(
        "device `{id}` has version {} and not {}: read it again, then decide",
        stored.version,
        device.version.saturating_sub(1)
    );
    Err(Error::new(Kind::Conflict, "device.version_conflict", message).into())
}

pub(crate) fn find(connection: &Connection, id: &DeviceId) -> Result<Option<Device>, Failure> {
    let mut statement = connection.prepare_cached(&format!("{DEVICE} WHERE id = ?1"))?;
    let mut rows = statement.query([id.as_str()])?;
    rows.next()?.map(device).transpose()
}

fn list(connection: &Connection, filter: &DeviceFilter) -> Result<Vec<Device>, Failure> {
    let part = compact(&filter.search);
    // Where many match, the first of them are soon found by looking at one after the other.
    if part.chars().count() >= 3
        && let Some(holders) = search::holders(connection, &part, HOLDERS_MAX)?
    {
        return list_of(connection, filter, &holders);
    }
    // Neither side of instr has wildcards, and folding in Rust knows more than ASCII.
    let mut statement = connection.prepare_cached(&format!(
        "{DEVICE} WHERE id > ?1 AND (?2 = '' OR instr(lower(id), ?2) > 0 OR instr(name_folded, ?2) > 0)
         ORDER BY id LIMIT ?3"
    ))?;
    let after = filter.after.as_ref().map_or("", DeviceId::as_str);
    let search = filter.search.to_lowercase();
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    statement.query_and_then(params![after, search, limit], device)?.collect()
}

/// The devices that a search wants among those that the index names.
fn list_of(
    connection: &Connection,
    filter: &DeviceFilter,
    holders: &[i64],
) -> Result<Vec<Device>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT d.id, d.status, d.name, d.kind, d.created_at, d.updated_at, d.version, d.model
         FROM search_entry e JOIN device d ON d.id = e.id
         WHERE e.number = ?1 AND e.kind = 'device' AND d.id > ?2
         AND (instr(lower(d.id), ?3) > 0 OR instr(d.name_folded, ?3) > 0)",
    )?;
    let after = filter.after.as_ref().map_or("", DeviceId::as_str);
    let search = filter.search.to_lowercase();
    let mut devices = Vec::new();
    for number in holders {
        let mut rows = statement.query(params![number, after, search])?;
        devices.extend(rows.next()?.map(device).transpose()?);
    }
    devices.sort_by(|left, right| left.id.cmp(&right.id));
    devices.truncate(filter.limit);
    Ok(devices)
}

fn bind(connection: &Connection, certificate: &Certificate) -> Result<(), Failure> {
    let Certificate { fingerprint, device, .. } = certificate;
    if find(connection, device)?.is_none() {
        return Err(unknown(device).into());
    }
    let mut statement =
        connection.prepare_cached("SELECT device FROM certificate WHERE fingerprint = ?1")?;
    let holder: Option<String> =
        statement.query_row([fingerprint.0], |row| row.get(0)).optional()?;
    match holder {
        Some(holder) if holder == device.as_str() => Ok(()),
        Some(_) => {
            let message = format!(
                "certificate {fingerprint} speaks for another device already: issue a new one"
            );
            Err(Error::new(Kind::Conflict, "certificate.bound_elsewhere", message).into())
        }
        None => {
            let mut statement = connection.prepare_cached(
                "INSERT INTO certificate (fingerprint, device, not_before, not_after, revoked_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            statement.execute(params![
                fingerprint.0,
                device.as_str(),
                certificate.not_before.0,
                certificate.not_after.0,
                certificate.revoked_at.map(|time| time.0),
            ])?;
            Ok(())
        }
    }
}

fn device(row: &Row<'_>) -> Result<Device, Failure> {
    let status: String = row.get(1)?;
    let version: i64 = row.get(6)?;
    Ok(Device {
        id: device_id(row, 0)?,
        status: DeviceStatus::parse(&status)
            .ok_or_else(|| corrupt(format!("`{status}` is no status of a device")))?,
        name: row.get(2)?,
        kind: row.get(3)?,
        model: row.get(7)?,
        created_at: Timestamp(row.get(4)?),
        updated_at: Timestamp(row.get(5)?),
        version: u64::try_from(version)
            .map_err(|_error| corrupt(format!("{version} is no version of a device")))?,
    })
}

fn certificate(row: &Row<'_>) -> Result<Certificate, Failure> {
    let revoked_at: Option<i64> = row.get(4)?;
    Ok(Certificate {
        fingerprint: Fingerprint(row.get(0)?),
        device: device_id(row, 1)?,
        not_before: Timestamp(row.get(2)?),
        not_after: Timestamp(row.get(3)?),
        revoked_at: revoked_at.map(Timestamp),
    })
}

/// The device id in a column.
pub(crate) fn device_id(row: &Row<'_>, column: usize) -> Result<DeviceId, Failure> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    DeviceId::parse(text).map_err(|error| corrupt(error.message))
}

/// A number in the only integer type that SQLite has. None of ours comes near its end.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unknown(device: &DeviceId) -> Error {
    Error::not_found(
        "device.not_found",
        format!("device `{device}` is not registered: add it with `axle device add {device}`"),
    )
}
