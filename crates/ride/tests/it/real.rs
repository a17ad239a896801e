//! Rides that real devices recorded, where their folder is.

use std::path::{Path, PathBuf};

use axle_ride::{Ride, read};

/// The folder: `AXLE_RIDES`, else `../shared/data/rides` beside the project.
fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/rides");
    let folder = std::env::var_os("AXLE_RIDES").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is no folder; AXLE_RIDES names one", folder.display());
    None
}

fn ride(folder: &Path, name: &str) -> Ride {
    read(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

fn moment(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

#[test]
fn good_rides_have_their_records_times_and_lengths() {
    let Some(folder) = folder() else { return };
    for (name, samples, from, to, km) in [
        (
            "garmin-edge-500-activity.fit",
            10_686,
            "2011-09-25T13:00:22Z",
            "2011-09-25T16:31:53Z",
            92.0..93.5,
        ),
        (
            "2019-02-17-062644-ELEMNT-297E-195-0.fit",
            13_471,
            "2019-02-17T06:26:44Z",
            "2019-02-17T12:59:55Z",
            78.0..82.0,
        ),
        (
            "Edge810-Vector-2013-08-16-15-35-10.fit",
            4_700,
            "2013-08-16T18:05:10Z",
            "2013-08-16T19:23:29Z",
            41.0..41.6,
        ),
        (
            "around-visnjan-with-car.gpx",
            104,
            "2020-12-18T06:15:50Z",
            "2020-12-18T06:24:24Z",
            2.5..3.0,
        ),
    ] {
        let ride = ride(&folder, name);
        assert_eq!(ride.findings, [], "{name}");
        assert_eq!((ride.samples.len(), ride.without_time), (samples, 0), "{name}");
        let (first, last) = ride.span().unwrap();
        assert_eq!((first.micros(), last.micros()), (moment(from), moment(to)), "{name}");
        assert!(km.contains(&ride.track_km()), "{name}: {}", ride.track_km());
        let counted = ride.samples.iter().rev().find_map(|it| it.find("distance_km"));
        // What the device counted and the line through its positions are of one length.
        assert!(counted.is_none_or(|counted| (counted / ride.track_km() - 1.0).abs() < 0.05));
    }
}

#[test]
fn damaged_rides_break_where_they_break() {
    let Some(folder) = folder() else { return };
    for (name, samples, at_byte, expected) in [
        (
            "strava-android-app-201.10-b1218918.fit",
            472,
            7451,
            "the record claims 2085-12-21T16:46:58Z after 2021-09-27T14:18:24Z",
        ),
        ("activity-unexpected-eof.fit", 14, 768, "its header promises 771 bytes"),
        ("activity-settings-corruptheader.fit", 14, 779, "`.GIT` in a header: expected `.FIT`"),
    ] {
        let ride = ride(&folder, name);
        let finding = ride.findings.first().unwrap();
        assert_eq!((ride.samples.len(), finding.at_byte), (samples, at_byte), "{name}");
        assert!(finding.what.contains(expected), "{name}: {}", finding.what);
        let (first, last) = ride.span().unwrap();
        assert!(last.micros_since(first) < 3600 * 1_000_000, "{name}");
    }
}
