//! What becomes of damage in the file and in the sums themselves.

use axle_domain::Kind;

use super::*;
use crate::sums::scrub::Round;

fn closed() -> Files {
    let mut site = Site::new();
    (0..30).for_each(|number| site.write(number, 5000));
    files(site.close().path())
}

#[test]
fn a_flipped_bit_of_any_page_keeps_the_state_from_opening() {
    let files = closed();
    assert_eq!(files.len(), 2, "a clean close leaves the state and its sums");
    let pages = files["state.db"].len() / 4096;
    for page in 0..pages {
        let bit = (page * 4096 + page * 37 % 4096) * 8 + page % 8;
        let folder = laid(&flipped(&files, "state.db", bit));
        let error = Site::open(folder).err().unwrap();
        assert_eq!((error.kind, error.code), (Kind::Corrupt, "state.corrupt"));
        let number = page + 1;
        assert!(error.message.contains(&format!("page {number} ")), "{}", error.message);
        assert!(error.message.contains("state.sums"), "{}", error.message);
    }
}

#[test]
fn a_damaged_page_is_told_with_its_table() {
    let files = closed();
    let find = |table: &str| -> u32 {
        let folder = laid(&files);
        let connection = Connection::open(path(&folder)).unwrap();
        let sql = "SELECT max(pageno) FROM dbstat WHERE name = ?1";
        connection.query_row(sql, [table], |row| row.get(0)).unwrap()
    };
    let page = find("quarantine");
    let bit = (page as usize - 1) * 4096 * 8 + 20_000;
    let folder = laid(&flipped(&files, "state.db", bit));
    let findings = crate::verify(&path(&folder)).unwrap().findings;
    let words = format!("page {page} (of `quarantine`) is not what was written there");
    assert_eq!(findings.first(), Some(&words), "{findings:?}");
}

#[test]
fn a_file_that_is_too_short_or_too_long_or_older_is_refused() {
    let files = closed();
    let with = |change: fn(&mut Vec<u8>)| {
        let mut files = files.clone();
        change(files.get_mut("state.db").unwrap());
        Site::of(&files).err().unwrap()
    };
    let short = with(|bytes| bytes.truncate(8192));
    assert!(short.message.contains("the file has 8192 bytes, and must have"), "{}", short.message);
    assert!(short.message.contains("more pages are not"), "{}", short.message);
    let long = with(|bytes| bytes.extend([0; 4096]));
    assert!(long.message.contains("must have"), "{}", long.message);
    let mut older = files.clone();
    let mut site = Site::of(&files).unwrap();
    site.delete(3);
    older.insert("state.sums", self::files(site.close().path())["state.sums"].clone());
    assert_eq!(Site::of(&older).err().unwrap().code, "state.corrupt");
    let mut gone = files.clone();
    gone.remove("state.db");
    let folder = laid(&gone);
    let state = path(&folder);
    assert_eq!(Fold::open(&state, FRAMES).err().unwrap().code, "state.missing");
    assert!(!state.exists());
}

#[test]
fn sums_that_were_removed_are_written_anew() {
    let mut files = closed();
    files.get_mut("state.db").unwrap()[8000] ^= 1;
    files.remove("state.sums");
    // What is there is taken as it is from now on.
    let folder = Site::of(&files).unwrap().close();
    assert_eq!(seen(&folder).checked as usize, files["state.db"].len() / 4096);
    assert!(seen(&folder).is_clean());
}

#[test]
fn damaged_sums_are_told_and_mended_where_the_pages_prove_whole() {
    let files = closed();
    let rows = Site::of(&files).unwrap().rows();
    let bits = files["state.sums"].len() * 8;
    for bit in (0..bits).step_by(53) {
        let spoilt = flipped(&files, "state.sums", bit);
        let findings = crate::verify(&path(&laid(&spoilt))).unwrap().findings;
        assert_eq!(findings.len(), 1, "bit {bit}: {findings:?}");
        assert!(findings[0].contains("state.sums"), "bit {bit}: {findings:?}");
        let site = Site::of(&spoilt).unwrap();
        assert_eq!(site.rows(), rows);
        assert!(crate::verify(&path(&site.close())).unwrap().findings.is_empty());
        let both = flipped(&spoilt, "state.db", 70_000);
        assert_eq!(Site::of(&both).err().unwrap().code, "state.corrupt", "bit {bit}");
    }
    let mut cut = files.clone();
    cut.get_mut("state.sums").unwrap().truncate(30);
    assert_eq!(Site::of(&cut).err().unwrap().code, "state.corrupt");
}

#[test]
fn sums_of_a_newer_axle_are_refused() {
    let mut files = closed();
    let bytes = files.get_mut("state.sums").unwrap();
    bytes[8] = 2;
    let header = crc32c::crc32c(&bytes[..36]).to_le_bytes();
    bytes[36..40].copy_from_slice(&header);
    let error = Site::of(&files).err().unwrap();
    assert_eq!((error.kind, error.code), (Kind::Conflict, "state.version_newer"));
}

#[test]
fn the_round_over_an_open_state_finds_a_flipped_bit_and_nothing_else() {
    let mut site = Site::new();
    let kept = site.fold.kept();
    let mut round = Round::default();
    let reader = database::open_reader(&path(&site.folder)).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM quarantine").unwrap();
    for number in 0..60 {
        site.write(number, 9000);
        round.piece(&kept);
        if number == 30 {
            reader.execute_batch("COMMIT").unwrap();
        }
    }
    assert_eq!(kept.damage(), None);
    site.fold.close(&site.connection);
    let pages = kept.settled().sums.pages.len();
    let mut bytes = fs::read(path(&site.folder)).unwrap();
    assert_eq!(bytes.len(), pages * 4096);
    bytes[5 * 4096 + 99] ^= 16;
    fs::write(path(&site.folder), bytes).unwrap();
    (0..2).for_each(|_piece| round.piece(&kept));
    assert_eq!(kept.damage().as_deref(), Some("page 6 is not what was written there"));
}

#[test]
fn what_another_program_folds_is_summed_anew() {
    let mut site = Site::new();
    (0..10).for_each(|number| site.write(number, 9000));
    let other = Connection::open(path(&site.folder)).unwrap();
    other.execute_batch("DELETE FROM quarantine WHERE log_offset > 5").unwrap();
    let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    other.query_row("PRAGMA wal_checkpoint(RESTART)", [], read).unwrap();
    drop(other);
    site.write(100, 10);
    assert!(seen(&site.folder).is_clean());
    let folder = site.close();
    assert!(seen(&folder).is_clean());
    assert_eq!(Site::open(folder).unwrap().rows().len(), 7);
}

#[test]
fn no_page_is_written_before_its_sum_is_durable() {
    let mut site = Site::new();
    site.write(1, 9000);
    site.fold.close(&site.connection);
    let before = site.files();
    let unfinished = path(&site.folder).with_extension("sums-unfinished");
    fs::create_dir(&unfinished).unwrap();
    (2..40).for_each(|number| site.write(number, 9000));
    let folder = site.close();
    assert!(files(folder.path())["state.db"] == before["state.db"], "a page was written");
    assert!(wal_of(&path(&folder)).exists(), "what cannot be folded stays in the log");
    // Nor does it keep the state from opening, whatever its sums are like.
    let folder = Site::open(folder).unwrap().close();
    let sums = path_of(&path(&folder));
    let mut bytes = fs::read(&sums).unwrap();
    bytes[41] ^= 1;
    fs::write(&sums, bytes).unwrap();
    let folder = Site::open(folder).unwrap().close();
    fs::remove_file(&sums).unwrap();
    let folder = Site::open(folder).unwrap().close();
    fs::remove_dir(&unfinished).unwrap();
    let site = Site::open(folder).unwrap();
    assert_eq!(site.rows().len(), 39);
    let folder = site.close();
    assert!(files(folder.path())["state.db"] != before["state.db"]);
    assert!(seen(&folder).is_clean());
}
