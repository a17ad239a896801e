//! What the rows of a stream are made of.

use std::sync::Arc;

use crate::StreamName;

/// What kind of values a field has, and which of them can be true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldKind {
    /// A finite number within `min..=max`. `scale` is the count of decimal places that its values
    /// usually have: what fits is stored as a decimal of nine digits, what does not is stored
    /// beside it, unrounded.
    Float {
        /// Usual decimal places.
        scale: u8,
        /// Least value that can be true.
        min: f64,
        /// Greatest value that can be true.
        max: f64,
    },
    /// True or false.
    Bool,
    /// Text of at most [`crate::limit::TEXT_VALUE_BYTES_MAX`] bytes.
    Text,
}

/// One field of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The name in JSON and SQL.
    pub name: &'static str,
    /// What its values are.
    pub kind: FieldKind,
}

/// A stream: a table with `device`, `time`, its key columns, its fields, and what we know of the
/// time of each row.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSchema {
    /// The stream's name.
    pub name: StreamName,
    /// Text columns that, with device and time, tell rows apart.
    pub keys: Vec<&'static str>,
    /// The value columns.
    pub fields: Vec<Field>,
    /// Whether a payload without a declared type that is not JSON is the energy container.
    pub has_container: bool,
    /// Whether the server alone writes it, whatever devices send.
    pub is_servers: bool,
}

impl StreamSchema {
    /// The index of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The index of a key column.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<usize> {
        self.keys.iter().position(|key| *key == name)
    }
}

/// The streams that axle knows.
#[derive(Clone, Debug)]
pub struct Schemas(Vec<Arc<StreamSchema>>);

impl Schemas {
    /// The streams that are there from the first start: `ride`, `status`, `fault`, `energy`, which
    /// devices write, and `presence`, which the server writes.
    #[must_use]
    pub fn builtin() -> Self {
        let streams = [ride(), status(), fault(), energy(), presence()];
        Self(streams.into_iter().map(Arc::new).collect())
    }

    /// The stream of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<StreamSchema>> {
        self.0.iter().find(|schema| schema.name.as_str() == name)
    }

    /// All streams.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StreamSchema>> {
        self.0.iter()
    }
}

fn float(name: &'static str, scale: u8, min: f64, max: f64) -> Field {
    Field { name, kind: FieldKind::Float { scale, min, max } }
}

fn text(name: &'static str) -> Field {
    Field { name, kind: FieldKind::Text }
}

fn stream(name: &str, keys: Vec<&'static str>, fields: Vec<Field>) -> StreamSchema {
    #[expect(clippy::expect_used, reason = "the names below are of the documented form")]
    let name = StreamName::parse(name).expect("a stream name of ours is valid");
    StreamSchema { name, keys, fields, has_container: false, is_servers: false }
}

fn ride() -> StreamSchema {
    let fields = vec![
        float("lat", 6, -90.0, 90.0),
        float("lon", 6, -180.0, 180.0),
        float("speed_kmh", 2, -500.0, 1000.0),
        float("altitude_m", 1, -1000.0, 20_000.0),
        float("battery_pct", 1, 0.0, 100.0),
        float("power_w", 1, -1_000_000.0, 1_000_000.0),
        float("cadence_rpm", 1, -500.0, 500.0),
        float("heart_rate_bpm", 0, 0.0, 400.0),
        float("odometer_km", 3, 0.0, 100_000_000.0),
        float("temperature_c", 2, -100.0, 300.0),
    ];
    stream("ride", vec![], fields)
}

fn status() -> StreamSchema {
    let fields = vec![
        float("battery_pct", 1, 0.0, 100.0),
        float("odometer_km", 3, 0.0, 100_000_000.0),
        float("lat", 6, -90.0, 90.0),
        float("lon", 6, -180.0, 180.0),
        float("speed_kmh", 2, -500.0, 1000.0),
        Field { name: "locked", kind: FieldKind::Bool },
        text("firmware"),
    ];
    stream("status", vec![], fields)
}

fn fault() -> StreamSchema {
    let fields = vec![text("code"), text("severity"), text("component"), text("message")];
    stream("fault", vec![], fields)
}

/// That a device came, went, or fell silent.
fn presence() -> StreamSchema {
    let texts = ["event", "code", "reason", "client_id", "protocol", "silent_since"];
    let mut schema = stream("presence", vec![], texts.map(text).to_vec());
    schema.is_servers = true;
    schema
}

fn energy() -> StreamSchema {
    let fields = vec![float("watts", 1, -1e12, 1e12)];
    let mut schema = stream("energy", vec!["socket", "name"], fields);
    schema.has_container = true;
    schema
}
