//! The bytes on disk stay what they are: a file of any version is read for ever.

use std::path::Path;

use axle_domain::port::EventLog;
use axle_domain::{Offset, Source, Timestamp};
use axle_log::{EmbeddedLog, LogSettings, verify};
use axle_testkit::model::log::OwnedMessage;
use bytes::Bytes;

use crate::open;

/// Of a time when records had no envelope.
const GOLDEN_V1: &[u8] = include_bytes!("fixtures/segment-v1.bin");
const GOLDEN: &[u8] = include_bytes!("fixtures/segment-v2.bin");
const NAME: &str = "00000000000000000000.axlelog";

fn messages() -> [OwnedMessage; 4] {
    let [ride, upload, replay] = messages_v1();
    let published = OwnedMessage {
        qos: 2,
        is_retained: true,
        properties: b"\x02\0\0\0\x3c\x26\0\x01a\0\x01b".to_vec().into(),
        ..ride.clone()
    };
    [ride, upload, replay, published]
}

fn messages_v1() -> [OwnedMessage; 3] {
    let received_at = Timestamp(1_790_000_000_000_000);
    let ride = OwnedMessage {
        source: Source::Mqtt,
        device: "b-1".to_owned(),
        topic: "v1/d/b-1/t/ride".to_owned(),
        content_type: "application/json".to_owned(),
        payload: br#"{"time":"2026-09-21T14:13:20Z","speed_kmh":24.5}"#.to_vec().into(),
        received_at,
        connected_at: received_at.shifted(-60_000_000),
        sent_at: None,
        replayed_at: None,
        origin: String::new(),
        qos: 0,
        is_retained: false,
        properties: Bytes::new(),
    };
    let upload = OwnedMessage {
        source: Source::Upload,
        sent_at: Some(received_at.shifted(-1)),
        origin: "token 7 key a".to_owned(),
        ..ride.clone()
    };
    let replay = OwnedMessage {
        source: Source::Replay,
        device: String::new(),
        content_type: String::new(),
        payload: vec![0, 255, 128].into(),
        sent_at: Some(Timestamp(i64::MIN)),
        replayed_at: Some(Timestamp(i64::MAX)),
        origin: "q-ü".to_owned(),
        ..ride.clone()
    };
    [ride, upload, replay]
}

fn settings() -> LogSettings {
    LogSettings { segment_id: |base| 0xA1E0_0000_0000_0001 + base, ..LogSettings::default() }
}

async fn write(dir: &Path) -> Vec<u8> {
    let (log, _recovery) = EmbeddedLog::open(dir, settings()).unwrap();
    for message in messages() {
        log.append(&message.borrow()).unwrap();
    }
    log.close().await;
    let mut bytes = std::fs::read(dir.join(NAME)).unwrap();
    // Behind the last record there is room, all zero.
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end);
    bytes
}

#[tokio::test]
async fn writes_segment_v2_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = write(dir.path()).await;
    if std::env::var_os("UPDATE_EXPECT").is_some() && GOLDEN.is_empty() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/segment-v2.bin");
        std::fs::write(path, &bytes).unwrap();
        return;
    }
    assert!(bytes == GOLDEN, "the format has changed: that needs a new version, not a new fixture");
}

async fn reads(golden: &[u8], messages: &[OwnedMessage]) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(NAME), golden).unwrap();
    let count = messages.len() as u64;
    assert_eq!(verify(dir.path()).unwrap().records, count);
    let (log, recovery) = open(dir.path(), LogSettings::default());
    assert_eq!((recovery.next, recovery.torn_bytes), (Offset(count), 0));
    let records = log.read(Offset(0), 1 << 20).await.unwrap();
    assert_eq!(records.iter().map(OwnedMessage::of).collect::<Vec<_>>(), messages);
}

#[tokio::test]
async fn reads_segment_v1() {
    reads(GOLDEN_V1, &messages_v1()).await;
}

#[tokio::test]
async fn reads_segment_v2() {
    reads(GOLDEN, &messages()).await;
}

/// A record of a newer kind never stands in a segment that an older axle would open.
#[tokio::test]
async fn a_segment_of_an_older_version_gets_no_more_records() {
    for golden in [GOLDEN_V1, &GOLDEN_V1[..64]] {
        let dir = tempfile::tempdir().unwrap();
        let first = dir.path().join(NAME);
        std::fs::write(&first, golden).unwrap();
        let (log, recovery) = open(dir.path(), LogSettings::default());
        let message = OwnedMessage::numbered(7, 20);
        assert_eq!(log.append(&message.borrow()).unwrap(), recovery.next);
        log.close().await;
        drop(log);
        let name = format!("{:020}.axlelog", recovery.next.0);
        let bytes = std::fs::read(dir.path().join(name)).unwrap();
        assert_eq!(bytes[8..12], [2, 0, 0, 0]);
        if recovery.next > Offset(0) {
            assert!(std::fs::read(&first).unwrap().starts_with(golden), "and stays as it was");
        }
        let (log, _recovery) = open(dir.path(), LogSettings::default());
        let newest = log.read(recovery.next, 1 << 20).await.unwrap();
        assert_eq!(newest.iter().map(OwnedMessage::of).collect::<Vec<_>>(), [message]);
    }
}
