//! What simulated devices say: computed from seed, device and sequence number, so that nobody has
//! to remember it. Values are integers with a decimal point put in later, which makes equality
//! exact.

mod container;
mod decimal;
mod quirk;
mod sample;
mod source;

pub(crate) use container::MEASUREMENTS;
pub(crate) use decimal::write_decimal;
pub(crate) use quirk::Fate;
pub(crate) use sample::FAULT;
pub(crate) use source::{Source, claimed_ms_of};

/// Kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// JSON on the stream `ride`.
    Bike,
    /// JSON on the stream `status`.
    Car,
    /// Energy containers of eleven measurements.
    Meter,
}

/// One value column of a stream, as integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// The column's name.
    pub(crate) name: &'static str,
    /// What its values are.
    pub(crate) kind: ColumnKind,
}

/// What the integers of a column stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// A number with so many decimal places.
    Decimal(u32),
    /// False or true.
    Switch,
    /// The text `1.4.` and the number.
    Firmware,
}

const fn decimal(name: &'static str, places: u32) -> Column {
    Column { name, kind: ColumnKind::Decimal(places) }
}

const RIDE: [Column; 10] = [
    decimal("lat", 6),
    decimal("lon", 6),
    decimal("speed_kmh", 2),
    decimal("altitude_m", 1),
    decimal("battery_pct", 1),
    decimal("power_w", 1),
    decimal("cadence_rpm", 0),
    decimal("heart_rate_bpm", 0),
    decimal("odometer_km", 3),
    decimal("temperature_c", 2),
];
const STATUS: [Column; 7] = [
    decimal("battery_pct", 1),
    decimal("odometer_km", 3),
    decimal("lat", 6),
    decimal("lon", 6),
    decimal("speed_kmh", 2),
    Column { name: "locked", kind: ColumnKind::Switch },
    Column { name: "firmware", kind: ColumnKind::Firmware },
];
const ENERGY: [Column; 1] = [decimal("watts", 1)];

/// Most value columns of a stream.
pub(crate) const CELLS_MAX: usize = 10;
/// The values of one row.
pub(crate) type Cells = [i64; CELLS_MAX];

impl Profile {
    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bike => "bike",
            Self::Car => "car",
            Self::Meter => "meter",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Bike, Self::Car, Self::Meter].into_iter().find(|profile| profile.as_str() == text)
    }

    /// The stream that it publishes to.
    #[must_use]
    pub fn stream(self) -> &'static str {
        match self {
            Self::Bike => "ride",
            Self::Car => "status",
            Self::Meter => "energy",
        }
    }

    /// Rows of one message.
    #[must_use]
    pub fn rows_per_message(self) -> usize {
        match self {
            Self::Bike | Self::Car => 1,
            Self::Meter => MEASUREMENTS,
        }
    }

    /// Values of one message.
    #[must_use]
    pub fn values_per_message(self) -> usize {
        self.rows_per_message() * self.columns().len()
    }

    /// The value columns, in the order of the cells.
    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Bike => &RIDE,
            Self::Car => &STATUS,
            Self::Meter => &ENERGY,
        }
    }
}
