//! What a ride is made of, and where a file breaks.

use std::sync::Arc;

use axle_domain::Timestamp;

/// The name of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A field of the stream `ride`, or a quantity that we name.
    Known(&'static str),
    /// As the file names it.
    Given(Arc<str>),
}

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(name) => name,
            Self::Given(name) => name,
        }
    }
}

/// What was measured at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where its record begins in the file.
    pub at_byte: usize,
    /// The moment, by the recording device's clock.
    pub time: Timestamp,
    /// Finite values; each name once. Fields of the stream `ride` have its names and units.
    pub values: Vec<(Name, f64)>,
}

impl Sample {
    /// The value of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(it, _)| it.as_str() == name).map(|(_, value)| *value)
    }

    /// Latitude and longitude in degrees.
    #[must_use]
    pub fn position(&self) -> Option<(f64, f64)> {
        Some((self.find("lat")?, self.find("lon")?))
    }
}

/// Something in a file that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where, counted from 0.
    pub at_byte: usize,
    /// What is there and what was expected; lower case, without a full stop.
    pub what: String,
}

impl Finding {
    pub(crate) fn new(at_byte: usize, what: impl Into<String>) -> Self {
        Self { at_byte, what: what.into() }
    }
}

/// What kind of file a ride came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Flexible and Interoperable Data Transfer: bike computers, watches, phones.
    Fit,
    /// GPS Exchange Format: XML.
    Gpx,
}

impl Format {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fit => "FIT",
            Self::Gpx => "GPX",
        }
    }
}

/// A ride, as far as its file can be understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Ride {
    /// The kind of file.
    pub format: Format,
    /// The samples in the order of the file; of a damaged file only those that can be trusted.
    pub samples: Vec<Sample>,
    /// Records that hold a value and no time: they cannot be placed, so they are no samples.
    pub without_time: usize,
    /// Up to before this byte the file is good.
    pub good_bytes: usize,
    /// What the file has in all.
    pub bytes: usize,
    /// Where the file breaks, first byte first; empty for a file that is whole.
    pub findings: Vec<Finding>,
}

impl Ride {
    /// Whether nothing is wrong with the file.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }

    /// The first and the last moment.
    #[must_use]
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let times = || self.samples.iter().map(|sample| sample.time);
        Some((times().min()?, times().max()?))
    }

    /// The length of the line through all positions, in kilometers.
    #[must_use]
    pub fn track_km(&self) -> f64 {
        let mut positions = self.samples.iter().filter_map(Sample::position);
        let Some(mut here) = positions.next() else { return 0.0 };
        let mut sum = 0.0;
        for next in positions {
            sum += distance_km(here, next);
            here = next;
        }
        sum
    }
}

/// The great circle between two positions, on a sphere of the earth's mean radius.
pub(crate) fn distance_km(from: (f64, f64), to: (f64, f64)) -> f64 {
    const EARTH_RADIUS_KM: f64 = 6371.0;
    let (lat_a, lat_b) = (from.0.to_radians(), to.0.to_radians());
    let half_lat = (lat_b - lat_a) / 2.0;
    let half_lon = (to.1 - from.1).to_radians() / 2.0;
    let chord = half_lat.sin().powi(2) + lat_a.cos() * lat_b.cos() * half_lon.sin().powi(2);
    2.0 * EARTH_RADIUS_KM * chord.sqrt().min(1.0).asin()
}
