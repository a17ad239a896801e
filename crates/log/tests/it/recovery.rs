//! What a start finds after crashes and damage, and what it makes of it.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use axle_domain::port::EventLog;
use axle_domain::{Kind, Offset};
use axle_log::{EmbeddedLog, verify};
use axle_testkit::model::log::OwnedMessage;

use crate::{append_one_by_one, cold, copy, open, read_around_damage, segments, settings};

const PAYLOAD: usize = 40;
const HEADER: u64 = 64;

/// A closed log of so many records.
async fn written(count: u64, segment_bytes: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (log, _recovery) = open(dir.path(), settings(segment_bytes));
    append_one_by_one(&log, 0..count, PAYLOAD).await;
    log.close().await;
    dir
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// Where the records of a single-segment log begin, and where the last one ends.
fn record_positions(path: &Path, count: u64) -> Vec<u64> {
    let bytes = std::fs::read(path).unwrap();
    let mut positions = vec![HEADER];
    for _ in 0..count {
        let at = *positions.last().unwrap() as usize;
        let length = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        positions.push(at as u64 + u64::from(length));
    }
    positions
}

fn open_error(dir: &Path) -> axle_domain::Error {
    EmbeddedLog::open(dir, settings(1 << 20)).err().unwrap()
}

#[tokio::test]
async fn starts_after_a_torn_tail_at_every_byte_of_the_last_three_records() {
    let dir = written(10, 4096).await;
    let path = segments(dir.path()).remove(0);
    let positions = record_positions(&path, 10);
    let whole = std::fs::read(&path).unwrap();
    let old_record = whole[positions[1] as usize..positions[2] as usize].to_vec();
    for cut in positions[7]..=positions[10] {
        let kept = positions.iter().rposition(|at| *at <= cut).unwrap() as u64;
        let garbage: Vec<u8> = (0..40_u8).map(|n| n.wrapping_mul(73) | 1).collect();
        let tails: [&[u8]; 4] = [b"", &[0; 300], &garbage, &old_record[..old_record.len() / 2]];
        for (variant, tail) in tails.into_iter().enumerate() {
            let mut bytes = whole[..cut as usize].to_vec();
            bytes.extend_from_slice(tail);
            std::fs::write(&path, &bytes).unwrap();
            let (log, recovery) = open(dir.path(), cold(4096));
            let context = format!("cut at {cut}, variant {variant}");
            assert_eq!(recovery.next, Offset(kept), "{context}");
            assert_eq!(recovery.checked_records, kept, "{context}");
            assert!(recovery.damaged.is_empty(), "{context}");
            let end = positions[kept as usize];
            let last = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
            assert_eq!(recovery.torn_bytes, last.saturating_sub(end), "{context}");
            if cut % 16 != 0 {
                continue;
            }
            // What was torn is gone for good, and the log goes on at that place.
            append_one_by_one(&log, kept..kept + 1, PAYLOAD).await;
            let expected: Vec<u64> = (0..=kept).collect();
            assert_eq!(read_around_damage(&log, PAYLOAD).await, expected, "{context}");
            drop(log);
            assert!(verify(dir.path()).unwrap().is_whole(), "{context}");
            assert_eq!(verify(dir.path()).unwrap().torn_bytes, 0, "{context}");
        }
    }
}

#[tokio::test]
async fn a_whole_old_record_behind_the_end_is_not_taken_for_a_new_one() {
    let dir = written(10, 4096).await;
    let path = segments(dir.path()).remove(0);
    let positions = record_positions(&path, 10);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(positions[10] as usize);
    bytes.extend_from_within(positions[3] as usize..positions[5] as usize);
    std::fs::write(&path, &bytes).unwrap();
    let (_log, recovery) = open(dir.path(), settings(4096));
    assert_eq!((recovery.next, recovery.torn_records), (Offset(10), 2));
}

#[tokio::test]
async fn damage_in_the_middle_is_isolated_and_never_touched() {
    let dir = written(10, 4096).await;
    let path = segments(dir.path()).remove(0);
    let positions = record_positions(&path, 10);
    // A page of zeros over records 3 and 4.
    let zeros = vec![0; (positions[5] - positions[3]) as usize];
    overwrite(&path, positions[3], &zeros);
    let before = std::fs::read(&path).unwrap();
    let (log, recovery) = open(dir.path(), cold(4096));
    assert_eq!(recovery.next, Offset(10));
    let [damaged] = &recovery.damaged[..] else { panic!("{recovery:?}") };
    assert_eq!((damaged.from, damaged.next_good), (Offset(3), Offset(5)));
    assert_eq!((damaged.from_byte, damaged.to_byte), (positions[3], positions[5]));
    let error = log.read(Offset(4), 1000).await.unwrap_err();
    assert_eq!(error.kind, Kind::Corrupt);
    assert!(error.message.contains("next good offset is 5"), "{error}");
    assert_eq!(log.read(Offset(2), 1).await.unwrap().len(), 1);
    append_one_by_one(&log, 10..12, PAYLOAD).await;
    assert_eq!(read_around_damage(&log, PAYLOAD).await, [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]);
    drop(log);
    let after = std::fs::read(&path).unwrap();
    assert_eq!(after[..positions[10] as usize], before[..positions[10] as usize]);
    assert_eq!(verify(dir.path()).unwrap().damaged, recovery.damaged);
}

#[tokio::test]
async fn swapped_records_are_damage() {
    let dir = written(10, 4096).await;
    let path = segments(dir.path()).remove(0);
    let positions = record_positions(&path, 10);
    let bytes = std::fs::read(&path).unwrap();
    let record = |n: usize| bytes[positions[n] as usize..positions[n + 1] as usize].to_vec();
    let swapped = [record(5), record(4)].concat();
    overwrite(&path, positions[4], &swapped);
    let (log, recovery) = open(dir.path(), cold(4096));
    assert!(!recovery.damaged.is_empty());
    let seen = read_around_damage(&log, PAYLOAD).await;
    assert_eq!(seen, [0, 1, 2, 3, 5, 6, 7, 8, 9], "5 is whole and behind 3");
}

#[tokio::test]
async fn a_flipped_bit_is_never_served() {
    let pristine = written(60, 2000).await;
    let names: Vec<_> = segments(pristine.path());
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    println!("seed {random}");
    let mut chance = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for round in 0..200 {
        let dir = copy(pristine.path());
        let name = names[chance(names.len())].file_name().unwrap();
        let path = dir.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let bit = chance(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bytes).unwrap();
        let context = format!("round {round}: bit {bit} of {}", path.display());
        let report = verify(dir.path());
        match EmbeddedLog::open(dir.path(), cold(2000)) {
            Err(error) => {
                assert!(bit / 8 < HEADER as usize, "{context}: {error}");
                assert!(error.message.contains(name.to_str().unwrap()), "{context}: {error}");
                assert_eq!(report.unwrap_err().message, error.message);
            }
            Ok((log, recovery)) => {
                let seen = read_around_damage(&log, PAYLOAD).await;
                assert!(seen.len() >= 59, "{context}: one bit costs one record at most");
                let report = report.unwrap();
                let lost = 60 - seen.len() as u64;
                assert_eq!(report.records, 60 - lost, "{context}");
                let is_noticed = recovery.torn_bytes > 0 || !report.is_whole();
                assert!(is_noticed || lost == 0, "{context}: lost without a word");
            }
        }
    }
}

#[tokio::test]
async fn a_header_that_cannot_be_read_is_never_taken_for_an_empty_log() {
    let pristine = written(30, 1000).await;
    let count = segments(pristine.path()).len();
    for place in [0, count / 2, count - 1] {
        for damage in [
            &[][..],
            &[0; 30],
            &[0; 4096],
            b"AXLELOG1 and nonsense that is no header at \
            all, whatever it says in here",
        ] {
            let dir = copy(pristine.path());
            let path = segments(dir.path()).remove(place);
            std::fs::write(&path, damage).unwrap();
            let error = open_error(dir.path());
            let is_newer = error.code == "log.version_newer";
            assert!(error.kind == Kind::Corrupt || is_newer, "{error}");
            assert!(error.message.contains(&path.display().to_string()), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), damage, "it is left alone");
        }
    }
}

#[tokio::test]
async fn a_newer_format_is_refused_before_anything_is_touched() {
    let dir = written(3, 1000).await;
    let path = segments(dir.path()).remove(0);
    overwrite(&path, 8, &3_u32.to_le_bytes());
    let before = std::fs::read(&path).unwrap();
    let error = open_error(dir.path());
    assert_eq!((error.kind, error.code), (Kind::Invalid, "log.version_newer"));
    assert!(error.message.contains("version 3"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_missing_segment_is_named() {
    let dir = written(30, 1000).await;
    let missing = segments(dir.path()).remove(2);
    std::fs::remove_file(&missing).unwrap();
    let error = open_error(dir.path());
    assert_eq!((error.kind, error.code), (Kind::Corrupt, "log.segment_missing"));
    let name = missing.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(error.message.contains(&name), "{error}");
    assert_eq!(verify(dir.path()).unwrap_err().code, "log.segment_missing");
}

#[tokio::test]
async fn a_log_whose_segments_are_all_gone_is_not_begun_anew() {
    let dir = written(3, 1000).await;
    for path in segments(dir.path()) {
        std::fs::remove_file(path).unwrap();
    }
    let error = open_error(dir.path());
    assert_eq!((error.kind, error.code), (Kind::Corrupt, "log.segment_missing"));
}

#[tokio::test]
async fn a_segment_of_another_log_is_refused() {
    let dir = written(30, 1000).await;
    let other = written(30, 1000).await;
    std::fs::copy(&segments(other.path())[2], &segments(dir.path())[2]).unwrap();
    let error = open_error(dir.path());
    assert_eq!(error.code, "log.segment_missing");
    assert!(error.message.contains("comes from another log"), "{error}");
}

#[tokio::test]
async fn a_segment_under_a_wrong_name_is_refused() {
    let dir = written(30, 1000).await;
    let paths = segments(dir.path());
    std::fs::copy(&paths[1], &paths[2]).unwrap();
    let error = open_error(dir.path());
    assert_eq!(error.code, "log.header_damaged");
    assert!(error.message.contains("00000000000000000"), "{error}");
}

#[tokio::test]
async fn an_older_version_of_a_segment_is_noticed_when_read() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _recovery) = open(dir.path(), settings(1000));
    append_one_by_one(&log, 0..3, PAYLOAD).await;
    let old = copy(dir.path());
    append_one_by_one(&log, 3..30, PAYLOAD).await;
    drop(log);
    let paths = segments(dir.path());
    std::fs::copy(&segments(old.path())[0], &paths[0]).unwrap();
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].from, Offset(3));
    let (log, _recovery) = open(dir.path(), cold(1000));
    let seen = read_around_damage(&log, PAYLOAD).await;
    let next = report.damaged[0].next_good.0;
    assert_eq!(seen, (0..3).chain(next..30).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_second_log_on_the_same_folder_is_refused_and_told_who_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _recovery) = open(dir.path(), settings(1000));
    let error = open_error(dir.path());
    assert_eq!((error.kind, error.code), (Kind::Conflict, "log.locked"));
    assert!(error.message.contains(&format!("process {}", std::process::id())), "{error}");
    log.close().await;
    drop(open(dir.path(), settings(1000)));
}

#[tokio::test]
async fn unknown_files_are_left_alone() {
    let dir = written(3, 1000).await;
    for name in ["notes.txt", "7.axlelog", "next.unfinished", "00000000000000000001.axlelog.bak"] {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    let (log, recovery) = open(dir.path(), cold(1000));
    assert_eq!(recovery.next, Offset(3));
    assert_eq!(read_around_damage(&log, PAYLOAD).await, [0, 1, 2]);
    assert!(dir.path().join("notes.txt").exists());
}

#[tokio::test]
async fn verify_tells_where_there_is_no_log() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(verify(dir.path()).unwrap_err().kind, Kind::NotFound);
    assert_eq!(verify(&dir.path().join("none")).unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn reads_from_any_offset_of_a_segment_that_was_never_read() {
    let dir = written(2000, 100_000).await;
    for from in [0, 1, 500, 999, 1500, 1998, 1999] {
        let (log, _recovery) = open(dir.path(), cold(100_000));
        let records = log.read(Offset(from), 300).await.unwrap();
        assert_eq!(OwnedMessage::of(&records[0]), OwnedMessage::numbered(from, PAYLOAD));
    }
}
