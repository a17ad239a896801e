//! Short numbers for the names of devices and fields: the key of a latest value is two integers
//! instead of two texts, which makes the hot path about a third cheaper and the file smaller.
//!
//! The numbers are never given back, so a number that was committed can be remembered for ever;
//! after a rollback the memory must be cleared.

use std::collections::HashMap;

use axle_domain::{DeviceId, FieldKey};
use rusqlite::{Connection, OptionalExtension};

use crate::failure::Failure;

/// Names that are remembered of each kind, about 20 MB of devices; beyond, the memory starts anew.
const NAMES_MAX: usize = 250_000;

/// The numbers that the writing thread remembers.
#[derive(Default)]
pub(crate) struct Keys {
    devices: HashMap<DeviceId, i64>,
    fields: HashMap<String, i64>,
}

impl Keys {
    pub(crate) fn clear(&mut self) {
        self.devices.clear();
        self.fields.clear();
    }

    /// The number of a device; gives it one where it has none.
    pub(crate) fn device(
        &mut self,
        connection: &Connection,
        device: &DeviceId,
    ) -> Result<i64, Failure> {
        if let Some(key) = self.devices.get(device) {
            return Ok(*key);
        }
        if self.devices.len() >= NAMES_MAX {
            self.devices.clear();
        }
        let key = put(
            connection,
            "SELECT key FROM device_key WHERE device = ?1",
            "INSERT INTO device_key (device) VALUES (?1)",
            device.as_str(),
        )?;
        self.devices.insert(device.clone(), key);
        Ok(key)
    }

    /// The number of a field; gives it one where it has none.
    pub(crate) fn field(
        &mut self,
        connection: &Connection,
        field: &FieldKey,
    ) -> Result<i64, Failure> {
        if let Some(key) = self.fields.get(&field.0) {
            return Ok(*key);
        }
        if self.fields.len() >= NAMES_MAX {
            self.fields.clear();
        }
        let key = put(
            connection,
            "SELECT key FROM field_key WHERE field = ?1",
            "INSERT INTO field_key (field) VALUES (?1)",
            &field.0,
        )?;
        self.fields.insert(field.0.clone(), key);
        Ok(key)
    }
}

fn put(connection: &Connection, find: &str, insert: &str, name: &str) -> Result<i64, Failure> {
    let known = connection.prepare_cached(find)?.query_row([name], |row| row.get(0)).optional()?;
    match known {
        Some(key) => Ok(key),
        None => Ok(connection.prepare_cached(insert)?.insert([name])?),
    }
}
