//! What a crash leaves behind, and what others do to the files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axle_domain::port::{Cell, TelemetryStore};
use axle_domain::{Kind, Offset, Schemas};
use axle_store::{ColumnarStore, StoreSettings};
use axle_testkit::conformance::telemetry_store::{NOON, Reading, ask, batch};

use crate::{open, open_with, quiet};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

async fn write(store: &ColumnarStore, record: i64) {
    let reading = Reading::new("m-1", NOON.shifted(record * 1_000_000), 1.0);
    let through = Offset(u64::try_from(record).unwrap() + 1);
    store.write(vec![batch(&[reading])], through).await.unwrap();
}

async fn count(store: &ColumnarStore) -> Cell {
    ask(store, "SELECT count(*) FROM energy").await.rows[0][0].clone()
}

fn refusal(folder: &Path) -> axle_domain::Error {
    ColumnarStore::open(folder, Schemas::builtin(), quiet()).err().unwrap()
}

/// Drops a store as a crash would, and waits until its threads have let go of the folder.
async fn crash(store: Arc<ColumnarStore>, folder: &Path) {
    drop(store);
    let lock = std::fs::File::open(folder.join("lock")).unwrap();
    tokio::task::spawn_blocking(move || lock.lock().unwrap()).await.unwrap();
}

#[tokio::test]
async fn replaying_from_the_position_restores_everything() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for record in 0..20 {
        write(&store, record).await;
        if record == 9 {
            store.flush().await.unwrap();
            assert_eq!(store.position(), Offset(10));
        }
    }
    assert_eq!(store.position(), Offset(10), "what is in memory alone does not count");
    crash(store, folder.path()).await;
    store = open(folder.path());
    assert_eq!((store.position(), count(&store).await), (Offset(10), Cell::Int(10)));
    for record in 7..20 {
        write(&store, record).await;
    }
    assert_eq!(count(&store).await, Cell::Int(20));
    store.close().await.unwrap();
    crash(store, folder.path()).await;
    let store = open(folder.path());
    assert_eq!((store.position(), count(&store).await), (Offset(20), Cell::Int(20)));
    store.write(Vec::new(), Offset(25)).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.position(), Offset(25), "records without rows count too");
}

#[tokio::test]
async fn files_that_were_never_committed_are_removed_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    write(&store, 1).await;
    store.close().await.unwrap();
    crash(store, folder.path()).await;
    let [file] = files(folder.path()).try_into().unwrap();
    let (orphan, foreign) =
        (file.with_file_name("flush-99.parquet"), file.with_file_name("x.parquet"));
    std::fs::copy(&file, &orphan).unwrap();
    std::fs::copy(&file, &foreign).unwrap();
    let store = open(folder.path());
    assert_eq!(count(&store).await, Cell::Int(1));
    assert!(file.exists() && !orphan.exists() && foreign.exists());
}

#[tokio::test]
async fn a_missing_or_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    write(&store, 1).await;
    store.close().await.unwrap();
    crash(store, folder.path()).await;
    let report = axle_store::verify(folder.path(), &Schemas::builtin()).unwrap();
    assert_eq!((report.files, report.rows, report.position), (1, 1, 2));
    assert_eq!(report.problems, Vec::<String>::new());
    let [file] = files(folder.path()).try_into().unwrap();
    let good = std::fs::read(&file).unwrap();

    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&file, &bad).unwrap();
    let report = axle_store::verify(folder.path(), &Schemas::builtin()).unwrap();
    assert!(report.problems[0].contains("flush-1.parquet"), "{:?}", report.problems);

    // A page that still decodes would be answered as if it had been measured.
    for byte in (4..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[byte] ^= 1;
        std::fs::write(&file, &bad).unwrap();
        let store = open(folder.path());
        let answered = store.query(axle_testkit::conformance::telemetry_store::question(
            "SELECT watts FROM energy",
            axle_domain::port::Visibility::All,
        ));
        assert!(answered.await.is_err(), "byte {byte}");
        crash(store, folder.path()).await;
    }

    std::fs::write(&file, &good[1..]).unwrap();
    let error = refusal(folder.path());
    assert_eq!((error.kind, error.code), (Kind::Corrupt, "store.file_damaged"));

    std::fs::remove_file(&file).unwrap();
    let error = refusal(folder.path());
    assert_eq!((error.kind, error.code), (Kind::Corrupt, "store.file_missing"));
    assert!(error.message.contains("flush-1.parquet"), "{error}");
}

#[tokio::test]
async fn a_damaged_manifest_is_never_taken_for_an_empty_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    write(&store, 1).await;
    store.close().await.unwrap();
    crash(store, folder.path()).await;
    let path = folder.path().join("manifest.json");
    let good = std::fs::read(&path).unwrap();
    for byte in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[byte] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(
            matches!(refusal(folder.path()).kind, Kind::Corrupt | Kind::Unavailable),
            "byte {byte}"
        );
    }
    std::fs::write(&path, b"").unwrap();
    assert_eq!(refusal(folder.path()).kind, Kind::Corrupt);
    std::fs::write(&path, &good).unwrap();
    assert_eq!(count(&open(folder.path())).await, Cell::Int(1));
}

#[tokio::test]
async fn a_missing_manifest_is_never_taken_for_an_empty_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    write(&store, 1).await;
    store.close().await.unwrap();
    crash(store, folder.path()).await;
    std::fs::remove_file(folder.path().join("manifest.json")).unwrap();
    let error = refusal(folder.path());
    assert_eq!((error.kind, error.code), (Kind::Corrupt, "store.manifest_missing"));
    let verified = axle_store::verify(folder.path(), &Schemas::builtin()).unwrap_err();
    assert_eq!(verified.code, "store.manifest_missing");
    assert_eq!(files(folder.path()).len(), 1, "nothing was swept away");
}

#[tokio::test]
async fn a_manifest_that_could_not_be_prepared_is_written_by_a_later_flush() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    write(&store, 1).await;
    let obstacle = folder.path().join("manifest.json.new");
    std::fs::create_dir(&obstacle).unwrap();
    store.flush().await.unwrap_err();
    std::fs::remove_dir(&obstacle).unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.position(), Offset(2));
    store.close().await.unwrap();
    crash(store, folder.path()).await;
    assert_eq!(count(&open(folder.path())).await, Cell::Int(1));
}

#[tokio::test]
async fn files_stay_while_nobody_knows_which_manifest_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    write(&store, 1).await;
    let manifest = folder.path().join("manifest.json");
    let kept = std::fs::read(&manifest).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    std::fs::create_dir(&manifest).unwrap();
    store.flush().await.unwrap_err();
    assert_eq!(files(folder.path()).len(), 1, "a manifest on disk may name it");
    store.flush().await.unwrap_err();
    crash(store, folder.path()).await;
    std::fs::remove_dir(&manifest).unwrap();
    std::fs::write(&manifest, kept).unwrap();
    let store = open(folder.path());
    assert_eq!((store.position(), files(folder.path()).len()), (Offset(0), 0), "it did not");
}

#[tokio::test]
async fn a_folder_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let _store = open(folder.path());
    let error = refusal(folder.path());
    assert_eq!((error.kind, error.code), (Kind::Unavailable, "store.locked"));
}

#[tokio::test]
async fn merges_make_many_files_few_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { merge_files: 3, ..quiet() };
    let store = open_with(folder.path(), settings.clone());
    for record in 0..40 {
        write(&store, record).await;
        write(&store, record / 2).await;
        store.flush().await.unwrap();
        assert_eq!(count(&store).await, Cell::Int(record + 1));
    }
    // Merges go on beside the flushes; each ends with fewer files.
    while store.figures().files > 8 {
        tokio::task::yield_now().await;
    }
    assert_eq!(count(&store).await, Cell::Int(40));
    store.close().await.unwrap();
    let (listed, rows) = (store.figures().files, store.figures().file_rows);
    crash(store, folder.path()).await;
    let report = axle_store::verify(folder.path(), &Schemas::builtin()).unwrap();
    assert_eq!((report.problems.len(), report.files, report.rows), (0, listed, rows));
    assert_eq!(files(folder.path()).len() as u64, listed, "merged files are gone");
    assert_eq!(count(&open_with(folder.path(), settings)).await, Cell::Int(40));
}

#[tokio::test]
async fn writing_waits_for_a_flush_where_memory_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { flush_rows: 50, memory_rows_max: 100, ..quiet() };
    let store = open_with(folder.path(), settings);
    for record in 0..1000 {
        write(&store, record).await;
        assert!(store.figures().recent_rows <= 100);
    }
    assert_eq!(count(&store).await, Cell::Int(1000));
}

#[tokio::test]
async fn late_rows_go_into_side_files_of_their_month() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut readings: Vec<Reading> = Vec::new();
    for age in [0, 1, 40, 41, 400] {
        let mut reading = Reading::new("m-1", NOON.shifted(-age * 24 * 3600 * 1_000_000), 1.0);
        reading.received_at = NOON;
        readings.push(reading);
    }
    store.write(vec![batch(&readings)], Offset(1)).await.unwrap();
    store.flush().await.unwrap();
    let paths: Vec<String> = files(folder.path())
        .iter()
        .map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned())
        .map(|path| path.rsplit_once('/').unwrap().0.to_owned())
        .collect();
    assert_eq!(
        paths,
        [
            "energy/day=2026-11-19",
            "energy/day=2026-11-20",
            "energy/late/month=2025-10",
            "energy/late/month=2026-10"
        ]
    );
}
