//! Uploads: verdicts, repetitions, content codings, bombs, rates.

use std::io::Write as _;

use axle_domain::limit;
use axle_http::HttpSettings;
use expect_test::expect;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::client::Reply;
use crate::world::{NOW_TEXT, World};

const PATH: &str = "/api/v1/uploads";

pub(crate) fn batch(count: usize) -> String {
    let samples: Vec<_> = (0..count)
        .map(|index| json!({"time": NOW_TEXT, "lat": 1.5, "odometer_km": index}))
        .collect();
    json!({"device": "b-1", "stream": "ride", "samples": samples}).to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// `{"device":"b-1","stream":"ride","samples":[{"lat":1.5}]}` as Brotli.
const BROTLI: &str = "8b1b807b22646576696365223a22622d31222c2273747265616d223a2272696465222c2273616d706c6573223a5b7b226c6174223a312e357d5d7d03";
/// 64 MiB of zeros as Brotli.
const BROTLI_BOMB: &str = "cbffff3ff82700e2b14020f7fe8fffff7ff04f00c4611180eefd1fffffffe09f0088c30200ddfb3ffeffffc13f0110870500baf77ffcffff837f02200e0b0074effff8ffff07ff04401c1600e8defff1ffff0ffe0980382c00d0bdffcbffff3ffc1300715800a07bff07";
/// 1 MiB of zeros in the extended format with a window of 2^28 bytes.
const BROTLI_LARGE_WINDOW: &str = "115cfdff3ffe0980782c10907bff00";

async fn packed(world: &World, coding: &str, body: Vec<u8>) -> Reply {
    let request = world.post(PATH).header("Content-Encoding", coding);
    request.body("application/json", body).send().await
}

#[tokio::test]
async fn answers_with_a_verdict_for_each_record() {
    let world = World::new().await;
    let body = json!({
        "device": "b-1",
        "stream": "ride",
        "samples": [
            {"time": NOW_TEXT, "lat": 1},
            {"time": "2036-01-01T00:00:00Z", "lat": 1},
            {"time": NOW_TEXT, "lat": 1},
        ],
    });
    let reply = world.post(PATH).json(&body).send().await;
    let mut shown = reply.json();
    shown["upload"] = "…".into();
    expect![[r#"
        {
          "duplicate": 1,
          "quarantined": 1,
          "records": [
            {
              "code": "time.future",
              "detail": "the time is more than 7 days ahead of the server's",
              "index": 1,
              "verdict": "quarantined"
            },
            {
              "code": "record.duplicate",
              "detail": "the same row stands earlier in this upload",
              "index": 2,
              "verdict": "duplicate"
            }
          ],
          "stored": 1,
          "upload": "…"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&shown).unwrap());
    assert_eq!(reply.header("ratelimit-policy"), Some("\"token\";q=120;w=60"));
    assert_eq!(reply.header("ratelimit"), Some("\"token\";r=119;t=0"));
}

#[tokio::test]
async fn a_repetition_gets_the_same_receipt_and_stores_nothing() {
    let world = World::new().await;
    let send = async |key: &str, count: usize| {
        let mut request = world.post(PATH).body("application/json", batch(count));
        if !key.is_empty() {
            request = request.header("Idempotency-Key", key);
        }
        request.send().await
    };
    let first = send("k-1", 2).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (200, None));
    let again = send("k-1", 2).await;
    assert_eq!((again.text(), again.header("idempotent-replayed")), (first.text(), Some("true")));
    let other = send("k-1", 3).await;
    assert_eq!((other.status, other.code().as_str()), (422, "upload.idempotency_conflict"));
    let bare = send("", 2).await;
    assert_eq!(send("", 2).await.text(), bare.text());
    assert_eq!(world.log_len(), 2);
    let token = world.token("upload:b-1").await;
    let mine = world.request("POST", PATH).token(&token).header("Idempotency-Key", "k-1");
    let mine = mine.body("application/json", batch(3)).send().await;
    assert_eq!(
        (mine.status, mine.header("idempotent-replayed")),
        (200, None),
        "keys are per token"
    );
}

#[tokio::test]
async fn reads_every_coding_that_it_promises() {
    let world = World::new().await;
    let (left, right) = batch(3).into_bytes().split_at(20).into_owned();
    let members = [gzip(&left), gzip(&right)].concat();
    let frames = [zstd(&left), zstd(&right)].concat();
    for (coding, body, stored) in [
        ("gzip", gzip(batch(2).as_bytes()), 2),
        ("GZIP", members, 3),
        ("zstd", zstd(batch(4).as_bytes()), 4),
        ("zstd", frames, 3),
        ("br", unhex(BROTLI), 1),
        ("identity", batch(5).into_bytes(), 5),
    ] {
        let reply = packed(&world, coding, body).await;
        assert_eq!(reply.status, 200, "{coding}: {reply:?}");
        assert_eq!(reply.json()["stored"], stored, "{coding}");
    }
    let lines = format!("{{\"time\":\"{NOW_TEXT}\",\"lat\":1}}\r\n\n{{\"lat\":2}}");
    let path = format!("{PATH}?device=b-1&stream=ride&sent_at={NOW_TEXT}");
    let reply = world.post(&path).body("application/x-ndjson; charset=\"UTF-8\"", lines);
    assert_eq!(reply.send().await.json()["stored"], 2);
    let array = world.post(&path).body("application/json", "[{\"lat\":3}]");
    assert_eq!(array.send().await.json()["stored"], 1);
}

trait IntoOwned {
    fn into_owned(self) -> (Vec<u8>, Vec<u8>);
}

impl IntoOwned for (&[u8], &[u8]) {
    fn into_owned(self) -> (Vec<u8>, Vec<u8>) {
        (self.0.to_vec(), self.1.to_vec())
    }
}

#[tokio::test]
async fn damaged_bodies_leave_nothing() {
    let world = World::new().await;
    let good = gzip(batch(2).as_bytes());
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        bytes
    };
    let cut = |bytes: &[u8], by: usize| bytes[..bytes.len() - by].to_vec();
    let end = good.len();
    let plain = batch(2).into_bytes();
    for (coding, body, status, code) in [
        ("gzip", cut(&good, 9), 400, "upload.encoding_damaged"),
        ("gzip", cut(&good, 8), 400, "upload.encoding_damaged"),
        ("gzip", cut(&good, 1), 400, "upload.encoding_damaged"),
        ("gzip", changed(end - 8), 400, "upload.encoding_damaged"),
        ("gzip", changed(end - 1), 400, "upload.encoding_damaged"),
        ("gzip", [&good[..], b"garbage"].concat(), 400, "upload.encoding_damaged"),
        ("gzip", [&good[..], &[0; 64]].concat(), 400, "upload.encoding_damaged"),
        ("gzip", plain.clone(), 400, "upload.encoding_mismatch"),
        ("gzip", zstd(&plain), 400, "upload.encoding_mismatch"),
        ("gzip", Vec::new(), 400, "upload.encoding_mismatch"),
        ("br", plain.clone(), 400, "upload.encoding_mismatch"),
        ("br", good.clone(), 400, "upload.encoding_mismatch"),
        ("br", cut(&unhex(BROTLI), 1), 400, "upload.encoding_damaged"),
        ("br", [&unhex(BROTLI)[..], b"x"].concat(), 400, "upload.encoding_damaged"),
        ("br", unhex(BROTLI_LARGE_WINDOW), 400, "upload.encoding_damaged"),
        ("zstd", plain.clone(), 400, "upload.encoding_mismatch"),
        ("zstd", cut(&zstd(&plain), 1), 400, "upload.encoding_damaged"),
        ("zstd", [&zstd(&plain)[..], b"garbage"].concat(), 400, "upload.encoding_damaged"),
        ("identity", good.clone(), 400, "upload.subject_missing"),
        ("gzip, gzip", gzip(&good), 415, "upload.encoding_unsupported"),
        ("br, gzip", good.clone(), 415, "upload.encoding_unsupported"),
        ("deflate", good.clone(), 415, "upload.encoding_unsupported"),
        ("", plain.clone(), 415, "upload.encoding_unsupported"),
    ] {
        let reply = packed(&world, coding, body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{coding}: {reply:?}");
        assert_eq!(world.log_len(), 0);
    }
    assert_eq!(packed(&world, "gzip", good).await.status, 200, "a good client beside them");
}

#[tokio::test]
async fn bombs_stop_at_the_limits() {
    let world = World::new().await;
    let zeros = vec![0_u8; 64 << 20];
    // The same as 64 members, which costs a test less to make.
    let zipped = gzip(&zeros[..1 << 20]).repeat(64);
    // Members that produce nothing, up to the limit of what is read at all.
    let hollow = gzip(b"").repeat(limit::UPLOAD_ENCODED_BYTES_MAX / gzip(b"").len());
    let skippable = {
        let mut frame = vec![0x50, 0x2a, 0x4d, 0x18];
        frame.extend_from_slice(&(900_000_u32).to_le_bytes());
        frame.extend_from_slice(&vec![0; 900_000]);
        frame
    };
    for (what, coding, body, status, code) in [
        ("gzip", "gzip", zipped.clone(), 413, "upload.decoded_too_large"),
        ("gzip in gzip", "gzip", gzip(&zipped), 400, "upload.subject_missing"),
        ("brotli", "br", unhex(BROTLI_BOMB), 413, "upload.decoded_too_large"),
        ("zstd", "zstd", zstd(&zeros), 413, "upload.decoded_too_large"),
        ("hollow gzip", "gzip", hollow, 400, "upload.empty"),
        ("skippable zstd", "zstd", skippable, 400, "upload.empty"),
    ] {
        let encoded = body.len() as u64;
        let reply = packed(&world, coding, body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{what}: {reply:?}");
        if status == 413 {
            let bound = ((1 << 20) + 100 * encoded).min(limit::UPLOAD_DECODED_BYTES_MAX as u64);
            assert_eq!(reply.json()["limit"], bound, "{what}");
            assert_eq!(reply.json()["actual"], bound + 1, "{what}");
        }
    }
    assert_eq!(world.log_len(), 0);
}

#[tokio::test]
async fn sizes_are_checked_before_and_while_reading() {
    let world = World::new().await;
    let limit = limit::UPLOAD_ENCODED_BYTES_MAX;
    let declared = world.post(PATH).header("Expect", "100-continue");
    let declared = declared.header("Content-Type", "application/json");
    let reply = declared.header("Content-Length", "10737418240").send().await;
    assert_eq!((reply.status, reply.code().as_str()), (413, "upload.too_large"));
    assert_eq!(reply.json()["limit"], limit);
    assert_eq!(reply.json()["actual"], 10_737_418_240_u64);
    let whole = world.post(PATH).body("application/json", vec![b' '; limit * 3]).send().await;
    assert_eq!(whole.code(), "upload.too_large", "the answer comes although all is sent");
    let mut chunked = world
        .post(PATH)
        .header("Content-Type", "application/json")
        .header("Transfer-Encoding", "chunked")
        .bytes();
    for _ in 0..20 {
        chunked.extend_from_slice(format!("{:x}\r\n", 64 * 1024).as_bytes());
        chunked.extend_from_slice(&vec![b' '; 64 * 1024]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let reply = crate::client::send(world.http, &chunked).await;
    assert_eq!((reply.status, reply.code().as_str()), (413, "upload.too_large"));
    let continued = world.post(PATH).header("Expect", "100-continue");
    let reply = continued.body("application/json", batch(1)).send().await;
    assert_eq!(reply.status, 200, "sends on after 100 Continue");
    let many = world.post(PATH).body("application/json", batch(10_001)).send().await;
    assert_eq!((many.status, many.code().as_str()), (413, "upload.too_many_records"));
    assert_eq!(many.json()["actual"], 10_001);
}

#[tokio::test]
async fn who_uploads_too_often_waits_and_others_do_not() {
    let settings = HttpSettings {
        uploads_per_minute_and_token: 3,
        uploads_per_minute_and_address: 5,
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        ..HttpSettings::default()
    };
    let world = World::with(settings).await;
    let (one, two) = (world.token("upload:b-1").await, world.token("upload:b-1").await);
    let send = async |token: &str, from: &str| {
        let request = world.request("POST", PATH).token(token).header("X-Forwarded-For", from);
        request.body("application/json", batch(1)).send().await
    };
    for _ in 0..3 {
        assert_eq!(send(&one, "192.0.2.1").await.status, 200);
    }
    let refused = send(&one, "192.0.2.1").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "upload.rate_token"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((20..=31).contains(&wait), "{wait}");
    assert!(refused.header("ratelimit").unwrap().starts_with("\"token\";r=0;t="));
    for _ in 0..2 {
        assert_eq!(send(&two, "192.0.2.1").await.status, 200);
    }
    assert_eq!(send(&two, "192.0.2.1").await.code(), "upload.rate_address");
    let three = world.token("upload:b-1").await;
    assert_eq!(send(&three, "192.0.2.1, 198.51.100.7").await.status, 200, "another address");
}
