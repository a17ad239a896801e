//! Moments as text: RFC 3339 in UTC, with microseconds.

use axle_domain::Timestamp;
use chrono::{DateTime, SecondsFormat};

/// RFC 3339 in UTC.
pub(crate) fn format_time(time: Timestamp) -> String {
    match DateTime::from_timestamp_micros(time.micros()) {
        Some(moment) => moment.to_rfc3339_opts(SecondsFormat::Micros, true),
        None => time.to_string(),
    }
}

/// Reads RFC 3339; the time zone must be there.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let moment = DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp(moment.timestamp_micros()))
}
