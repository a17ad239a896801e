//! Comparing the files with a replay of the log.

use std::path::Path;

use axle_domain::port::TelemetryStore;
use axle_domain::{Offset, RowBatch, Schemas};
use axle_store::StoreAudit;
use axle_testkit::conformance::telemetry_store::{NOON, Reading, batch};

use crate::open;

/// The rows of records from one to before another, as a replay gives them.
fn rows(records: std::ops::Range<i64>) -> RowBatch {
    let reading = |record: i64| Reading::new("m-1", NOON.shifted(record * 1_000_000), 1.5);
    batch(&records.map(reading).collect::<Vec<_>>())
}

/// What differs where the replay has these rows.
fn compare(folder: &Path, records: std::ops::Range<i64>, is_whole: bool) -> Vec<String> {
    let audit = StoreAudit::open(folder, &Schemas::builtin()).unwrap();
    assert_eq!(audit.position(), Offset(20));
    let mut pass = audit.begin();
    // A row may come twice; it is one row.
    pass.take(rows(records.clone())).unwrap();
    pass.take(rows(records.clone())).unwrap();
    assert_eq!(pass.parts(), 1);
    let findings = pass.finish(is_whole).unwrap();
    let mut in_parts = Vec::new();
    for part in 0..3 {
        let mut pass = audit.pass(part, 3);
        pass.take(rows(records.clone())).unwrap();
        in_parts.extend(pass.finish(is_whole).unwrap());
    }
    assert_eq!(in_parts.is_empty(), findings.is_empty(), "{in_parts:?} {findings:?}");
    findings
}

#[tokio::test]
async fn files_are_equal_to_the_replay_or_it_is_said_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.write(vec![rows(0..12)], Offset(12)).await.unwrap();
    store.flush().await.unwrap();
    store.write(vec![rows(8..20)], Offset(20)).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(compare(folder.path(), 0..20, true), Vec::<String>::new());
    // Where the log has forgotten its beginning, older rows are no surprise.
    assert_eq!(compare(folder.path(), 10..20, false), Vec::<String>::new());
    let missing = compare(folder.path(), 0..23, true);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].starts_with("3 rows that the log has"), "{missing:?}");
    assert_eq!(compare(folder.path(), 10..23, false).len(), 1);
    let unknown = compare(folder.path(), 0..19, true);
    assert!(unknown[0].contains("has 1 rows that the log does not have"), "{unknown:?}");
}
