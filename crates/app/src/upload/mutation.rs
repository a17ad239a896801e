//! Broken uploads: each has an answer that is JSON, or a reason, and costs no memory that only a
//! claimed length explains.

use allocation_counter::measure;
use axle_domain::{DeviceId, Schemas, StreamName, Timestamp, UploadId, limit};
use axle_testkit::mutation::run;
use bytes::Bytes;

use super::{Subject, Upload, UploadOrigin, UploadRequest, body_hash, read_head};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

/// What becomes of a body, as far as nothing is stored.
fn answer(schemas: &Schemas, content_type: &str, body: &[u8]) -> Option<String> {
    let device = DeviceId::parse("b-1").ok()?;
    let stream = StreamName::parse("ride").ok()?;
    let request = UploadRequest {
        device: Some(device.clone()),
        stream: Some(stream.clone()),
        sent_at: None,
        idempotency_key: None,
        content_type: content_type.to_owned(),
        body: Bytes::copy_from_slice(body),
    };
    let _head = read_head(&request).ok()?;
    let body_hash = body_hash(&device, &stream, &request);
    let upload = UploadId::parse("u1").ok()?.to_string();
    let (token, key) = ("t".to_owned(), "k".to_owned());
    let origin = UploadOrigin { upload, token, key, body_hash };
    let upload = Upload { subject: Subject { device, stream, origin }, request, received_at: NOW };
    let verdicts = upload.judge(schemas).ok()?;
    Some(verdicts.answer("u1"))
}

#[test]
fn upload_bodies() {
    let schemas = Schemas::builtin();
    let seeds: [&[u8]; 8] = [
        br#"{"device":"b-1","stream":"ride","sent_at":"2026-11-20T10:00:00Z","samples":[{"time":1790000000000,"lat":48.1},{"time":1790000000000,"lat":48.1},{"lat":91}]}"#,
        b"{\"time\":1790000000000,\"lat\":48.1}\n{\"time\":1790000001000,\"x\":[1]}\r\n\n{",
        br#"[{"time":1790000000000,"speed_kmh":1e400},[],null]"#,
        br#"{"device":{"device":"b-1"},"stream":null,"samples":{}}"#,
        br#"{"samples":[],"samples":[{"time":1,"time":2}]}"#,
        br#"{"device":"b-1","stream":"ride","samples":[[[[[[[[[[[[[[[[["#,
        b"\xef\xbb\xbf{\"device\":\"\xff\"}",
        b"   \r\n\t{\"samples\":[{\"time\":\"9999-12-31T23:59:60Z\",\"lat\":\"\\ud800\"}]}",
    ];
    for content_type in ["application/json", "application/x-ndjson"] {
        run(content_type, &seeds, |body| {
            let mut said = None;
            let held = measure(|| said = answer(&schemas, content_type, body));
            if let Some(said) = said {
                let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
                assert!(said["stored"].is_u64(), "{said}");
            }
            held.bytes_max
        });
    }
}

#[test]
fn a_body_of_more_records_than_an_upload_may_have_buys_no_memory_for_them() {
    let schemas = Schemas::builtin();
    // What is set aside, what is stored, and what stands there before.
    for record in [&b"{\"time\":0}\n"[..], b"{\"lat\":1}\n"] {
        let held = |count: usize| {
            let body = record.repeat(count);
            measure(|| drop(answer(&schemas, "application/x-ndjson", &body))).bytes_max
        };
        let (most, far_more) = (held(limit::UPLOAD_RECORDS_MAX), held(200_000));
        // The body itself is held, and nothing else that grows.
        let body = (200_000 * record.len()) as u64;
        assert!(far_more < most + 2 * body, "{most} bytes, then {far_more}");
    }
}
