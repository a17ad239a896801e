//! Damaged files: where they break, what is kept, and that nothing panics.

use axle_ride::{Ride, read};
use proptest::prelude::*;

use crate::build::{Fit, RECORD, ride, track};

/// Header, definition of five fields; each record has its header and 15 bytes.
const BEGIN: usize = 14 + 6 + 15;
const EACH: usize = 16;

fn salvaged(bytes: &[u8]) -> (Ride, usize, String) {
    let ride = read(bytes).unwrap();
    let finding = ride.findings.first().expect("it is damaged").clone();
    (ride, finding.at_byte, finding.what)
}

#[test]
fn what_is_neither_is_refused() {
    for (bytes, at_byte) in [(&b""[..], 0), (b"lat,lon", 7), (b"\x0e\x10\0\0\0\0\0\0.GIT....", 8)] {
        assert_eq!(read(bytes).unwrap_err().at_byte, at_byte, "{bytes:?}");
    }
}

#[test]
fn a_torn_file_keeps_its_whole_records() {
    let bytes = ride(10).file();
    let at = BEGIN + 7 * EACH;
    let (ride, at_byte, what) = salvaged(&bytes[..at + 5]);
    assert_eq!((ride.samples.len(), ride.good_bytes, at_byte), (7, at, at + 5));
    assert!(what.contains("its header promises 197 bytes"), "{what}");
    let (ride, at_byte, _) = salvaged(&bytes[..bytes.len() - 1]);
    assert_eq!((ride.samples.len(), at_byte), (10, bytes.len() - 1));
}

#[test]
fn a_file_that_its_device_never_finished_keeps_its_whole_records() {
    let mut bytes = ride(10).file();
    bytes[4..8].fill(0);
    bytes[12..14].fill(0);
    bytes.truncate(BEGIN + 4 * EACH + 3);
    let (ride, at_byte, what) = salvaged(&bytes);
    assert_eq!((ride.samples.len(), at_byte), (4, 4));
    assert!(what.contains("the header says 0 bytes"), "{what}");
}

#[test]
fn a_wrong_byte_is_seen_by_the_checksum() {
    let mut bytes = ride(10).file();
    bytes[BEGIN + EACH - 1] ^= 1;
    let end = bytes.len() - 2;
    let (ride, at_byte, what) = salvaged(&bytes);
    assert_eq!((ride.samples.len(), at_byte), (10, end));
    assert!(what.contains("the checksum of bytes 0 to"), "{what}");
}

#[test]
fn bytes_that_are_missing_put_the_rest_out_of_step() {
    for lost in 1..EACH - 1 {
        let mut bytes = ride(40).file();
        bytes.drain(BEGIN + 20 * EACH + 1..BEGIN + 20 * EACH + 1 + lost);
        let (ride, at_byte, what) = salvaged(&bytes);
        assert!((19..=20).contains(&ride.samples.len()), "lost {lost}: {}", ride.samples.len());
        let range = BEGIN + 19 * EACH..=BEGIN + 22 * EACH;
        assert!(range.contains(&at_byte), "lost {lost}: byte {at_byte}, {what}");
    }
}

#[test]
fn a_record_of_another_century_is_not_kept() {
    let mut bytes = ride(20).file();
    let at = BEGIN + 12 * EACH;
    bytes[at + 4] = 0xB4;
    let (ride, at_byte, what) = salvaged(&bytes);
    assert_eq!((ride.samples.len(), at_byte, ride.good_bytes), (12, at, at));
    assert!(what.contains("the record claims 2085-"), "{what}");
}

#[test]
fn a_record_on_another_continent_is_not_kept() {
    let mut bytes = ride(20).file();
    let at = BEGIN + 12 * EACH;
    bytes[at + 8] = 0x10;
    let (ride, at_byte, what) = salvaged(&bytes);
    assert_eq!((ride.samples.len(), at_byte), (12, at));
    assert!(what.contains("km away"), "{what}");
}

#[test]
fn structure_that_cannot_be_is_named() {
    let step = |fit: Fit| salvaged(&fit.file());
    let (_, at_byte, what) = step(Fit::default().data(5, &[&[1]]));
    assert_eq!(at_byte, 14);
    assert!(what.contains("data of message type 5"), "{what}");
    let (_, _, what) = step(Fit::default().data(0x10, &[]));
    assert!(what.contains("reserved bit"), "{what}");
    let (_, _, what) = step(Fit::default().data(0x40, &[&[0, 7, 20, 0, 0]]));
    assert!(what.contains("byte order 7"), "{what}");
    let mut cut = ride(3);
    cut.0.pop();
    let (ride, at_byte, what) = step(cut.clone());
    assert_eq!((ride.samples.len(), at_byte), (1, BEGIN + 2 * EACH));
    assert_eq!(ride.good_bytes, BEGIN + EACH, "the record before the break may be shifted too");
    assert!(what.contains("does not end where"), "{what}");
    let mut chained = crate::build::ride(2).file();
    let second = chained.len();
    chained.extend(b"\x0e\x10\0\0\x44\0\0\0.GIT\0\0");
    let (ride, at_byte, what) = salvaged(&chained);
    assert_eq!((ride.samples.len(), at_byte), (2, second + 8));
    assert!(what.contains("`.GIT` in a header: expected `.FIT`"), "{what}");
}

#[test]
fn claimed_lengths_allocate_nothing() {
    let mut bytes = ride(1).file();
    bytes[4..8].fill(0xFF);
    bytes[12..14].fill(0);
    assert_eq!(salvaged(&bytes).0.samples.len(), 1);
    let fields = [(253, 255, 0x86); 255];
    let huge = Fit::default().define(0, 20, &fields).data(0, &[&[1, 2, 3]]);
    assert_eq!(salvaged(&huge.file()).0.samples.len(), 0);
}

proptest! {
    #[test]
    fn prop_any_change_of_a_fit_file_is_found_or_changes_nothing(
        at in 0_usize..1000, flip in 1_u8..=255, cut in 0_usize..1000, cuts in any::<bool>(),
    ) {
        let good = ride(50).file();
        let mut bytes = good.clone();
        if cuts {
            bytes.truncate(cut % good.len());
        } else {
            bytes[at % good.len()] ^= flip;
        }
        match read(&bytes) {
            Err(finding) => prop_assert!(finding.at_byte <= bytes.len()),
            Ok(ride) if ride.is_whole() => {
                // Versions in a header without a checksum of its own, and nothing else.
                prop_assert_eq!(ride.samples, read(&good).unwrap().samples);
            }
            Ok(ride) => {
                prop_assert!(ride.findings.iter().all(|finding| finding.at_byte <= bytes.len()));
                prop_assert!(ride.good_bytes <= bytes.len());
                prop_assert!(ride.samples.iter().all(|it| it.at_byte < ride.good_bytes));
            }
        }
    }

    #[test]
    fn prop_lost_bytes_leave_only_records_of_the_ride(
        from in 0_usize..800, lost in 1_usize..200,
    ) {
        let good = ride(50).file();
        let mut bytes = good.clone();
        let from = BEGIN + from % (good.len() - BEGIN);
        bytes.drain(from..(from + lost).min(good.len()));
        let samples = read(&good).unwrap().samples;
        let Ok(kept) = read(&bytes) else { return Ok(()) };
        prop_assert!(!kept.is_whole());
        let before = (from - BEGIN) / EACH;
        let intact = kept.samples.iter().zip(&samples).take_while(|(a, b)| a == b).count();
        // What lies before the loss is kept, but for the one or two records before the break.
        prop_assert!(intact + 2 >= before.min(samples.len()), "{intact} of {before}");
        // Whatever else is kept was whole in the file, or cannot be told from it.
        prop_assert!(kept.samples.len() <= samples.len());
    }

    #[test]
    fn prop_any_change_of_a_track_never_panics(
        at in 0_usize..100_000, byte in any::<u8>(), cut in any::<Option<u16>>(),
    ) {
        let mut bytes = track(20).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Some(cut) = cut {
            bytes.truncate(usize::from(cut) % bytes.len());
        }
        if let Ok(ride) = read(&bytes) {
            prop_assert!(ride.samples.len() <= 20);
            prop_assert!(ride.findings.iter().all(|finding| finding.at_byte <= bytes.len()));
        }
    }

    #[test]
    fn prop_noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut bytes = Fit::default().define(0, 20, &RECORD).file();
        bytes.truncate(BEGIN);
        bytes.extend(&noise);
        if let Ok(ride) = read(&bytes) {
            prop_assert!(ride.samples.len() <= noise.len());
        }
        let _anything = read(&noise);
    }
}
