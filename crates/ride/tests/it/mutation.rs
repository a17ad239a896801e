//! Broken files of every kind: each is read as far as it is good, without a panic, a hang, or
//! memory that only a claimed length explains.

use allocation_counter::measure;
use axle_ride::{RIDE_SAMPLES_MAX, read};
use axle_testkit::mutation::run;

use crate::build::{Fit, START, record, ride, track};

fn check(name: &str, seeds: &[&[u8]]) {
    run(name, seeds, |bytes| {
        let held = measure(|| {
            if let Ok(ride) = read(bytes) {
                assert!(ride.samples.len() <= RIDE_SAMPLES_MAX && ride.good_bytes <= bytes.len());
                assert!(ride.samples.iter().all(|sample| sample.at_byte < bytes.len()));
            }
        });
        held.bytes_max
    });
}

#[test]
fn fit_files() {
    let big = Fit::default()
        .define_all(3, (20, true), &[(253, 4, 0x86), (5, 4, 0x86), (2, 2, 0x84)], &[])
        .data(3, &[&START.to_be_bytes(), &1_000_u32.to_be_bytes(), &2_500_u16.to_be_bytes()]);
    let developer = Fit::default()
        .define(1, 206, &[(0, 1, 2), (1, 1, 2), (2, 1, 2), (3, 8, 7)])
        .data(1, &[&[0, 0, 2], b"torque\0\0"])
        .define_all(0, (20, false), &[(253, 4, 0x86)], &[(0, 1, 0)])
        .data(0, &[&START.to_le_bytes(), &[7]]);
    // A definition of as many fields as there can be, of as many bytes as there can be.
    let wide = Fit::default().define(0, 20, &[(9, 255, 7); 255]).data(0, &[&[b'x'; 4_000]]);
    let two = [ride(3).file(), record(ride(2), 9).file()].concat();
    let seeds = [ride(20).file(), big.file(), developer.file(), wide.file(), two];
    check("fit files", &seeds.each_ref().map(Vec::as_slice));
}

#[test]
fn gpx_tracks() {
    let track = track(4);
    let seeds: [&[u8]; 7] = [
        track.as_bytes(),
        b"<gpx><trk><trkpt lat=\"1\" lon=\"2\"><time>2026-11-20T10:00:00Z</time></trkpt></trk></gpx>",
        b"<!DOCTYPE gpx [<!ENTITY a \"&a;&a;\">]><gpx><trkpt lat=\"&a;\" lon=\"&#0;\"/></gpx>",
        b"<gpx><![CDATA[<trkpt lat=\"1\" lon=\"2\">]]><!-- -- --><?x y?></gpx>",
        b"<gpx><trkpt lat=\"NaN\" lon=\"1e999\"><time>9999-12-31T23:59:60+99:99</time></trkpt></gpx>",
        b"<gpx><trkpt><trkpt><trkpt><time><time></trkpt></time></trkpt></trkpt></gpx>",
        b"<gpx><trkpt lat='1' lat='2' lon='3'><hr>-1</hr><hr>1e308</hr></trkpt></gpx>",
    ];
    check("gpx tracks", &seeds);
}
