//! Broken payloads of every form: each yields rows or a reason, never a panic, a hang, or memory
//! that only a claimed length explains.

use allocation_counter::measure;
use axle_domain::{Envelope, Message, Offset, Schemas, Source, Timestamp};
use axle_testkit::mutation::run;

use super::decode;

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

fn check(name: &str, seeds: &[&[u8]], (topic, content_type): (&str, &str)) {
    let schemas = Schemas::builtin();
    run(name, seeds, |payload| {
        let message = Message {
            source: Source::Mqtt,
            device: "b-1",
            topic,
            content_type,
            payload,
            received_at: NOW,
            connected_at: NOW,
            sent_at: None,
            replayed_at: None,
            origin: "",
            envelope: Envelope::default(),
        };
        let mut count = 0;
        let held = measure(|| decode(&schemas, Offset(0), &message, &mut |_decoded| count += 1));
        assert!(count > 0, "every message yields something");
        held.bytes_max
    });
}

#[test]
fn json_payloads() {
    let seeds: [&[u8]; 12] = [
        br#"{"time":1790000000000,"lat":48.1,"lon":11.5,"speed_kmh":20.5,"x":{"y":[1,2]}}"#,
        br#"[{"time":"2026-11-20T10:00:00Z","lat":48.1},{"lat":91}]"#,
        br#"{"sent_at":1790000000000,"samples":[{"time":1789999999000,"lat":48.1}]}"#,
        br#"{"lat":1e400,"lon":-0,"speed_kmh":NaN}"#,
        br#"{"lat":"\ud800","lon":"\u0000"}"#,
        br#"{"time":"9999-12-31T23:59:60Z","lat":1}"#,
        br#"{"time":-9223372036854775808,"lat":1}"#,
        b"\xef\xbb\xbf{\"lat\":1}",
        b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        br#"{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}"#,
        br#"{"__proto__":{"lat":1},"lat":1,"lat":2}"#,
        b"{\"lat\":1111111111111111111111111111111111111111111111111111111111111111}",
    ];
    check("json", &seeds, ("v1/d/b-1/t/ride", "application/json"));
    check("json lines", &seeds, ("v1/d/b-1/t/ride", "application/x-ndjson"));
    check("json without a type", &seeds, ("v1/d/b-1/t/status", ""));
}

#[test]
fn containers() {
    // Lengths beyond the end, groups in groups (RUSTSEC-2024-0437), numbers of eleven bytes.
    let good = b"\x0a\x05token\x12\x1b\x0a\x05power\x12\x03s-1\x19\0\0\0\0\0\0\x59\x40\x20\x80\xa0\x8a\xcb\x8c\x34\x18\x07";
    let seeds: [&[u8]; 6] = [
        good,
        b"\x12\xff\xff\xff\xff\x0f\x0a\x05power",
        b"\x12\x08\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x13\x13\x13\x13\x13\x13\x13\x13\x13\x13\x13\x13\x13\x13\x13\x14",
        b"\x00\x01\x0f\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x12\x06\x20\xff\xff\xff\xff\x7f",
    ];
    check("containers", &seeds, ("v1/d/b-1/t/energy", "application/x-protobuf"));
    check("containers without a type", &seeds, ("v1/d/b-1/t/energy", ""));
}

#[test]
fn answers_to_commands() {
    let seeds: [&[u8]; 3] = [
        br#"{"status":"succeeded","result":{"a":[1]},"reason":"x","dry_run":false}"#,
        br#"{"status":"lost"}"#,
        b"succeeded",
    ];
    check("answers", &seeds, ("v1/d/b-1/c/k1/r", ""));
}

#[test]
fn batches_of_plants() {
    let seeds: [&[u8]; 3] = [
        br#"{"records":[{"type":"device","id":"b-1","model":"m","at":"2026-11-20T10:00:00Z"}]}"#,
        b"{\"type\":\"component\",\"serial\":\"s-1\",\"kind\":\"motor\"}\n\n{\"type\":1}\r\n",
        br#"{"records":[[],{},null,1e999,"\ud800"]}"#,
    ];
    for form in [crate::FeedForm::Json, crate::FeedForm::Ndjson] {
        run("batches", &seeds, |body| measure(|| drop(crate::read_batch(form, body))).bytes_max);
    }
}
