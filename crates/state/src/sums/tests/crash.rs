//! No crash makes a false alarm, and none hides a flipped bit.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Steps of a fold after which the process may end.
const CUTS: usize = 5;

/// What the disk holds, when the process ends at a step between two moments of one fold.
fn cut(before: &Files, after: &Files, step: usize, mixed: u64) -> Files {
    let mut files = before.clone();
    if step == 0 {
        let part = after["state.sums"].len() / 2;
        files.insert("state.sums-unfinished", after["state.sums"][..part].to_vec());
        return files;
    }
    if step == 1 {
        files.insert("state.sums-unfinished", after["state.sums"].clone());
        return files;
    }
    files.insert("state.sums", after["state.sums"].clone());
    if step == 3 {
        files.insert("state.db", mix(&before["state.db"], &after["state.db"], mixed));
    } else if step == 4 {
        files.insert("state.db", after["state.db"].clone());
    }
    files
}

/// Pages of two moments, some of them torn, before the file is cut to its length.
fn mix(before: &[u8], after: &[u8], seed: u64) -> Vec<u8> {
    let mut mixed = before.to_vec();
    mixed.resize(before.len().max(after.len()), 0);
    let mut random = seed;
    for (place, new) in mixed.chunks_mut(512).zip(after.chunks(512)) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        if random >> 63 == 0 {
            place.copy_from_slice(new);
        }
    }
    mixed
}

#[test]
fn a_crash_after_any_step_of_a_fold_leaves_a_state_that_opens() {
    let mut site = Site::new();
    (0..20).for_each(|number| site.write(number, 3000));
    site.fold.close(&site.connection);
    // The file becomes shorter with the next fold, then longer.
    for (delete, write) in [(0..18, 0..0), (0..0, 30..60)] {
        site.connection.execute_batch("PRAGMA secure_delete = ON").unwrap();
        site.connection.execute_batch("BEGIN").unwrap();
        for number in delete {
            site.connection
                .execute("DELETE FROM quarantine WHERE log_offset = ?1", [number])
                .unwrap();
        }
        site.connection.execute_batch("COMMIT; VACUUM").unwrap();
        for number in write {
            let sql = "INSERT INTO quarantine SELECT ?1, 0, device, topic, stream, content_type,
                code, detail, payload, received_at, state FROM quarantine LIMIT 1";
            let sql = sql.replace(
                "INTO quarantine SELECT",
                "INTO quarantine (log_offset,
                item_index, device, topic, stream, content_type, code, detail, payload,
                received_at, state) SELECT",
            );
            site.connection.execute(&sql, [number]).unwrap();
        }
        let rows = site.rows();
        let before = site.files();
        site.fold.close(&site.connection);
        let after = site.files();
        assert!(before["state.sums"] != after["state.sums"]);
        assert!(before["state.db-wal"] == after["state.db-wal"]);
        for step in 0..CUTS {
            let mut again = Site::of(&cut(&before, &after, step, 7)).unwrap();
            assert_eq!(again.rows(), rows, "step {step}");
            again.write(99, 10);
            again = Site::of(&again.files()).unwrap();
            assert_eq!(again.rows().len(), rows.len() + 1, "step {step}");
            assert!(seen(&again.close()).is_clean(), "step {step}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(u32),
    Delete(Index),
    Vacuum,
    /// Somebody begins to read, and ends.
    Read,
    Unread,
    Fold,
    Crash,
    CrashInFold(usize, u64),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..20_000_u32).prop_map(Step::Write),
        3 => any::<Index>().prop_map(Step::Delete),
        1 => Just(Step::Vacuum),
        1 => Just(Step::Read),
        1 => Just(Step::Unread),
        1 => Just(Step::Fold),
        1 => Just(Step::Crash),
        2 => (0..CUTS, any::<u64>()).prop_map(|(step, seed)| Step::CrashInFold(step, seed)),
        1 => Just(Step::Close),
    ]
}

struct Run {
    site: Site,
    rows: Vec<(i64, usize)>,
    reader: Option<Connection>,
    next: i64,
}

impl Run {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Write(bytes) => {
                self.site.write(self.next, *bytes);
                self.rows.push((self.next, *bytes as usize));
                self.next += 1;
            }
            Step::Delete(index) if !self.rows.is_empty() => {
                let (number, _bytes) = self.rows.remove(index.index(self.rows.len()));
                self.site.delete(number);
            }
            Step::Delete(_) => {}
            Step::Vacuum => {
                self.site.connection.execute_batch("VACUUM").unwrap();
                self.site.fold.after_commit(&self.site.connection).unwrap();
            }
            Step::Read => {
                let reader = database::open_reader(&path(&self.site.folder)).unwrap();
                reader.execute_batch("BEGIN; SELECT count(*) FROM quarantine").unwrap();
                self.reader = Some(reader);
            }
            Step::Unread => self.reader = None,
            Step::Fold => self.site.fold.close(&self.site.connection),
            Step::Crash => self.crash(&self.site.files()),
            Step::CrashInFold(step, seed) => {
                let before = self.site.files();
                self.site.fold.close(&self.site.connection);
                let after = self.site.files();
                self.crash(&cut(&before, &after, *step, *seed));
            }
            Step::Close => {
                self.reader = None;
                let folder = std::mem::replace(&mut self.site, Site::new()).close();
                assert!(!wal_of(&path(&folder)).exists(), "a clean close leaves no log");
                self.site = Site::open(folder).unwrap();
            }
        }
    }

    fn crash(&mut self, files: &Files) {
        self.reader = None;
        self.site = Site::of(files).unwrap();
    }
}

/// Few runs always; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let wanted = ProptestConfig::default();
    let is_told = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if is_told { wanted.cases } else { 24 };
    ProptestConfig { cases, failure_persistence: None, ..wanted }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn prop_no_crash_is_damage_and_every_flipped_bit_is(
        steps in proptest::collection::vec(step(), 1..40),
        places in proptest::collection::vec((0..3_usize, any::<Index>()), 24),
    ) {
        let mut run = Run { site: Site::new(), rows: Vec::new(), reader: None, next: 0 };
        for step in &steps {
            run.apply(step);
            prop_assert_eq!(&run.site.rows(), &run.rows, "{:?}", step);
            let look = seen(&run.site.folder);
            prop_assert!(look.is_clean(), "{:?}: {:?}", step, look);
        }
        let files = run.site.files();
        let survey = survey::survey(&wal_of(&path(&run.site.folder))).unwrap();
        let sums = files["state.sums"].len();
        for (kind, index) in places {
            let (name, bytes) = [
                ("state.db", files["state.db"].len()),
                ("state.db-wal", if survey.frames == 0 { 0 } else { 32 + survey.frames as usize * 4120 }),
                ("state.sums", sums),
            ][kind];
            if bytes == 0 {
                continue;
            }
            let bit = index.index(bytes * 8);
            let page = u32::try_from(bit / 8 / 4096).unwrap() + 1;
            let is_dead = survey.frames > 0 && page > survey.page_count;
            if name == "state.db" && (is_dead || survey.pages.contains_key(&page)) {
                continue;
            }
            let spoilt = laid(&flipped(&files, name, bit));
            let look = seen(&spoilt);
            let is_told = !look.findings(&path(&spoilt)).is_empty();
            prop_assert!(is_told, "{} bit {} is not noticed", name, bit);
            if name != "state.sums" {
                let error = Fold::open(&path(&spoilt), FRAMES).err();
                prop_assert_eq!(error.map(|error| error.code), Some("state.corrupt"));
            }
        }
    }
}

#[test]
fn beside_a_writer_that_folds_all_the_time_nobody_is_accused() {
    let mut site = Site::new();
    let path = path(&site.folder);
    let writes = std::thread::spawn(move || {
        for number in 0..400 {
            site.write(number, 9000);
            if number % 3 == 0 {
                site.delete(number / 2);
            }
        }
        site
    });
    let mut looks = 0;
    while !writes.is_finished() || looks == 0 {
        let look = look_beside(&path, &File::open(&path).unwrap()).unwrap();
        assert!(look.is_clean(), "{:?}", look.findings(&path));
        looks += 1;
    }
    assert!(seen(&writes.join().unwrap().close()).is_clean());
}
