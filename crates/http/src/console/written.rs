//! How numbers and moments are written for people.

use std::time::Duration;

use axle_app::format_time;
use axle_domain::Timestamp;
use maud::{Markup, html};

/// Digits in groups of three, with a thin space between.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the greatest unit that leaves a number of at least one.
pub(crate) fn bytes(number: u64) -> String {
    let mut unit = "B";
    let mut scaled = number;
    let mut rest = 0;
    for greater in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if scaled < 1024 {
            break;
        }
        (rest, scaled, unit) = (scaled % 1024, scaled / 1024, greater);
    }
    match unit == "B" || scaled >= 100 {
        true => format!("{scaled}\u{202f}{unit}"),
        false => format!("{scaled}.{}\u{202f}{unit}", rest * 10 / 1024),
    }
}

/// A number of a field as short as it can be read: at most six significant digits.
pub(crate) fn float(number: f64) -> String {
    let magnitude = number.abs();
    let digits = match magnitude {
        _ if number.fract() == 0.0 && magnitude < 1e15 => 0,
        _ if magnitude >= 1000.0 => 1,
        _ if magnitude >= 100.0 => 2,
        _ if magnitude >= 10.0 => 4,
        _ => 5,
    };
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A length of time, in the unit that leaves few digits.
pub(crate) fn span(length: Duration) -> String {
    let micros = length.as_micros();
    match micros {
        0..1_000 => format!("{micros}\u{202f}µs"),
        1_000..10_000 => format!("{:.1}\u{202f}ms", length.as_secs_f64() * 1e3),
        10_000..1_000_000 => format!("{}\u{202f}ms", micros / 1_000),
        1_000_000..10_000_000 => format!("{:.1}\u{202f}s", length.as_secs_f64()),
        10_000_000..120_000_000 => format!("{}\u{202f}s", micros / 1_000_000),
        120_000_000..7_200_000_000 => format!("{}\u{202f}min", micros / 60_000_000),
        7_200_000_000..172_800_000_000 => format!("{}\u{202f}h", micros / 3_600_000_000),
        _ => format!("{}\u{202f}d", micros / 86_400_000_000),
    }
}

/// How long ago, in one unit.
pub(crate) fn age(seconds: i64) -> String {
    match seconds {
        ..0 => "in the future".to_owned(),
        0..2 => "now".to_owned(),
        2..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// A moment by its age; the exact time stands in its title, and a script keeps the age true.
pub(crate) fn moment(time: Timestamp, now: Timestamp) -> Markup {
    let exact = format_time(time);
    let seconds = now.micros_since(time).div_euclid(1_000_000);
    html! { time data-age=(seconds) datetime=(exact) title=(exact) { (age(seconds)) } }
}

/// A moment as it is, to the second.
pub(crate) fn clock_time(time: Timestamp) -> Markup {
    let exact = format_time(time);
    let short = exact.get(..19).unwrap_or(&exact).replace('T', " ");
    html! { time datetime=(exact) title=(exact) { (short) } }
}

/// A field's name for people, and the unit that it ends with.
pub(crate) fn field_name(name: &str) -> (String, &'static str) {
    const UNITS: [(&str, &str); 9] = [
        ("_kmh", "km/h"),
        ("_pct", "%"),
        ("_km", "km"),
        ("_rpm", "rpm"),
        ("_bpm", "bpm"),
        ("_w", "W"),
        ("_m", "m"),
        ("_c", "°C"),
        ("_s", "s"),
    ];
    let found = UNITS.iter().find_map(|(end, unit)| Some((name.strip_suffix(end)?, *unit)));
    let (base, unit) = match (found, name) {
        (Some(found), _) => found,
        (None, "watts") => ("power", "W"),
        (None, "lat") => ("latitude", "°"),
        (None, "lon") => ("longitude", "°"),
        (None, _) => (name, ""),
    };
    (base.replace('_', " "), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (1234567, "1 234 567")] {
            assert_eq!(grouped(number).replace('\u{202f}', " "), text);
        }
    }

    #[test]
    fn scales_bytes() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (500 * 1024, "500 KiB"),
            (3 * 1024 * 1024 * 1024 / 2, "1.5 GiB"),
        ] {
            assert_eq!(bytes(number).replace('\u{202f}', " "), text);
        }
    }

    #[test]
    fn writes_no_more_digits_than_people_read() {
        for (number, text) in [
            (0.0, "0"),
            (-7.0, "-7"),
            (52.51634999, "52.5163"),
            (13.1, "13.1"),
            (1234.56, "1234.6"),
            (0.000001, "0"),
            (120_000_000.0, "120000000"),
        ] {
            assert_eq!(float(number), text, "{number}");
        }
    }

    #[test]
    fn knows_the_units_that_names_end_with() {
        for (name, label, unit) in [
            ("speed_kmh", "speed", "km/h"),
            ("odometer_km", "odometer", "km"),
            ("heart_rate_bpm", "heart rate", "bpm"),
            ("altitude_m", "altitude", "m"),
            ("watts", "power", "W"),
            ("firmware", "firmware", ""),
        ] {
            assert_eq!(field_name(name), (label.to_owned(), unit));
        }
    }

    #[test]
    fn tells_ages_in_one_unit() {
        for (seconds, text) in [
            (-1, "in the future"),
            (0, "now"),
            (59, "59 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7200, "2 h ago"),
            (172_800, "2 d ago"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }
}
