//! Broken bodies and addresses: each is unpacked within its bound, or refused.

use allocation_counter::measure;
use axle_testkit::mutation::{run, run_cases};
use axum::http::Uri;
use bytes::Bytes;
use std::io::Write;

use super::Coding;
use crate::operation::Parameter;
use crate::parameter::Parameters;

/// What a decoder holds beside what comes out: windows, of Zstandard the largest.
const WINDOW_BYTES: u64 = 16 * 1024 * 1024;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn packed_bodies() {
    let text = br#"{"device":"b-1","stream":"ride","samples":[{"lat":48.1,"lon":11.5}]}"#;
    let zeros = vec![0; 64 * 1024];
    let (small, bomb) = (gzip(text), gzip(&zeros));
    let frame = zstd::bulk::compress(text, 3).unwrap();
    let frame_bomb = zstd::bulk::compress(&zeros, 19).unwrap();
    // A window of 2 GiB is claimed; a skippable frame; a gzip header with a name without an end.
    let claimed = b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00";
    let skipped = b"\x50\x2a\x4d\x18\xff\xff\xff\x7f\x00";
    let named = b"\x1f\x8b\x08\x1c\0\0\0\0\0\x03\xff\xffname";
    let plain = b"\x0b\x02\x80hello\x03";
    let large = b"\x91\x22\xff\xff\xff\xff";
    for (coding, seeds) in [
        (Coding::Gzip, vec![&small[..], &bomb, named]),
        (Coding::Zstd, vec![&frame[..], &frame_bomb, claimed, skipped]),
        (Coding::Brotli, vec![&plain[..], large]),
    ] {
        run_cases(coding.name(), &seeds, 1000, |body| {
            let (body, mut bytes) = (Bytes::copy_from_slice(body), 0);
            let held = measure(|| {
                bytes = coding.decode(&body).map_or(0, |decoded| decoded.len());
            });
            assert!(bytes <= coding.bound(body.len()), "{bytes} bytes came out");
            // What comes out grows by doubling, and is held twice while it does.
            let explained = WINDOW_BYTES + 3 * coding.bound(body.len()) as u64;
            held.bytes_max.saturating_sub(explained)
        });
    }
}

#[test]
fn addresses() {
    const KNOWN: [Parameter; 2] = [
        Parameter { name: "from", schema: "{}", description: "" },
        Parameter { name: "limit", schema: "{}", description: "" },
    ];
    let seeds: [&[u8]; 5] = [
        b"/api/v1/devices?from=2026-11-20T10:00:00Z&limit=10",
        b"/api/v1/devices?limit=10&limit=11",
        b"/api/v1/devices?limit=%31%30&fr%6fm=1790000000000",
        b"/api/v1/devices?limit=%&from=%ff%00&access_token=x",
        b"/api/v1/devices?limt=1&&&=&a=b=c",
    ];
    run("addresses", &seeds, |bytes| {
        let Ok(uri) = Uri::try_from(bytes) else { return 0 };
        let read = || {
            let Ok(parameters) = Parameters::read(&uri, &KNOWN) else { return };
            let _time = parameters.time("from").is_ok();
            let _count = parameters.count("limit", 1, 1000).is_ok();
            let _switch = parameters.switch("limit").is_ok();
        };
        measure(read).bytes_max
    });
}
