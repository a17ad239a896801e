//! SQLite's write-ahead log: what is damage, and what a crash has cut short.

use proptest::prelude::*;

use super::*;
use crate::sums::frame::{FRAME_HEADER_BYTES, Frame, HEADER_BYTES, Header, WrongBit};
use crate::sums::survey::{Damage, Survey, survey};

const FRAME_BYTES: usize = FRAME_HEADER_BYTES + 4096;

/// A log whose file was used before, with three commits and nothing folded.
fn grown() -> Files {
    let mut site = Site::new();
    (0..12).for_each(|number| site.write(number, 9000));
    site.fold.close(&site.connection);
    (20..23).for_each(|number| site.write(number, 6000));
    site.files()
}

fn surveyed(wal: &[u8]) -> Survey {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wal");
    fs::write(&path, wal).unwrap();
    survey(&path).unwrap()
}

#[test]
fn the_survey_reads_what_sqlite_reads() {
    let files = grown();
    let whole = surveyed(&files["state.db-wal"]);
    let (frames, size) = (whole.frames as usize, files["state.db-wal"].len());
    assert!(frames > 6 && HEADER_BYTES + frames * FRAME_BYTES < size, "{frames} frames in {size}");
    assert_eq!((whole.unfinished, whole.damage), (0, None));
    for frames in 0..=frames {
        let mut cut = files.clone();
        cut.get_mut("state.db-wal").unwrap().truncate(HEADER_BYTES + frames * FRAME_BYTES + 9);
        let survey = surveyed(&cut["state.db-wal"]);
        let folder = laid(&cut);
        let connection = Connection::open(path(&folder)).unwrap();
        let count = |pragma: &str, column| -> u32 {
            let sql = format!("PRAGMA {pragma}");
            connection.query_row(&sql, [], |row| row.get(column)).unwrap()
        };
        let pages = count("page_count", 0);
        if survey.frames > 0 {
            assert_eq!(survey.page_count, pages);
        }
        assert_eq!(survey.frames, count("wal_checkpoint(NOOP)", 1));
        assert_eq!((survey.frames + survey.unfinished) as usize, frames);
        assert_eq!(survey.damage, None);
    }
}

#[test]
fn every_flipped_bit_of_the_log_is_damage() {
    let wal = &grown()["state.db-wal"];
    let committed = HEADER_BYTES + surveyed(wal).frames as usize * FRAME_BYTES;
    for bit in (0..committed * 8).step_by(331) {
        let mut spoilt = wal.clone();
        spoilt[bit / 8] ^= 1 << (bit % 8);
        let frame = (bit / 8).checked_sub(HEADER_BYTES).map(|byte| byte / FRAME_BYTES + 1);
        match (frame, surveyed(&spoilt).damage) {
            (None, Some(Damage::Header)) => {}
            (Some(frame), Some(Damage::Frame { frame: told, .. })) => {
                assert_eq!(told as usize, frame, "bit {bit}");
            }
            (_, damage) => panic!("bit {bit}: {damage:?}"),
        }
    }
}

#[test]
fn a_page_of_garbage_before_a_later_commit_is_damage_and_after_it_a_torn_write() {
    let wal = &grown()["state.db-wal"];
    let frames = surveyed(wal).frames as usize;
    for frame in 0..frames {
        let mut spoilt = wal.clone();
        let at = HEADER_BYTES + frame * FRAME_BYTES + FRAME_HEADER_BYTES + 1000;
        spoilt[at..at + 512].fill(0x5a);
        let survey = surveyed(&spoilt);
        let commit = (frame..frames)
            .find(|frame| {
                let at = HEADER_BYTES + frame * FRAME_BYTES;
                Frame::parse(&wal[at..at + FRAME_HEADER_BYTES]).commit > 0
            })
            .unwrap();
        assert_eq!(survey.damage.is_some(), commit + 1 < frames, "frame {frame} of {frames}");
        assert!(survey.damage.is_some() || survey.unfinished > 0);
    }
}

#[test]
fn a_damaged_log_keeps_the_state_from_opening_and_stays() {
    let files = grown();
    let spoilt = flipped(&files, "state.db-wal", (HEADER_BYTES + 2 * FRAME_BYTES + 77) * 8);
    let folder = laid(&spoilt);
    let error = Fold::open(&path(&folder), FRAMES).err().unwrap();
    assert!(error.message.contains("frame 3 of the write-ahead log"), "{}", error.message);
    let findings = crate::verify(&path(&folder)).unwrap().findings;
    assert!(findings[0].contains("frame 3 of the write-ahead log"), "{findings:?}");
    assert!(super::files(folder.path())["state.db-wal"] == spoilt["state.db-wal"]);
}

/// Appends a frame whose header is of the page's new version, over what stood there before.
fn append(wal: &mut Vec<u8>, commit: u32, new: &[u8], before: &[u8]) {
    let header = Header::parse(wal.first_chunk().unwrap()).unwrap();
    let last = Frame::parse(&wal[wal.len() - header.frame_bytes()..]);
    let mut frame = [1_u32.to_be_bytes(), commit.to_be_bytes()].concat();
    frame.extend([header.salts[0], header.salts[1], 0, 0].map(u32::to_be_bytes).as_flattened());
    frame.extend(new);
    let stored = header.expected(last.stored, &frame);
    frame[16..24].copy_from_slice(stored.map(u32::to_be_bytes).as_flattened());
    frame[FRAME_HEADER_BYTES..].copy_from_slice(before);
    wal.extend(frame);
}

#[test]
fn a_frame_whose_page_a_crash_has_not_written_yet_is_no_damage() {
    let mut site = Site::new();
    site.write(1, 9000);
    site.fold.close(&site.connection);
    site.write(2, 9000);
    let mut files = site.files();
    let survey = survey(&wal_of(&path(&site.folder))).unwrap();
    let (commit, end) = (survey.page_count, HEADER_BYTES + survey.frames as usize * FRAME_BYTES);
    files.get_mut("state.db-wal").unwrap().truncate(end);
    let old = &files["state.db"][..4096];
    let with = |page: &[u8], byte: usize, change: u8| {
        let mut page = page.to_vec();
        page[byte] ^= change;
        page
    };
    let (new, other) = (with(old, 27, 1), with(old, 200, 9));
    let told = |frames: &[(u32, &[u8], &[u8])]| {
        let mut files = files.clone();
        let wal = files.get_mut("state.db-wal").unwrap();
        frames.iter().for_each(|(commit, new, before)| append(wal, *commit, new, before));
        let rows = Site::of(&files).map(|site| site.rows()).map_err(|error| error.code);
        assert_eq!(rows.is_ok(), seen(&laid(&files)).is_clean());
        rows
    };
    // Of a change that ends further behind; of one that ends here, over what the file has.
    assert_eq!(told(&[(0, &new, old)]), Ok(site.rows()));
    assert_eq!(told(&[(commit, &new, old)]), Ok(site.rows()));
    // Over anything else: a flipped bit of what somebody was promised. A commit that a frame
    // follows was written whole, whatever stands in its place.
    assert_eq!(told(&[(commit, &with(&other, 27, 1), &other)]), Err("state.corrupt"));
    assert_eq!(told(&[(commit, &new, old), (0, &new, &new)]), Err("state.corrupt"));
}

#[test]
fn damage_in_the_log_of_an_open_state_stops_it_before_it_is_folded() {
    let mut site = Site::new();
    site.write(1, 9000);
    site.fold.close(&site.connection);
    site.write(2, 9000);
    let wal = wal_of(&path(&site.folder));
    let mut bytes = fs::read(&wal).unwrap();
    bytes[HEADER_BYTES + FRAME_BYTES + 500] ^= 4;
    fs::write(&wal, bytes).unwrap();
    let mut stopped = None;
    for number in 3..40 {
        let sql = "UPDATE projection SET stored = ?1";
        site.connection.execute(sql, [number]).unwrap();
        stopped = site.fold.after_commit(&site.connection).err();
        if stopped.is_some() {
            break;
        }
    }
    assert!(stopped.unwrap().to_string().contains("frame 2 of the write-ahead log"));
    assert!(site.fold.kept().damage().is_some());
}

proptest! {
    #[test]
    fn prop_one_wrong_bit_is_known_by_the_checksum(
        bytes in proptest::collection::vec(any::<u8>(), 8 + 512),
        before in any::<[u32; 2]>(),
        bit in 0..(8 + 512) * 8_usize,
        magic in 0..2_u32,
        garbage in proptest::collection::vec(any::<u8>(), 64),
    ) {
        let header = header(magic);
        let mut frame = bytes[..8].to_vec();
        frame.extend([0; 16]);
        frame.extend(&bytes[8..]);
        let stored = header.expected(before, &frame);
        let parsed = Frame { page: 1, commit: 0, salts: header.salts, stored };
        prop_assert_eq!(header.wrong_bit(&parsed, stored), None);
        let byte = if bit / 8 < 8 { bit / 8 } else { bit / 8 + 16 };
        frame[byte] ^= 1 << (bit % 8);
        let place = if (4..8).contains(&byte) { WrongBit::Commit } else { WrongBit::Elsewhere };
        prop_assert_eq!(header.wrong_bit(&parsed, header.expected(before, &frame)), Some(place));
        frame[100..164].copy_from_slice(&garbage);
        prop_assert_eq!(header.wrong_bit(&parsed, header.expected(before, &frame)), None);
    }
}

/// A header for pages of 512 bytes.
fn header(magic: u32) -> Header {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("PRAGMA page_size = 512; PRAGMA journal_mode = WAL; CREATE TABLE a (b)")
        .unwrap();
    let wal = fs::read(wal_of(&path)).unwrap();
    let mut bytes: [u8; HEADER_BYTES] = wal[..HEADER_BYTES].try_into().unwrap();
    let parsed = Header::parse(&bytes).unwrap();
    if bytes[3] & 1 == u8::try_from(magic).unwrap() {
        return parsed;
    }
    bytes[3] ^= 1;
    assert_eq!(Header::parse(&bytes), None, "the checksum is of the other order");
    Header { is_big_endian: !parsed.is_big_endian, ..parsed }
}
