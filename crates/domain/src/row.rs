//! A row: what one device measured at one time, understood and settled.

use crate::{StreamSchema, TimeQuality, Timestamp};

/// One value, borrowed from the message it came in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A finite number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(&'a str),
}

/// One row of a stream, borrowed from the message it came in.
///
/// Its identity is stream, device, `time_claimed`, keys, all values and `extra`: rows of one
/// identity are one row, of which the earliest `received_at` stays.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The stream.
    pub schema: &'a StreamSchema,
    /// The device.
    pub device: &'a str,
    /// The corrected event time.
    pub time: Timestamp,
    /// The event time as claimed.
    pub time_claimed: Timestamp,
    /// When it came.
    pub received_at: Timestamp,
    /// How far to trust `time`.
    pub quality: TimeQuality,
    /// One text per key column of the schema; empty where the sample had none.
    pub keys: &'a [&'a str],
    /// One value per field of the schema.
    pub values: &'a [Option<Value<'a>>],
    /// Unknown fields as a JSON object with sorted keys.
    pub extra: Option<&'a str>,
}
