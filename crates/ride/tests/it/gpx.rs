//! GPX tracks.

use axle_ride::{Finding, Format, read};

use crate::build::{START_MICROS, track};

fn finding(text: &str) -> Finding {
    let ride = read(text.as_bytes()).unwrap();
    ride.findings.first().cloned().unwrap_or_else(|| panic!("{text} is good"))
}

#[test]
fn points_and_their_extensions_are_read() {
    for prefix in ["", "\u{feff}"] {
        let text = format!("{prefix}{}", track(90));
        let ride = read(text.as_bytes()).unwrap();
        assert_eq!(ride.findings, []);
        assert_eq!((ride.format, ride.samples.len()), (Format::Gpx, 90));
        let last = &ride.samples[89];
        assert_eq!(last.time.micros(), START_MICROS + 89_000_000);
        assert_eq!(text.as_bytes()[last.at_byte..].first_chunk(), Some(b"<trkpt"));
        let seen: Vec<_> =
            last.values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let expected = [
            ("lat", 48.0089),
            ("lon", 11.5),
            ("altitude_m", 520.5),
            ("heart_rate_bpm", 140.0),
            ("cadence_rpm", 80.0),
            ("temperature_c", -1.5),
            ("speed_kmh", 18.0),
            ("gpx_bearing", 12.5),
            ("power_w", 200.0),
        ];
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_point_without_a_time_is_counted_and_left_out() {
    let text = "<gpx><trk><trkpt lat='1' lon='2'/><trkpt lat='1' lon='2'>\
                <time>2026-11-20T10:00:00</time></trkpt></trk></gpx>";
    let ride = read(text.as_bytes()).unwrap();
    assert_eq!((ride.samples.len(), ride.without_time, ride.is_whole()), (1, 1, true));
    assert_eq!(ride.samples[0].time.micros(), START_MICROS, "without a zone it is UTC");
}

#[test]
fn what_is_wrong_is_named_with_its_byte() {
    let point = "<gpx><trk><trkpt lat='1' lon='2'>";
    for (text, at_byte, expected) in [
        ("<gpx>", 5, "expected </gpx>"),
        ("<kml></kml>", 0, "expected <gpx>"),
        ("<gpx></gpx><gpx/>", 11, "once"),
        ("<gpx></gpx>x", 11, "outside of <gpx>"),
        ("<gpx><trk></gpx>", 10, "</trk>"),
        ("<gpx><trk", 5, "`>` not found"),
        ("<!DOCTYPE gpx [<!ENTITY a \"b\">]><gpx/>", 0, "a document type"),
        ("<gpx><trkpt lat='91' lon='2'/></gpx>", 5, "`lat` of \"91\""),
        ("<gpx><trkpt lat='1'/></gpx>", 5, "without `lon`"),
        (&format!("{point}<ele>&a;</ele>"), 41, "<ele> of \"&\": expected a number"),
        (&format!("{point}<time>yesterday</time>"), 48, "<time> of \"yesterday\""),
        (&format!("{point}<trkpt lat='1' lon='2'>"), 33, "within another"),
    ] {
        let Finding { at_byte: seen, what } = finding(text);
        assert_eq!(seen, at_byte, "{text}: {what}");
        assert!(what.contains(expected), "{text}: {what}");
    }
}

#[test]
fn a_track_that_ends_early_keeps_its_whole_points() {
    let text = track(10);
    let cut = text.find("10:00:07Z").unwrap();
    let ride = read(&text.as_bytes()[..cut]).unwrap();
    assert_eq!(ride.samples.len(), 7);
    assert_eq!(ride.findings.len(), 1, "{:?}", ride.findings);
    let mut bytes = text.into_bytes();
    bytes[cut] = 0xFF;
    let ride = read(&bytes).unwrap();
    assert_eq!((ride.samples.len(), ride.findings[0].at_byte), (7, cut));
}

#[test]
fn many_attributes_and_deep_nesting_cost_no_more_than_their_bytes() {
    let attributes: String = (0..200_000).map(|number| format!("a{number}='1' ")).collect();
    let text = format!("<gpx><trkpt {attributes}/></gpx>");
    assert!(finding(&text).what.contains("without `lat`"));
    let deep = "<a>".repeat(300_000);
    assert!(finding(&format!("<gpx>{deep}")).what.contains("300001 elements are open"));
}
