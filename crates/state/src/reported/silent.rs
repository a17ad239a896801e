//! Devices that were not heard of for a while.

use axle_domain::Timestamp;
use axle_domain::port::SilentDevice;
use rusqlite::{Connection, Row, params};

use super::count;
use crate::device::device_id;
use crate::failure::Failure;

const SILENT: &str = "FROM device LEFT JOIN device_key ON device_key.device = device.id
    LEFT JOIN last_seen ON last_seen.device = device_key.key
    WHERE device.status = 'active' AND (last_seen.time IS NULL OR last_seen.time < ?1)";

pub(super) fn list(
    connection: &Connection,
    since: Timestamp,
    limit: usize,
) -> Result<(Vec<SilentDevice>, u64), Failure> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT device.id, last_seen.time {SILENT}
         ORDER BY last_seen.time IS NULL, last_seen.time DESC, device.id LIMIT ?2"
    ))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let silent = |row: &Row<'_>| {
        let time: Option<i64> = row.get(1)?;
        let (device, last_seen) = (device_id(row, 0)?, time.map(Timestamp));
        Ok::<_, Failure>(SilentDevice { device, last_seen })
    };
    let listed = statement.query_and_then(params![since.0, limit], silent)?;
    let listed = listed.collect::<Result<_, _>>()?;
    let mut statement = connection.prepare_cached(&format!("SELECT count(*) {SILENT}"))?;
    let counted = statement.query_row([since.0], |row| Ok(count(row, 0)))?;
    Ok((listed, counted?))
}
