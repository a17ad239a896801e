//! The writer on a small disk.

use axle_domain::Kind;

use std::future::Future;

use super::*;
use crate::database;

fn insert(id: i64, bytes: usize) -> impl FnOnce(&mut Writing<'_>) -> Result<(), Failure> + Send {
    move |writing| {
        let sql = "INSERT INTO quarantine (log_offset, item_index, device, topic, stream,
            content_type, code, detail, payload, received_at, state)
            VALUES (?1, 0, '', '', '', '', '', '', zeroblob(?2), 0, 'waiting')";
        let bytes = i64::try_from(bytes).unwrap();
        writing.connection.prepare_cached(sql)?.execute([id, bytes])?;
        Ok(())
    }
}

#[tokio::test]
async fn a_full_disk_fails_changes_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut fold = Fold::open(&path, 4).unwrap();
    let connection = database::open(&path).unwrap();
    fold.begin(&connection).unwrap();
    connection.pragma_update(None, "max_page_count", 60).unwrap();
    let writer = Writer::start(connection, fold).unwrap();
    let all = (0..8).map(|id| writer.write(insert(id, if id % 4 == 1 { 1 << 20 } else { 1 })));
    let mut kept = Vec::new();
    for (id, change) in all.enumerate() {
        match change.await {
            Ok(()) => kept.push(i64::try_from(id).unwrap()),
            Err(error) => {
                assert_eq!((error.kind, error.code), (Kind::Unavailable, "state.unavailable"));
                assert!(error.message.contains("make room"), "{}", error.chain());
            }
        }
    }
    assert_eq!(kept, [0, 2, 3, 4, 6, 7]);
    let room = |writing: &mut Writing<'_>| {
        writing
            .connection
            .prepare("PRAGMA max_page_count = 100000")?
            .query_row([], |_row| Ok(()))?;
        Ok(())
    };
    writer.write(room).await.unwrap();
    writer.write(insert(1, 1 << 20)).await.unwrap();
    drop(writer);
    let connection = database::open_reader(&path).unwrap();
    let count: i64 =
        connection.query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 7);
}

#[tokio::test]
async fn a_closed_writer_has_done_what_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut fold = Fold::open(&path, 4).unwrap();
    let connection = database::open(&path).unwrap();
    fold.begin(&connection).unwrap();
    let writer = Writer::start(connection, fold).unwrap();
    let mut changes: Vec<_> = (0..50).map(|id| Box::pin(writer.write(insert(id, 1)))).collect();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for change in &mut changes {
        assert!(change.as_mut().poll(&mut context).is_pending());
    }
    drop(changes);
    drop(writer);
    let connection = database::open_reader(&path).unwrap();
    let count: i64 =
        connection.query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 50);
}
