//! Reading a log's files from outside, beside a writer or without one.

use std::os::unix::fs::FileExt;

use axle_domain::port::EventLog;
use axle_domain::{Kind, Offset};
use axle_log::{Entry, LogFolder, verify};
use axle_testkit::model::log::OwnedMessage;

use crate::{append_one_by_one, copy, open, segments, settings};

const PAYLOAD: usize = 40;

/// The numbers of the records from an offset on, each checked, and what else was told.
fn read(folder: &LogFolder, from: u64) -> (Vec<u64>, Vec<Entry>) {
    let (mut numbers, mut others) = (Vec::new(), Vec::new());
    for entry in folder.entries(Offset(from)) {
        match entry.unwrap() {
            Entry::Record(record, bytes) => {
                let number = record.offset.0;
                assert_eq!(OwnedMessage::of(&record), OwnedMessage::numbered(number, PAYLOAD));
                assert!(bytes > PAYLOAD);
                numbers.push(number);
            }
            other @ (Entry::Damaged(_) | Entry::Torn(_)) => others.push(other),
        }
    }
    (numbers, others)
}

#[tokio::test]
async fn every_record_is_read_from_any_offset_beside_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _recovery) = open(dir.path(), settings(1024));
    append_one_by_one(&log, 0..40, PAYLOAD).await;
    let folder = LogFolder::open(dir.path()).unwrap();
    let bases: Vec<u64> = folder.segments().map(|segment| segment.base.0).collect();
    assert!(bases.len() > 3 && bases[0] == 0, "{bases:?}");
    for from in [0, 1, bases[1] - 1, bases[1], bases[2] + 1, 39, 40, 1000] {
        let (numbers, others) = read(&folder, from);
        assert_eq!(numbers, (from..40).collect::<Vec<_>>(), "from {from}");
        assert!(others.is_empty(), "{others:?}");
    }
    append_one_by_one(&log, 40..50, PAYLOAD).await;
    let folder = LogFolder::open(dir.path()).unwrap();
    assert_eq!(read(&folder, 45).0, (45..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn damage_and_a_torn_end_are_told_where_verify_sees_them() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _recovery) = open(dir.path(), settings(1024));
    append_one_by_one(&log, 0..40, PAYLOAD).await;
    log.close().await;
    for (place, byte) in [(0, 300), (1, 200), (usize::MAX, 100)] {
        let broken = copy(dir.path());
        let paths = segments(broken.path());
        let path = paths.get(place).unwrap_or(paths.last().unwrap());
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[0xff; 4], byte).unwrap();
        let report = verify(broken.path()).unwrap();
        let (numbers, others) = read(&LogFolder::open(broken.path()).unwrap(), 0);
        assert_eq!(numbers.len() as u64, report.records);
        let damaged: Vec<_> = others
            .iter()
            .filter_map(|other| match other {
                Entry::Damaged(range) => Some(range.clone()),
                Entry::Record(..) | Entry::Torn(_) => None,
            })
            .collect();
        assert_eq!(damaged, report.damaged, "segment {place}");
        let lost = 40 - numbers.len();
        assert!(lost > 0 && others.len() == 1, "{others:?}");
    }
}

#[tokio::test]
async fn what_is_no_log_is_refused_as_verify_does() {
    let dir = tempfile::tempdir().unwrap();
    let missing = LogFolder::open(&dir.path().join("none")).err().unwrap();
    assert_eq!((missing.kind, missing.code), (Kind::NotFound, "log.not_found"));
    let (log, _recovery) = open(dir.path(), settings(1024));
    append_one_by_one(&log, 0..40, PAYLOAD).await;
    log.close().await;
    std::fs::remove_file(&segments(dir.path())[1]).unwrap();
    let gap = LogFolder::open(dir.path()).err().unwrap();
    assert_eq!((gap.kind, gap.code), (Kind::Corrupt, "log.segment_missing"));
}
