//! The latest value of a field of a device.

use crate::{DeviceId, TimeQuality, Timestamp, Value};

/// A field within a device: `status.battery_pct`, or `energy.watts[s-1]` in a keyed stream, where
/// the first key column stands in the brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldKey(pub String);

/// A value that a device reported last.
#[derive(Clone, Debug, PartialEq)]
pub struct LatestValue {
    /// The device.
    pub device: DeviceId,
    /// The field.
    pub field: FieldKey,
    /// The value.
    pub value: OwnedValue,
    /// Its event time.
    pub time: Timestamp,
    /// When it came.
    pub received_at: Timestamp,
}

impl LatestValue {
    /// Whether `newer` replaces this: only forward in event time, and at the same time by the
    /// later arrival, so that the order in which messages are read does not matter.
    #[must_use]
    pub fn is_replaced_by(&self, time: Timestamp, received_at: Timestamp) -> bool {
        (time, received_at) >= (self.time, self.received_at)
    }

    /// Whether a row of this quality may become latest at all.
    #[must_use]
    pub fn may_come_from(quality: TimeQuality) -> bool {
        quality != TimeQuality::Future
    }
}

/// A value that owns its text.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedValue {
    /// A finite number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(String),
}

impl From<Value<'_>> for OwnedValue {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Float(number) => Self::Float(number),
            Value::Bool(truth) => Self::Bool(truth),
            Value::Text(text) => Self::Text(text.to_owned()),
        }
    }
}
