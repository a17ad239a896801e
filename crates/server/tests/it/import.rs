//! Importing rides: good ones, damaged ones, and phones whose clocks are wrong.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::cli::{axle, text};
use crate::path::rows;
use crate::server::TestServer;

/// The folder of recorded rides: `AXLE_RIDES`, else `../shared/data/rides` beside the project.
fn rides() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/rides");
    let folder = std::env::var_os("AXLE_RIDES").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is no folder; AXLE_RIDES names one", folder.display());
    None
}

fn now_s() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "a ride is recorded by the wall clock")]
    let now = SystemTime::now();
    i64::try_from(now.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn moment(second: i64) -> String {
    axle_app::format_time(axle_domain::Timestamp(second * 1_000_000))
}

/// A track with a point a second from a second of the epoch on.
fn track(begin: i64, points: i64) -> String {
    let mut track = "<gpx><trk><trkseg>".to_owned();
    for second in 0..points {
        let (lat, time) = (48.0 + second as f64 * 1e-4, moment(begin + second));
        track.push_str(&format!(
            "<trkpt lat='{lat:.4}' lon='11.5'><ele>520</ele><time>{time}</time></trkpt>"
        ));
    }
    track + "</trkseg></trk></gpx>"
}

/// A server with a device, and a file in its folder.
fn server_with(device: &str, file: &str, content: &[u8]) -> TestServer {
    let server = TestServer::start();
    server.ok(&["device", "add", device, "--out", "keys"]);
    std::fs::write(server.folder().path().join(file), content).unwrap();
    server
}

fn count(server: &TestServer, device: &str) -> Value {
    let sql = format!("SELECT count(*) FROM ride WHERE device = '{device}'");
    rows(server, &sql)[0][0].clone()
}

#[test]
fn a_ride_is_imported_once_however_often_it_is_sent() {
    let begin = now_s() - 3600;
    let server = server_with("b-1", "ride.gpx", track(begin, 2500).as_bytes());
    let import = ["import", "ride.gpx", "--device", "b-1", "--json"];
    let first = &server.json(&import)["files"][0];
    assert_eq!(first["stored"], 2500, "{first}");
    assert_eq!(first["from"], moment(begin));
    let again = &server.json(&import)["files"][0];
    assert_eq!((&again["stored"], &again["repeated"]), (&json!(0), &json!(2500)), "{again}");
    let sql = "SELECT count(*), min(time), max(time), min(time_quality), max(altitude_m) FROM ride";
    let expected = json!([[2500, moment(begin), moment(begin + 2499), "trusted", 520.0]]);
    assert_eq!(rows(&server, sql), expected);
    server.stop();
}

#[test]
fn a_phone_with_a_clock_36_hours_wrong_is_corrected_and_marked() {
    for sign in ["36h", "-36h"] {
        let begin = now_s() - 7200;
        let server = server_with("b-2", "ride.gpx", track(begin, 60).as_bytes());
        let import = ["import", "ride.gpx", "--device", "b-2", "--clock-offset", sign, "--json"];
        assert_eq!(server.json(&import)["files"][0]["stored"], 60);
        assert_eq!(server.json(&import)["files"][0]["repeated"], 60, "sent at another moment");
        let wrong = if sign.starts_with('-') { -36 * 3600 } else { 36 * 3600 };
        let sql = "SELECT time, time_claimed, time_quality FROM ride ORDER BY time";
        let seen = rows(&server, sql);
        let seen = seen.as_array().unwrap();
        assert_eq!(seen.len(), 60);
        for (second, row) in (0..).zip(seen) {
            assert_eq!(row[1], moment(begin + second + wrong), "what the phone said");
            assert_eq!(row[2], "corrected");
            // The message took a moment from the phone to the server; its clock says no more.
            let time = axle_app::parse_time(row[0].as_str().unwrap()).unwrap().micros();
            let error = time - (begin + second) * 1_000_000;
            assert!((0..1_000_000).contains(&error), "{error} us off");
        }
        server.stop();
    }
}

#[test]
fn a_ride_from_2085_is_set_aside_and_stored_when_it_is_mended() {
    let begin = 3_659_791_618;
    let server = server_with("b-3", "ride.gpx", track(begin, 3).as_bytes());
    let output = server.run(&["import", "ride.gpx", "--device", "b-3"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("time.future"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("axle quarantine list"), "{}", text(&output.stderr));
    assert_eq!(count(&server, "b-3"), 0);
    let listed = server.json(&["quarantine", "list", "--device", "b-3", "--json"]);
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    let true_begin = now_s() - 600;
    for item in items {
        assert_eq!(item["code"], "time.future");
        let id = item["id"].as_str().unwrap();
        assert_eq!(server.run(&["quarantine", "replay", id]).status.code(), Some(4), "still wrong");
        let shown = server.json(&["quarantine", "show", id]);
        let mut sample: Value = serde_json::from_str(shown["payload"].as_str().unwrap()).unwrap();
        let time = axle_app::parse_time(sample["time"].as_str().unwrap()).unwrap().micros();
        sample["time"] = json!(moment(time / 1_000_000 - begin + true_begin));
        let mended = server.folder().path().join("mended.json");
        std::fs::write(&mended, sample.to_string()).unwrap();
        server.ok(&["quarantine", "replay", id, "--payload", "mended.json"]);
    }
    let sql = "SELECT time, lat FROM ride ORDER BY time";
    let expected = json!([
        [moment(true_begin), 48.0],
        [moment(true_begin + 1), 48.0001],
        [moment(true_begin + 2), 48.0002]
    ]);
    assert_eq!(rows(&server, sql), expected);
    server.stop();
}

#[test]
fn a_damaged_file_is_refused_with_its_byte_and_salvaged_on_request() {
    let whole = track(now_s() - 3600, 20);
    let cut = whole.rfind("<ele>").unwrap();
    let server = server_with("b-4", "torn.gpx", &whole.as_bytes()[..cut]);
    std::fs::write(server.folder().path().join("whole.gpx"), &whole).unwrap();
    let refused = server.run(&["import", "torn.gpx", "--device", "b-4"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(5), "{said}");
    assert!(said.contains(&format!("byte {cut}: the file ends here")), "{said}");
    assert!(said.contains("nothing of it was stored") && said.contains("--salvage"), "{said}");
    assert_eq!(count(&server, "b-4"), 0);

    let salvage = ["import", "torn.gpx", "--device", "b-4", "--salvage"];
    let dry = server.json(&[&salvage[..], &["--dry-run", "--json"]].concat());
    assert_eq!((&dry["files"][0]["records"], &dry["files"][0]["sent"]), (&json!(19), &json!(0)));
    let printed = server.ok(&salvage);
    assert!(printed.contains(&format!("breaks at byte {cut}")), "{printed}");
    assert_eq!(count(&server, "b-4"), 19);

    let both = server.run(&["import", "torn.gpx", "whole.gpx", "missing.fit", "--device", "b-4"]);
    let said = text(&both.stderr);
    assert_eq!(both.status.code(), Some(5), "{said}");
    assert!(said.contains("2 of 3 files were not imported"), "{said}");
    assert!(said.contains("cannot read missing.fit"), "{said}");
    assert_eq!(count(&server, "b-4"), 20, "the whole one was");
    server.stop();
}

#[test]
fn a_ride_is_played_as_if_it_were_now() {
    let before = now_s();
    let server = server_with("b-5", "ride.gpx", track(before - 900_000, 40).as_bytes());
    let played = server.json(&["import", "ride.gpx", "--device", "b-5", "--speed", "20", "--json"]);
    assert_eq!(played["files"][0]["stored"], 40, "{played}");
    let after = now_s();
    let sql = "SELECT min(time), max(time), min(time_quality), max(time_quality) FROM ride";
    let seen = rows(&server, sql);
    let second =
        |cell: &Value| axle_app::parse_time(cell.as_str().unwrap()).unwrap().micros() / 1_000_000;
    let (from, to) = (second(&seen[0][0]), second(&seen[0][1]));
    assert!(before <= from && from < to && to <= from + 2 && to <= after, "{seen}");
    assert_eq!((&seen[0][2], &seen[0][3]), (&json!("trusted"), &json!("trusted")));
    server.stop();
}

#[test]
fn what_cannot_be_imported_says_why() {
    let server = server_with("b-6", "ride.gpx", track(now_s() - 60, 2).as_bytes());
    let folder = server.folder();
    std::fs::write(
        folder.path().join("plan.gpx"),
        "<gpx><trk><trkpt lat='1' lon='2'/></trk></gpx>",
    )
    .unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not a ride").unwrap();
    for (arguments, code, expected) in [
        (&["ride.gpx", "--device", "b-x"][..], 3, "axle device add b-x"),
        (&["ride.gpx", "--device", "b 6"], 2, "no device id"),
        (&["ride.gpx", "--device", "b-6", "--speed", "0"], 2, "--speed is 0"),
        (&["ride.gpx", "--device", "b-6", "--speed", "2", "--at-once"], 2, "cannot be used with"),
        (&["ride.gpx", "--device", "b-6", "--clock-offset", "soon"], 2, "with a sign"),
        (&["plan.gpx", "--device", "b-6"], 5, "no record with a time"),
        (&["notes.txt", "--device", "b-6"], 5, "byte 10: neither FIT nor GPX"),
        (&["missing.fit", "--device", "b-6"], 3, "cannot read missing.fit"),
    ] {
        let output = server.run(&[&["import"], arguments].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    assert_eq!(rows(&server, "SELECT count(*) FROM ride"), json!([[0]]));
    server.stop();
    let mut alone = axle();
    alone.args(["import", "ride.gpx", "--device", "b-6"]).current_dir(folder.path());
    assert_eq!(alone.output().unwrap().status.code(), Some(6), "no server runs");
    assert!(alone.arg("--dry-run").output().unwrap().status.success(), "none is needed");
}

#[test]
fn rides_of_real_devices_are_found_by_sql() {
    let Some(folder) = rides() else { return };
    let server = TestServer::start();
    for (device, file, records, km) in [
        ("garmin", "garmin-edge-500-activity.fit", 10_686, 92.6),
        ("elemnt", "2019-02-17-062644-ELEMNT-297E-195-0.fit", 13_471, 78.9),
        ("edge", "Edge810-Vector-2013-08-16-15-35-10.fit", 4_700, 41.3),
        ("car", "around-visnjan-with-car.gpx", 104, 0.0),
    ] {
        server.ok(&["device", "add", device, "--out", "keys"]);
        let path = folder.join(file);
        let report = server.json(&["import", path.to_str().unwrap(), "--device", device, "--json"]);
        let report = &report["files"][0];
        let stored = report["stored"].as_u64().unwrap() + report["duplicate"].as_u64().unwrap();
        assert_eq!((stored, &report["quarantined"]), (records, &json!(0)), "{report}");
        let sql = format!(
            "SELECT count(*), min(time), max(time), max(speed_kmh) FROM ride \
             WHERE device = '{device}'"
        );
        let seen = rows(&server, &sql);
        assert_eq!(seen[0][0], report["stored"], "{file}");
        assert_eq!((&seen[0][1], &seen[0][2]), (&report["from"], &report["to"]), "{file}");
        if km > 0.0 {
            let sql = format!(
                "SELECT extra FROM ride WHERE device = '{device}' AND extra LIKE '%distance_km%' \
                 ORDER BY time DESC LIMIT 1"
            );
            let extra = rows(&server, &sql);
            let extra: Value = serde_json::from_str(extra[0][0].as_str().unwrap()).unwrap();
            let seen = extra["distance_km"].as_f64().unwrap();
            assert!((seen - km).abs() < 0.1, "{file}: {seen}");
        }
    }
    server.stop();
}

#[test]
fn damaged_rides_of_real_devices_are_refused_and_salvaged() {
    let Some(folder) = rides() else { return };
    let server = TestServer::start();
    for (device, file, byte, records) in [
        ("phone", "strava-android-app-201.10-b1218918.fit", "byte 7451: ", 472),
        ("torn", "activity-unexpected-eof.fit", "byte 768: ", 14),
        ("corrupt", "activity-settings-corruptheader.fit", "byte 779: ", 14),
    ] {
        server.ok(&["device", "add", device, "--out", "keys"]);
        let path = folder.join(file);
        let path = path.to_str().unwrap();
        let refused = server.run(&["import", path, "--device", device]);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(5), "{said}");
        assert!(said.contains(byte) && said.contains("expected") | said.contains("promises"));
        assert_eq!(count(&server, device), 0, "nothing of {file} is stored");
        let report = server.json(&["import", path, "--device", device, "--salvage", "--json"]);
        let report = &report["files"][0];
        assert_eq!((&report["records"], &report["quarantined"]), (&json!(records), &json!(0)));
        assert_eq!(count(&server, device), report["stored"], "{file}");
        let sql = format!("SELECT max(time) FROM ride WHERE device = '{device}'");
        assert_eq!(rows(&server, &sql)[0][0], report["to"], "nothing of another century");
    }
    server.stop();
}
