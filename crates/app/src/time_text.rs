//! Moments as text: RFC 3339 in UTC.

use axle_domain::Timestamp;
use chrono::{DateTime, SecondsFormat};

/// RFC 3339 in UTC, with as many decimals as the moment needs (none, milli- or microseconds).
#[must_use]
pub fn format_time(time: Timestamp) -> String {
    match DateTime::from_timestamp_micros(time.micros()) {
        Some(moment) => moment.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{}us", time.micros()),
    }
}

/// Reads RFC 3339; the time zone must be there.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let moment = DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp(moment.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in
            ["2026-11-20T10:00:00Z", "2026-11-20T10:00:00.250Z", "1999-01-01T00:00:00.000001Z"]
        {
            assert_eq!(format_time(parse_time(text).unwrap()), text);
        }
        assert_eq!(parse_time("2026-11-20T10:00:00+01:00"), parse_time("2026-11-20T09:00:00Z"));
        for bad in ["", "yesterday", "2026-11-20", "2026-11-20T10:00:00"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
